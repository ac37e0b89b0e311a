"""Zendesk, with an OAuth client's own credentials.

Comments are made by updating the ticket; a closed ticket refuses that with 422, in either of two forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from ...errors import TicketClosed, TicketGone
from .. import config
from ..model import Hint, NewTicket, Note, Status, Ticket
from .calls import Calls, Refused, shaped
from .client_tokens import ClientTokens
from .signatures import check_zendesk, plain_keys
from .words import ended, ends, language_of, numbered

SCOPE = "tickets:read tickets:write organizations:read users:read"
PAGES = 50  # a ticket has 5,000 comments at most
_TICKET = "/api/v2/tickets/{}"
_STATUS: dict[str, Status] = {"solved": "solved", "closed": "closed", "deleted": "closed"}


class _Field(msgspec.Struct):
    id: int
    value: Any = None


class _Ticket(msgspec.Struct):
    id: int
    status: str
    subject: str | None = None
    organization_id: int | None = None
    requester_id: int | None = None
    external_id: str | None = None
    custom_fields: list[_Field] = []


class _TicketAnswer(msgspec.Struct):
    ticket: _Ticket


class _Created(msgspec.Struct):
    id: int


class _CreatedAnswer(msgspec.Struct):
    ticket: _Created


class _Tickets(msgspec.Struct):
    tickets: list[_Ticket]


class _Organisation(msgspec.Struct):
    id: int
    name: str


class _OrganisationAnswer(msgspec.Struct):
    organization: _Organisation


class _Organisations(msgspec.Struct):
    organizations: list[_Organisation]


class _User(msgspec.Struct):
    name: str | None = None
    email: str | None = None
    locale: str | None = None


class _UserAnswer(msgspec.Struct):
    user: _User


class _Comment(msgspec.Struct):
    body: str = ""
    plain_body: str = ""


class _Meta(msgspec.Struct):
    has_more: bool = False
    after_cursor: str | None = None


class _Comments(msgspec.Struct):
    comments: list[_Comment]
    meta: _Meta = msgspec.field(default_factory=_Meta)


class ZendeskDesk:
    """A Zendesk account; see ``model.Desk``.

    Raises:
        Misconfigured: a secret file is missing or malformed.
    """

    notes = True

    def __init__(self, name: str, conf: config.Zendesk) -> None:
        place = f"desks.{name}"
        self.name = name
        self.settles = conf.settles
        self._conf = conf
        secret = config.secret(conf.client_secret_file, f"{place}.client_secret_file")
        self._keys = plain_keys(conf.webhook_secret_file, f"{place}.webhook_secret_file")
        self._calls = Calls(name, conf.url, seconds=conf.timeout, ca_file=conf.ca_file)
        self._tokens = ClientTokens(self._calls, "/oauth/tokens", conf.client_id, secret, SCOPE)

    def __repr__(self) -> str:
        return f"ZendeskDesk({self.name!r})"

    def read(self, number: str) -> Ticket:
        """The ticket with the names of its organisation and requester."""
        answer = self._call("GET", _TICKET, numbered(number), of_ticket=True)
        found = shaped(answer, _TicketAnswer).ticket
        person = self._user(found.requester_id)
        packages = [each.value for each in found.custom_fields if each.id == self._conf.package_field]
        package = packages[0] if packages and isinstance(packages[0], str) else None
        return Ticket(
            number=str(found.id),
            status=_STATUS.get(found.status, "open"),
            organisation=self._organisation(found.organization_id),
            requester=person.email,
            requester_name=person.name,
            subject=found.subject or "",
            language=language_of(person.locale),
            package=None if package is None else self._conf.packages.get(package, package),
        )

    def open(self, new: NewTicket) -> str:
        """A new ticket with the marker as its external id."""
        ticket: dict[str, Any] = {
            "subject": " ".join(new.subject.split()),
            "comment": {"body": new.text, "public": True},
            "requester": {"name": new.requester_name or new.requester, "email": new.requester},
            "external_id": new.marker,
        }
        organisation = self._organisation_id(new.organisation)
        if organisation is not None:
            ticket["organization_id"] = organisation
        answer = self._call("POST", "/api/v2/tickets", body={"ticket": ticket}, writes=True)
        return str(shaped(answer, _CreatedAnswer, writes=True).ticket.id)

    def opened(self, marker: str) -> str | None:
        """Found by its external id."""
        answer = self._call("GET", "/api/v2/tickets", query={"external_id": marker})
        found = [each for each in shaped(answer, _Tickets).tickets if each.external_id == marker]
        return str(found[0].id) if found else None

    def note(self, number: str, note: Note) -> None:
        """A comment that is not public."""
        self._comment(number, note, public=False)

    def reply(self, number: str, reply: Note) -> None:
        """A public comment."""
        self._comment(number, reply, public=True)

    def noted(self, number: str, marker: str) -> bool:
        """Found by the marker in the last line, the newest comments first."""
        query = {"sort": "-created_at", "page[size]": "100"}
        for _ in range(PAGES):
            answer = self._call("GET", f"{_TICKET}/comments", numbered(number), query=query, of_ticket=True)
            page = shaped(answer, _Comments)
            if any(ends(each.plain_body or each.body, marker) for each in page.comments):
                return True
            if not page.meta.has_more or not page.meta.after_cursor:
                break
            query["page[after]"] = page.meta.after_cursor
        return False

    def hint(self, headers: Mapping[str, str], body: bytes, now: float) -> Hint | None:
        """From an event subscription, or a trigger whose body has ``ticket_id`` and perhaps ``actor``."""
        delivery = check_zendesk(self._keys, headers, body, now)
        try:
            said = msgspec.json.decode(body, type=dict[str, Any])
            detail = said.get("detail")
            event = detail if isinstance(detail, dict) else {}
            number = numbered(str(event.get("id", said.get("ticket_id"))))
        except (msgspec.DecodeError, TicketGone):
            return None
        actor = str(event.get("actor_id", said.get("actor")))
        return Hint(number, delivery, own=bool(self._conf.account) and actor == self._conf.account)

    # --- parts -------------------------------------------------------------------------------------

    def _comment(self, number: str, text: Note, *, public: bool) -> None:
        body = {"ticket": {"comment": {"body": ended(text.text, text.marker), "public": public}}}
        try:
            self._call("PUT", _TICKET, numbered(number), body=body, writes=True, of_ticket=True)
        except Refused as error:
            if _closed(error):
                raise TicketClosed from None
            raise

    def _user(self, id: int | None) -> _User:
        if id is not None:
            with suppress(TicketGone):  # they were deleted
                answer = self._call("GET", "/api/v2/users/{}", id, of_ticket=True)
                return shaped(answer, _UserAnswer).user
        return _User()

    def _organisation(self, id: int | None) -> str | None:
        if id is not None:
            with suppress(TicketGone):
                answer = self._call("GET", "/api/v2/organizations/{}", id, of_ticket=True)
                return shaped(answer, _OrganisationAnswer).organization.name
        return None

    def _organisation_id(self, name: str | None) -> int | None:
        if not name:
            return None
        answer = self._call("GET", "/api/v2/organizations/search", query={"name": name})
        found = [each.id for each in shaped(answer, _Organisations).organizations if each.name == name]
        return found[0] if found else None

    def _call(self, method: str, route: str, *parts: str | int, **more: Any) -> Any:
        """A call with a token that is valid, and once again with a new one if it was not."""
        token = self._tokens.token()
        try:
            return self._calls(method, route, *parts, headers={"Authorization": f"Bearer {token}"}, **more)
        except Refused as error:
            if error.status != 401:
                raise
        token = self._tokens.token(refused=token)
        return self._calls(method, route, *parts, headers={"Authorization": f"Bearer {token}"}, **more)


def _closed(error: Refused) -> bool:
    """Whether it is refused because the ticket is closed."""
    if error.status != 422 or not isinstance(error.answer, dict):
        return False
    if error.answer.get("error") == "ClosedTicket":
        return True
    details = error.answer.get("details")
    status = details.get("status") if isinstance(details, dict) else None
    texts = [each.get("description") for each in status or [] if isinstance(each, dict)]
    return any(isinstance(text, str) and "closed prevents" in text for text in texts)
