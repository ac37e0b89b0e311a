"""What is kept of a link on a ticket: how it was made, and what has been told of it since."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..model import Kind, State
from .model import Identity

Word = Literal[
    "created",
    "submitted",
    "opened",
    "collected",
    "expired",
    "locked",
    "revoked",
    "ended-by-operator",
    "reported",
]


class Link(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A link of a ticket, as it was made; nothing in here opens anything.

    Attributes:
        ref: a short reference to call it by, made of chance alone.
        id: the secret's, base64url; never shown.
        created_at, expires_at: seconds since 1970; an answer lives longer than its request says here.
        by: who made it, by name.
        password: whether it has one.
        order: whether a customer handed it in unasked.
        identity: how the agent made sure of who the customer is.
    """

    ref: str
    id: str
    kind: Kind
    created_at: int
    expires_at: int
    by: str = ""
    language: Literal["de", "en"] | None = None
    password: bool = False
    form: str | None = None
    order: bool = False
    identity: Identity | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that became of a link.

    Attributes:
        id: ``<ref>.<word>``, with a count where a word can come again; the same for every finder.
        at: seconds since 1970.
        by: who did it, where that is known.
    """

    id: str
    word: Word
    at: int
    by: str = ""


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What has been noticed of a link so far.

    Attributes:
        state: as it was at the last look.
        expires_at: as it was then, seconds since 1970.
        events: oldest first.
        facts: what an answer says outside its sealed part, as JSON.
        over: whether nothing can happen any more.
    """

    state: State | Literal["unborn", "forgotten"] = "unborn"
    expires_at: int = 0
    events: tuple[Event, ...] = ()
    facts: str | None = None
    over: bool = False

    def has(self, word: Word) -> bool:
        """Whether this has happened."""
        return any(event.word == word for event in self.events)
