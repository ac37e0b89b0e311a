"""The claim as a small model: what the steps do, and everything that can happen between them.

One secret; a few people; calls of theirs that app servers work on; a store, a ledger, a clock.  ``Model.moves``
says what can happen next; ``tests.faults.promises`` tries it all and says which promise breaks.

A call goes through the steps of ``secretsvc.vault``, each one atomic; between two of them anything else may
happen.  What touches nothing shared (unsealing in memory) is taken together with the step before it.

==========  ==========================================================================================
``look``    the store: receipt and record
``ask``     the ledger, ending nothing: before "sealed", "expired" or "missing" is said
``known``   the ledger: before a try at the password, and where the receipt knows of an end
``try``     the store: reserve a try at the password
``end``     the ledger: **the only commit**
``close``   the ledger: the winner is done
``mark``    the store: receipt, the rest of the record's life, the reserved try given back
``answer``  what goes out to whoever called, if they still listen
==========  ==========================================================================================

What goes wrong, each as often as ``Faults`` allows: a call to store or ledger is lost (what was sent to the
ledger may still arrive at any later time; the app repeats it once, then says "unclear"); a caller is cut off,
and may call again while the first call is still worked on; a worker dies; the ledger restarts and keeps what it
has said; the store goes back to any earlier copy of itself; the ledger does.  Time passes whenever it likes:
``age`` counts retry windows since the end, and a call may take longer than that.

Bounds: one to three people with one to four calls each, one or two app servers, up to three faults of a kind;
the tests say which.  Not modelled: cryptography, wrong passwords and locks, requests and their answers,
creating, unlocking, epochs, several ledgers, a store that loses a secret as a whole, and clocks that differ.  A
request lost on its way in only costs a call, so it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
GONE, FOREVER = -1, 9  # of a record: the age up to which it can be read
LONG_AFTER = 4
TRIES = 2  # at the password that may be pending at once
AT_LEDGER = ("ask", "known", "end", "close")
DIED = "no key: the worker died after the end was sent"
UNHEARD = "no key: the answer was lost on its way"
TOO_SLOW = "no key: the ledger's reply was lost, and time ran out before the app's own repeat"


class Store(NamedTuple):
    """One copy of what the store holds."""

    receipt: str = "sealed"
    record: int = FOREVER
    pending: int = 0
    high: int = 0  # the ledger's highest sequence


class Entry(NamedTuple):
    """The ledger's one entry; its sequence is 1 with it, else 0."""

    end: str
    claimant: str
    repeated: int | None = None  # the age at which its winner first came again
    done: bool = False


class Person(NamedTuple):
    """A holder (``open``), the sender (``revoke``), or somebody who asks how it stands (``state``)."""

    name: str
    kind: str = "open"
    key: str = ""
    calls: int = 2  # left to make
    has: bool = False


class Call(NamedTuple):
    """A call that is being worked on."""

    who: str
    kind: str  # "open", "done", "revoke" or "state"
    claimant: str
    keyed: bool  # the caller knows the claimant, and can come again with it
    began: str = ""  # how it stood when the call began: "open", "ended" or "closed"
    server: int = 0
    step: str = "look"
    word: str = ""  # what will be answered
    repeat: bool = False  # the app's own second try at the ledger
    knew: bool = False  # the receipt said that it had ended
    reserved: bool = False
    life: int = GONE  # up to which age the ledger lets the winner come again
    again: bool = False  # the winner has come again
    heard: bool = True  # the caller still listens


class Faults(NamedTuple):
    """How many of each may (still) happen."""

    lost: int = 0
    crash: int = 0
    restart: int = 0
    rollback: int = 0
    ledger_rollback: int = 0


NOTHING = Faults()


