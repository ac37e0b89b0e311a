"""What the views work with: the vault and everything around it, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app, request

from ..errors import N_, Forbidden, Unauthorized
from ..ledger import RedisLedger
from ..settings import Settings
from ..store import RedisStore
from ..tokens import ApiToken, Tokens
from ..vault import Vault
from .limits import Limits


@dataclass(frozen=True)
class Service:
    """One running service: made by ``app.create_app``, read by every view."""

    settings: Settings
    vault: Vault
    store: RedisStore
    ledger: RedisLedger
    tokens: Tokens
    limits: Limits

    def caller(self) -> ApiToken | None:
        """Whose API token came along, or None where there is none.

        Raises:
            Unauthorized: a token that is not valid.
        """
        token = request.headers.get("X-API-Key")
        return None if token is None else self.tokens.find(token)

    def staff(self) -> ApiToken:
        """The agent who is asking.

        Raises:
            Unauthorized, Forbidden: nobody, or not an agent.
        """
        caller = self.caller()
        if caller is None:
            raise Unauthorized(N_("This is for staff: send an agent's API token in X-API-Key."))
        if not caller.agent:
            raise Forbidden(N_("This is for staff: this API token is not an agent's."))
        return caller

    def creator(self, *, staff: bool = False) -> ApiToken | None:
        """Who is creating, if the setting lets them, counted against their address's limit.

        Args:
            staff: whether it takes staff whatever the setting says.

        Raises:
            Unauthorized, Forbidden, RateLimited: they may not, or not now.
        """
        if self.settings.create == "nobody":
            raise Forbidden(N_("Nothing can be created here: this service only opens links."))
        caller = self.staff() if staff or self.settings.create == "staff" else self.caller()
        self.limits.create(request.remote_addr)
        return caller

    def opener(self) -> ApiToken | None:
        """Who is opening, if the setting lets them.

        Raises:
            Unauthorized, Forbidden: they may not.
        """
        if self.settings.open == "nobody":
            raise Forbidden(N_("Nothing can be opened here: this service only creates links."))
        return self.caller()

    def label(self, label: str | None, caller: ApiToken | None) -> str | None:
        """A label, if whoever sends it may.

        Raises:
            Forbidden: labels are for staff.
        """
        if label is not None and not (caller and caller.agent):
            raise Forbidden(N_("Labels are for staff: send an agent's API token in X-API-Key."), field="label")
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
