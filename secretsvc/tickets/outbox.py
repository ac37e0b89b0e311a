"""What is to be told of a ticket, where, and how far that has come: pure, on one value that is swapped whole.

A delivery is noted before it is tried and again when it is done.  One that was begun and not finished may have
arrived: it is looked for before it is tried again, once whoever was asked can no longer act on it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

MOST = 50  # events in one note


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Some events on their way to one place.

    Attributes:
        id: the place's and the first event's; the same from try to try.
        place: ``note``, ``hook:<name>``, ``mail:<person>``.
        events: their names.
        since: when it was put in, seconds since 1970.
        tries: how often it was begun.
        begun_at: when it was begun last and has not been finished, seconds since 1970; 0 for no such try.
        begun_by: by whom, so that no two take one try for their own.
        due_at: not before, seconds since 1970.
        looked: whether it was looked for since a try that was not finished, and not found.
        outcome: how it ended, or empty.
        ended_at: when, seconds since 1970.
    """

    id: str
    place: str
    events: tuple[str, ...]
    since: float = 0.0
    tries: int = 0
    begun_at: float = 0.0
    begun_by: str = ""
    due_at: float = 0.0
    looked: bool = False
    outcome: str = ""
    ended_at: float = 0.0


class Outbox(msgspec.Struct, frozen=True, omit_defaults=True):
    """All deliveries of a ticket, ended ones too: what is in here is never put in again."""

    deliveries: tuple[Delivery, ...] = ()

    def at(self, place: str) -> list[Delivery]:
        """Those to one place."""
        return [each for each in self.deliveries if each.place == place]

    @property
    def open(self) -> list[Delivery]:
        """Those that have not ended."""
        return [each for each in self.deliveries if not each.outcome]

    def find(self, id: str) -> Delivery | None:
        """The delivery of this id."""
        return next((each for each in self.deliveries if each.id == id), None)

    def put(self, place: str, events: Iterable[str], now: float) -> Outbox:
        """Add what is not in here yet, each event a delivery of its own."""
        added = [_delivery(place, (event,), now, now) for event in self._new(place, events)]
        return Outbox((*self.deliveries, *added)) if added else self

    def put_together(self, place: str, events: Iterable[str], now: float, *, apart: float) -> Outbox:
        """Add what is not in here yet as one delivery, ``apart`` seconds after the one before at the earliest.

        One that nobody has begun yet takes it along.
        """
        new = self._new(place, events)[:MOST]
        if not new:
            return self
        for each in self.at(place):
            if not each.outcome and not each.tries and len(each.events) < MOST:
                return self.replaced(msgspec.structs.replace(each, events=each.events + new))
        last = max((max(each.ended_at, each.begun_at) for each in self.at(place)), default=0.0)
        return Outbox((*self.deliveries, _delivery(place, new, now, max(now, last + apart))))

    def replaced(self, delivery: Delivery) -> Outbox:
        """With this delivery as it is now."""
        return Outbox(tuple(delivery if each.id == delivery.id else each for each in self.deliveries))

    def _new(self, place: str, events: Iterable[str]) -> tuple[str, ...]:
        known = {event for each in self.at(place) for event in each.events}
        return tuple(event for event in events if event not in known)


def begin(delivery: Delivery, now: float, by: str) -> Delivery:
    """It is being tried."""
    return msgspec.structs.replace(delivery, tries=delivery.tries + 1, begun_at=now, begun_by=by)


def finish(delivery: Delivery, outcome: str, now: float) -> Delivery:
    """It has ended, one way or another."""
    return msgspec.structs.replace(delivery, begun_at=0.0, begun_by="", outcome=outcome, ended_at=now)


def again(delivery: Delivery, due_at: float, *, unclear: bool = False, looked: bool = False) -> Delivery:
    """It is to be tried again; ``unclear`` where it may have arrived."""
    begun = delivery.begun_at if unclear else 0.0
    return msgspec.structs.replace(delivery, begun_at=begun, due_at=due_at, looked=looked)


def ready_at(delivery: Delivery, *, settles: float) -> float:
    """When it may be tried: a try that was begun and not finished must first have come to rest.

    Args:
        settles: seconds from a try's beginning until nothing can come of it any more.
    """
    if not delivery.begun_at:
        return delivery.due_at
    return max(delivery.due_at, delivery.begun_at + settles)


def _delivery(place: str, events: tuple[str, ...], now: float, due_at: float) -> Delivery:
    id = f"{events[0]}.{place.replace(':', '.')}"
    return Delivery(id=id, place=place, events=events, since=now, due_at=due_at)
