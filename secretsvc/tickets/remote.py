"""The service's other end of the wire, for the command line: a ticket's links, and texts to send them with.

Whatever the service says is checked as far as it is relied on, and shown without control characters.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import msgspec

from ..client import Client, Created, NotTheService, Problem, plain
from ..errors import SecretsvcError
from ..model import Kind
from .model import Reference
from .texts import LINK, Format
from .wording import Language, fill, moment

T = TypeVar("T")
_REF = re.compile(r"[2-9B-DF-HJ-NP-TV-Z]{6}")


class Event(msgspec.Struct, frozen=True):
    """Something that became of a link; ``at`` is a time as the API says it."""

    type: str
    at: str
    by: str = ""


class Row(msgspec.Struct, frozen=True):
    """A link in a ticket's list."""

    ref: str
    kind: str
    state: str
    created_at: str
    expires_at: str
    by: str = ""
    password: bool = False
    form: str = ""
    order: bool = False
    identity: str = ""
    events: tuple[Event, ...] = ()


class Page(msgspec.Struct, frozen=True):
    """A ticket with its links, as the service shows it to agents.

    Attributes:
        shared: whether its whole organisation reads it.
        confirm: whether its organisation acts for others.
        notes: whether its desk takes notes.
    """

    ticket: str
    status: str
    links: tuple[Row, ...]
    organisation: str = ""
    language: Language | None = None
    shared: bool = False
    confirm: bool = False
    notes: bool = False


class _Form(msgspec.Struct, frozen=True):
    name: str


class _Forms(msgspec.Struct, frozen=True):
    forms: tuple[_Form, ...]


# By kind, language, whether there is a password ("true", "false"), and format.
_Texts = dict[Kind, dict[Language, dict[Literal["true", "false"], dict[Format, str]]]]


class Remote:
    """One ticket, as the service knows it.

    Every call raises:
        Problem, Unreachable, NotTheService: as ``Client.staff``.

    Args:
        client: with an agent's API token.
        ticket: which.
    """

    def __init__(self, client: Client, ticket: Reference) -> None:
        self.client = client
        self.ticket = ticket
        self._path = f"/tickets/{ticket.desk}/{ticket.number}"

    def page(self) -> tuple[Page, dict[str, Any]]:
        """The ticket with its links, and all that was said of it."""
        found = self.client.staff("GET", self._path)
        return _read(found, Page), found

    def act(self, ref: str, what: Literal["revoke", "unlock"]) -> tuple[Row, dict[str, Any]]:
        """End a link unread, or give all tries at its password back; how it stands now."""
        found = self.client.staff("POST", f"{self._path}/links/{ref}/{what}")
        return _read(found, Row), found

    def forms(self) -> list[str]:
        """The names of the forms there are."""
        return [form.name for form in _read(self.client.staff("GET", "/forms"), _Forms).forms]

    def text(self, kind: Kind, language: Language, format: Format, *, password: bool) -> str:
        """What goes along with a link, its slots for link and time still open: they are filled here."""
        texts: _Texts = _read(self.client.staff("GET", f"{self._path}/texts"), _Texts)
        try:
            text = texts[kind][language]["true" if password else "false"][format]
        except KeyError:
            raise NotTheService from None
        if LINK not in text:
            raise NotTheService
        return "\n".join(map(_line, text.split("\n")))

    def refs(self, created: Created, kind: Kind, before: Page) -> list[str]:
        """The short reference of a link that was just made, as it stands in the ticket's list; raises nothing.

        None where it cannot be found out; several where somebody else made another link in that second.

        Args:
            before: the ticket as it was before.
        """
        known = {row.ref for row in before.links}
        until = created.fields.get("expires_at")
        try:
            rows = [row for row in self.page()[0].links if row.ref not in known]
        except SecretsvcError:
            return []
        found = [row.ref for row in rows if (row.kind, row.expires_at) == (kind, until)]
        return found if all(map(_REF.fullmatch, found)) else []

    def note(self, refs: list[str], link: str) -> str:
        """Write a pick-up link into an internal note; the reference that it belongs to.

        Args:
            refs: one of them is the link's; the service writes nothing for another one.

        Raises:
            NotTheService: also where there is none.
        """
        refused: SecretsvcError = NotTheService("The request is not found on its ticket.")
        for ref in refs:
            try:
                self._note(ref, link)
            except Problem as problem:
                if problem.kind != "invalid":
                    raise
                refused = problem
            else:
                return ref
        raise refused

    def _note(self, ref: str, link: str) -> None:
        self.client.staff("POST", f"{self._path}/links/{ref}/note", {"link": link}, status=204)


def reference(text: str) -> str | None:
    """A link's short reference as somebody typed it; None for what cannot be one."""
    typed = text.strip().upper()
    return typed if _REF.fullmatch(typed) else None


def filled(text: str, link: str, created: Created, language: Language) -> str:
    """The text with the link in it, and until when it works.

    Raises:
        NotTheService: nobody said until when.
    """
    try:
        until = datetime.strptime(created.fields["expires_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        raise NotTheService from None
    return fill(text, link=link, until=moment(until.timestamp(), language))


def _line(text: str) -> str:
    """As ``client.plain``, but at any length, and white space of every kind is a space."""
    spaced = re.sub(r"\s", " ", text)
    return "".join(plain(spaced[start : start + 400]) for start in range(0, len(spaced), 400))


def _read(found: Any, shape: type[T]) -> T:
    try:
        return msgspec.convert(found, shape)
    except msgspec.ValidationError:
        raise NotTheService from None
