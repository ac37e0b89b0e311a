"""From receipts to events: found, not seen coming, under the same names for every finder."""

from __future__ import annotations

import msgspec
import pytest

from secretsvc.model import View
from secretsvc.tickets.links import Link, Progress
from secretsvc.tickets.trail import UNBORN, Seen, advance, event_type

NOW = 1_800_000_000
LINK = Link(ref="7KQ2M9", id="x", kind="secret", created_at=NOW, expires_at=NOW + 3600, by="Eve")
ASKED = msgspec.structs.replace(LINK, kind="request")


def view(state: str, **more: object) -> View:
    values = {"kind": "secret", "password": False, "size": 1, "created_at": NOW, "expires_at": NOW + 3600}
    return View(id=b"", state=state, sealed_by="client", **(values | more))  # type: ignore[arg-type]


def words(progress: Progress) -> list[str]:
    return [event.id.removeprefix("7KQ2M9.") for event in progress.events]


def walk(link: Link, *seen: Seen) -> Progress:
    known = Progress()
    for number, each in enumerate(seen, 1):
        known = advance(link, known, each, NOW + number)
    return known


@pytest.mark.parametrize(
    ("state", "word", "over"),
    [
        ("opened", "opened", False),
        ("revoked", "revoked", True),
        ("expired", "expired", True),
    ],
)
def test_an_end_is_found_once_with_its_own_time(state: str, word: str, over: bool) -> None:
    known = walk(LINK, Seen(view("sealed")), Seen(view(state, ended_at=NOW + 50)))
    again = advance(LINK, known, Seen(view(state, ended_at=NOW + 50)), NOW + 999)
    assert words(known) == ["created", word]
    assert (known.events[1].at, known.over, again) == (NOW + 50, over, known)


def test_what_nobody_saw_coming_is_told_whole() -> None:
    """A request that was asked, answered and collected between two looks."""
    seen = Seen(view("opened", ended_at=NOW + 50, collected_by="Eve"), '{"consents":[]}', NOW + 20)
    known = walk(ASKED, seen)
    assert [(event.word, event.at, event.by) for event in known.events] == [
        ("created", NOW, "Eve"),
        ("submitted", NOW + 20, ""),
        ("collected", NOW + 50, "Eve"),
    ]


def test_an_order_of_the_operator_is_not_told_as_the_senders() -> None:
    known = walk(LINK, Seen(view("revoked", ended_at=NOW, by_operator=True)))
    assert words(known) == ["created", "ended-by-operator"]


def test_every_lock_is_told_and_each_once() -> None:
    locked, sealed = Seen(view("locked")), Seen(view("sealed"))
    assert words(walk(LINK, locked, locked, sealed, locked)) == ["created", "locked", "locked.2"]


def test_a_report_is_told_and_is_the_last() -> None:
    known = walk(
        LINK,
        Seen(view("opened", ended_at=NOW + 5)),
        Seen(view("opened", ended_at=NOW + 5, reported_at=NOW + 9)),
    )
    assert words(known) == ["created", "opened", "reported"]
    assert known.over


def test_a_link_whose_creator_died_is_never_told() -> None:
    young = advance(LINK, Progress(), Seen(None), NOW + UNBORN - 1)
    old = advance(LINK, Progress(), Seen(None), NOW + UNBORN)
    assert (young.over, young.events) == (False, ())
    assert (old.over, old.events, old.state) == (True, (), "forgotten")


def test_what_was_told_stays_when_the_receipt_is_gone() -> None:
    known = walk(LINK, Seen(view("opened", ended_at=NOW + 5)), Seen(None))
    assert (words(known), known.over) == (["created", "opened"], True)


def test_every_event_has_a_type_of_its_own_in_webhooks() -> None:
    known = walk(
        ASKED, Seen(view("opened", ended_at=NOW + 5), "{}"), Seen(view("opened", reported_at=NOW + 9), "{}")
    )
    assert [event_type(ASKED, event) for event in known.events] == [
        "request.created",
        "request.submitted",
        "request.collected",
        "link.reported",
    ]
