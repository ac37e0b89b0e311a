"""The promises that the model of the claim is held to, and a search through all that can happen to it.

The search goes breadth first, so what it tells is one of the shortest stories.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass, field

from tests.faults.protocol import DIED, FOREVER, TOO_SLOW, UNHEARD, Call, Model, State, stored

PROMISES = {
    "once": "the bytes go out to one claimant only",
    "final": "what somebody was told is revoked was not and will not be opened",
    "truth": "whoever is told how it stands is told what the ledger has decided",
    "kept": "what nobody has can still be had, but for named losses; in its window no winner is refused",
    "closed": "no call that begins after done, after expiry or two windows after the end gets the bytes",
    "gone": "after the end the record's life is bounded, or whoever looks next bounds it",
}
# Where nothing fails or takes long, more is promised: the window begins anew, once, with the winner's first
# repeat.
WHERE_NOTHING_FAILS = (*PROMISES, "anew")
# With a key it is lost to whoever gets no answer within a whole window after the end; never sooner.
TIME = "key: window or expiry ran out before an answer arrived"
LOSSES = {DIED, UNHEARD, TOO_SLOW, TIME}
UNNAMED = "a loss that we do not name"


@dataclass
class Found:
    """What a search has found.

    Attributes:
        states, moves: how many there are, up to there.
        broken: the promise that the nearest bad state breaks, or nothing.
        story: a shortest way there, one move a line.
        losses: in how many quiet states nobody has it nor can get it, for each reason.
        words: what is answered.
    """

    states: int = 0
    moves: int = 0
    broken: str = ""
    story: list[str] = field(default_factory=list)
    losses: Counter[str] = field(default_factory=Counter)
    words: set[str] = field(default_factory=set)


def search(model: Model, promises: Collection[str] = tuple(PROMISES)) -> Found:
    """Go through everything that can happen, up to the first state that breaks one of the promises."""
    start, found = model.start(), Found()
    came: dict[State, tuple[State, str] | None] = {start: None}
    todo = deque([start])
    while todo:
        now = todo.popleft()
        found.states += 1
        found.broken = next((promise for promise in promises if breaks(model, now, promise)), "")
        if found.broken:
            found.story = story(came, now)
            break
        found.words.update(call.word for call in now.calls if call.step == "answer")
        if why := loss(model, now):
            found.losses[why] += 1
        for line, after in model.moves(now):
            found.moves += 1
            if after not in came:
                came[after] = now, line
                todo.append(after)
    return found


def story(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    """How one gets to this state."""
    lines = []
    while before := came[state]:
        state, line = before
        lines.append(line)
    return lines[::-1]


def breaks(model: Model, now: State, promise: str) -> bool:
    """Whether this state breaks the promise."""
    if promise == "once":
        return len(now.given) > 1
    if promise == "final":
        return "revoked" in now.told and bool(now.given)
    if promise == "truth":
        false = now.told & {"opened", "revoked"} - {now.first}
        return bool(false) or ("expired" in now.told and now.first != "") or "sealed too late" in now.told
    if promise == "kept":
        return "refused in its window" in now.told or loss(model, now) == UNNAMED
    if promise == "anew":
        return "refused in its window anew" in now.told
    if promise == "closed":
        return "bytes too late" in now.told
    if not now.quiet or now.entry is None or now.store.record != FOREVER:
        return False
    return undisturbed(model, now, Call("", "state", "", keyed=False)).store.record == FOREVER


def loss(model: Model, now: State) -> str:
    """Why nobody has it nor can get it, once all is quiet; empty where somebody has or can, or should not."""
    entry = now.entry
    if not now.quiet or any(person.has for person in now.people):
        return ""
    if now.first == "revoked" or (now.expired and not now.first):
        return ""
    keys = {person.key for person in now.people if person.key}
    if entry is None or entry.claimant in keys:
        again = Call("", "open", entry.claimant if entry else "anybody", keyed=True)
        if undisturbed(model, now, again).calls[0].word == "bytes":
            return ""
        return TIME if entry and (now.age > 1 or now.expired) else UNNAMED
    return next((why for claimant, why in now.unheard if claimant == entry.claimant), UNNAMED)


def undisturbed(model: Model, now: State, call: Call) -> State:
    """Where a call gets to, all reserved tries having run out, just before its answer."""
    now = stored(now, pending=0)._replace(calls=(call,))
    while now.calls[0].step != "answer":
        now = model.step(now, now.calls[0])
    return now
