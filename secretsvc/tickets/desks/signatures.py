"""Signatures of incoming webhooks, each checked in constant time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

from ...errors import HookRefused
from ..config import secrets, signing_key
from .words import when

TOLERANCE = 300  # seconds that a signed time may be off


def standard_keys(path: str, place: str) -> tuple[bytes, ...]:
    """Keys of Standard Webhooks: ``whsec_`` and base64, one a line; none where there is no file.

    Args:
        place: where the settings name it, for the message.

    Raises:
        Misconfigured: the file cannot be read or holds something else.
    """
    return tuple(signing_key(line, place) for line in secrets(path, place)) if path else ()


def plain_keys(path: str, place: str) -> tuple[bytes, ...]:
    """Keys that are taken as they stand, one a line; none where there is no file."""
    return tuple(line.encode() for line in secrets(path, place)) if path else ()


def check_standard(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float) -> str:
    """Check a webhook by Standard Webhooks 1.0.0; its id.

    Raises:
        HookRefused: unsigned, wrongly signed, or more than five minutes off.
    """
    id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not re.fullmatch(r"[!-\-/-~]{1,200}", id):
        raise HookRefused
    _in_time(at, now)
    signed = f"{id}.{at}.".encode() + body
    given = [text[3:] for text in headers.get("webhook-signature", "").split()[:10] if text.startswith("v1,")]
    _match([base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys], given)
    return id


def check_zendesk(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: float) -> str:
    """Check a webhook as Zendesk signs it; an id made of what is signed.

    Raises:
        HookRefused: unsigned, wrongly signed, or more than five minutes off.
    """
    at = headers.get("x-zendesk-webhook-signature-timestamp", "")
    if len(at) > 40 or not at.isascii():
        raise HookRefused
    _in_time(at, now)
    signed = at.encode() + body
    given = [headers.get("x-zendesk-webhook-signature", "")]
    _match([base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys], given)
    return hashlib.sha256(signed).hexdigest()


def check_zammad(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes) -> str:
    """Check a webhook as Zammad signs it: the body alone, so it never grows old; the delivery's id.

    Raises:
        HookRefused: unsigned, wrongly signed, or without an id.
    """
    given = [headers.get("x-hub-signature", "")]
    _match(["sha1=" + hmac.digest(key, body, hashlib.sha1).hex() for key in keys], given)
    id = headers.get("x-zammad-delivery", "")
    if not re.fullmatch(r"[!-~]{1,200}", id):
        raise HookRefused
    return id


def _match(wanted: list[str], given: list[str]) -> None:
    # All are compared, whatever the first ones say.
    pairs = [hmac.compare_digest(one.encode(), other.encode()) for one in wanted for other in given]
    if not any(pairs):
        raise HookRefused


def _in_time(at: str, now: float) -> None:
    """The time is in seconds since 1970, or RFC 3339 (Zendesk)."""
    if abs(seconds(at) - now) > TOLERANCE:
        raise HookRefused


def seconds(at: str) -> float:
    """A signed time in seconds since 1970."""
    if re.fullmatch(r"[0-9]{1,12}", at):
        return int(at)
    found = when(at)
    if found is None:
        raise HookRefused
    return found
