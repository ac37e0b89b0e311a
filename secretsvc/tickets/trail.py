"""From receipts to a ticket's trail: what has happened to a link since the last look.

The receipts are the source of truth.  Whoever looks finds the same events under the same names, so that it
matters to nobody who looked, how often, or whether somebody had said that there was something to see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from ..model import View
from .links import Event, Link, Progress, Word

Type = Literal[
    "link.created",
    "link.opened",
    "link.expired",
    "link.locked",
    "link.revoked",
    "link.reported",
    "request.created",
    "request.submitted",
    "request.collected",
    "request.expired",
]
UNBORN = 600  # seconds a link may be listed without being stored: its creator died in between
TYPES: dict[tuple[str, Word], Type] = {
    ("secret", "created"): "link.created",
    ("secret", "opened"): "link.opened",
    ("secret", "expired"): "link.expired",
    ("secret", "locked"): "link.locked",
    ("secret", "revoked"): "link.revoked",
    ("secret", "ended-by-operator"): "link.revoked",
    ("secret", "reported"): "link.reported",
    ("request", "created"): "request.created",
    ("request", "submitted"): "request.submitted",
    ("request", "collected"): "request.collected",
    ("request", "expired"): "request.expired",
    ("request", "locked"): "link.locked",
    ("request", "revoked"): "link.revoked",
    ("request", "ended-by-operator"): "link.revoked",
    ("request", "reported"): "link.reported",
}


@dataclass(frozen=True)
class Seen:
    """What the core says of a link.

    Attributes:
        view: how it stands; None where there is no receipt.
        facts: what an answer says outside its sealed part, as JSON.
        submitted_at: when a request was answered, seconds since 1970.
    """

    view: View | None
    facts: str | None = None
    submitted_at: int | None = None


def advance(link: Link, known: Progress, seen: Seen, now: int) -> Progress:
    """What is known of a link after a look; ``known`` itself where nothing has happened.

    A state is found, not seen coming: what must have been before it is told with it.
    """
    if known.over:
        return known
    view = seen.view
    if view is None:
        return _without_receipt(link, known, now)
    if link.order and view.state == "waiting":  # nothing has come in yet
        return known
    events = list(known.events)

    def tell(word: Word, at: int | None, by: str = "", *, again: bool = False) -> None:
        count = sum(event.word == word for event in events)
        if not count or again:
            name = f"{link.ref}.{word}" + (f".{count + 1}" if count else "")
            events.append(Event(id=name, word=word, at=at or now, by=by))

    tell("created", link.created_at, link.by)
    if link.kind == "request" and (view.state in ("sealed", "locked", "opened") or seen.facts is not None):
        tell("submitted", seen.submitted_at)
    if view.state == "locked":
        tell("locked", now, again=known.state != "locked")
    if view.state == "opened":
        tell("collected" if link.kind == "request" else "opened", view.ended_at, view.collected_by or "")
    if view.state == "revoked":
        tell("ended-by-operator" if view.by_operator else "revoked", view.ended_at)
    if view.state == "expired":
        tell("expired", view.ended_at)
    if view.reported_at is not None:
        tell("reported", view.reported_at)
    over = view.state in ("revoked", "expired") or view.reported_at is not None
    return Progress(
        state=view.state,
        expires_at=view.expires_at,
        events=tuple(events),
        facts=seen.facts,
        over=over,
    )


def _without_receipt(link: Link, known: Progress, now: int) -> Progress:
    """It was never stored, or its receipt's time is over: then nothing happens any more."""
    if known.state == "unborn" and now < link.created_at + UNBORN:
        return known
    return msgspec.structs.replace(known, state="forgotten", over=True)


def event_type(link: Link, event: Event) -> Type:
    """The event's name in webhooks."""
    return TYPES[link.kind, event.word]
