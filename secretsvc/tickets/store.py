"""What the ticket module keeps, in the core's store: links, what was noticed of them, what is to be told.

Keys, all but the followers and what is due with a TTL; no rule touches two of them, so that a Cluster may put
them anywhere:

========================  ================================================================================
``ss:t:{desk:number}``    a ticket, a hash: ``facts``; ``l:<id>`` a link as it was made; ``p:<id>`` what was
                          noticed of it; ``outbox`` what is to be told where
``ss:t:due``              tickets by when to look at them, in s since 1970
``ss:t:ref:<ref>``        that a reference is taken
``ss:t:org:<hash>``       an organisation's tickets by their last link, in s since 1970
``ss:t:follow:<hash>``    an organisation's followers, by person
``ss:t:orgs``             the organisations that have a list, by their last link
``ss:t:person:<hash>``    who signed in with this address, for a month
``ss:t:hook:<hash>``      that a delivery of a webhook has come, for a day
``ss:t:order:<marker>``   the number of an order's ticket, for a day
``ss:t:begun:<marker>``   that something is being written into a desk, until it is there or cannot come any more
``ss:t:notifier``         which notifier is at work
``ss:t:open``             tickets with something that could not be told yet, by since when, in s since 1970
``ss:t:told``             how many deliveries there were, by desk, kind of place, and outcome
========================  ================================================================================

A field is changed by compare-and-set, so that two processes never both think that a thing is theirs to do.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from ..atrest import sha256
from ..envelope import b64
from ..errors import StoreUnavailable
from ..node import Node
from ..tokens import Person
from ..vault import New
from .links import Link, Progress
from .model import Reference
from .outbox import Outbox
from .rules import DAY, Facts, folded

DUE, OPEN, TOLD, NOTIFIER = "ss:t:due", "ss:t:open", "ss:t:told", "ss:t:notifier"
ASKED = 1e10  # seconds taken from the time at which a look is asked for: long past, and in the order of asking
# No vowels, so that no word comes about, and nothing that looks like something else.
ALPHABET = "23456789BCDFGHJKMNPQRSTVWXZ"
REF_CHARACTERS = 6
LISTED_FIRST = 600  # seconds until a link is looked for whose creator has said nothing more
T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """A ticket's hash, read at one moment."""

    facts: Facts
    links: dict[str, Link] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)
    outbox: Outbox = field(default_factory=Outbox)

    def of(self, id: str) -> Progress:
        """What was noticed of a link."""
        return self.progress.get(id, Progress())


