"""Times and names in plain words, and the trail's sentences: one line each, for notes in a ticket.

A line says the short reference, who and when; never a link, a token, a value or where anybody came from.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Literal

from ..model import Kind
from .links import Event, Link, Word
from .model import Identity

Language = Literal["de", "en"]
# Never the locale's.
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
TEXTS: dict[str, Any] = tomllib.loads((files(__package__) / "texts.toml").read_text("utf-8"))
_SLOT = re.compile(r"\{(\w+)\}")
# Control characters, line and paragraph separators, bidi controls, lone surrogates.
_NOT_IN_LINE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+"
)


def moment(seconds: float, language: Language) -> str:
    """A time for people, in UTC: ``22.11.2026, 04:29 UTC``, ``22 November 2026, 04:29 UTC``.

    Args:
        seconds: since 1970.
    """
    time = datetime.fromtimestamp(int(seconds), UTC)
    day = f"{time:%d.%m.%Y}" if language == "de" else f"{time.day} {MONTHS[time.month - 1]} {time.year}"
    return f"{day}, {time:%H:%M} UTC"


def one_line(text: str) -> str:
    """A stranger's word as one line: what would break or turn it becomes a space, braces become parentheses.

    No slot of a text can be in what fills another one.
    """
    line = _NOT_IN_LINE.sub(" ", text).translate({ord("{"): "(", ord("}"): ")"})
    return " ".join(line.split())


def fill(text: str, **values: str) -> str:
    """The text with its slots filled, in one pass; a slot without a value stays."""
    return _SLOT.sub(lambda slot: values.get(slot[1], slot[0]), text)


def identity(of: Identity, language: Language) -> str:
    """How it was made sure who the customer is."""
    said: str = TEXTS["identity"][of][language]
    return said


def event_line(
    event: Word,
    language: Language,
    ref: str,
    at: int,
    *,
    kind: Kind = "secret",
    order: bool = False,
    by: str = "",
    until: int = 0,
    password: bool = False,
    fields: Sequence[str] = (),
) -> str:
    """What has happened to a link, as a line of a note.

    Args:
        ref: the short reference.
        at: seconds since 1970.
        order: whether a customer handed it in unasked.
        by: the agent's name; at an order's beginning the customer's.
        until: when it expires, seconds since 1970; for ``created``.
        password: whether it has one; for ``created``.
        fields: names of the fields asked, never what they hold; for ``created`` and ``submitted`` of requests.
    """
    name = "created-password" if event == "created" and password and kind == "secret" else event
    sentences = TEXTS["trail"][kind][language]
    if order and event == "created":
        sentences = TEXTS["trail"]["order"][language]
    who = one_line(by)
    asked = ", ".join(filter(None, map(one_line, fields)))
    return fill(
        sentences[name],
        ref=one_line(ref),
        at=moment(at, language),
        until=moment(until, language),
        by=f" {'von' if language == 'de' else 'by'} {who}" if who else "",
        fields=f" ({'Felder' if language == 'de' else 'fields'}: {asked})" if asked else "",
    )


def trail_line(link: Link, event: Event, language: Language, fields: Sequence[str] = ()) -> str:
    """The same of a link that is kept and an event that was found."""
    return event_line(
        event.word,
        language,
        link.ref,
        event.at,
        kind=link.kind,
        order=link.order,
        by=event.by,
        until=link.expires_at,
        password=link.password,
        fields=fields,
    )


def trail_subject(refs: Sequence[str], language: Language) -> str:
    """A note's subject: which links it is about, each once, in their order."""
    return fill(TEXTS["trail"]["subject"][language], refs=", ".join(map(one_line, dict.fromkeys(refs))))
