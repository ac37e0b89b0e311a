"""Orders: a signed-in customer hands credentials in without being asked.

The ticket is opened in the helpdesk, and its agents find the pick-up link in an internal note: so the server
passes that link on, which the page says.  The note is written before anything is handed in; whatever fails, the
customer's answer is not stored, and the same order sent again goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from .. import envelope as format
from ..atrest import joined, sha256
from ..envelope import RequestLink, b64
from ..errors import N_, Conflict, DeskUnavailable, Forbidden, Invalid, NotFound, Opened, SecretsvcError
from ..tokens import Person
from ..vault import New, Vault
from . import notes
from .model import Desk, NewTicket, Note, Reference
from .notices import Language
from .service import BEING_WRITTEN, BUSY, Tickets

FOR_CUSTOMERS = N_("Orders are for customers. As an agent, ask for what you need from the ticket's page.")


@dataclass(frozen=True, repr=False)
class Order:
    """What a customer hands in.

    Attributes:
        key: the pick-up link's, 32 bytes, made for this order.
        idempotency_key: the same for every try at it.
        form, title: the form's name, and what it is called in the desk's language.
        organisation: for whom; None for whoever belongs to none.
        envelope: makes the sealed answer, for this request; a browser has made it before.
        facts: what stands outside, checked by the form.
        expires_in: seconds.
    """

    key: bytes
    idempotency_key: str
    form: str
    title: str
    organisation: str | None
    envelope: Callable[[RequestLink], bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)
    expires_in: int = 7 * 86_400
    language: Language = "en"


@dataclass(frozen=True)
class Placed:
    """An order that was handed in: its ticket, its short reference, and until when it waits there."""

    ticket: Reference
    ref: str
    expires_at: int


class Orders:
    """Takes orders.

    Args:
        tickets: the rules.
        desk: the name of the desk that they are opened at; empty where there are no orders.
        language: of the texts in the ticket.
        base_url: of this service, for the pick-up link.
    """

    def __init__(self, tickets: Tickets, desk: str, *, language: Language, base_url: str) -> None:
        self.tickets = tickets
        self.store = tickets.store
        self.vault: Vault = tickets.vault
        self.desk = desk
        self.language = language
        self.base_url = base_url

    @property
    def taken(self) -> bool:
        """Whether orders are taken at all."""
        return bool(self.desk)

    def allowed(self, person: Person, organisation: str | None) -> None:
        """Refuse whoever may not order for this organisation.

        Raises:
            Forbidden: an agent, or there are no orders here, or no known address to open a ticket for.
            Invalid: it is not theirs, or they have to say which.
        """
        if person.agent:
            raise Forbidden(FOR_CUSTOMERS)
        if not self.desk:
            raise Forbidden(N_("Orders are not taken here. Write to support, and they will ask you."))
        if not person.email:
            raise Forbidden(N_("Your sign-in brings no verified e-mail address, so no ticket can be opened."))
        if organisation is None and person.organisations:
            raise Invalid(("organisation", N_("Choose for whom this is.")))
        if organisation is not None and organisation not in person.organisations:
            raise Invalid(("organisation", N_("This is not one of your organisations.")))

    def place(self, person: Person, order: Order) -> Placed:
        """Open the ticket, leave the pick-up link there, and store the answer; may be repeated.

        Raises:
            Forbidden, Invalid: see ``allowed``.
            DeskUnavailable: the helpdesk does not answer; nothing was handed in, and it may be sent again.
            Conflict: this order was handed in before with another answer.
        """
        self.allowed(person, order.organisation)
        desk = self.tickets.desks[self.desk]
        handles = format.derive_handles(order.key)
        self._refuse_used(handles.id, person, order)
        ticket = Reference(self.desk, self._number(desk, person, order))
        facts = self.tickets.facts(ticket)  # before choosing: what the desk says later must not be news
        if order.organisation is not None and not facts.chosen:
            self.tickets.set_organisation(ticket, order.organisation)
        link = RequestLink(handles.id, format.request_public_key(order.key))
        self.vault.create(
            New(
                id=handles.id,
                token=handles.token,
                answer_token=link.answer_token(),
                expires_in=order.expires_in,
                form=order.form,
                language=order.language,
                label=str(ticket),
                caller=person.id,
                by=person.name,
                identity="signed-in",
                order=True,
            )
        )
        self._note(ticket, order)
        look = self.vault.look(handles.id, link.answer_token(), "answerer")
        try:
            self.vault.answer(look, order.envelope(link), msgspec.json.encode(order.facts).decode())
        except Opened:
            raise Conflict(N_("This order has been handed in and picked up already.")) from None
        listed = self.store.read(ticket).links.get(b64(handles.id))
        return Placed(ticket, listed.ref if listed else "", self.vault.status(handles.id).receipt.expires_at)

    def placed(self, person: Person, idempotency_key: str) -> str | None:
        """The number of the ticket that this order was given before, if it was."""
        return self.store.order(f"order-{_digest(person.id, idempotency_key)}")

    def _refuse_used(self, id: bytes, person: Person, order: Order) -> None:
        """Before a ticket is opened for nothing: a key that was used for anything but this very order.

        Raises:
            Conflict: it was.
        """
        try:
            label = self.vault.status(id).receipt.label
        except NotFound:
            return
        number = self.placed(person, order.idempotency_key)
        if number is None or label != str(Reference(self.desk, number)):
            raise Conflict(N_("This link belongs to another secret. Load the page anew and try again."))

    def _number(self, desk: Desk, person: Person, order: Order) -> str:
        """The number of the order's ticket, which is opened once."""
        marker = f"order-{_digest(person.id, order.idempotency_key)}"
        if number := self.store.order(marker):
            return number
        if not self.store.begin(marker, max(1, int(desk.settles))):
            raise DeskUnavailable(BEING_WRITTEN, retry_after=BUSY)
        try:
            number = desk.opened(marker) or desk.open(
                NewTicket(
                    marker=marker,
                    subject=notes.order_subject(order.title, self.language),
                    text=notes.order_text(order.title, order.organisation, self.language),
                    requester=person.email,
                    requester_name=person.name,
                    organisation=order.organisation,
                )
            )
        except SecretsvcError as error:
            if not getattr(error, "unclear", False):
                self.store.give_up(marker)  # it was not opened, so the next try need not wait
            raise
        self.store.note_order(marker, number)
        return number

    def _note(self, ticket: Reference, order: Order) -> None:
        link = format.format_link(self.base_url, order.key)
        subject = notes.pick_up_subject(order.title, self.language)
        marker = f"pick-up-{_digest(str(ticket), b64(format.derive_handles(order.key).id))}"
        text = Note(marker, subject, notes.pick_up_text(link, self.language))
        self.tickets.write(ticket, text, public=False)


def _digest(*words: str) -> str:
    """24 hexadecimal digits that say nothing of the words."""
    return sha256(joined(b"secretsvc/v1/order", *(word.encode() for word in words))).hex()[:24]
