"""The server acting for a client that cannot seal or open by itself: plain curl, or a page without script.

Here, and only here, a secret, a link key and a password pass through the server, for as long as one call
takes.  None of them is logged or kept.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field

from . import envelope as format
from .atrest import hkdf, joined, sha256
from .envelope import Payload
from .errors import Conflict, FormatError, Invalid, KeyMissing, RecordDamaged, TooLarge
from .model import Look
from .vault import Created, New, Vault


@dataclass(frozen=True)
class Sealed:
    """A secret that the server sealed, and the key its link is made of."""

    created: Created
    key: bytes = field(repr=False)


def create(
    vault: Vault,
    payload: Payload,
    *,
    password: str,
    expires_in: int,
    language: str | None,
    label: str | None,
    max_bytes: int,
    idempotency_key: str | None = None,
    caller: str = "",
) -> Sealed:
    """Seal a secret here and store it.

    With an Idempotency-Key the link key is derived from it and a master key, so a repeat gets the same link;
    what is kept for that tells nothing about the body without the master key and the link.

    Args:
        vault: where to.
        payload: the secret.
        password: empty for none.
        expires_in: seconds.
        language: of the link, for the pages.
        label: for the ticket module.
        max_bytes: the most content allowed.
        idempotency_key: the caller's, or None.
        caller: the API token's id, or empty.

    Raises:
        Invalid: the same key came with another body before.
        Conflict: the key is known and its master key was dropped.
        TooLarge, BadPassword, BadHeader, Busy: nothing was stored.
    """
    if len(payload.content) > max_bytes:
        raise TooLarge(max_bytes, field="secret")
    key_name, key, tag = vault.keyring.newest, format.new_key(), os.urandom(16)
    if idempotency_key is not None:
        key = _key(vault, key_name, idempotency_key, caller)
    stretched = _stretch(vault, key, password)
    if idempotency_key is not None:
        place = sha256(joined(b"secretsvc/v1/idempotency", caller.encode(), idempotency_key.encode()))
        mac = _mac(vault, key_name, key, stretched, payload, expires_in, language, label)
        known = vault.store.remember(place, joined(key_name.encode(), mac, tag))
        if known is not None:
            known_name, known_mac, tag = _parts(known)
            try:
                if known_name != key_name:
                    key_name, key = known_name, _key(vault, known_name, idempotency_key, caller)
                    stretched = _stretch(vault, key, password)
                    mac = _mac(vault, key_name, key, stretched, payload, expires_in, language, label)
            except KeyMissing:
                raise Conflict("This Idempotency-Key belongs to a secret that is gone for good.") from None
            if not hmac.compare_digest(mac, known_mac):
                raise Invalid(("Idempotency-Key", "It came with another body before."))
    handles = format.derive_handles(key)
    created = vault.create(
        New(
            id=handles.id,
            token=handles.token,
            expires_in=expires_in,
            envelope=format.seal(key, payload, stretched=stretched),
            proof=None if stretched is None else format.proof(stretched),
            language=language,
            label=label,
            sealed_by="server",
            fingerprint=tag,
        )
    )
    return Sealed(created, key)


def look(vault: Vault, key: bytes) -> Look:
    """Step 1 of an opening, for whoever holds the link key."""
    handles = format.derive_handles(key)
    return vault.look(handles.id, handles.token, "link", record=True)


def open(
    vault: Vault, look: Look, key: bytes, *, password: str, idempotency_key: str | None, agent: bool
) -> Payload:
    """Claim and unseal here; raises what ``Vault.claim`` does.

    The password is stretched inside the slot that Argon2 needs anyway, and only where there is one.
    """
    stretched: bytes | None = None
    payload: Payload | None = None

    def prove() -> bytes:
        nonlocal stretched
        stretched = format.stretch_password(key, password)
        return format.proof(stretched or b"")

    def inspect(envelope: bytes) -> None:
        # Before anything is used up: an envelope that cannot be opened is not claimed for nothing.
        nonlocal payload
        try:
            if look.receipt.kind == "request":
                payload = format.unseal_answer(key, envelope)
            else:
                payload = format.unseal(key, envelope, stretched=stretched)
        except FormatError:
            raise RecordDamaged from None

    vault.claim(
        look,
        prove=prove if password else None,
        inspect=inspect,
        key=idempotency_key,
        agent=agent,
        password_field="password",
    )
    if payload is None:  # pragma: no cover - claim calls inspect or raises
        raise RecordDamaged
    return payload


def _stretch(vault: Vault, key: bytes, password: str) -> bytes | None:
    if not password:
        return None
    with vault.slots.take():
        return format.stretch_password(key, password)


def _key(vault: Vault, key_name: str, idempotency_key: str, caller: str) -> bytes:
    return vault.keyring.derive(key_name, b"link", idempotency_key.encode(), caller.encode())


def _mac(
    vault: Vault,
    key_name: str,
    key: bytes,
    stretched: bytes | None,
    payload: Payload,
    expires_in: int,
    language: str | None,
    label: str | None,
) -> bytes:
    """What tells this body from another: under the master key and, with a password, behind its stretching."""
    secret = vault.keyring.get(key_name) + key + (stretched or b"")
    words = (payload.name, payload.type, str(expires_in), language, label)
    body = joined(payload.content, *(b"" if w is None else b"\x01" + w.encode() for w in words))
    return hmac.digest(hkdf(secret, b"body"), body, "sha256")


def _parts(known: bytes) -> tuple[str, bytes, bytes]:
    parts = []
    while known:
        length = int.from_bytes(known[:4], "big")
        parts.append(known[4 : 4 + length])
        known = known[4 + length :]
    return parts[0].decode(), parts[1], parts[2]
