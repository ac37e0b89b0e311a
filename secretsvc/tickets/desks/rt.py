"""Request Tracker 5, by REST2.

Known traps: only the search form tells a requestor's organisation; a note to a ticket that is not there, or not
for us, is 400 "Permission Denied"; notes have no id, so they are found by their subject; a search knows neither
merged nor deleted tickets.

Rights our account needs in the queue: SeeQueue, ShowTicket, ShowTicketComments, CommentOnTicket, ReplyToTicket,
SeeCustomField; for orders CreateTicket and SetInitialCustomField too, without which Request Tracker drops the
organisation and says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...errors import TicketGone
from .. import config
from ..model import Hint, NewTicket, Note, Status, Ticket
from .calls import Calls, Refused, shaped
from .signatures import check_standard, standard_keys
from .words import language_of, numbered, tag, tagged, when

SUBJECT = 200  # characters that Request Tracker keeps
_FIELDS = {
    "fields": "Subject,Status,Requestor,Resolved,CustomFields",
    "fields[Requestor]": "Name,EmailAddress,RealName,Organization,Lang",
}
Text = str | None


class _User(msgspec.Struct, rename="pascal"):
    email_address: Text = None
    real_name: Text = None
    organization: Text = None
    lang: Text = None


class _Field(msgspec.Struct):
    name: str = ""
    values: list[Any] = []


class _Ticket(msgspec.Struct, rename="pascal"):
    id: str = msgspec.field(name="id")
    status: str = ""
    subject: Text = None
    resolved: Text = None
    requestor: list[_User] = []
    custom_fields: list[_Field] = []


class _Tickets(msgspec.Struct):
    items: list[_Ticket]


class _Items(msgspec.Struct):
    items: list[Any]


class _Effective(msgspec.Struct, rename="pascal"):
    id: int | str = msgspec.field(name="id")


class _HookData(msgspec.Struct):
    ticket_id: int | str
    actor: Text = None


class _Hook(msgspec.Struct):
    data: _HookData


class RequestTrackerDesk:
    """A queue of a Request Tracker; see ``model.Desk``.

    Raises:
        Misconfigured: a secret file is missing or malformed.
    """

    notes = True

    def __init__(self, name: str, conf: config.RequestTracker) -> None:
        place = f"desks.{name}"
        self.name = name
        self.settles = conf.settles
        self._conf = conf
        self._headers = {"Authorization": f"token {config.secret(conf.token_file, f'{place}.token_file')}"}
        self._keys = standard_keys(conf.webhook_secret_file, f"{place}.webhook_secret_file")
        self._calls = Calls(name, f"{conf.url}/REST/2.0", seconds=conf.timeout, ca_file=conf.ca_file)

    def __repr__(self) -> str:
        return f"RequestTrackerDesk({self.name!r})"

    def read(self, number: str) -> Ticket:
        """The ticket, or the one it was merged into."""
        number = numbered(number)
        found = self._search(f"id = {number}") or self._search(f"id = {self._merged_into(number)}")
        if not found:
            raise TicketGone  # deleted
        return self._ticket(found[0])

    def open(self, new: NewTicket) -> str:
        """A new ticket in the configured queue, with the marker in its subject."""
        fields = {self._conf.organisation_field: new.organisation}
        body = {
            "Queue": self._conf.queue,
            "Subject": tagged(new.subject, new.marker, SUBJECT),
            "Requestor": new.requester,
            "Content": new.text,
            "ContentType": "text/plain",
            "CustomFields": {name: value for name, value in fields.items() if name and value},
        }
        answer = self._calls("POST", "/ticket", headers=self._headers, body=body, writes=True)
        return str(shaped(answer, _Effective, writes=True).id)

    def opened(self, marker: str) -> str | None:
        """Found by its subject."""
        query = f"Queue = {_quoted(self._conf.queue)} AND Subject LIKE {_quoted(tag(marker))}"
        found = self._search(query)
        return found[0].id if found else None

    def note(self, number: str, note: Note) -> None:
        """A comment."""
        self._write(number, "comment", note)

    def reply(self, number: str, reply: Note) -> None:
        """Correspondence, which Request Tracker mails to the requestor."""
        self._write(number, "correspond", reply)

    def noted(self, number: str, marker: str) -> bool:
        """Found by its subject, also where the ticket was merged before or after."""
        number = numbered(number)
        tickets = {number, self._merged_into(number)}
        places = " OR ".join(f"TicketId = {each}" for each in sorted(tickets))
        types = "Type = 'Comment' OR Type = 'Correspond'"
        query = f"({places}) AND ({types}) AND Subject LIKE {_quoted(tag(marker))}"
        answer = self._calls("GET", "/transactions", headers=self._headers, query={"query": query})
        return bool(shaped(answer, _Items).items)

    def hint(self, headers: Mapping[str, str], body: bytes, now: float) -> Hint | None:
        """From a scrip that signs by Standard Webhooks; ``data`` holds ``ticket_id`` and ``actor``."""
        delivery = check_standard(self._keys, headers, body, now)
        try:
            data = msgspec.json.decode(body, type=_Hook).data
            number = numbered(str(data.ticket_id))
        except (msgspec.DecodeError, TicketGone):
            return None
        return Hint(number, delivery, own=bool(self._conf.account) and data.actor == self._conf.account)

    def _search(self, query: str) -> list[_Ticket]:
        answer = self._calls("GET", "/tickets", headers=self._headers, query={"query": query, **_FIELDS})
        return shaped(answer, _Tickets).items

    def _merged_into(self, number: str) -> str:
        """The number that a ticket goes by since it was merged, or its own."""
        try:
            answer = self._calls("GET", "/ticket/{}", number, headers=self._headers, of_ticket=True)
        except Refused as error:
            # The account itself is refused with 401; 403 is a ticket that it may not see.
            raise (TicketGone() if error.status == 403 else error) from None
        return numbered(str(shaped(answer, _Effective).id))

    def _write(self, number: str, how: str, text: Note) -> None:
        number = numbered(number)
        body = {
            "Subject": tagged(text.subject, text.marker, SUBJECT),
            "Content": text.text,
            "ContentType": "text/plain",
        }
        route = "/ticket/{}/" + how
        try:
            self._calls("POST", route, number, headers=self._headers, body=body, writes=True, of_ticket=True)
        except Refused:
            self._merged_into(number)  # says whether it is the ticket that is missing
            raise

    def _ticket(self, found: _Ticket) -> Ticket:
        fields = {each.name: str(each.values[0]) for each in found.custom_fields if each.values}
        person = found.requestor[0] if found.requestor else _User()
        package = fields.get(self._conf.package_field) if self._conf.package_field else None
        organisation = fields.get(self._conf.organisation_field) if self._conf.organisation_field else None
        status = self._status(found.status)
        return Ticket(
            number=found.id,
            status=status,
            organisation=organisation or person.organization or None,
            requester=person.email_address or None,
            requester_name=person.real_name or None,
            subject=found.subject or "",
            language=language_of(person.lang),
            package=None if package is None else self._conf.packages.get(package, package),
            solved_at=None if status == "open" else when(found.resolved),
        )

    def _status(self, word: str) -> Status:
        if word in self._conf.closed:
            return "closed"
        return "solved" if word in self._conf.solved else "open"


def _quoted(text: str) -> str:
    """A value in a query."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
