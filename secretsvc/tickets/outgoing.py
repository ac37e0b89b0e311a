"""Outgoing webhooks, as Standard Webhooks 1.0.0 has them: signed, thin, at least once.

What calls this keeps the events, their ids and the times of the next attempts; here is one attempt.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import random
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import get_args

import msgspec
import requests

from ..errors import Misconfigured
from . import config
from .deadline import Deadline
from .guard import Guard, Session, TargetError, TargetRefused
from .trail import Type

__all__ = ["TargetError", "TargetGone", "TargetRefused", "TargetUnavailable", "Webhooks", "body", "retry_at"]

SECONDS = 15.0
MAX_BODY = 20_000
_DAY = 86_400
# Seconds to wait before the first attempt, the second, and so on, each counted from the one before.
_PLAN = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, _DAY)
_JITTER = 0.1
log = logging.getLogger(__name__)


class TargetUnavailable(TargetError):
    """The target did not take it; it may have come through all the same, so send it again under the same id.

    ``retry_after`` is what the target asked for, in seconds, at most a day; None where it did not say.
    """

    kind = "target-unavailable"

    def __init__(self, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class TargetGone(TargetError):
    """The target has said that it wants nothing any more (410), or is no longer configured."""

    kind = "target-gone"


@dataclass(frozen=True)
class _Target:
    url: str = field(repr=False)
    desks: tuple[str, ...]
    keys: tuple[bytes, ...] = field(repr=False)


class Webhooks:
    """The configured targets.

    Args:
        hooks: their settings.
        allow_networks: private networks they may be in, as CIDR.
        ca_file: certificate authorities to trust instead of the usual ones.
        seconds: for one attempt, however slowly the target answers.

    Raises:
        Misconfigured: a secret is not ``whsec_`` and 24-64 bytes of base64, or http can reach nothing.
    """

    def __init__(
        self,
        hooks: Iterable[config.Webhook],
        allow_networks: Iterable[str] = (),
        *,
        ca_file: str | None = None,
        seconds: float = SECONDS,
    ) -> None:
        allow = tuple(allow_networks)
        self._guard = Guard(allow)
        self._verify = ca_file or True
        self._seconds = seconds
        self._targets = {hook.name: _target(hook, allow) for hook in hooks}
        self._gone: set[str] = set()

    @property
    def targets(self) -> tuple[str, ...]:
        """All names."""
        return tuple(self._targets)

    def wanting(self, desk: str) -> tuple[str, ...]:
        """Names of those who want the events of this desk's tickets."""
        return tuple(name for name, target in self._targets.items() if desk in target.desks or not target.desks)

    def deliver(self, name: str, id: str, body: bytes) -> None:
        """Make one attempt; returns once the target has taken it.

        Args:
            name: of the target.
            id: the event's own; the same on every attempt, so that the target can tell a repeat.
            body: what ``body`` made, byte for byte the same on every attempt; under 20,000 bytes.

        Raises:
            TargetUnavailable: try again later.
            TargetGone: never again; from then on it is not called any more, until the next start.
            TargetRefused: it is where webhooks may not go; no connection was made.
            ValueError: the id or the body is not as it must be.
        """
        if not re.fullmatch(r"[!-\-/-~]{1,255}", id) or len(body) >= MAX_BODY:
            raise ValueError("an id has 1-255 visible characters and no dot, a body under 20,000 bytes")
        if name not in self._targets:
            raise TargetGone(f"Webhook {name}: no longer configured.")
        if name in self._gone:
            raise TargetGone(f"Webhook {name}: not called any more.")
        target = self._targets[name]
        headers = _headers(target.keys, id, int(time.time()), body)
        status, retry_after = self._send(name, target.url, headers, body)
        if status == 410:
            self._gone.add(name)
            log.error(
                "a webhook answers that it is gone; it is not called any more",
                extra={"fields": {"webhook": name}},
            )
            raise TargetGone(f"Webhook {name}: the target answered that it is gone.")
        if not 200 <= status < 300:
            raise TargetUnavailable(f"Webhook {name}: status {status}.", retry_after=seconds_of(retry_after))

    def _send(self, name: str, url: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        """Status and Retry-After; the answer's body is not read."""
        with Deadline(self._seconds) as deadline, Session(self._guard, deadline) as session:
            try:
                answer = session.post(
                    url,
                    body,
                    headers=headers,
                    timeout=self._seconds,
                    verify=self._verify,
                    allow_redirects=False,
                    stream=True,
                )
                # An answer that the deadline cut off within its headers looks like a whole one.
                deadline.left()
            except TargetRefused as refused:
                raise TargetRefused(f"Webhook {name}: {refused.detail}") from None
            except requests.exceptions.SSLError:
                raise TargetUnavailable(f"Webhook {name}: no trustworthy TLS connection.") from None
            except (requests.RequestException, OSError, UnicodeError):
                raise TargetUnavailable(f"Webhook {name}: no answer.") from None
            answer.close()
            return answer.status_code, answer.headers.get("Retry-After", "")


def body(type: Type, at: float, data: Mapping[str, object]) -> bytes:
    """An event as it is sent.

    Args:
        type: what has happened.
        at: when, in seconds since 1970.
        data: which link and ticket; never a link, a token or a value.
    """
    if type not in get_args(Type):
        raise ValueError("no such event")
    return msgspec.json.encode({"type": type, "timestamp": stamp(at), "data": data})


def stamp(at: float) -> str:
    """A time as events have it: RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def retry_at(attempt: int, now: float) -> float | None:
    """When to make an attempt.

    Args:
        attempt: how many there have been; 0 is the first.
        now: when the last one failed, or the event came in; seconds since 1970.

    Returns:
        Seconds since 1970, later by up to a tenth of the wait at random so that targets are not called all at
        once; None where it is time to give up.
    """
    if attempt >= len(_PLAN):
        return None
    return now + _PLAN[attempt] * (1 + random.uniform(0, _JITTER))  # noqa: S311 - no secret


def seconds_of(retry_after: str, now: float | None = None) -> int | None:
    """A ``Retry-After`` in either form (RFC 9110, 10.2.3) in seconds, a day at most; None if neither."""
    text = retry_after.strip()
    if re.fullmatch(r"[0-9]+", text):
        return min(int(text[:9]), _DAY)
    try:
        when = parsedate_to_datetime(text)
        at = when.replace(tzinfo=when.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return int(min(max(at - (time.time() if now is None else now), 0), _DAY))


def _headers(keys: tuple[bytes, ...], id: str, at: int, body: bytes) -> dict[str, str]:
    signed = b"%b.%d.%b" % (id.encode(), at, body)
    signatures = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys)
    return {
        "Content-Type": "application/json",
        "User-Agent": "secretsvc",
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _target(hook: config.Webhook, allow: tuple[str, ...]) -> _Target:
    place = f"webhooks.{hook.name}"
    if not hook.url.startswith("https:") and not allow:
        raise Misconfigured(f"{place}.url: http is only for targets in allow_networks; this must be https.")
    lines = config.secrets(hook.secret_file, f"{place}.secret_file")
    return _Target(
        hook.url, hook.desks, tuple(config.signing_key(line, f"{place}.secret_file") for line in lines)
    )
