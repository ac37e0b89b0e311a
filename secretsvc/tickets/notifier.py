"""Looks at tickets and tells what has happened: notes in the ticket, webhooks, followers' mails.

At least once, and in the ticket exactly once.  What is to be told is noted before it is tried; a try that was
begun and never finished may have arrived, so it is looked for before the next, and only when whoever was asked
can no longer act on it.  Who dies when, and how often, changes nothing but the time.

One notifier works at a time.  That saves double work and nothing else: two that did not know of each other
would take turns at the outbox, which is changed by compare-and-set.
"""

from __future__ import annotations

import logging
import secrets
import threading

from ..errors import DeskForbidden, DeskUnavailable, SecretsvcError, TicketGone, Unavailable
from .couriers import Couriers, Part
from .model import Reference
from .outbox import Delivery, Outbox, begin, ready_at
from .rules import Facts, freezes_at
from .service import Tickets
from .store import Record

EVERY = 300.0  # seconds between two looks at a ticket where something may still happen
READ_EVERY = 3600.0  # seconds after which the desk is asked again whose ticket it is
APART = 20.0  # seconds between two notes in one ticket; what happens meanwhile goes into one
TRY_AGAIN = 30.0  # seconds until a ticket is looked at again that could not be
LEASE = 15  # seconds; after a killed notifier the next one waits so long
PATIENCE = 30.0  # seconds for a webhook or a mail, which may come twice
PAUSE = 1.0  # seconds between two looks at what is due
log = logging.getLogger(__name__)


