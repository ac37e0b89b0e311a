"""What was seen of one secret, and what that proves.

A secret's end is a register that is set once.  A call that was answered took effect between its beginning
and its answer; one that was not may have taken effect at any time after it began, or never.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from tests.faults.events import ENDED_BY_OPERATOR, ROLLED_BACK, Breach, Event, History

ONCE = "opened at most once"
LATE = "nothing after done, window or expiry"
SAME = "the same key gets the same bytes"
REVOKED = "revoked is never opened"
TRUTH = "the truth is told"
NOT_LOST = "nothing is lost"
NO_500 = "no 500"
KNOWN = "only answers that fit"
STRANGER = "a wrong token gets nothing"
PROMISES = (ONCE, LATE, SAME, REVOKED, TRUTH, NOT_LOST, NO_500, KNOWN, STRANGER)

ENDS = ("opened", "revoked", "expired", "ended-by-operator")
LIVE = ("sealed", "locked", "waiting")
ALIVE = ("conflict", "locked", "wrong-password", "record-missing", "record-damaged")  # said of no ended one
GONE = ("not-found", "record-missing", "record-damaged", "key-missing")
UNAVAILABLE = {(503, kind) for kind in (*GONE[1:], "store-unavailable", "ledger-unavailable", "busy")}
ENDED = {(410, end) for end in ENDS}
ABOUT_A_SECRET = {(404, "not-found"), *UNAVAILABLE}
FITS: dict[str, set[tuple[int, str]]] = {
    "create": {(201, ""), *UNAVAILABLE},
    "claim": {(200, ""), (423, "locked"), (429, "rate-limited"), *ENDED, *ABOUT_A_SECRET},
    "guess": {(403, "wrong-password"), (423, "locked"), (429, "rate-limited"), *ENDED, *ABOUT_A_SECRET},
    "done": {(204, ""), (409, "conflict"), *ENDED, *ABOUT_A_SECRET},
    "revoke": {(200, ""), *ENDED, *ABOUT_A_SECRET},
    "state": {(200, ""), *ABOUT_A_SECRET},
    "stranger": {(404, "not-found"), *UNAVAILABLE},
}
SLACK = 0.25  # seconds by which clocks may seem to differ


class Register:
    """All that was seen of one secret."""

    def __init__(self, id: str, events: list[Event], acts: list[Event], history: History) -> None:
        self.acts = [act for act in acts if act.call == ENDED_BY_OPERATOR]
        events = [self._by_whom(event) for event in events]
        self.id, self.events, self.history = id, events, history
        self.creates = [event for event in events if event.call == "create"]
        self.claims = [event for event in events if event.call == "claim"]
        self.openings = [event for event in self.claims if event.status == 200]
        self.told = [event for event in events if event.state in ENDS and event.call != "stranger"]
        acknowledged = [event for event in self.creates if event.status == 201]
        self.acknowledged = bool(acknowledged)
        self.since = min((event.ended for event in acknowledged), default=float("inf"))
        first = min((event.began for event in self.creates), default=float("inf"))
        self.rolled_back = any(
            act.call == ROLLED_BACK and self.since > act.began and first < act.ended for act in acts
        )
        self.envelope = next((event.digest for event in self.creates), "")
        expiries = [event.expires_at for event in events if event.expires_at is not None]
        self.expires_at = min(expiries, default=None)
        self.ended = min((event.ended for event in self.told), default=float("inf"))

    def breaches(self) -> Iterator[Breach]:
        """Everything that must not be."""
        yield from self._answers()
        yield from self._once()
        yield from self._late()
        yield from self._same()
        yield from self._ends()
        yield from self._times()
        yield from self._going_back()
        yield from self._gone()

    def fate(self) -> str:
        """What became of it, under the names of ``judge``."""
        ends = {event.state for event in self.told}
        last = [event for event in self.events if event.state or event.type in GONE][-1:]
        if self.openings:
            if len(self._openers()) > 1:
                return "opened twice"
            return "revoked and opened" if "revoked" in ends else "opened once"
        for end in ("revoked", "expired", "ended-by-operator"):
            if end in ends:
                return end.replace("-", " ")
        if "opened" in ends:
            return self._spent()
        if not self.acknowledged:
            return "unacknowledged"
        if not last:
            return "unsettled"
        if last[0].type in GONE:
            return "rolled back" if self.rolled_back else "lost"
        claimed = any(event.began > last[0].began for event in self.claims)
        return "unsettled" if claimed else "unread"

    # --- the promises ------------------------------------------------------------------------------

    def _answers(self) -> Iterator[Breach]:
        for event in self.events:
            if event.status is None:
                continue
            if event.status == 500:
                yield self._breach(NO_500, "an answer was 500", event)
            elif (event.status, event.type) not in FITS[event.call]:
                stranger = event.call == "stranger"
                yield self._breach(STRANGER if stranger else KNOWN, f"{event.call}: {event.outcome}", event)

    def _once(self) -> Iterator[Breach]:
        openers = self._openers()
        if len(openers) > 1:
            firsts = [events[0] for events in openers.values()]
            yield self._breach(ONCE, f"{len(openers)} claimants were given it", *firsts)

    def _late(self) -> Iterator[Breach]:
        for claimant, openings in self._openers().items():
            done = [event for event in self.events if event.call == "done" and event.claimant == claimant]
            closed = min((event.ended for event in done if event.status == 204), default=float("inf"))
            # The window starts at the opening, and anew at the first repeat.
            over = min(event.ended for event in openings) + 2 * self.history.window
            for event in openings:
                if event.began > closed:
                    yield self._breach(LATE, "given again after done", event)
                if event.began > over + SLACK:
                    yield self._breach(LATE, "given again after the window", event)
                if self.expires_at and self.history.wall(event.began) > self.expires_at + SLACK:
                    yield self._breach(LATE, "given after its expiry", event)

    def _same(self) -> Iterator[Breach]:
        for event in self.openings:
            if event.digest != self.envelope:
                yield self._breach(SAME, "other bytes than were sealed", event)
        for claimant, openings in self._openers().items():
            mine = [event for event in self.claims if event.claimant == claimant] or openings
            done = [event for event in self.events if event.call == "done" and event.claimant == claimant]
            closing = min((event.began for event in done), default=float("inf"))
            first = min(openings, key=lambda event: event.ended)
            over = min(event.began for event in mine) + self.history.window - SLACK
            if self.expires_at:
                over = min(over, self.expires_at - self.history.offset - SLACK)
            for event in mine:
                late = event.ended >= min(over, closing) or event.began < first.ended
                if event.type in ENDS and not late and not self.acts:
                    yield self._breach(SAME, "its opener was refused within the window", first, event)

    def _ends(self) -> Iterator[Breach]:
        firsts = {event.state: event for event in reversed(self.told)}
        ends = set(firsts)
        if self.acts:  # whether it had been opened may be forgotten with the node that knew
            ends -= {"ended-by-operator"}
        if len(ends) > 1:
            promise = REVOKED if self.openings and "revoked" in ends else TRUTH
            told = " and ".join(sorted(ends))
            yield self._breach(promise, f"it ended in two ways: {told}", *(firsts[end] for end in ends))
        for event in self.told:
            if not self._possible(event):
                yield self._breach(TRUTH, f"told {event.state}, which cannot be", event)
        for event in self.events:
            theirs = event.claimant in self._openers() and event.call == "done"
            if theirs and event.state in ENDS and event.status == 410 and not self.acts:
                yield self._breach(TRUTH, "its opener was told that somebody else ended it", event)
            if event.call == "done" and event.status == 204 and not self._may_be_won_by(event.claimant):
                yield self._breach(TRUTH, "done by one who cannot have opened it", event)

    def _times(self) -> Iterator[Breach]:
        for end in ENDS:
            told = [event for event in self.told if event.state == end and event.ended_at is not None]
            times = {event.ended_at for event in told}
            if len(times) > 1:
                changed = next(event for event in told if event.ended_at != told[0].ended_at)
                yield self._breach(TRUTH, f"it was {end} at two times", told[0], changed)
            first, last = self._bounds(end)
            for event in told:
                if not int(first - SLACK) <= (event.ended_at or 0) <= last + SLACK:
                    said = f"{end} at {event.ended_at}, possible is {first:.2f} to {last:.2f}"
                    yield self._breach(TRUTH, said, event)
                    break

    def _going_back(self) -> Iterator[Breach]:
        ending = min(self.told, key=lambda event: event.ended, default=None)
        for event in self.events:
            if not ending or event.began <= ending.ended or event.call == "stranger":
                continue
            alive = event.state in LIVE or event.type in ALIVE
            if alive and not (self.rolled_back and event.call == "create"):
                yield self._breach(TRUTH, "after its end it was told as alive", ending, event)

    def _gone(self) -> Iterator[Breach]:
        for event in self.events:
            unknown = event.type == "not-found" and event.call not in ("stranger", "create")
            if unknown and event.began > self.since and not self.rolled_back:
                yield self._breach(NOT_LOST, "it was created, and is not known", event)
                break
        if self.fate() == "lost":
            unclear = [event for event in self.claims if self._may_open(event)]
            yield self._breach(NOT_LOST, "nobody got it", *unclear, *self.events[-1:])

    # --- what can have happened --------------------------------------------------------------------

    def _by_whom(self, event: Event) -> Event:
        """The answer to a create calls it revoked, whoever did that."""
        ended = any(act.began < event.ended for act in self.acts)
        if event.call == "create" and event.state == "revoked" and ended:
            return replace(event, state="ended-by-operator")
        return event

    def _openers(self) -> dict[str, list[Event]]:
        """Who was given it; without a key every call is somebody else."""
        openers: dict[str, list[Event]] = defaultdict(list)
        for n, event in enumerate(self.openings):
            openers[event.claimant or f"without a key {n}"].append(event)
        return openers

    def _may_open(self, event: Event) -> bool:
        """Whether this claim may have taken effect."""
        unheard = event.type == "opened" and event.ended - event.began >= self.history.window
        return event.call == "claim" and (event.status == 200 or unheard or _unclear(event))

    def _may_be_won_by(self, claimant: str) -> bool:
        return any(self._may_open(event) for event in self.claims if event.claimant == claimant)

    def _possible(self, told: Event) -> bool:
        """Whether something that began before it was told can have ended it so."""
        before = [event for event in self.events if event.began < told.ended]
        if told.state == "opened":
            return any(self._may_open(event) for event in before)
        if told.state == "revoked":
            return any(_may_revoke(event) for event in before)
        if told.state == "expired":
            now = self.history.wall(told.ended)
            return self.expires_at is None or now >= self.expires_at - SLACK
        return any(act.began < told.ended for act in self.acts)

    def _bounds(self, end: str) -> tuple[float, float]:
        """Between which times, in seconds since 1970, this end can have been decided."""
        if end == "expired":
            return (self.expires_at or 0.0), (self.expires_at or float("inf"))
        can = [event for event in self.events if self._may_open(event)]
        if end == "revoked":
            can = [event for event in self.events if _may_revoke(event)]
        if end == "opened" and len(openers := self._openers()) == 1:
            [(claimant, openings)] = openers.items()
            can = [event for event in can if event.claimant == claimant] or openings
        if end == "ended-by-operator":
            can = self.acts
        first = min((event.began for event in can), default=float("-inf"))
        last = min((event.ended for event in self.told if event.state == end), default=float("inf"))
        return self.history.wall(max(first, -1e12)), self.history.wall(last)

    def _spent(self) -> str:
        """Told as opened, and nobody has it: whom that is owed to."""
        if self.acts:
            return "ended by operator"
        unclear = [event for event in self.claims if self._may_open(event)]
        if any(not event.claimant for event in unclear):
            return "spent without a key"
        late = False
        for claimant in {event.claimant for event in unclear}:
            clear = [e for e in self.claims if e.claimant == claimant and e.status and not _unclear(e)]
            heard = [event for event in clear if event.type in ENDS]
            if not heard:
                return "unsettled"
            decided = min((event.ended_at for event in self.told if event.ended_at), default=0)
            late |= self.history.wall(heard[0].ended) > decided + self.history.window
        return "spent past the window" if late else "lost"

    def _breach(self, promise: str, sentence: str, *events: Event) -> Breach:
        return Breach(promise, self.id, events, sentence)


def _unclear(event: Event) -> bool:
    """Whether nobody can say, from this answer, if it took effect.

    A claim that may have been decided must know its key: an answer that names none has used nothing up.
    """
    if event.type == "ledger-unavailable":
        return event.call != "claim" or bool(event.claimant)
    return event.status is None or (event.status >= 500 and not event.type)


def _may_revoke(event: Event) -> bool:
    return event.call == "revoke" and (event.status == 200 or _unclear(event))