class TicketStore:
    """The ticket module's part of the store.

    Args:
        node: the store's server.
        retention: seconds a receipt is kept after the expiry; a ticket's list is kept as long.
    """

    def __init__(self, node: Node, *, retention: int) -> None:
        self.node = node
        self.retention = retention

    # --- what the core tells (vault.Labels) --------------------------------------------------------

    def creating(self, new: New, now: float) -> None:
        """List a link before it is stored: a creator that dies in between leaves none unlisted."""
        ticket = Reference.of(new.label)
        if ticket is None:
            return
        self.look_at(ticket, now + LISTED_FIRST)
        id = b64(new.id)
        if self.node.command("HEXISTS", _key(ticket), f"l:{id}"):
            self.change_progress(ticket, id, lambda known: Progress() if known.state == "forgotten" else known)
            return
        link = Link(
            ref=self._new_ref(),
            id=id,
            kind="secret" if new.envelope is not None else "request",
            created_at=int(now),
            expires_at=int(now) + new.expires_in,
            by=new.by,
            language=new.language,  # type: ignore[arg-type]
            password=new.proof is not None,
            form=new.form,
            order=new.order,
            identity=new.identity,  # type: ignore[arg-type]
        )
        arguments = (f"l:{id}", b"", msgspec.json.encode(link), self.retention + 2 * 31 * DAY)
        self.node.run("ticket_swap", [_key(ticket)], *arguments)

    def changed(self, label: str) -> None:
        """Have the ticket looked at, at once."""
        ticket = Reference.of(label)
        if ticket is not None:
            self.look_at_once(ticket)

    # --- a ticket ----------------------------------------------------------------------------------

    def read(self, ticket: Reference) -> Record:
        """All that is kept of a ticket; an empty record of one that nobody knows."""
        found = self.node.command("HGETALL", _key(ticket))
        links: dict[str, Link] = {}
        progress: dict[str, Progress] = {}
        for name, value in found.items():
            if name.startswith(b"l:"):
                links[name[2:].decode()] = msgspec.json.decode(value, type=Link)
            elif name.startswith(b"p:"):
                progress[name[2:].decode()] = msgspec.json.decode(value, type=Progress)
        return Record(
            _decoded(found.get(b"facts"), Facts),
            dict(sorted(links.items(), key=lambda item: (item[1].created_at, item[1].ref))),
            progress,
            _decoded(found.get(b"outbox"), Outbox),
        )

    def change_facts(self, ticket: Reference, change: Callable[[Facts], Facts]) -> Facts:
        """Change what is known of a ticket; what ``change`` made of it in the end."""
        return self._change(ticket, "facts", Facts, change)

    def change_progress(self, ticket: Reference, id: str, change: Callable[[Progress], Progress]) -> Progress:
        """Change what was noticed of a link."""
        return self._change(ticket, f"p:{id}", Progress, change)

    def change_outbox(self, ticket: Reference, change: Callable[[Outbox], Outbox]) -> Outbox:
        """Change what is to be told."""
        return self._change(ticket, "outbox", Outbox, change)

    def _change(self, ticket: Reference, name: str, kind: type[T], change: Callable[[T], T]) -> T:
        for _ in range(50):
            before = self.node.command("HGET", _key(ticket), name)
            known = _decoded(before, kind)
            after = change(known)
            if after == known:
                return known
            arguments = (name, before or b"", msgspec.json.encode(after), self.retention + 2 * 31 * DAY)
            if self.node.run("ticket_swap", [_key(ticket)], *arguments):
                return after
        raise StoreUnavailable  # others were first fifty times in a row

    def _new_ref(self) -> str:
        while True:
            ref = "".join(secrets.choice(ALPHABET) for _ in range(REF_CHARACTERS))
            kept = self.retention + 2 * 31 * DAY
            if self.node.command("SET", f"ss:t:ref:{ref}", 1, "NX", "EX", kept):
                return ref

    # --- when to look ------------------------------------------------------------------------------

    def look_at(self, ticket: Reference, at: float) -> None:
        """Have a ticket looked at, at this time, seconds since 1970."""
        self.node.command("ZADD", DUE, repr(at), str(ticket))

    def look_at_once(self, ticket: Reference) -> None:
        """Have a ticket looked at.

        The time is one long past and no other's: whoever is at it already sees that somebody has asked again.
        """
        self.look_at(ticket, time.time() - ASKED)

    def due(self, now: float, limit: int = 100) -> list[tuple[Reference, float]]:
        """Tickets to look at, the longest due first, each with the time it was due at."""
        until = ("-inf", f"{now:.3f}", "BYSCORE", "LIMIT", 0, limit)
        flat = self.node.command("ZRANGE", DUE, *until, "WITHSCORES")
        rows = zip(flat[::2], flat[1::2], strict=True)
        return [(found, float(at)) for name, at in rows if (found := Reference.of(name.decode()))]

    def look_next(self, ticket: Reference, was: float, at: float | None) -> None:
        """When to look at a ticket again, or None for never, unless somebody has asked for it since."""
        self.node.run("ticket_next", [DUE], str(ticket), repr(was), "" if at is None else repr(at))

    # --- for whoever watches over the notifier (backlog) -------------------------------------------

    def note_open(self, ticket: Reference, since: float | None) -> None:
        """Since when a ticket has something that is not told yet, seconds since 1970; None for nothing."""
        if since is None:
            self.node.command("ZREM", OPEN, str(ticket))
            return
        self.node.command("ZADD", OPEN, repr(since), str(ticket))
        self.node.command("EXPIRE", OPEN, self.retention + 2 * 31 * DAY)

    def count_delivery(self, desk: str, place: str, outcome: str) -> None:
        """Count an attempt; nothing depends on it."""
        with suppress(StoreUnavailable):
            self.node.command("HINCRBY", TOLD, f"{desk} {place} {outcome}", 1)
            self.node.command("EXPIRE", TOLD, self.retention + 2 * 31 * DAY)

    # --- organisations and people ------------------------------------------------------------------

    def list_under(self, organisation: str, ticket: Reference, at: int) -> None:
        """Put a ticket into an organisation's list; whether it belongs there is asked at each reading."""
        kept = self.retention + 2 * 31 * DAY
        for key, member in ((f"ss:t:org:{_hash(organisation)}", str(ticket)), ("ss:t:orgs", organisation)):
            self.node.command("ZADD", key, at, member)
            self.node.command("EXPIRE", key, kept)
        self.node.command("ZREMRANGEBYSCORE", "ss:t:orgs", "-inf", at - kept)

    def organisations(self) -> tuple[str, ...]:
        """The organisations whose lists hold something."""
        return tuple(name.decode() for name in self.node.command("ZRANGE", "ss:t:orgs", 0, -1))

    def listed_under(self, organisation: str, limit: int = 500) -> Iterator[Reference]:
        """An organisation's tickets, the latest first; some of them may have left it."""
        found = self.node.command("ZRANGE", f"ss:t:org:{_hash(organisation)}", 0, limit - 1, "REV")
        for name in found:
            if (ticket := Reference.of(name.decode())) is not None:
                yield ticket

    def unlist(self, organisation: str, ticket: Reference) -> None:
        """Take a ticket out of an organisation's list."""
        self.node.command("ZREM", f"ss:t:org:{_hash(organisation)}", str(ticket))

    def follow(self, organisation: str, person_id: str, details: bytes | None) -> None:
        """Note a follower with what a notice needs, or with None no longer."""
        key = f"ss:t:follow:{_hash(organisation)}"
        if details is None:
            self.node.command("HDEL", key, person_id)
        else:
            self.node.command("HSET", key, person_id, details)

    def followers(self, organisation: str) -> dict[str, bytes]:
        """Who follows an organisation, by person, with what a notice needs."""
        found = self.node.command("HGETALL", f"ss:t:follow:{_hash(organisation)}")
        return {person.decode(): details for person, details in found.items()}

    def note_person(self, person: Person) -> None:
        """Note for a month who has signed in with this address: whoever was told to go hears nothing more."""
        if person.email:
            value = msgspec.json.encode(person)
            self.node.command("SET", f"ss:t:person:{_hash(folded(person.email))}", value, "EX", 31 * DAY)

    def person(self, email: str | None) -> Person | None:
        """Who signed in with this address in the last month."""
        found = self.node.command("GET", f"ss:t:person:{_hash(folded(email or ''))}")
        return msgspec.json.decode(found, type=Person) if found else None

    # --- once --------------------------------------------------------------------------------------

    def first_delivery(self, desk: str, delivery: str) -> bool:
        """Whether this delivery of a webhook has not come before."""
        return bool(self.node.command("SET", f"ss:t:hook:{_hash(f'{desk} {delivery}')}", 1, "NX", "EX", DAY))

    def order(self, marker: str) -> str | None:
        """The number of the ticket that was opened for an order."""
        found = self.node.command("GET", f"ss:t:order:{marker}")
        return found.decode() if found else None

    def note_order(self, marker: str, number: str) -> None:
        """Keep that number for a day."""
        self.node.command("SET", f"ss:t:order:{marker}", number, "EX", DAY)

    def begin(self, marker: str, seconds: int) -> bool:
        """Whether nobody has begun in the last so many seconds what this marker stands for."""
        return bool(self.node.command("SET", f"ss:t:begun:{marker}", 1, "NX", "EX", seconds))

    def give_up(self, marker: str) -> None:
        """Let the next try begin at once."""
        self.node.command("DEL", f"ss:t:begun:{marker}")

    def lease(self, owner: str, seconds: int) -> bool:
        """Whether this notifier is the one at work, for so long."""
        if self.node.command("SET", NOTIFIER, owner, "NX", "EX", seconds):
            return True
        if self.node.command("GET", NOTIFIER) != owner.encode():
            return False
        return bool(self.node.command("EXPIRE", NOTIFIER, seconds))

    def release(self, owner: str) -> None:
        """Let another notifier begin at once."""
        with suppress(StoreUnavailable):
            if self.node.command("GET", NOTIFIER) == owner.encode():
                self.node.command("DEL", NOTIFIER)


def _key(ticket: Reference) -> str:
    return f"ss:t:{{{ticket}}}"


def _hash(text: str) -> str:
    return b64(sha256(text.encode("utf-8", "surrogatepass"))[:16])


def _decoded(value: bytes | None, kind: type[T]) -> T:
    return kind() if value is None else msgspec.json.decode(value, type=kind)