class Notifier:
    """Tells what has happened to the links of tickets.

    Args:
        tickets: the rules.
        couriers: who carries it to where.
        apart: seconds between two notes in one ticket.
        every: seconds between two looks at a ticket.
    """

    def __init__(
        self, tickets: Tickets, couriers: Couriers, *, apart: float = APART, every: float = EVERY
    ) -> None:
        self.tickets = tickets
        self.store = tickets.store
        self.couriers = couriers
        self.apart = apart
        self.every = every
        self._owner = secrets.token_urlsafe(9)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self.run, name="notifier", daemon=True)

    def start(self) -> None:
        """Work in a thread of this process."""
        self._thread.start()

    def stop(self) -> None:
        """End when what is being done is done, or soon at least."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(3.0)

    def run(self) -> None:
        """Work until ``stop``; whatever goes wrong is logged and tried again."""
        while not self._stopped.is_set():
            busy = False
            try:
                busy = self.store.lease(self._owner, LEASE) and self.round()
            except Unavailable:
                log.warning("the notifier cannot reach the store")
            except Exception as error:  # nobody would start it again
                log.warning("the notifier failed", extra={"fields": {"exception": type(error).__name__}})
            self._stopped.wait(0 if busy else PAUSE)
        self.store.release(self._owner)

    def round(self) -> bool:
        """Look at every ticket that is due; whether there was one."""
        due = self.store.due(self.now())
        for ticket, was in due:
            if self._stopped.is_set() or not self.store.lease(self._owner, LEASE):
                break
            try:
                at = self.look(ticket)
            except Exception as error:  # one ticket does not keep the others waiting
                complain("a ticket could not be looked at; it is tried again", ticket, error)
                at = self.now() + TRY_AGAIN
            self.store.look_next(ticket, was, at)
        return bool(due)

    def now(self) -> float:
        """The store's time, seconds since 1970."""
        return self.tickets.vault.store.now()

    def look(self, ticket: Reference) -> float | None:
        """Notice what has happened, tell what is due; when to look again, or None for never.

        Raises:
            Unavailable: store or ledger do not answer; nothing is lost.
        """
        record = self.tickets.notice(ticket, patient=True)
        if ticket.desk not in self.tickets.desks or not record.links:
            self.store.note_open(ticket, None)
            return None
        facts = self._facts(ticket, record.facts)
        outbox = self.store.change_outbox(ticket, lambda outbox: self._filled(outbox, ticket, record, facts))
        for delivery in outbox.open:
            if not self._stopped.is_set():
                self._try(ticket, record, facts, delivery.id)
        return self._next(ticket, record, facts)

    def _facts(self, ticket: Reference, known: Facts) -> Facts:
        """What is known of the ticket, read from the desk where that is due; as it was if that fails."""
        began = self.now()
        near = known.frozen_at is None and known.solved_at is not None
        fresh = began - known.read_at < (self.every if near else READ_EVERY) and not known.hinted
        over = known.frozen_at is not None and known.status == "closed"
        if over or fresh or self.couriers.closed_until(ticket, "note") > began:
            return known
        try:
            return self.tickets.facts(ticket, fresh=0)
        except (TicketGone, DeskForbidden, DeskUnavailable) as error:
            complain("a ticket could not be read", ticket, error)
            if isinstance(error, DeskUnavailable):
                self.couriers.close(ticket, "note", took=self.now() - began)
            return known

    def _filled(self, outbox: Outbox, ticket: Reference, record: Record, facts: Facts) -> Outbox:
        """With everything that has happened and is not in there yet."""
        now = self.now()
        told = sorted(_told(record), key=lambda part: part.event.at)
        names = [part.event.id for part in told]
        if self.tickets.desks[ticket.desk].notes:
            outbox = outbox.put_together("note", names, now, apart=self.apart)
        if not facts.read_at:  # whose ticket it is belongs to what the others are told
            return outbox
        for place in self.couriers.hooks(ticket):
            outbox = outbox.put(place, names, now)
        for place, since in self.couriers.followers(facts).items():
            news = [part for part in told if part.event.word == "created" and part.event.at >= int(since)]
            outbox = outbox.put(place, [part.event.id for part in news], now)
        return outbox

    def _try(self, ticket: Reference, record: Record, facts: Facts, id: str) -> None:
        """Carry a delivery to its place, if it is due and nobody else does."""
        now = self.now()
        mine: Delivery | None = None

        def claim(outbox: Outbox) -> Outbox:
            nonlocal mine
            mine = outbox.find(id)
            if mine is None or mine.outcome or self._ready_at(ticket, mine) > now:
                mine = None
                return outbox
            return outbox.replaced(begin(mine, now, self._owner))

        self.store.change_outbox(ticket, claim)
        if mine is None:
            return
        events = {part.event.id: part for part in _told(record)}
        parts = [events[name] for name in mine.events if name in events]
        done = self.couriers.carry(
            ticket, facts, begin(mine, now, self._owner), parts, look_first=bool(mine.begun_at), now=now
        )
        self.store.change_outbox(ticket, lambda outbox: outbox.replaced(done))
        place, _, _ = done.place.partition(":")
        outcome = done.outcome or "later"
        told = {"ticket": str(ticket), "place": place, "events": [part.event.word for part in parts]}
        log.info("delivery", extra={"fields": {**told, "outcome": outcome, "tries": done.tries}})
        self.store.count_delivery(ticket.desk, place, outcome)

    def _ready_at(self, ticket: Reference, delivery: Delivery) -> float:
        settles = self.tickets.desks[ticket.desk].settles if delivery.place == "note" else PATIENCE
        return max(ready_at(delivery, settles=settles), self.couriers.closed_until(ticket, delivery.place))

    def _next(self, ticket: Reference, record: Record, facts: Facts) -> float | None:
        """When something may be due again."""
        now = self.now()
        still = self.store.read(ticket).outbox.open
        self.store.note_open(ticket, min((each.since for each in still), default=None))
        times = [self._ready_at(ticket, each) for each in still]
        for link in record.links.values():
            progress = record.of(link.id)
            if progress.over:
                continue
            ends = max(progress.expires_at, link.expires_at)
            # Once it is opened only a report may come, of which there is a hint.
            wait = self.every * (4 if progress.state == "opened" else 1)
            times.append(min(now + wait, ends + 1) if now < ends else now + wait)
        last = max(link.expires_at for link in record.links.values())
        kept = now < last + self.store.retention
        if facts.frozen_at is None and self.tickets.desks[ticket.desk].notes and kept:
            freezes = freezes_at(facts, grace=self.tickets.grace[ticket.desk])
            times.append(now + READ_EVERY if freezes is None else min(now + self.every, max(now, freezes)))
        return max(now + PAUSE / 2, min(times)) if times else None


def complain(what: str, ticket: Reference, error: Exception) -> None:
    """Log what went wrong with a ticket: the kind of error, never its words."""
    kind = error.kind if isinstance(error, SecretsvcError) else type(error).__name__
    log.warning(what, extra={"fields": {"ticket": str(ticket), "error": kind}})


def _told(record: Record) -> list[Part]:
    return [
        Part(link, event, record.of(link.id))
        for link in record.links.values()
        for event in record.of(link.id).events
    ]
