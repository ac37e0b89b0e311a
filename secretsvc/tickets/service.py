"""What agents and customers do with the links of a ticket; every call asks first whether this person may.

Whatever is not theirs is not there: another organisation's ticket, another desk's, and one that nobody knows
are one and the same ``TicketGone``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec

from ..atrest import sha256
from ..envelope import b64, derive_handles, unb64
from ..errors import (
    N_,
    DeskForbidden,
    DeskUnavailable,
    Invalid,
    NotFound,
    RecordMissing,
    SecretsvcError,
    TicketGone,
    Unavailable,
)
from ..model import Look
from ..tokens import Person
from ..vault import Vault
from . import rules
from .links import Link, Progress
from .model import Desk, Note, Reference
from .rules import Facts
from .store import Record, TicketStore
from .trail import Seen, advance

FRESH = 60  # seconds for which what a desk said is taken for true
BUSY = 30  # seconds until somebody who is told to wait tries again
BEING_WRITTEN = N_("It is being written just now, or was a moment ago: try again in a minute.")
LISTED = 7200  # seconds for which that counts in an organisation's list: the notifier asks once an hour
STALE = 900  # seconds for which it still decides who may see a list while the desk does not answer
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """A link as a list shows it: nothing here opens anything."""

    link: Link
    progress: Progress


@dataclass(frozen=True)
class Page:
    """A ticket with its links, the latest first.

    Attributes:
        suggested: the organisation that the subject names, which an agent may take.
        confirm: whether an agent has to say for whom the ticket is.
    """

    ticket: Reference
    facts: Facts
    entries: list[Entry]
    suggested: str | None = None
    confirm: bool = False


class Tickets:
    """The ticket module's rules over the core, the desks and its part of the store.

    Args:
        vault: the core.
        store: lists and what was noticed.
        desks: by name.
        grace: seconds by desk in which a solved ticket may still change hands.
        agencies: organisations that act for others.
    """

    def __init__(
        self,
        vault: Vault,
        store: TicketStore,
        desks: Mapping[str, Desk],
        *,
        grace: Mapping[str, float],
        agencies: tuple[str, ...] = (),
    ) -> None:
        self.vault = vault
        self.store = store
        self.desks = desks
        self.grace = grace
        self.agencies = agencies

    # --- looking -----------------------------------------------------------------------------------

    def page(self, person: Person, ticket: Reference) -> Page:
        """A ticket's list.

        Raises:
            TicketGone: no such ticket for this person.
            DeskUnavailable: it cannot be told whose it is.
        """
        facts = self.allowed(person, ticket)
        record = self.notice(ticket)
        entries = [Entry(link, record.of(link.id)) for link in reversed(record.links.values())]
        entries = [entry for entry in entries if entry.progress.state not in ("unborn", "forgotten")]
        if not person.agent:
            return Page(ticket, facts, entries)
        confirm = rules.needs_confirmation(facts, self.agencies)
        return Page(ticket, facts, entries, suggested=facts.suggested, confirm=confirm)

    def allowed(self, person: Person, ticket: Reference) -> Facts:
        """What is known of a ticket, for somebody who may see its list.

        Raises:
            TicketGone: no such ticket for this person.
            DeskUnavailable: it cannot be told whose it is.
        """
        if ticket.desk not in self.desks or (person.agent and not person.works_at(ticket.desk)):
            raise TicketGone
        if not person.agent and not self.store.read(ticket).links:
            raise TicketGone  # before the desk is asked: nobody tries numbers there by us
        try:
            facts = self.facts(ticket)
        except (DeskUnavailable, DeskForbidden):
            # That we cannot tell is for those alone to hear whose it was when we last could.
            if not rules.may_list(person, ticket, self.store.read(ticket).facts):
                raise TicketGone from None
            raise
        if not rules.may_list(person, ticket, facts):
            raise TicketGone
        return facts

    def staffed(self, person: Person, ticket: Reference) -> Facts:
        """The same, for an agent of the ticket's desk alone."""
        if not person.works_at(ticket.desk):
            raise TicketGone
        return self.allowed(person, ticket)

    def facts(self, ticket: Reference, *, fresh: float = FRESH) -> Facts:
        """What is known of a ticket; the desk is asked if that was too long ago.

        Args:
            fresh: seconds; 0 asks in any case.

        Raises:
            TicketGone: the desk does not know it.
            DeskUnavailable: it does not answer, and what is known is too old to go by.
        """
        known = self.store.read(ticket).facts
        now, hints = self.vault.store.now(), known.hints
        if known.read_at and now - known.read_at < fresh and not known.hinted:
            return known
        try:
            found = self.desks[ticket.desk].read(ticket.number)
        except (DeskUnavailable, DeskForbidden):
            if known.read_at and (known.frozen_at is not None or now - known.read_at < STALE):
                return known
            raise
        requester = self.store.person(found.requester)
        members = requester.organisations if requester else ()

        def change(known: Facts) -> Facts:
            if known.read_at > now:  # somebody has asked after us, and heard something newer
                return known
            after = rules.seen(known, found, now, grace=self.grace[ticket.desk])
            after = msgspec.structs.replace(after, heard=hints)
            after = rules.chosen_by_subject(after, found.subject, members)
            return msgspec.structs.replace(after, suggested=self._suggestion(after, found.subject, members))

        before = known.organisation
        facts = self.store.change_facts(ticket, change)
        self._relist(ticket, before, facts.organisation)
        return facts

    def hinted(self, desk: str, headers: Mapping[str, str], body: bytes) -> None:
        """A desk's webhook: have its ticket read again, if we keep anything of it.

        Args:
            headers: by lower-case names.

        Raises:
            HookRefused: it is not the desk's, or too old.
        """
        hint = self.desks[desk].hint(headers, body, time.time())
        if hint is None or hint.own or not self.store.first_delivery(desk, hint.delivery):
            return
        ticket = Reference.of(f"{desk}:{hint.number}")
        if ticket is not None and self.store.read(ticket).links:
            self.store.change_facts(ticket, lambda known: msgspec.structs.replace(known, hints=known.hints + 1))
            self.store.look_at_once(ticket)

    def _suggestion(self, facts: Facts, subject: str, members: tuple[str, ...]) -> str | None:
        if facts.frozen_at is not None or facts.chosen:
            return None
        found = rules.suggested(subject, (*members, *self.store.organisations()))
        return None if found == facts.organisation else found

    def _relist(self, ticket: Reference, before: str | None, after: str | None) -> None:
        if before is not None and before != after:
            self.store.unlist(before, ticket)
        if after is not None:
            self.store.list_under(after, ticket, int(self.vault.store.now()))

    # --- noticing ----------------------------------------------------------------------------------

    def notice(self, ticket: Reference, *, patient: bool = False) -> Record:
        """Look at every link of a ticket that something can still happen to; what is known then.

        Args:
            patient: whether a link that nothing can be said of just now stays as it was last seen.

        Raises:
            Unavailable: it cannot be told how they stand.
        """
        record = self.store.read(ticket)
        now = int(self.vault.store.now())
        for link in record.links.values():
            if record.of(link.id).over:
                continue
            try:
                seen = self.seen(ticket, link)
            except Unavailable as error:
                if not patient and not isinstance(error, RecordMissing):
                    raise
                log.warning("a link could not be looked at", extra={"fields": {"ticket": str(ticket)}})
                continue
            look = partial(_advanced, link, seen, now)
            record.progress[link.id] = self.store.change_progress(ticket, link.id, look)
        return record

    def seen(self, ticket: Reference, link: Link) -> Seen:
        """What the core says of a link just now."""
        try:
            look = self._look(ticket, link)
        except NotFound:
            return Seen(None)
        receipt = look.receipt
        lived = receipt.expires_in if receipt.facts is not None else None
        submitted_at = None if lived is None else receipt.expires_at - lived  # an answer's time begins anew
        return Seen(self.vault.state(look), receipt.facts, submitted_at)

    def _look(self, ticket: Reference, link: Link) -> Look:
        """The link's secret, if it is this ticket's: whoever names another's id in a create gets it listed."""
        look = self.vault.status(unb64(link.id, length=16))
        if look.receipt.label != str(ticket):
            raise NotFound
        return look

    # --- what an agent does ------------------------------------------------------------------------

    def revoke(self, person: Person, ticket: Reference, ref: str) -> Entry:
        """End a link unread.

        Raises:
            TicketGone, NotFound: no such ticket or link for this person.
            Ended: it had ended before.
        """
        link = self._link(person, ticket, ref)
        self.vault.revoke(self._look(ticket, link))
        return self._entry(ticket, link)

    def unlock(self, person: Person, ticket: Reference, ref: str) -> Entry:
        """Give all tries at the password back.

        Raises:
            TicketGone, NotFound: no such ticket or link for this person.
            Conflict: it is not locked.
        """
        link = self._link(person, ticket, ref)
        self.vault.unlock(self._look(ticket, link))
        return self._entry(ticket, link)

    def choose(self, person: Person, ticket: Reference, organisation: str | None) -> Facts:
        """Set the organisation whose list the ticket is in, or confirm it.

        Raises:
            TicketGone: no such ticket for this person.
            Conflict: it is frozen.
        """
        self.staffed(person, ticket)
        return self.set_organisation(ticket, organisation)

    def set_organisation(self, ticket: Reference, organisation: str | None) -> Facts:
        """Set the organisation for somebody who may.

        Raises:
            Conflict: the ticket is frozen.
        """
        before = self.store.read(ticket).facts.organisation

        def change(known: Facts) -> Facts:
            after = rules.choose(known, organisation, self.vault.store.now(), grace=self.grace[ticket.desk])
            return msgspec.structs.replace(after, suggested=None)

        facts = self.store.change_facts(ticket, change)
        self._relist(ticket, before, facts.organisation)
        return facts

    def note_pick_up(self, person: Person, ticket: Reference, ref: str, pick_up: bytes, text: Note) -> None:
        """Write a pick-up link into an internal note, for a colleague to take over.

        It is a pointer: collecting takes an agent of this desk who is signed in.

        Args:
            pick_up: the link's key, which has to be this request's.
            text: the note.

        Raises:
            Invalid: it is another link, or opens without an agent.
        """
        link = self._link(person, ticket, ref)
        if link.kind != "request" or not leads_to(pick_up, link):
            raise Invalid(("link", N_("This is not the pick-up link of that request.")))
        self.write(ticket, text, public=False)

    def reply(self, person: Person, ticket: Reference, ref: str, text: str) -> None:
        """Post a reply about a link, once; the desk sends it to the customer.

        Raises:
            TicketGone, NotFound: no such ticket or link for this person.
            Invalid, DeskUnavailable, TicketClosed: see ``write``.
        """
        self._link(person, ticket, ref)
        digest = sha256(text.encode("utf-8", "surrogatepass")).hex()[:8]
        self.write(ticket, Note(f"{ref}.reply.{digest}", ref, text), public=True)

    def write(self, ticket: Reference, text: Note, *, public: bool) -> None:
        """Write a note or reply at once, for somebody who waits for it; the same again is not written twice.

        Raises:
            Invalid: the desk takes none.
            DeskUnavailable: it is not there, or it is not clear.
            TicketClosed: it takes none any more.
        """
        desk = self.desks[ticket.desk]
        text = msgspec.structs.replace(text, marker=self.marker(text.marker))
        if not desk.notes:
            raise Invalid(("ticket", N_("This desk takes no notes or replies: copy the text instead.")))
        if desk.noted(ticket.number, text.marker):
            return
        if not self.store.begin(text.marker, max(1, int(desk.settles))):
            raise DeskUnavailable(BEING_WRITTEN, retry_after=BUSY)
        try:
            (desk.reply if public else desk.note)(ticket.number, text)
        except SecretsvcError as error:
            if not getattr(error, "unclear", False):
                self.store.give_up(text.marker)
            raise

    def marker(self, name: str) -> str:
        """A marker that nobody else can write, and so make us believe that a note of ours is there."""
        keyring = self.vault.keyring
        return f"{name}.{keyring.derive(keyring.newest, b'marker', name.encode()).hex()[:8]}"

    def _link(self, person: Person, ticket: Reference, ref: str) -> Link:
        self.staffed(person, ticket)
        for link in self.store.read(ticket).links.values():
            if link.ref == ref:
                return link
        raise NotFound(N_("There is no link of this reference on the ticket."))

    def _entry(self, ticket: Reference, link: Link) -> Entry:
        return Entry(link, self.notice(ticket).of(link.id))

    # --- organisations -----------------------------------------------------------------------------

    def listed(self, person: Person, organisation: str) -> Iterator[tuple[Reference, Facts, Entry]]:
        """The links of an organisation's tickets, by ticket, the latest ticket first.

        Raises:
            NotFound: it is not theirs.
        """
        if not rules.may_follow(person, organisation):
            raise NotFound(N_("There is no such organisation, or it is not yours."))
        return self._listed(person, organisation)

    def _listed(self, person: Person, organisation: str) -> Iterator[tuple[Reference, Facts, Entry]]:
        for ticket in self.store.listed_under(organisation):
            try:
                facts = self.facts(ticket, fresh=LISTED) if ticket.desk in self.desks else None
            except (DeskUnavailable, DeskForbidden, TicketGone):
                continue
            if facts is None or facts.organisation != organisation or not rules.may_list(person, ticket, facts):
                continue
            record = self.notice(ticket)
            for link in reversed(record.links.values()):
                if record.of(link.id).state not in ("unborn", "forgotten"):
                    yield ticket, facts, Entry(link, record.of(link.id))

    def follow(self, person: Person, organisation: str, *, language: str | None) -> None:
        """Have a notice sent of every new link on the organisation's tickets; None ends that.

        Raises:
            NotFound: it is not theirs.
            Invalid: there is no address that is known to be theirs.
        """
        if not rules.may_follow(person, organisation):
            raise NotFound(N_("There is no such organisation, or it is not yours."))
        if language is None:
            self.store.follow(organisation, person.id, None)
            return
        if not person.email:
            raise Invalid(("email", N_("Your sign-in brings no verified e-mail address to send notices to.")))
        since = self.vault.store.now()
        details = msgspec.json.encode({"email": person.email, "language": language, "since": since})
        self.store.follow(organisation, person.id, details)

    def follows(self, person: Person, organisation: str) -> bool:
        """Whether notices go to them."""
        return person.id in self.store.followers(organisation)


def _advanced(link: Link, seen: Seen, now: int, known: Progress) -> Progress:
    return advance(link, known, seen, now)


def leads_to(key: bytes, link: Link) -> bool:
    """Whether this is the key of that secret's link."""
    return b64(derive_handles(key).id) == link.id
