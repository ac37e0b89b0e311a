"""What waits to be told, and what was: read from the store, so that any process can say how the notifier does.

The notifier may be a process of its own, or dead; what it leaves undone is seen all the same.  Few and small
reads, whatever has piled up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .store import ASKED, DUE, NOTIFIER, OPEN, TOLD, TicketStore


@dataclass(frozen=True)
class Backlog:
    """How the notifier is doing.

    Attributes:
        at_work: whether one is at work.
        waiting: how many tickets wait, by for what: a ``look`` that is due, or to be ``told`` at last.
        oldest: for how many seconds the first of them has; 0 for none.
        deliveries: how many there were, by desk, kind of place (``note``, ``hook``, ``mail``), and outcome.
    """

    at_work: bool
    waiting: Mapping[str, int]
    oldest: Mapping[str, float]
    deliveries: Mapping[tuple[str, str, str], int]


def look(store: TicketStore) -> Backlog:
    """What waits just now.

    Raises:
        StoreUnavailable: it cannot be told.
    """
    command, now = store.node.command, store.node.time()
    looks = int(command("ZCOUNT", DUE, "-inf", f"{now:.3f}"))
    told = int(command("ZCARD", OPEN))
    return Backlog(
        bool(command("EXISTS", NOTIFIER)),
        {"look": looks, "told": told},
        {"look": _age(_first(store, DUE), now), "told": _age(_first(store, OPEN), now)},
        {_labels(name): int(number) for name, number in command("HGETALL", TOLD).items()},
    )


def _first(store: TicketStore, key: str) -> float | None:
    """The first time in a list of tickets by time; one that was asked for at once, by when it was asked for."""
    found = store.node.command("ZRANGE", key, 0, 0, "WITHSCORES")
    if not found:
        return None
    at = float(found[1])
    return at + ASKED if at < 0 else at


def _age(since: float | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, now - since)


def _labels(name: bytes) -> tuple[str, str, str]:
    desk, place, outcome = name.decode().split(" ", 2)
    return desk, place, outcome
