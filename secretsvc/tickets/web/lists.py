"""What lists say: a page of an organisation's links, and the words for what became of a link."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ...errors import N_, Invalid
from ...tokens import Person
from ...web.language import gettext
from .. import wording
from ..forms import Facts as Said
from ..forms import Form, Language
from ..links import Link
from ..model import Reference
from ..service import Entry, Tickets
from ..wording import one_line

PER_PAGE = 100
# By kind and state.  "Opened" means that somebody pressed the button, no more.
STATES = {
    ("secret", "sealed"): N_("Not opened yet"),
    ("secret", "locked"): N_("Locked after too many wrong passwords"),
    ("secret", "opened"): N_("Opened"),
    ("secret", "revoked"): N_("Withdrawn: nobody can open it"),
    ("secret", "expired"): N_("Ran out, unopened"),
    ("request", "waiting"): N_("Not answered yet"),
    ("request", "sealed"): N_("Answered: ready to be picked up"),
    ("request", "locked"): N_("Locked"),
    ("request", "opened"): N_("Picked up"),
    ("request", "revoked"): N_("Withdrawn: nobody can answer it or pick it up"),
    ("request", "expired"): N_("Ran out, not picked up"),
}
EVENTS = {
    ("secret", "created"): N_("Created"),
    ("secret", "opened"): N_("Somebody pressed “Open now”"),
    ("secret", "expired"): N_("Ran out, unopened"),
    ("secret", "reported"): N_("A holder of the link says that somebody else opened it: change what it held"),
    ("request", "created"): N_("Asked"),
    ("request", "submitted"): N_("Answered by the customer"),
    ("request", "collected"): N_("Picked up"),
    ("request", "expired"): N_("Ran out, not picked up"),
    ("request", "reported"): N_("Somebody else is said to have opened the answer: have the data changed"),
    ("order", "created"): N_("Handed in by the customer"),
}
ANY_EVENT = {
    "locked": N_("Locked after too many wrong passwords"),
    "revoked": N_("Withdrawn"),
    "ended-by-operator": N_("Ended by the operator"),
}
KINDS = {
    "secret": N_("Sent secret"),
    "request": N_("Request for data"),
    "order": N_("Order by the customer"),
}
FILTERED_STATES = {
    "waiting": N_("Not answered yet"),
    "sealed": N_("Not opened or picked up yet"),
    "locked": N_("Locked"),
    "opened": N_("Opened or picked up"),
    "revoked": N_("Withdrawn"),
    "expired": N_("Ran out"),
}
FILTERED_KINDS = {"secret": N_("Sent secrets"), "request": N_("Requests and orders")}


@dataclass(frozen=True)
class Listed:
    """A page of an organisation's links; ``more`` says whether another one follows."""

    organisation: str
    rows: list[tuple[Reference, Entry]]
    state: str
    kind: str
    page: int
    more: bool


def listed(tickets: Tickets, person: Person, asked: Mapping[str, str]) -> Listed:
    """The links of an organisation's tickets, a page at a time.

    Args:
        asked: ``organisation``, ``state``, ``kind`` and ``page``, as an address says them.

    Raises:
        NotFound: the organisation is not theirs.
        Invalid: naming what was asked wrongly.
    """
    name, state, kind = asked.get("organisation", ""), asked.get("state", ""), asked.get("kind", "")
    if not name:
        raise Invalid(("organisation", N_("Say which organisation.")))
    if state and state not in FILTERED_STATES:
        raise Invalid(("state", N_("Expected one of the states of a secret.")))
    if kind and kind not in FILTERED_KINDS:
        raise Invalid(("kind", N_("Expected secret or request.")))
    page = asked.get("page", "1")
    if not re.fullmatch("[1-9][0-9]{0,3}", page):
        raise Invalid(("page", N_("Expected a number from 1.")))
    rows: list[tuple[Reference, Entry]] = []
    skipped, more = (int(page) - 1) * PER_PAGE, False
    for ticket, _, found in tickets.listed(person, name):
        if (state and found.progress.state != state) or (kind and found.link.kind != kind):
            continue
        if skipped:
            skipped -= 1
        elif len(rows) < PER_PAGE:
            rows.append((ticket, found))
        else:
            more = True
            break
    return Listed(name, rows, state, kind, int(page), more)


def row(
    entry: Entry, form: Form | None, *, staff: bool, language: Language, package: str | None = None
) -> dict[str, Any]:
    """A link in words, in the reader's language: nothing that opens, nothing that it is stored under.

    Args:
        form: that it asks with, where it is known here.
        package: what the ticket says, as the forms call it.
        staff: whether for an agent, who also sees what was ticked.
    """
    link, progress = entry.link, entry.progress
    ended_by_operator = progress.has("ended-by-operator")
    kind = "order" if link.order else link.kind
    state = ANY_EVENT["ended-by-operator"] if ended_by_operator else STATES.get((link.kind, progress.state), "")
    return {
        "ref": link.ref,
        "kind": gettext(KINDS[kind]),
        "state": progress.state,
        "now": gettext(state),
        "expires_at": progress.expires_at or link.expires_at,
        "password": link.password,
        "form": one_line(form.title.of(language)) if form else link.form,
        "identity": wording.identity(link.identity, language) if link.identity else None,
        "events": [
            {"said": gettext(_event(link, event.word)), "at": event.at, "by": one_line(event.by)}
            for event in progress.events
        ],
        "told": _told(form, progress.facts, package, language) if staff and form else None,
        "revocable": staff and progress.state in ("waiting", "sealed", "locked"),
        "unlockable": staff and progress.state == "locked",
        "reported": progress.has("reported"),
    }


def _event(link: Link, word: str) -> str:
    kind = "order" if link.order and word == "created" else link.kind
    return EVENTS.get((kind, word)) or ANY_EVENT.get(word, word)


def _told(form: Form, facts: str | None, package: str | None, language: Language) -> dict[str, Any] | None:
    """What was said outside the sealed part, as the form calls it."""
    if facts is None:
        return None
    kept = msgspec.json.decode(facts)
    names = {name: kept[name] for name in Said.__struct_fields__ if name in kept}
    return form.told(msgspec.convert(names, Said), package, language)
