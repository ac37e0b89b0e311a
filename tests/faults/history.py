"""What a history of calls proves: each promise, checked against what clients saw and when."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from tests.faults.events import EVERY, Breach, Event, History, Judgement, hashed
from tests.faults.register import PROMISES, Register

__all__ = ["PROMISES", "Breach", "Event", "History", "Judgement", "hashed", "judge", "kept"]


def judge(history: History) -> Judgement:
    """Count what became of each secret, and find what must not be.

    Counted, each secret once: opened once, opened twice, revoked and opened, revoked, expired, ended by
    operator, rolled back (it was younger than the copy of the store that was put back), spent without a key
    (the answer to a claim without a key was lost), spent past the window (its key was not repeated in time),
    lost, unread, unsettled (it never got a clear answer), unacknowledged (nor did its create).  ``created`` is
    how many creates were acknowledged.
    """
    found = Judgement()
    acts = [event for event in history if event.client == "operator"]
    by_id: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(history, key=lambda event: event.began):
        if event.client != "operator":
            by_id[event.id].append(event)
            if event.status is None or event.status >= 400:
                found.counts[event.outcome] += 1
    for id, events in by_id.items():
        mine = [act for act in acts if act.id in (id, EVERY)]
        secret = Register(id, events, mine, history)
        found.broken += secret.breaches()
        found.counts["created"] += secret.acknowledged
        found.counts[secret.fate()] += 1
    return found


def kept(history: History, folder: Path, *, settled: bool = True) -> Judgement:
    """The judgement, if every promise was kept.

    Args:
        folder: where the history goes if not, so that it can be read afterwards.
        settled: whether every secret must have come to a clear end, too.
    """
    found = judge(history)
    open_ends = found.counts["unsettled"] + found.counts["unread"] if settled else 0
    if found.broken or open_ends:
        path = history.save(folder / "history.jsonl")
        raise AssertionError(f"{found}\nthe history is in {path}")
    return found
