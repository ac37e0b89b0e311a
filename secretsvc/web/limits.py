"""Limits for each client, counted in the store: creating, signing in, and whatever makes us run Argon2.

Opening without a password is never limited: offices share addresses, and a 256-bit token needs no help.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import FixedWindowRateLimiter

from ..atrest import Keyring
from ..envelope import b64
from ..errors import N_, RateLimited, StoreFull
from ..node import Node

T = TypeVar("T")


class Limits:
    """Fixed windows of a minute.

    Args:
        node: the store's server.
        keyring: its newest key turns client addresses into pseudonyms, so that the store holds none.
        create: how many creates a minute for one client; 0 for no limit.
        password: the same for calls that need Argon2.
        sign_in: the same for attempts to sign in.
    """

    def __init__(self, node: Node, keyring: Keyring, *, create: int, password: int, sign_in: int = 20) -> None:
        self._node = node
        self._counts = _Counts(node)
        self._limiter = FixedWindowRateLimiter(self._counts)
        self._keyring = keyring
        self._create = RateLimitItemPerMinute(create) if create else None
        self._password = RateLimitItemPerMinute(password) if password else None
        self._sign_in = RateLimitItemPerMinute(sign_in) if sign_in else None

    def create(self, address: str | None) -> None:
        """Count a create.

        Raises:
            RateLimited: too many.
            StoreUnavailable: it cannot be counted, so it is refused.
        """
        self._hit(self._create, "create", address, N_("Too many secrets created from your address."))

    def password(self, address: str | None, *, opening: bool) -> None:
        """Count a call that needs Argon2.

        Args:
            address: the client's.
            opening: a full store refuses to count.  Creating fails there anyway; an opening goes on, since
                the cap on wrong passwords and the slots still hold.

        Raises:
            RateLimited, StoreUnavailable: as ``create``.
        """
        try:
            self._hit(self._password, "password", address, N_("Too many passwords tried from your address."))
        except StoreFull:
            if not opening:
                raise

    def sign_in(self, address: str | None) -> None:
        """Count an attempt to sign in.

        Raises:
            RateLimited, StoreUnavailable: as ``create``.
        """
        self._hit(self._sign_in, "sign-in", address, N_("Too many attempts to sign in from your address."))

    def _hit(self, limit: RateLimitItemPerMinute | None, what: str, address: str | None, detail: str) -> None:
        if limit is None:
            return
        client = self._client(address)

        def hit() -> float | None:
            """Seconds until there may be another one, if this is one too many."""
            if self._limiter.hit(limit, what, client):
                return None
            return self._limiter.get_window_stats(limit, what, client).reset_time - time.time()

        key = self._counts.prefixed_key(limit.key_for(what, client))
        left = self._node.guarded(lambda: _unwrapped(hit), (key,))
        if left is not None:
            raise RateLimited(detail, retry_after=max(1, math.ceil(left)))

    def _client(self, address: str | None) -> str:
        """A pseudonym; an IPv6 client is its /64, since it may use any address in there."""
        try:
            ip = ipaddress.ip_address(address or "")
        except ValueError:
            return "unknown"
        if isinstance(ip, ipaddress.IPv6Address):
            mapped = ip.ipv4_mapped
            ip = mapped or ipaddress.ip_network((ip, 64), strict=False).network_address
        return b64(self._keyring.derive(self._keyring.newest, b"client", ip.packed)[:12])


class _Counts(RedisStorage):
    """The library's counters on the store's own connections, whatever kind of server it is."""

    def __init__(self, node: Node) -> None:
        self._connections = node.client
        super().__init__("redis://", key_prefix="ss:limit", wrap_exceptions=True)

    def get_connection(self, readonly: bool = False) -> Any:
        return self._connections


def _unwrapped(call: Callable[[], T]) -> T:
    """The library's errors as the store's own; a full store is told apart from one that does not answer."""
    try:
        return call()
    except StorageError as error:
        if type(error.storage_error).__name__ == "OutOfMemoryError":
            raise StoreFull from None
        raise error.storage_error from None
