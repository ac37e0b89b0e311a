"""What stands in tickets, the same in all products: numbers, markers, times, languages."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal

from ...errors import TicketGone

LANGUAGES: tuple[Literal["de", "en"], ...] = ("de", "en")


def numbered(number: str) -> str:
    """A ticket's number, which is digits in all products we know.

    Raises:
        TicketGone: it is not; nobody needs to be asked.
    """
    if not re.fullmatch(r"[1-9][0-9]{0,18}", number):
        raise TicketGone
    return number


def tag(marker: str) -> str:
    """A marker as it stands in subjects and texts, closed on both sides so that none is a part of another.

    In round brackets: Request Tracker takes a query with a square one for JSON, wherever it stands.
    """
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,100}", marker):
        raise ValueError("a marker has 1-100 letters, digits, dots, dashes")
    return f"({marker})"


def tagged(subject: str, marker: str, limit: int) -> str:
    """A subject that ends in the marker and has at most so many characters, on one line."""
    end = f" {tag(marker)}"
    return " ".join(subject.split())[: limit - len(end)] + end


def ended(text: str, marker: str) -> str:
    """A text whose last line is the marker."""
    return f"{text.rstrip()}\n\n{tag(marker)}"


def ends(text: str, marker: str) -> bool:
    """Whether a line of this text is the marker."""
    return tag(marker) in (line.strip() for line in text.splitlines())


def when(text: str | None) -> int | None:
    """A time of RFC 3339 in seconds since 1970; None for another text, or for 1970, which says never."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    at = found.replace(tzinfo=found.tzinfo or UTC).timestamp()
    return int(at) if at > 366 * 86_400 else None


def language_of(text: str | None) -> Literal["de", "en"] | None:
    """Our language of a locale as in ``de``, ``en-US``, ``de_AT``."""
    for known in LANGUAGES:
        if re.fullmatch(f"{known}([-_].*)?", (text or "").lower()):
            return known
    return None
