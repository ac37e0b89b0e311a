"""The checker checked: it finds every broken promise, and accuses nobody who kept them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.faults import register as names
from tests.faults.events import ENDED_BY_OPERATOR, ROLLED_BACK
from tests.faults.history import PROMISES, Event, History, judge
from tests.faults.model import simulated

Row = tuple[Any, ...]
BYTES, OTHER = "b" * 24, "c" * 24
WINDOW = 60.0
STATE: dict[str, dict[int, str]] = {
    "create": {201: "sealed"},
    "claim": {200: "opened"},
    "done": {204: "opened"},
}
CREATED: Row = ("create", 10, 11, 201)


def seen(*rows: Row) -> History:
    """A history of one secret, on a clock that counts from 1970.

    A row is call, began, ended, status, and then any of: a problem type, a state, ``k…`` for a key, a number
    for when it ended, bytes.
    """
    return History((event(*row) for row in rows), window=WINDOW, offset=0.0)


def event(call: str, began: float, ended: float, status: int | None = None, *more: Any) -> Event:
    client = "operator" if call in (ROLLED_BACK, ENDED_BY_OPERATOR) else f"client {began}"
    said: dict[str, Any] = {"state": STATE.get(call, {}).get(status or 0, "")}
    if call == "create" or (call, status) == ("claim", 200):
        said["digest"] = BYTES
    if (call, status) == ("create", 201):
        said["expires_at"] = 3610
    for word in more:
        if isinstance(word, int):
            said["ended_at"] = word
        elif word in (BYTES, OTHER):
            said["digest"] = word
        elif word.startswith("k"):
            said["claimant"] = word
        elif (status or 0) >= 400:
            said["type"] = word
            said["state"] = word if status == 410 else said["state"]
        else:
            said["state"] = word
    return Event(client, "*" if client == "operator" else "s", call, began, ended, status, **said)


def opened_at(moment: int) -> Row:
    return ("state", 50, 51, 200, "opened", moment)


OPENED: Row = ("claim", 20, 21, 200, "k1")
SLOW: Row = ("claim", 20, 25, 200, "k1")
SLOW_REPEAT: Row = ("claim", 40, 41, 200, "k1")
LOST_ANSWER: Row = ("claim", 20, 21, None, "k1")
REVOKED: Row = ("revoke", 20, 21, 200, "revoked", 20)
BROKEN: dict[str, tuple[str, tuple[Row, ...]]] = {
    "two keys": (names.ONCE, (CREATED, OPENED, ("claim", 20, 22, 200, "k2"))),
    "with a key and without": (names.ONCE, (CREATED, OPENED, ("claim", 30, 31, 200))),
    "twice without a key": (names.ONCE, (CREATED, ("claim", 20, 21, 200), ("claim", 20, 21, 200))),
    "the key that was named, and the next": (
        names.ONCE,
        (CREATED, ("claim", 20, 21, 503, "ledger-unavailable", "k1"), OPENED, ("claim", 30, 31, 200, "k2")),
    ),
    "after done": (names.LATE, (CREATED, OPENED, ("done", 22, 23, 204, "k1"), ("claim", 24, 25, 200, "k1"))),
    "after the window": (names.LATE, (CREATED, OPENED, ("claim", 142, 143, 200, "k1"))),
    "after its expiry": (names.LATE, (CREATED, ("claim", 3611, 3612, 200, "k1"))),
    "the repeat has other bytes": (names.SAME, (CREATED, OPENED, ("claim", 30, 31, 200, "k1", OTHER))),
    "other bytes than were sealed": (names.SAME, (CREATED, ("claim", 20, 21, 200, "k1", OTHER))),
    "the repeat is refused": (names.SAME, (CREATED, OPENED, ("claim", 30, 31, 410, "opened", "k1", 20))),
    "revoked, then opened": (names.REVOKED, (CREATED, REVOKED, ("claim", 30, 31, 200, "k1"))),
    "opened, then revoked": (names.REVOKED, (CREATED, OPENED, ("revoke", 30, 31, 200, "revoked", 30))),
    "opened and revoked at once": (names.REVOKED, (CREATED, ("claim", 19, 22, 200, "k1"), REVOKED)),
    "told revoked, then opened": (
        names.REVOKED,
        (CREATED, ("revoke", 15, 16), ("state", 20, 21, 200, "revoked", 15), ("claim", 30, 31, 200)),
    ),
    "told opened, nobody claimed": (names.TRUTH, (CREATED, ("state", 20, 21, 200, "opened", 20))),
    "told opened before any claim": (
        names.TRUTH,
        (CREATED, ("state", 15, 16, 200, "opened", 15), ("claim", 20, 21, 200, "k1")),
    ),
    "told opened, the claim was clearly refused": (
        names.TRUTH,
        (CREATED, ("claim", 15, 16, 503, "store-unavailable", "k1"), ("state", 20, 21, 200, "opened", 20)),
    ),
    "told revoked, nobody revoked": (names.TRUTH, (CREATED, ("claim", 20, 21, 410, "revoked", 20))),
    "told expired before its time": (names.TRUTH, (CREATED, ("claim", 20, 21, 410, "expired", 3610))),
    "told that the operator ended it": (
        names.TRUTH,
        (CREATED, ("state", 20, 21, 200, "ended-by-operator", 20)),
    ),
    "opened and expired": (names.TRUTH, (CREATED, OPENED, ("state", 4000, 4001, 200, "expired", 3610))),
    "ended before it was claimed": (names.TRUTH, (CREATED, OPENED, ("state", 30, 31, 200, "opened", 18))),
    "ended after it was told": (names.TRUTH, (CREATED, OPENED, ("state", 30, 31, 200, "opened", 22))),
    "ended at two times": (names.TRUTH, (CREATED, SLOW, opened_at(21), opened_at(22))),
    "sealed after its opening": (names.TRUTH, (CREATED, OPENED, ("state", 22, 23, 200, "sealed"))),
    "locked after its revoke": (names.TRUTH, (CREATED, REVOKED, ("claim", 22, 23, 423, "locked", "k1"))),
    "sealed after it was told as opened": (
        names.TRUTH,
        (CREATED, LOST_ANSWER, ("state", 30, 31, 200, "opened", 20), ("state", 32, 33, 200, "sealed")),
    ),
    "not claimed, says done": (names.TRUTH, (CREATED, OPENED, ("done", 22, 23, 409, "conflict", "k1"))),
    "done by a stranger": (names.TRUTH, (CREATED, OPENED, ("done", 22, 23, 204, "k2"))),
    "done refused to its opener": (names.TRUTH, (CREATED, OPENED, ("done", 22, 23, 410, "opened", "k1", 20))),
    "a missing record is no end": (names.TRUTH, (CREATED, OPENED, ("state", 22, 23, 503, "record-missing"))),
    "nobody got it": (names.NOT_LOST, (CREATED, LOST_ANSWER, ("claim", 22, 23, 410, "opened", "k1", 20))),
    "nobody was told the key of an unclear claim": (
        names.NOT_LOST,
        (CREATED, ("claim", 20, 21, 503, "ledger-unavailable"), ("claim", 22, 23, 410, "opened", "k1", 20)),
    ),
    "nobody even claimed it": (names.NOT_LOST, (CREATED, ("claim", 22, 23, 410, "opened", "k1", 20))),
    "it is not known": (names.NOT_LOST, (CREATED, ("claim", 22, 23, 404, "not-found", "k1"))),
    "its record is missing": (names.NOT_LOST, (CREATED, ("claim", 22, 23, 503, "record-missing", "k1"))),
    "created before the copy, and not known": (
        names.NOT_LOST,
        (CREATED, (ROLLED_BACK, 12, 13), ("claim", 22, 23, 404, "not-found", "k1")),
    ),
    "a bug": (names.NO_500, (CREATED, ("state", 20, 21, 500, "internal-error"), OPENED)),
    "an error nobody knows": (names.KNOWN, (CREATED, ("state", 20, 21, 503, "oops"), OPENED)),
    "a status that does not fit its type": (names.KNOWN, (CREATED, ("state", 20, 21, 404, "opened"), OPENED)),
    "a right password is refused": (names.KNOWN, (CREATED, ("claim", 20, 21, 403, "wrong-password", "k1"))),
    "a create is refused to its repeat": (names.KNOWN, (CREATED, ("create", 12, 13, 409, "conflict"), OPENED)),
    "a stranger is given it": (names.STRANGER, (CREATED, ("stranger", 20, 21, 200))),
    "a stranger hears how it ended": (names.STRANGER, (CREATED, OPENED, ("stranger", 22, 23, 410, "opened"))),
}
FINE: dict[str, tuple[str, tuple[Row, ...]]] = {
    "opened": ("opened once", (CREATED, OPENED)),
    "given again": ("opened once", (CREATED, OPENED, ("claim", 30, 31, 200, "k1"))),
    "given again before done was heard": (
        "opened once",
        (CREATED, OPENED, ("done", 22, 25, 204, "k1"), ("claim", 24, 25, 200, "k1")),
    ),
    "given again in the window of its repeat": (
        "opened once",
        (CREATED, OPENED, ("claim", 79, 80, 200, "k1"), ("claim", 139, 140, 200, "k1")),
    ),
    "refused after the window": (
        "opened once",
        (CREATED, OPENED, ("claim", 81, 82, 410, "opened", "k1", 20), ("done", 90, 91, 204, "k1")),
    ),
    "refused after done": (
        "opened once",
        (CREATED, OPENED, ("done", 22, 23, None, "k1"), ("claim", 24, 25, 410, "opened", "k1", 20)),
    ),
    "given while another is refused": (
        "opened once",
        (CREATED, ("claim", 19, 25, 200, "k1"), ("claim", 20, 21, 410, "opened", "k2", 19)),
    ),
    "an old answer comes late": (
        "opened once",
        (CREATED, ("claim", 20, 25, 200, "k1"), ("state", 18, 26, 200, "sealed")),
    ),
    "a lost answer, and its repeat": ("opened once", (CREATED, LOST_ANSWER, ("claim", 30, 31, 200, "k1"))),
    "a lost answer that took effect late": (
        "opened once",
        (CREATED, LOST_ANSWER, ("state", 25, 26, 200, "sealed"), SLOW_REPEAT, opened_at(30)),
    ),
    "unclear, and its key was named": (
        "opened once",
        (CREATED, ("claim", 20, 21, 503, "ledger-unavailable", "k1"), ("claim", 30, 31, 200, "k1")),
    ),
    "revoked": ("revoked", (CREATED, REVOKED, ("claim", 30, 31, 410, "revoked", "k1", 20))),
    "revoked while it was claimed": (
        "revoked",
        (CREATED, ("claim", 19, 25, 410, "revoked", "k1", 20), REVOKED),
    ),
    "a revoke of what was opened": ("opened once", (CREATED, OPENED, ("revoke", 30, 31, 410, "opened", 20))),
    "a revoke without an answer": (
        "revoked",
        (CREATED, ("revoke", 20, 21), ("state", 30, 31, 200, "sealed"), ("state", 40, 41, 200, "revoked", 35)),
    ),
    "a revoke that never took effect": ("opened once", (CREATED, ("revoke", 15, 16), OPENED)),
    "expired": ("expired", (CREATED, ("claim", 3610, 3611, 410, "expired", 3610, "k1"))),
    "spent without a key": (
        "spent without a key",
        (CREATED, ("claim", 20, 21), ("claim", 30, 31, 410, "opened", 20, "k1")),
    ),
    "its key was repeated too late": (
        "spent past the window",
        (CREATED, LOST_ANSWER, ("claim", 82, 83, 410, "opened", "k1", 20)),
    ),
    "its key was never repeated": ("unsettled", (CREATED, LOST_ANSWER, ("state", 30, 31, 200, "opened", 20))),
    "never answered": ("unsettled", (CREATED, ("claim", 20, 21, 503, "store-unavailable", "k1"))),
    "never claimed": ("unread", (CREATED, ("state", 20, 21, 200, "sealed"))),
    "created at the second try": ("opened once", (("create", 5, 6), CREATED, OPENED)),
    "never created": ("unacknowledged", (("create", 5, 6), ("state", 7, 8, 404, "not-found"))),
    "younger than the copy": (
        "rolled back",
        (CREATED, (ROLLED_BACK, 9, 15), ("claim", 22, 23, 404, "not-found", "k1")),
    ),
    "ended by the operator": (
        "ended by operator",
        (CREATED, (ENDED_BY_OPERATOR, 20, 21), ("state", 30, 31, 200, "ended-by-operator", 20)),
    ),
    "created while the operator ended it": (
        "ended by operator",
        (("create", 10, 13, 201, "revoked"), (ENDED_BY_OPERATOR, 11, 12)),
    ),
    "opened, and its ledger lost": (
        "opened once",
        (CREATED, OPENED, (ENDED_BY_OPERATOR, 30, 31), ("state", 40, 41, 200, "ended-by-operator", 30)),
    ),
    "a stranger is refused": ("opened once", (CREATED, ("stranger", 20, 21, 404, "not-found"), OPENED)),
}


def test_each_promise_has_a_history_that_breaks_it() -> None:
    assert {promise for promise, _ in BROKEN.values()} == set(PROMISES)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_found(name: str) -> None:
    promise, rows = BROKEN[name]
    found = judge(seen(*rows))
    assert promise in found.promises, found


@pytest.mark.parametrize("name", FINE)
def test_a_kept_promise_is_not_accused(name: str) -> None:
    fate, rows = FINE[name]
    found = judge(seen(*rows))
    assert found.broken == []
    assert found.counts[fate] == 1


def test_a_history_can_be_read_afterwards(tmp_path: Path) -> None:
    kept = seen(CREATED, OPENED, ("claim", 30, 31, None, "k2"))
    read = History.load(kept.save(tmp_path / "history"))
    assert list(read) == list(kept)
    assert (read.window, read.offset) == (kept.window, kept.offset)


# --- random histories ----------------------------------------------------------------------------------

MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
SEEDS = st.integers(0, 2**32)


@MANY
@given(SEEDS)
def test_a_correct_service_is_never_accused(seed: int) -> None:
    found = judge(simulated(Random(seed)))
    assert found.broken == []
    assert found.counts["lost"] == found.counts["unsettled"] == 0


Change = Callable[[list[Event], int], Event | None]


def second_opener(events: list[Event], n: int) -> Event | None:
    """A claimant who was refused is given it, after another one was."""
    if events[n].call == "claim" and events[n].type == "opened" and given_before(events, n):
        return replace(events[n], status=200, type="", state="opened", digest=sealed(events, n), ended_at=None)
    return None


def lost_revoke(events: list[Event], n: int) -> Event | None:
    """What was acknowledged as revoked is given out."""
    if events[n].call == "claim" and events[n].type == "revoked" and told(events, n, "revoke", "revoked"):
        return replace(events[n], status=200, type="", state="opened", digest=sealed(events, n), ended_at=None)
    return None


def going_back(events: list[Event], n: int) -> Event | None:
    """What was told as ended is sealed again."""
    ended = any(e.state in names.ENDS and e.ended < events[n].began for e in same(events, n))
    if events[n].call == "state" and events[n].state in names.ENDS and ended:
        return replace(events[n], state="sealed", ended_at=None)
    return None


def vanishing(events: list[Event], n: int) -> Event | None:
    """What was created is not known."""
    if events[n].call in ("claim", "state") and events[n].status is not None and created(events, n):
        return replace(events[n], status=404, type="not-found", state="", digest="", ended_at=None)
    return None


def other_bytes(events: list[Event], n: int) -> Event | None:
    """Other bytes than were sealed."""
    return replace(events[n], digest=OTHER) if (events[n].call, events[n].status) == ("claim", 200) else None


def moving_end(events: list[Event], n: int) -> Event | None:
    """It ended two hours earlier."""
    at = events[n].ended_at
    return replace(events[n], ended_at=at - 7200) if at else None


def swallowed(events: list[Event], n: int) -> Event | None:
    """The only one who was given it is told that it was opened before."""
    mine = same(events, n)
    others = [e for e in mine if e.call == "claim" and (e.status is None or e.type == "ledger-unavailable")]
    alone = sum(e.status == 200 and e.call == "claim" for e in mine) == 1
    if (events[n].call, events[n].status) == ("claim", 200) and alone and not others:
        return replace(events[n], status=410, type="opened", digest="")
    return None


def false_opening(events: list[Event], n: int) -> Event | None:
    """Told as opened, where it was revoked."""
    if events[n].call == "state" and events[n].state == "revoked":
        return replace(events[n], state="opened")
    return None


def refused_repeat(events: list[Event], n: int) -> Event | None:
    """A repeat within the window is refused."""
    e = events[n]
    mine = [o for o in same(events, n) if o.claimant == e.claimant and o.began < e.ended]
    given = any(o.status == 200 and o.call == "claim" and o.ended < e.began for o in mine)
    done = any(o.call == "done" for o in mine)
    quick = given and not done and e.ended < min(o.began for o in mine) + WINDOW - 5
    if (e.call, e.status) == ("claim", 200) and e.claimant and quick:
        return replace(e, status=410, type="opened", digest="", ended_at=None)
    return None


def heard_stranger(events: list[Event], n: int) -> Event | None:
    """A wrong token is told how it stands."""
    return replace(events[n], status=200, type="", state="sealed") if events[n].call == "stranger" else None


def fault_of_ours(events: list[Event], n: int) -> Event | None:
    """A 500."""
    return replace(events[n], status=500, type="internal-error") if events[n].status is not None else None


def same(events: list[Event], n: int) -> list[Event]:
    return [event for event in events if event.id == events[n].id]


def sealed(events: list[Event], n: int) -> str:
    return next(event.digest for event in same(events, n) if event.call == "create")


def created(events: list[Event], n: int) -> bool:
    return any(e.call == "create" and e.status == 201 and e.ended < events[n].began for e in same(events, n))


def given_before(events: list[Event], n: int) -> bool:
    return any(
        e.call == "claim" and e.status == 200 and e.claimant != events[n].claimant for e in same(events, n)
    )


def told(events: list[Event], n: int, call: str, state: str) -> bool:
    return any(e.call == call and e.state == state for e in same(events, n))


CHANGES: dict[Change, str] = {
    second_opener: names.ONCE,
    lost_revoke: names.REVOKED,
    going_back: names.TRUTH,
    vanishing: names.NOT_LOST,
    other_bytes: names.SAME,
    moving_end: names.TRUTH,
    swallowed: names.NOT_LOST,
    false_opening: names.TRUTH,
    refused_repeat: names.SAME,
    heard_stranger: names.STRANGER,
    fault_of_ours: names.NO_500,
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@MANY
@given(SEEDS, st.randoms(use_true_random=False))
def test_one_false_answer_in_a_long_history_is_found(change: Change, seed: int, random: Random) -> None:
    history = simulated(Random(seed))
    events = list(history)
    changed = [(n, new) for n in range(len(events)) if (new := change(events, n))]
    assume(changed)
    n, new = random.choice(changed)
    events[n] = new
    found = judge(History(events, window=history.window, offset=history.offset))
    assert CHANGES[change] in found.promises, f"{history}\n{new}\n{found}"
