"""Carries events to where they are told: a note in the ticket, a webhook, a follower's mail.

Each makes one attempt and says what became of it.  A place that does not answer is left alone for a while, so
that no other waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from ..atrest import sha256
from ..errors import DeskForbidden, DeskUnavailable, SecretsvcError, TicketClosed, TicketGone
from . import outgoing, wording
from .form import Form
from .guard import TargetError
from .links import Event, Link, Progress
from .mail import Mailer, MailRefused, MailUnavailable
from .model import Desk, Note, Reference
from .notices import Language, new_link
from .outbox import Delivery, again, finish
from .outgoing import TargetGone, TargetUnavailable, Webhooks
from .rules import Facts
from .store import TicketStore
from .trail import event_type

FIRST = 10.0  # seconds until a failure is tried again, doubled each time
LATEST = 3600.0  # seconds between two tries at most
GIVE_UP = 7 * 86_400.0  # seconds after which what never got through is given up
log = logging.getLogger(__name__)


class _LookAgainError(Exception):
    """A note was not found, and may yet come."""


class Part(NamedTuple):
    """An event with what it is about: its link, and what was noticed of that."""

    link: Link
    event: Event
    progress: Progress


class Follower(msgspec.Struct, frozen=True):
    """What a notice needs; ``since`` when they follow, seconds since 1970."""

    email: str
    language: Language
    since: float = 0.0


class Couriers:
    """Everywhere that events are told.

    Args:
        desks: by name.
        languages: the language of the notes, by desk.
        store: who follows whom.
        forms: what requests ask.
        webhooks, mailer: None for none.
        first: seconds until a failure is tried again the first time.
        clock: the store's time, seconds since 1970.
        marker: what makes a name a marker that nobody else can write.
    """

    def __init__(
        self,
        desks: Mapping[str, Desk],
        languages: Mapping[str, Language],
        store: TicketStore,
        forms: Mapping[str, Form],
        *,
        webhooks: Webhooks | None = None,
        mailer: Mailer | None = None,
        first: float = FIRST,
        clock: Callable[[], float],
        marker: Callable[[str], str],
    ) -> None:
        self.desks = desks
        self.languages = languages
        self.store = store
        self.forms = forms
        self.webhooks = webhooks
        self.mailer = mailer
        self.first = first
        self.clock = clock
        self.marker = marker
        self._closed: dict[str, float] = {}

    def line(self, part: Part, language: Language) -> str:
        """An event as a note tells it: with the names of the fields that are asked, never what they hold."""
        form = self.forms.get(part.link.form or "")
        said = msgspec.json.decode(part.progress.facts or "{}")
        asked = form.asks_for(said.get("inquiry"), language) if form and part.event.word == "submitted" else ()
        return wording.trail_line(part.link, part.event, language, asked)

    def hooks(self, ticket: Reference) -> list[str]:
        """The places of the webhooks that want this ticket's events."""
        return [f"hook:{name}" for name in self.webhooks.wanting(ticket.desk)] if self.webhooks else []

    def followers(self, facts: Facts) -> dict[str, float]:
        """The places of those who hear of new links on such a ticket, with the time since when they do."""
        if self.mailer is None or facts.organisation is None:
            return {}
        found = self.store.followers(facts.organisation)
        decode = msgspec.json.Decoder(Follower).decode
        return {f"mail:{person}": decode(details).since for person, details in found.items()}

    def close(self, ticket: Reference, place: str, *, took: float = 0.0) -> None:
        """Leave a place alone for a while, that others need not wait for it: longer than it kept us waiting.

        Args:
            took: seconds.
        """
        self._closed[_door(ticket, place)] = self.clock() + max(self.first, 4 * took)

    def closed_until(self, ticket: Reference, place: str) -> float:
        """Until when a place is left alone, seconds since 1970."""
        return self._closed.get(_door(ticket, place), 0.0)

    def carry(
        self,
        ticket: Reference,
        facts: Facts,
        delivery: Delivery,
        parts: list[Part],
        *,
        look_first: bool,
        now: float,
    ) -> Delivery:
        """Make one attempt; the delivery as it is then.

        Args:
            parts: its events, with their links.
            look_first: whether an earlier attempt may have arrived.
            now: seconds since 1970.
        """
        kind, _, name = delivery.place.partition(":")
        attempts: dict[str, Callable[[], str]] = {
            "note": lambda: self._note(ticket, facts, delivery, parts, look_first=look_first),
            "hook": lambda: self._hook(ticket, facts, name, delivery, parts),
            "mail": lambda: self._mail(ticket, facts, name, delivery, parts),
        }
        try:
            return finish(delivery, attempts[kind](), now)
        except (TicketClosed, TicketGone, TargetGone, MailRefused) as error:
            return finish(delivery, error.kind, now)
        except _LookAgainError:
            settled = self.clock() + self.desks[ticket.desk].settles
            return again(delivery, settled, unclear=True, looked=True)
        except (DeskUnavailable, DeskForbidden, TargetError, MailUnavailable) as error:
            return self._later(ticket, delivery, error, look_first=look_first, began=now)

    def _later(
        self, ticket: Reference, delivery: Delivery, error: SecretsvcError, *, look_first: bool, began: float
    ) -> Delivery:
        now = self.clock()
        fields = {"ticket": str(ticket), "place": delivery.place, "error": error.kind, "tries": delivery.tries}
        log.warning("an event could not be told; it is tried again", extra={"fields": fields})
        asked = getattr(error, "asked" if isinstance(error, DeskUnavailable) else "retry_after", None) or 0.0
        due: float | None = now + max(asked, min(LATEST, self.first * 2.0 ** (delivery.tries - 1)))
        if delivery.place.startswith("hook:"):
            planned = outgoing.retry_at(delivery.tries, now)
            due = None if planned is None else max(planned, now + asked)
        if due is None or now - delivery.since > GIVE_UP:
            log.error("an event is not told any more", extra={"fields": fields})
            return finish(delivery, "given-up", now)
        if isinstance(error, DeskUnavailable | TargetUnavailable | MailUnavailable):
            self.close(ticket, delivery.place, took=now - began)
        unclear = look_first or getattr(error, "unclear", False)
        return again(delivery, due, unclear=unclear and delivery.place == "note")

    def _note(
        self, ticket: Reference, facts: Facts, delivery: Delivery, parts: list[Part], *, look_first: bool
    ) -> str:
        desk, language = self.desks[ticket.desk], self.languages[ticket.desk]
        marker = self.marker(delivery.id)
        if look_first and desk.noted(ticket.number, marker):
            return "found"
        if look_first and not delivery.looked:
            raise _LookAgainError  # what a desk did not do while it hung it may be doing just now
        if facts.status == "closed":  # some desks would take it all the same
            raise TicketClosed
        lines = [self.line(part, language) for part in parts]
        subject = wording.trail_subject([part.link.ref for part in parts], language)
        desk.note(ticket.number, Note(marker, subject, "\n".join(lines)))
        return "done"

    def _hook(self, ticket: Reference, facts: Facts, name: str, delivery: Delivery, parts: list[Part]) -> str:
        if self.webhooks is None or name not in self.webhooks.targets:
            return "no target"
        for link, event, _ in parts:
            data = {
                "ref": link.ref,
                "desk": ticket.desk,
                "ticket": ticket.number,
                "organisation": (facts.organisation or "")[:200] or None,
                "kind": link.kind,
                "expires_at": outgoing.stamp(link.expires_at),
            }
            body = outgoing.body(event_type(link, event), event.at, data)
            self.webhooks.deliver(name, f"evt_{_word(delivery)}", body)
        return "done"

    def _mail(self, ticket: Reference, facts: Facts, person: str, delivery: Delivery, parts: list[Part]) -> str:
        details = self.store.followers(facts.organisation or "").get(person)
        if details is None or self.mailer is None:
            return "not followed"
        follower = msgspec.json.decode(details, type=Follower)
        known = self.store.person(follower.email)
        if known is None or not (known.works_at(ticket.desk) or facts.organisation in known.organisations):
            return "not theirs"
        for link, _, _ in parts:
            notice = new_link(
                str(ticket),
                "sent" if link.kind == "secret" else "asked",
                wording.moment(link.expires_at, follower.language),
                facts.organisation or "",
                follower.language,
            )
            self.mailer.send(follower.email, *notice, _word(delivery))
        return "done"


def _word(delivery: Delivery) -> str:
    """A delivery's name for places that allow no dots."""
    return sha256(delivery.id.encode()).hex()[:32]


def _door(ticket: Reference, place: str) -> str:
    """What does not answer: a desk, a target, the mail server."""
    kind, _, name = place.partition(":")
    return {"note": f"note:{ticket.desk}", "mail": "mail"}.get(kind, f"hook:{name}")