class State(NamedTuple):
    """Everything at one moment.  What stands after ``expired`` is kept for the promises only."""

    people: tuple[Person, ...]
    left: Faults
    seen: tuple[int, ...]  # the ledger's highest sequence, as each app server remembers it
    store: Store = Store()
    copies: tuple[Store, ...] = ()  # earlier ones, which may come back
    unproved: frozenset[int] = frozenset()  # app servers with no connection yet to a ledger that went back
    entry: Entry | None = None
    late: tuple[Call, ...] = ()  # sent to the ledger, and may still arrive
    calls: tuple[Call, ...] = ()
    age: int = 0
    expired: bool = False
    first: str = ""  # the first end ever decided
    closed: bool = False  # its winner was done
    given: frozenset[str] = frozenset()  # claimants the bytes were sent to
    told: frozenset[str] = frozenset()
    unheard: frozenset[tuple[str, str]] = frozenset()  # claimants without a key, and why they heard nothing

    @property
    def readable(self) -> bool:
        """Whether the store gives the record out."""
        return self.age <= self.store.record and not self.expired

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way."""
        return not self.calls and not self.late


Move = tuple[str, State]


@dataclass(frozen=True)
class Model:
    """The protocol, or a mutant of it, within bounds.

    Attributes:
        people: who calls, and how often.
        faults: what may go wrong, and how often.
        password: whether there is one; everybody here knows it.
        servers: app servers, each with a memory of its own.
        swift: the ledger may go back within the time of a call, whose next step then finds it so.
        prompt: no call takes as long as a window.
        mutant: what is broken on purpose, or nothing.
    """

    people: tuple[Person, ...]
    faults: Faults = NOTHING
    password: bool = False
    servers: int = 1
    swift: bool = False
    prompt: bool = False
    mutant: str = ""

    def start(self) -> State:
        """A sealed secret, and nobody has called yet."""
        return State(self.people, self.faults, (0,) * self.servers)

    # --- what can happen ---------------------------------------------------------------------------

    def moves(self, now: State) -> Iterator[Move]:
        """Everything that can happen next, each with its line for a story."""
        for person in now.people:
            yield from self._calls(now, person)
        for call in now.calls:
            yield f"{call.who}'s {call.kind}: {call.step}", self.step(now, call)
            if now.left.lost:
                yield from self._is_lost(spent(now, "lost"), call)
            if now.left.crash:
                yield from self._dies(spent(now, "crash"), call)
        for call in now.late:
            rest = now._replace(late=without(now.late, call))
            yield f"{call.who}'s {call.step} arrives late", self._at_ledger(rest, call)[0]
            yield f"{call.who}'s {call.step} never arrives", rest
        yield from self._time(now)
        yield from self._servers_fail(now)

    def _calls(self, now: State, person: Person) -> Iterator[Move]:
        if not person.calls or any(call.who == person.name and call.heard for call in now.calls):
            return
        closed = now.closed or now.expired or now.age > 2
        began = "closed" if closed else "ended" if now.first else "open"
        claimant = person.key or f"{person.name}{person.calls}"
        later = change(now, person, calls=person.calls - 1)
        for kind in (person.kind, "done") if person.has and person.key else (person.kind,):
            for server in range(self.servers):
                call = Call(person.name, kind, claimant, bool(person.key), began, server)
                yield f"{person.name} calls {kind}", later._replace(calls=bag(*later.calls, call))

    def _is_lost(self, now: State, call: Call) -> Iterator[Move]:
        name = f"{call.who}'s {call.kind}"
        if call.heard:
            yield f"{name}: the caller is cut off", go(now, call, heard=False)
        if call.step in ("look", "try"):
            yield f"{name}: {call.step} is lost", go(now, call, step="answer", word="503")
        if call.step == "mark":
            yield f"{name}: mark is lost", go(now, call, step="answer", reserved=False)
        if call.step in AT_LEDGER:
            yield f"{name}: {call.step} gets no reply", self._no_reply(still_on_its_way(now, call), call)

    def _dies(self, now: State, call: Call) -> Iterator[Move]:
        name = f"{call.who}'s {call.kind}"
        dead = now._replace(calls=without(now.calls, call))
        if self.faults.ledger_rollback:  # then memory matters: the whole server dies, and asks the store anew
            server = [other for other in now.calls if other.server == call.server]
            dead = now._replace(calls=tuple(other for other in now.calls if other not in server))
            dead = dead._replace(seen=put(now.seen, call.server, now.store.high))
        if call.step in AT_LEDGER:
            sent = unheard(still_on_its_way(dead, call), call, DIED)
            yield f"{name}: its worker dies having sent {call.step}", sent
        if call.step in ("mark", "answer") or call.repeat:
            dead = unheard(dead, call, DIED)
        yield f"{name}: its worker dies before {call.step}", dead

    def _no_reply(self, now: State, call: Call) -> State:
        if call.repeat:
            return self._told(now, call, "unclear" if call.step == "end" else "503")
        return go(now, call, repeat=True)

    def _time(self, now: State) -> Iterator[Move]:
        if now.entry and now.age < LONG_AFTER and not (self.prompt and now.calls):
            yield "a window's time passes", now._replace(age=now.age + 1)
        if not now.expired:
            yield "it expires", now._replace(expired=True)
        if now.store.pending > sum(call.reserved for call in now.calls):
            yield "a reserved try runs out", stored(now, pending=now.store.pending - 1)
        if self.mutant == "a lease that runs out" and now.entry and now.age and not now.entry.done:
            yield "the lease runs out", now._replace(entry=None)

    def _servers_fail(self, now: State) -> Iterator[Move]:
        asking = [call for call in now.calls if call.step in AT_LEDGER]
        if now.left.rollback:
            for copy in now.copies:
                yield f"the store goes back to {copy}", spent(now, "rollback")._replace(store=copy)
        if now.left.restart and (asking or now.late):
            after = spent(now, "restart")._replace(late=())
            for call in asking:
                after = self._no_reply(after, call)
            yield "the ledger restarts", after
        answering = any(call.step in ("mark", "answer") for call in now.calls)
        if now.left.ledger_rollback and now.entry and (self.swift or not answering):
            after = spent(now, "ledger_rollback")._replace(late=())
            for call in () if self.swift else now.calls:
                if call.step != "look":  # nobody waits that long for a ledger that is down
                    after = go(after, call, step="answer", word="unclear" if call.step == "end" else "503")
            after = after._replace(unproved=frozenset(range(self.servers)))
            for entry in {None, Entry(now.entry.end, now.entry.claimant)} - {now.entry}:
                yield f"the ledger goes back to {entry}", after._replace(entry=entry)

    # --- the steps ---------------------------------------------------------------------------------

    def step(self, now: State, call: Call) -> State:
        """The next step of a call; nothing goes wrong."""
        if call.step == "look":
            return self._look(now, call)
        if call.step in AT_LEDGER:
            if call.server in now.unproved:  # a new connection, which the store's mark is read for
                seen = put(now.seen, call.server, max(now.seen[call.server], now.store.high))
                now = now._replace(seen=seen, unproved=now.unproved - {call.server})
            after, word = self._at_ledger(now, call)
            if self.faults.ledger_rollback and after.entry:
                after = after._replace(seen=put(after.seen, call.server, 1))
            return self._told(after, call, word) if word else after
        if call.step == "try":
            if now.store.pending >= TRIES:
                return go(now, call, step="answer", word="503")
            return go(stored(now, pending=now.store.pending + 1), call, step="end", reserved=True)
        if call.step == "mark":
            return self._mark(now, call)
        return self._answer(now, call)

    def _look(self, now: State, call: Call) -> State:
        knew = now.store.receipt != "sealed"
        if call.kind == "done":
            return go(now, call, step="close", knew=knew)
        if knew and not (call.kind == "open" and call.keyed and now.readable):
            return go(now, call, step="answer", word=now.store.receipt)
        if call.kind == "state" and self.mutant == "state from the receipt alone":
            return go(now, call, step="answer", word="sealed")
        if call.kind == "state" or now.expired or (call.kind == "open" and not now.readable):
            return go(now, call, step="ask")
        if call.kind == "revoke":
            return go(now, call, step="end")
        if self.mutant == "answer before end":
            return go(now, call, step="answer", word="bytes")
        if self.mutant in ("mark before end", "the store decides: get, then delete"):
            return go(now, call, step="mark", word="bytes")
        if self.mutant == "the store decides: delete returns it":
            now = stored(now, receipt="opened", record=GONE)._replace(first="opened")
            return go(now, call, step="answer", word="bytes")
        return go(now, call, step="known" if knew or self.password else "end", knew=knew)

    def _at_ledger(self, now: State, call: Call) -> tuple[State, str]:
        """What the ledger does, and its word; no word where the call just goes on."""
        entry = now.entry
        if not entry and now.seen[call.server] and self.mutant != "no high-water mark":
            return now, "503"  # the ledger is behind what this app server has seen of it
        if call.step == "end":
            return self._end(now, call)
        mine = entry is not None and (entry.end, entry.claimant) == ("opened", call.claimant)
        if call.step == "close" and entry and mine:
            done = self.mutant != "done closes nothing"
            return now._replace(entry=entry._replace(done=done), closed=True), "done"
        if call.step == "known" and entry and (mine or not self.password):
            return go(now, call, step="end"), ""
        if entry:
            return now, entry.end
        if call.knew:
            return now, "503"  # the ledger has forgotten what the receipt knows
        if call.step == "known":
            return go(now, call, step="try"), ""
        if now.expired:
            return now, "expired"
        return now, "sealed" if call.kind == "state" and now.readable else "missing"

    def _end(self, now: State, call: Call) -> tuple[State, str]:
        """Set once; or what is set already."""
        end, won = ("revoked", "revoked") if call.kind == "revoke" else ("opened", "bytes")
        claimant, entry = call.claimant, now.entry
        if call.repeat and self.mutant == "the app repeats as a new claimant":
            claimant += " again"
        if entry and self.mutant != "end without set-once":
            mine = entry.claimant == claimant or self.mutant == "claimant not compared"
            if entry.end != end or not mine:
                return now, entry.end
            if end == "revoked":
                return now, won
            if entry.done or now.expired or now.age > (entry.repeated or 0) + 1:
                return now, "opened"
            anew = entry.repeated is None and not call.repeat  # the app's own repeat is not its caller's
            if anew or self.mutant == "window anew at every repeat":
                now = now._replace(entry=entry._replace(repeated=now.age))
            return now, won
        if now.expired:
            return now, "expired"
        return now._replace(entry=Entry(end, claimant), first=now.first or end, age=0), won

    def _told(self, now: State, call: Call, word: str) -> State:
        """The ledger has spoken, or stays silent: an end that the receipt does not say is marked."""
        if self.mutant == "answer before end" and not call.heard:
            return now._replace(calls=without(now.calls, call))
        mark = call.step != "close" if word in ("opened", "revoked") else word in ("bytes", "done")
        won = word in ("bytes", "done") or call.kind == "revoke"
        if (call.knew or self.mutant == "nobody but the winner marks") and not won:
            mark = False
        if self.mutant == "mark before end" and call.kind == "open":
            mark = False
        step = "mark" if mark or call.reserved else "answer"
        life = (now.entry.repeated or 0) + 1 if now.entry else GONE
        again = word == "bytes" and life > 1
        return go(now, call, step=step, word=word, repeat=False, knew=False, life=life, again=again)

    def _mark(self, now: State, call: Call) -> State:
        store, life = now.store, FOREVER
        if call.word == "bytes":
            life = call.life if call.keyed and "store decides" not in self.mutant else GONE
        elif call.word == "opened":
            life = call.life  # somebody else's: as long as the ledger would let them come again
        elif call.word in ("revoked", "done"):
            life = GONE
        if life != FOREVER:
            receipt = "revoked" if call.word == "revoked" else "opened"
            renewed = call.again and now.readable and self.mutant != "no life anew"
            now = stored(
                now,
                receipt=receipt if store.receipt == "sealed" else store.receipt,
                record=life if renewed else min(store.record, life),
                high=max(store.high, now.seen[call.server]),
            )
        if call.reserved:
            now = stored(now, pending=now.store.pending - 1)
        if self.mutant == "mark before end" and call.word == "bytes":
            return go(now, call, step="end", word="", reserved=False)
        if "store decides" in self.mutant:
            now = now._replace(first="opened")
        return go(now, call, step="answer", reserved=False)

    def _answer(self, now: State, call: Call) -> State:
        word, entry, told = call.word, now.entry, {call.word} & {"opened", "revoked", "expired"}
        if word == "bytes":
            now = now._replace(given=now.given | {call.claimant})
            if call.began == "closed":
                told.add("bytes too late")
        if word == "sealed" and call.began != "open" and now.first:
            told.add("sealed too late")
        if (word, call.kind) == ("opened", "open") and entry and entry[:2] == ("opened", call.claimant):
            if now.age <= 1 and not entry.done and not now.expired:
                told.add("refused in its window")
            elif now.age <= (entry.repeated or 0) + 1 and not entry.done and not now.expired:
                told.add("refused in its window anew")
            now = unheard(now, call, TOO_SLOW)
        now = now._replace(told=now.told | told, calls=without(now.calls, call))
        if call.heard:
            person = next(person for person in now.people if person.name == call.who)
            key = call.claimant if word == "unclear" else person.key  # such an answer names the key
            now = change(now, person, has=person.has or word == "bytes", key=key)
        elif word in ("bytes", "unclear"):
            now = unheard(now, call, UNHEARD)
        if self.mutant == "answer before end" and word == "bytes":
            now = now._replace(calls=bag(*now.calls, call._replace(step="end", heard=False)))
        return now


def go(now: State, call: Call, **changes: Any) -> State:
    """The same, with one call further on."""
    return now._replace(calls=bag(*without(now.calls, call), call._replace(**changes)))


def change(now: State, person: Person, **changes: Any) -> State:
    """The same, with one person changed."""
    return now._replace(people=tuple(p._replace(**changes) if p == person else p for p in now.people))


def stored(now: State, **changes: Any) -> State:
    """The same, with the store changed; the copy before it may come back."""
    store = now.store._replace(**changes)
    if store == now.store:
        return now
    return now._replace(store=store, copies=bag(*{*now.copies, now.store}) if now.left.rollback else ())


def spent(now: State, fault: str) -> State:
    """The same, with one fault less to come."""
    left = now.left._replace(**{fault: getattr(now.left, fault) - 1})
    return now._replace(left=left, copies=now.copies if left.rollback else ())


def still_on_its_way(now: State, call: Call) -> State:
    """The same, and what was sent to the ledger may arrive later; nobody waits for its reply."""
    if call.step not in ("end", "close"):
        return now
    sent = Call(call.who, call.kind, call.claimant, call.keyed, step=call.step, repeat=call.repeat)
    return now._replace(late=bag(*now.late, sent))


def unheard(now: State, call: Call, why: str) -> State:
    """The same, remembering that a caller without a key will not hear what became of this call."""
    if call.keyed or call.kind != "open":
        return now
    return now._replace(unheard=now.unheard | {(call.claimant, why)})


def put(items: tuple[int, ...], at: int, item: int) -> tuple[int, ...]:
    """The same, with another item at one place."""
    return (*items[:at], item, *items[at + 1 :])


def bag(*items: Any) -> tuple[Any, ...]:
    """The items without an order: two bags of the same are equal."""
    return tuple(sorted(items))


def without(items: tuple[T, ...], item: T) -> tuple[T, ...]:
    """The bag with one such item less."""
    at = items.index(item)
    return items[:at] + items[at + 1 :]
