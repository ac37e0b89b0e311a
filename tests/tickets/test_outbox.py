"""What is to be told: put in once, begun by one, and tried again only when the last try has come to rest."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from secretsvc.errors import DeskUnavailable
from secretsvc.tickets.couriers import Couriers
from secretsvc.tickets.model import Note, Reference
from secretsvc.tickets.notifier import Notifier
from secretsvc.tickets.outbox import Delivery, Outbox, again, begin, finish, ready_at
from secretsvc.tickets.rules import Facts

NOW = 1_800_000_000.0


def only(outbox: Outbox) -> Delivery:
    [found] = outbox.deliveries
    return found


def test_what_was_put_in_is_never_put_in_again() -> None:
    outbox = Outbox().put("hook:a", ["x.created"], NOW)
    done = outbox.replaced(finish(only(outbox), "done", NOW))
    assert done.put("hook:a", ["x.created"], NOW + 1) == done
    assert len(done.put("hook:b", ["x.created"], NOW + 1).deliveries) == 2


def test_events_of_a_ticket_go_into_one_note_until_it_is_begun() -> None:
    outbox = Outbox().put_together("note", ["x.created"], NOW, apart=20)
    outbox = outbox.put_together("note", ["x.created", "x.opened"], NOW + 1, apart=20)
    assert only(outbox).events == ("x.created", "x.opened")
    begun = outbox.replaced(begin(only(outbox), NOW + 2, "one"))
    after = begun.put_together("note", ["x.created", "x.opened", "y.created"], NOW + 3, apart=20)
    assert [each.events for each in after.deliveries] == [("x.created", "x.opened"), ("y.created",)]
    assert after.deliveries[1].due_at == NOW + 22


def test_a_try_that_nobody_finished_is_not_repeated_before_it_can_no_longer_arrive() -> None:
    begun = begin(Delivery(id="x", place="note", events=("x",)), NOW, "one")
    assert ready_at(begun, settles=60) == NOW + 60
    assert ready_at(again(begun, NOW + 10), settles=60) == NOW + 10
    assert ready_at(again(begun, NOW + 10, unclear=True), settles=60) == NOW + 60


class Slow:
    """A desk that breaks off, and does what it was asked 55 seconds later all the same."""

    notes = True
    settles = 60.0

    def __init__(self) -> None:
        self.now = NOW
        self.asked: list[float] = []

    def note(self, number: str, note: Note) -> None:
        self.asked.append(self.now)
        raise DeskUnavailable(unclear=True)

    def noted(self, number: str, marker: str) -> bool:
        return bool(self.asked) and self.now >= self.asked[0] + 55


class Alone:
    """As much of the ticket module as a notifier asks when something is due."""

    def __init__(self, desk: Slow) -> None:
        self.desks = {"slow": desk}
        self.store = None


def test_a_note_that_comes_late_is_waited_for_and_not_written_twice() -> None:
    """Without the waiting it would be looked for too early, not found, and written once more."""
    desk, ticket = Slow(), Reference("slow", "1")
    couriers = Couriers(
        cast(Any, {"slow": desk}),
        {"slow": "en"},
        cast(Any, None),
        {},
        first=1.0,
        clock=lambda: desk.now,
        marker=lambda name: name,
    )
    notifier = Notifier(cast(Any, Alone(desk)), couriers)
    delivery = only(Outbox().put_together("note", ["x.created"], NOW, apart=20))
    tried = []
    while not delivery.outcome:
        desk.now = max(desk.now, notifier._ready_at(ticket, delivery))
        tried.append(desk.now - NOW)
        look_first = bool(delivery.begun_at)
        begun = begin(delivery, desk.now, "one")
        delivery = couriers.carry(ticket, Facts(), begun, [], look_first=look_first, now=desk.now)
    assert desk.asked == [NOW]
    assert (delivery.outcome, tried) == ("found", [0, 60])


def test_what_was_not_found_at_once_is_looked_for_again_before_it_is_written_anew() -> None:
    """A desk that hung may be at it just now."""
    desk, ticket = Slow(), Reference("slow", "1")
    couriers = Couriers(
        cast(Any, {"slow": desk}),
        {"slow": "en"},
        cast(Any, None),
        {},
        clock=lambda: desk.now,
        marker=lambda name: name,
    )
    begun = begin(Delivery(id="x.created.note", place="note", events=("x.created",)), NOW, "one")
    after = couriers.carry(ticket, Facts(), begun, [], look_first=True, now=NOW)
    assert desk.asked == []
    assert (after.outcome, after.looked, after.due_at) == ("", True, NOW + 60)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.booleans(), st.booleans()), max_size=40))
def test_no_event_is_ever_in_two_deliveries_to_one_place(steps: list[tuple[str, int, bool, bool]]) -> None:
    outbox = Outbox()
    for number, (place, event, together, begun) in enumerate(steps):
        if together:
            outbox = outbox.put_together(place, [f"e{event}"], NOW + number, apart=3)
        else:
            outbox = outbox.put(place, [f"e{event}"], NOW + number)
        if begun and outbox.open:
            outbox = outbox.replaced(begin(outbox.open[0], NOW + number, "one"))
    for place in "ab":
        events = [event for each in outbox.at(place) for event in each.events]
        assert len(events) == len(set(events))
        wanted = {f"e{event}" for to, event, _, _ in steps if to == place}
        assert set(events) == wanted
    ids = [each.id for each in outbox.deliveries]
    assert len(ids) == len(set(ids))
