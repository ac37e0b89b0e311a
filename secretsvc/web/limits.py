"""Limits for each client, counted in the store: creating, signing in, and whatever makes us run Argon2.

What is counted is said in the headers ``RateLimit-Policy`` and ``RateLimit``.

Opening without a password is never limited: offices share addresses, and a 256-bit token needs no help.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from flask import Flask, Response, after_this_request, request
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import RedisStorage

from ..atrest import Keyring
from ..envelope import b64
from ..errors import N_, RateLimited, StoreFull
from ..node import Node
from ..rules import Evaluation, named

SMALL = 2048  # bytes of a body that count as one create and nothing more
T = TypeVar("T")


# Calls that are never counted and bring a link, a token or a password.
SMALL_BODIES = {
    *("api.claim", "api.done", "api.report", "api.revoke", "api.unlock", "api.open_"),
    *("pages.open_", "pages.receipt", "sign_in.redeem"),
}
MOST = 65_536  # bytes of theirs: undoing the escapes of megabytes would take most of a second


def bound_bodies(app: Flask) -> None:
    """Take only small bodies where calls are not counted: opening is never limited, so it has to be cheap."""

    @app.before_request
    def bound() -> None:
        if request.endpoint in SMALL_BODIES or (
            request.endpoint == "answering.answer_request" and request.mimetype != "multipart/form-data"
        ):
            request.max_content_length = MOST


class Policy(NamedTuple):
    """One limit, and how it is told (draft-ietf-httpapi-ratelimit-headers-10).

    Attributes:
        name: in headers, logs and metrics.
        limit: so much in its window.
        refusal: the sentence for one too many.
        unit: what is counted, in the draft's words.
    """

    name: str
    limit: RateLimitItem
    refusal: str
    unit: str = "requests"

    @property
    def header(self) -> str:
        """As ``RateLimit-Policy`` says it: a structured field's item."""
        unit = "" if self.unit == "requests" else f';qu="{self.unit}"'
        return f'"{self.name}";q={self.limit.amount};w={self.limit.get_expiry()}{unit}'


class Limits:
    """Fixed windows; their answers say what is left in ``RateLimit``.

    Args:
        node: the store's server.
        keyring: its newest key turns client addresses into pseudonyms, so that the store holds none.
        create: how many creates a minute for one client; 0 for no limit.
        create_bytes: how many bytes an hour they may bring, in bodies of more than 2 KiB.
        password: calls a minute that need Argon2.
        sign_in: attempts a minute to sign in.
    """

    def __init__(
        self,
        node: Node,
        keyring: Keyring,
        *,
        create: int,
        create_bytes: int = 0,
        password: int,
        sign_in: int = 20,
    ) -> None:
        self._node = node
        self._counts = _Counts(node)
        self._client = lru_cache(1024)(self._pseudonym)
        self._keyring = keyring
        self._create = _policy("create", create, N_("Too many secrets created from your address."))
        self._bytes = _policy(
            "create-bytes",
            create_bytes,
            N_(
                "From your address more has been sent than may be stored in an hour. "
                "Try again later; small secrets still go."
            ),
            unit="content-bytes",
        )
        self._password = _policy("password", password, N_("Too many passwords tried from your address."))
        self._sign_in = _policy("sign-in", sign_in, N_("Too many attempts to sign in from your address."))

    def create(self, address: str | None, size: int = 0) -> None:
        """Count a create.

        Args:
            address: the client's.
            size: bytes of the body.  Small ones count as creates alone: that bounds them well enough, and
                spares the call.

        Raises:
            RateLimited: too many, or too much.
            StoreUnavailable: it cannot be counted, so it is refused.
        """
        self._hit(self._create, address)
        if size > SMALL:
            self._hit(self._bytes, address, size)

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
            self._hit(self._password, address)
        except StoreFull:
            if not opening:
                raise

    def sign_in(self, address: str | None) -> None:
        """Count an attempt to sign in.

        Raises:
            RateLimited, StoreUnavailable: as ``create``.
        """
        self._hit(self._sign_in, address)

    def _hit(self, policy: Policy | None, address: str | None, cost: int = 1) -> None:
        if policy is None:
            return
        name = policy.limit.key_for(policy.name, self._client(address))
        amount, window = policy.limit.amount, policy.limit.get_expiry()
        cost = min(cost, amount)  # a limit below the largest secret lets one through all the same

        def hit() -> tuple[int, float]:
            """What is left, less than nothing if this is too much, and when there is more."""
            left = amount - self._counts.incr(name, window, amount=cost)
            return left, self._counts.get_expiry(name) if left < 0 else 0.0

        left, until = self._node.guarded(lambda: _unwrapped(hit), (self._counts.prefixed_key(name),))
        if left >= 0:
            _tell(policy, f"r={left}")
            return
        wait = min(window, max(1, math.ceil(until - time.time())))
        _tell(policy, f"r=0;t={wait}")
        raise RateLimited(policy.refusal, retry_after=wait, limit=policy.name)

    def _pseudonym(self, address: str | None) -> str:
        """What a client is counted as; an IPv6 client is its /64, since it may use any address in there."""
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

    COUNT = named("count", RedisStorage.SCRIPT_INCR_EXPIRE.decode())

    def __init__(self, node: Node) -> None:
        self._node = node
        self._connections = node.client
        super().__init__("redis://", key_prefix="ss:limit", wrap_exceptions=True)

    def get_connection(self, readonly: bool = False) -> Any:
        return self._connections

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """The library's own rule as ours are run, which takes half the time."""
        count, _ = self._node.evaluate(Evaluation(self.COUNT, [self.prefixed_key(key)], (expiry, amount)))
        return int(count)


def _policy(name: str, amount: int, refusal: str, *, unit: str = "requests") -> Policy | None:
    per = RateLimitItemPerMinute if unit == "requests" else RateLimitItemPerHour
    return Policy(name, per(amount), refusal, unit) if amount else None


def _tell(policy: Policy, said: str) -> None:
    """Say it in the headers of the request at hand, whatever its answer will be."""

    @after_this_request
    def add(response: Response) -> Response:
        for name, item in ("RateLimit-Policy", policy.header), ("RateLimit", f'"{policy.name}";{said}'):
            before = response.headers.get(name)
            response.headers[name] = f"{before}, {item}" if before else item
        return response


def _unwrapped(call: Callable[[], T]) -> T:
    """The library's errors as the store's own; a full store is told apart from one that does not answer."""
    try:
        return call()
    except StorageError as error:
        if type(error.storage_error).__name__ == "OutOfMemoryError":
            raise StoreFull from None
        raise error.storage_error from None
