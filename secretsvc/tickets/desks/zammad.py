"""Zammad.  Tickets have a number that people say and an id that calls want; states go by their type."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from ...errors import TicketGone
from .. import config
from ..model import Hint, NewTicket, Note, Status, Ticket
from .calls import Calls, shaped
from .signatures import check_zammad, plain_keys
from .words import language_of, numbered, tag, tagged, when

TITLE = 250  # characters
CLOSED_TYPE = 5  # of states that end a ticket for now
FINAL_TYPES = (6, 7)  # merged, removed
STATES_SECONDS = 600  # how long the list of states is taken for true
REMEMBERED = 10_000  # numbers whose ids are remembered


class _State(msgspec.Struct):
    id: int
    name: str
    state_type_id: int


class _Ticket(msgspec.Struct):
    id: int
    number: str
    state_id: int = 0
    title: str | None = None
    customer_id: int | None = None
    organization: str | None = None
    close_at: str | None = None
    last_close_at: str | None = None


class _Preferences(msgspec.Struct):
    locale: str | None = None


class _User(msgspec.Struct):
    email: str | None = None
    firstname: str | None = None
    lastname: str | None = None
    preferences: _Preferences = msgspec.field(default_factory=_Preferences)


class _Organisation(msgspec.Struct):
    id: int
    name: str


class _Article(msgspec.Struct):
    subject: str | None = None


class _Created(msgspec.Struct):
    id: int


class ZammadDesk:
    """A Zammad; see ``model.Desk``.

    Raises:
        Misconfigured: a secret file is missing or malformed.
    """

    notes = True

    def __init__(self, name: str, conf: config.Zammad) -> None:
        place = f"desks.{name}"
        self.name = name
        self.settles = conf.settles
        self._conf = conf
        token = config.secret(conf.token_file, f"{place}.token_file")
        self._headers = {"Authorization": f"Token token={token}"}
        self._keys = plain_keys(conf.webhook_secret_file, f"{place}.webhook_secret_file")
        self._calls = Calls(name, f"{conf.url}/api/v1", seconds=conf.timeout, ca_file=conf.ca_file)
        self._ids: dict[str, int] = {}
        self._states: tuple[float, dict[int, _State]] = (0.0, {})

    def __repr__(self) -> str:
        return f"ZammadDesk({self.name!r})"

    def read(self, number: str) -> Ticket:
        """The ticket, with its requester's address."""
        raw = self._raw(number)
        found = shaped(raw, _Ticket)
        person = self._user(found.customer_id)
        status = self._status(found.state_id)
        package = raw.get(self._conf.package_field) if self._conf.package_field else None
        package = package if isinstance(package, str) and package else None
        return Ticket(
            number=found.number,
            status=status,
            organisation=found.organization or None,
            requester=person.email or None,
            requester_name=" ".join(filter(None, (person.firstname, person.lastname))) or None,
            subject=found.title or "",
            language=language_of(person.preferences.locale),
            package=None if package is None else self._conf.packages.get(package, package),
            solved_at=None if status == "open" else when(found.last_close_at or found.close_at),
        )

    def open(self, new: NewTicket) -> str:
        """A new ticket in the configured group, with the marker in its title."""
        title = tagged(new.subject, new.marker, TITLE)
        body: dict[str, Any] = {
            "title": title,
            "group": self._conf.group,
            "customer_id": f"guess:{new.requester}",
            "article": {
                "subject": title,
                "body": new.text,
                "content_type": "text/plain",
                "type": "note",
                "internal": False,
            },
        }
        organisation = self._organisation_id(new.organisation)
        if organisation is not None:
            body["organization_id"] = organisation
        answer = self._call("POST", "/tickets", body=body, writes=True)
        return shaped(answer, _Ticket, writes=True).number

    def opened(self, marker: str) -> str | None:
        """Found by its title, once Zammad has indexed it."""
        found = [each for each in self._search(marker) if (each.title or "").endswith(tag(marker))]
        return found[0].number if found else None

    def note(self, number: str, note: Note) -> None:
        """An internal article of type note: every other type is mailed, internal or not."""
        self._write(number, note, {"type": "note", "internal": True})

    def reply(self, number: str, reply: Note) -> None:
        """An article that is mailed to the requester, or shown to them where they have no address."""
        person = self._user(shaped(self._raw(number), _Ticket).customer_id)
        if person.email:
            self._write(number, reply, {"type": "email", "to": person.email, "internal": False})
        else:
            self._write(number, reply, {"type": "note", "internal": False})

    def noted(self, number: str, marker: str) -> bool:
        """Found by its subject."""
        id = self._id(number)
        answer = self._call("GET", "/ticket_articles/by_ticket/{}", id, of_ticket=True)
        return any((each.subject or "").endswith(tag(marker)) for each in shaped(answer, list[_Article]))

    def hint(self, headers: Mapping[str, str], body: bytes, now: float) -> Hint | None:
        """From a webhook with the default body, or one of its own that has ``ticket_id`` or ``number``."""
        delivery = check_zammad(self._keys, headers, body)
        try:
            said = msgspec.json.decode(body, type=dict[str, Any])
            ticket = said.get("ticket")
            ticket = ticket if isinstance(ticket, dict) else {}
            number = ticket.get("number", said.get("number"))
            if number is None:
                id = numbered(str(ticket.get("id", said.get("ticket_id"))))
                number = shaped(self._call("GET", "/tickets/{}", id, of_ticket=True), _Ticket).number
            number = numbered(str(number))
        except (msgspec.DecodeError, TicketGone):
            return None
        actor = str(ticket.get("updated_by_id", said.get("actor")))
        return Hint(number, delivery, own=bool(self._conf.account) and actor == self._conf.account)

    # --- parts -------------------------------------------------------------------------------------

    def _raw(self, number: str) -> Any:
        """The ticket as it comes, with its own attributes."""
        return self._call("GET", "/tickets/{}", self._id(number), query={"expand": "true"}, of_ticket=True)

    def _id(self, number: str) -> int:
        """The id behind a number; it never changes."""
        number = numbered(number)
        if number in self._ids:
            return self._ids[number]
        # Without its search engine Zammad knows no fields, and looks for the text as it is.
        for query in (f"number:{number}", number):
            for each in self._search(query):
                if each.number == number:
                    if len(self._ids) >= REMEMBERED:
                        self._ids.clear()
                    self._ids[number] = each.id
                    return each.id
        raise TicketGone

    def _search(self, query: str) -> list[_Ticket]:
        answer = self._call("GET", "/tickets/search", query={"query": query, "expand": "true"})
        return shaped(answer, list[_Ticket])

    def _status(self, state_id: int) -> Status:
        state = self._state(state_id)
        if state is None:
            return "open"
        if state.state_type_id in FINAL_TYPES or state.name in self._conf.closed:
            return "closed"
        solved = state.state_type_id == CLOSED_TYPE or state.name in self._conf.solved
        return "solved" if solved else "open"

    def _state(self, id: int) -> _State | None:
        until, known = self._states
        if id not in known or time.monotonic() > until:
            states = shaped(self._call("GET", "/ticket_states"), list[_State])
            known = {each.id: each for each in states}
            self._states = (time.monotonic() + STATES_SECONDS, known)
        return known.get(id)

    def _user(self, id: int | None) -> _User:
        if id is not None:
            with suppress(TicketGone):  # they were deleted
                return shaped(self._call("GET", "/users/{}", id, of_ticket=True), _User)
        return _User()

    def _organisation_id(self, name: str | None) -> int | None:
        if not name:
            return None
        answer = self._call("GET", "/organizations/search", query={"query": name, "expand": "true"})
        found = [each.id for each in shaped(answer, list[_Organisation]) if each.name == name]
        return found[0] if found else None

    def _write(self, number: str, text: Note, kind: dict[str, Any]) -> None:
        body = {
            "ticket_id": self._id(number),
            "subject": tagged(text.subject, text.marker, TITLE),
            "body": text.text,
            "content_type": "text/plain",
            "sender": "Agent",
            **kind,
        }
        answer = self._call("POST", "/ticket_articles", body=body, writes=True, of_ticket=True)
        shaped(answer, _Created, writes=True)

    def _call(self, method: str, route: str, *parts: str | int, **more: Any) -> Any:
        return self._calls(method, route, *parts, headers=self._headers, **more)
