"""What an agent sends along with a link: until when, once, what to do; as plain text, Markdown and HTML.

The link need not come here: ``templates`` leaves its slot open, and the agent's browser fills it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Literal

from ..errors import N_, Invalid
from ..model import Kind
from .wording import TEXTS, Language, fill, moment, one_line

Format = Literal["plain", "markdown", "html"]
FORMATS: tuple[Format, ...] = ("plain", "markdown", "html")
LINK = "{link}"  # a paragraph of its own
# Whole in an attribute, in angle brackets and in plain text alike: nothing in it needs escaping in any format.
_LINK = re.compile(r"https?://[A-Za-z0-9._~:/\[\]%-]+#[A-Za-z0-9_-]+")
_MARKS = re.compile(r"([!-/:-@\[-`{-~])")  # all of ASCII's punctuation can be escaped in CommonMark


def reply(
    kind: Kind,
    language: Language,
    format: Format,
    *,
    link: str,
    until: int,
    password: bool = False,
    ticket: str,
    operator: str,
) -> str:
    """The whole text.

    Args:
        kind: ``secret`` for a link that opens once, ``request`` for one that takes an answer.
        until: seconds since 1970.
        password: whether the secret has one; a request has none.
        ticket: as its people call it.
        operator: whose support it is.

    Raises:
        Invalid: the link is not one of this service's.
    """
    if not _LINK.fullmatch(link):
        raise Invalid(("link", N_("Expected a link of this service.")))
    template = templates(kind, language, password=password, ticket=ticket, operator=operator)[format]
    return fill(template, link=link, until=moment(until, language))


def templates(
    kind: Kind, language: Language, *, password: bool = False, ticket: str, operator: str
) -> dict[Format, str]:
    """The text in each format, with ``{link}`` and ``{until}`` left to be filled, in one pass.

    Link and time are filled in as they are, in HTML too: they hold no character with a meaning there.
    """
    words = (one_line(ticket), one_line(operator))
    texts = list(_paragraphs(kind, language, password))
    return {
        "plain": "\n\n".join(_filled(texts, *words)) + "\n",
        "markdown": "\n\n".join(_filled(texts, *map(_markdown, words))).replace(LINK, f"<{LINK}>") + "\n",
        "html": "\n".join(map(_html, _filled(map(escape, texts), *map(escape, words)))) + "\n",
    }


def _paragraphs(kind: Kind, language: Language, password: bool) -> Iterator[str]:
    text = TEXTS["reply"][kind][language]
    yield from [*text["before"], LINK, *text["after"]]
    if password and "password" in text:
        yield text["password"]
    yield from text["close"]


def _filled(texts: Iterable[str], ticket: str, operator: str) -> list[str]:
    return [filled for text in texts if (filled := fill(text, ticket=ticket, operator=operator))]


def _markdown(word: str) -> str:
    return _MARKS.sub(r"\\\1", word)


def _html(text: str) -> str:
    return f'<p><a href="{LINK}">{LINK}</a></p>' if text == LINK else f"<p>{text}</p>"
