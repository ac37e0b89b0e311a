"""What the views work with: the vault and everything around it, and who is asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from flask import current_app, request

from ..errors import N_, Forbidden, NotFound, Unauthorized
from ..ledger import RedisLedger
from ..model import Look, Receipt
from ..settings import Settings
from ..store import RedisStore
from ..tokens import Person, Tokens
from ..vault import Vault
from .limits import Limits


class Desks(Protocol):
    """What the ticket module has to say to calls of the core."""

    def signed_in(self) -> Person | None:
        """Whose session the request at hand belongs to, if it comes from our own pages."""

    def covers(self, person: Person, label: str | None) -> bool:
        """Whether they are staff where this label belongs."""

    def check_form(self, name: str) -> None:
        """Refuse a form that nobody knows: Invalid."""

    def facts(self, look: Look, said: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is kept of an answer outside its sealed part, once the form is content with it; else Invalid."""


class NoDesks:
    """Nobody signs in, staff are staff everywhere, and forms are words."""

    def signed_in(self) -> Person | None:
        """Nobody."""
        return None

    def covers(self, person: Person, label: str | None) -> bool:
        """Whether they are staff."""
        return person.agent

    def check_form(self, name: str) -> None:
        """Any will do."""

    def facts(self, look: Look, said: Mapping[str, Any]) -> Mapping[str, Any]:
        """What was said."""
        return said


@dataclass(frozen=True)
class Service:
    """One running service: made by ``app.create_app``, read by every view."""

    settings: Settings
    vault: Vault
    store: RedisStore
    ledger: RedisLedger
    tokens: Tokens
    limits: Limits
    desks: Desks = field(default_factory=NoDesks)

    def caller(self) -> Person | None:
        """Whose API token came along, or else whose session, or None where there is neither.

        Raises:
            Unauthorized: a token that is not valid.
        """
        token = request.headers.get("X-API-Key")
        return self.desks.signed_in() if token is None else self.tokens.find(token)

    def staff(self) -> Person:
        """The agent who is asking.

        Raises:
            Unauthorized, Forbidden: nobody, or not an agent.
        """
        caller = self.caller()
        if caller is None:
            raise Unauthorized(N_("This is for staff: sign in, or send an agent's API token in X-API-Key."))
        if not caller.agent:
            raise Forbidden(N_("This is for staff, and you are not signed in as an agent."))
        return caller

    def creator(self, *, staff: bool = False) -> Person | None:
        """Who is creating, if the setting lets them, counted against their address's limit.

        Args:
            staff: whether it takes staff whatever the setting says.

        Raises:
            Unauthorized, Forbidden, RateLimited: they may not, or not now.
        """
        if self.settings.create == "nobody":
            raise Forbidden(N_("Nothing can be created here: this service only opens links."))
        caller = self.staff() if staff or self.settings.create == "staff" else self.caller()
        self.limits.create(request.remote_addr, self.size())
        return caller

    def size(self) -> int:
        """The bytes of the request at hand, at most those of the largest secret; those if it does not say."""
        most, length = self.settings.max_secret_bytes, request.content_length
        return most if length is None else min(length, most)

    def opener(self) -> Person | None:
        """Who is opening, if the setting lets them.

        Raises:
            Unauthorized, Forbidden: they may not.
        """
        if self.settings.open == "nobody":
            raise Forbidden(N_("Nothing can be opened here: this service only creates links."))
        return self.caller()

    def collector(self, caller: Person | None, receipt: Receipt) -> str | None:
        """The name of whoever may collect the answer to this request, or None: they may not."""
        may = caller is not None and self.desks.covers(caller, receipt.label)
        return caller.name if caller is not None and may else None

    def label(self, label: str | None, caller: Person | None) -> str | None:
        """A label, if whoever sends it may.

        Raises:
            Forbidden: labels are for staff.
            NotFound: it names a ticket of a desk where they are not staff.
        """
        if label is None:
            return None
        if caller is None or not caller.agent:
            raise Forbidden(
                N_("Labels are for staff: sign in, or send an agent's API token in X-API-Key."), field="label"
            )
        if not self.desks.covers(caller, label):
            raise NotFound
        return label

    def limit_password(self, *, opening: bool) -> None:
        """Count a call that makes us run Argon2.

        Raises:
            RateLimited: too many from this address.
        """
        self.limits.password(request.remote_addr, opening=opening)


def service() -> Service:
    """The service of the request at hand."""
    return cast(Service, current_app.extensions["secretsvc"])
