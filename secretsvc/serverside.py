"""The server acting for a client that cannot seal or open by itself: plain curl, or a page without script.

Here, and only here, a secret, a link key and a password pass through the server, for as long as one call
takes.  None of them is logged or kept.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field, replace

from . import envelope as format
from .atrest import hkdf, joined, separated, sha256
from .envelope import Payload, RequestLink
from .errors import N_, Conflict, FormatError, Invalid, KeyMissing, Opened, RecordDamaged, TooLarge
from .model import Look, View
from .vault import Created, New, Vault

NO_FACTS = '{"consents":[]}'


@dataclass(frozen=True)
class Sealed:
    """A secret that the server sealed, and the key its link is made of."""

    created: Created
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Wish:
    """What somebody wants the server to seal.

    Attributes:
        payload: the secret.
        password: empty for none.
        expires_in: seconds.
        language: of the link, for the pages.
        label: for the ticket module.
        by: who creates it, by name, for the ticket module.
    """

    payload: Payload
    expires_in: int
    password: str = field(default="", repr=False)
    language: str | None = None
    label: str | None = None
    by: str = ""

    def body(self) -> bytes:
        """All of it but the password as bytes, no two wishes the same."""
        words = (self.payload.name, self.payload.type, str(self.expires_in), self.language, self.label)
        return joined(self.payload.content, *(b"" if w is None else b"\x01" + w.encode() for w in words))


def create(
    vault: Vault, wish: Wish, *, max_bytes: int, idempotency_key: str | None = None, caller: str = ""
) -> Sealed:
    """Seal a secret here and store it.

    With an Idempotency-Key the link key is derived from it and a master key, so that a repeat gets the same
    link.  What is kept for a day to tell a repeat from another body says nothing about the body without the
    master key and the link.

    Args:
        vault: where to.
        wish: what to seal.
        max_bytes: the most content allowed.
        idempotency_key: the caller's, or None.
        caller: the API token's id, or empty.

    Raises:
        Invalid: the same key came with another body before.
        Conflict: the key is known and its master key was dropped.
        TooLarge, BadPassword, Busy: nothing was stored.
    """
    if len(wish.payload.content) > max_bytes:
        raise TooLarge(max_bytes, field="secret")
    if idempotency_key is None:
        key = format.new_key()
        sealing = _Sealing(key, _stretch(vault, key, wish.password), os.urandom(12), os.urandom(16))
    else:
        sealing = _recalled(vault, wish, idempotency_key, caller)
    handles = format.derive_handles(sealing.key)
    stretched = sealing.stretched
    new = New(
        id=handles.id,
        token=handles.token,
        expires_in=wish.expires_in,
        envelope=format.seal(sealing.key, wish.payload, stretched=stretched, nonce=sealing.nonce),
        proof=None if stretched is None else format.proof(stretched),
        language=wish.language,
        label=wish.label,
        by=wish.by,
        sealed_by="server",
        fingerprint=sealing.tag,
    )
    return Sealed(vault.create(new), sealing.key)


@dataclass(frozen=True, repr=False)
class _Sealing:
    """What a secret is sealed with; ``tag`` is the fingerprint kept in its receipt."""

    key: bytes
    stretched: bytes | None
    nonce: bytes
    tag: bytes


def _recalled(vault: Vault, wish: Wish, idempotency_key: str, caller: str) -> _Sealing:
    """The same sealing for the same Idempotency-Key, caller and body: what is remembered is written first."""
    place = sha256(joined(b"secretsvc/v1/idempotency", caller.encode(), idempotency_key.encode()))

    def under(key_name: str, tag: bytes) -> tuple[_Sealing, bytes]:
        key = vault.keyring.derive(key_name, b"link", idempotency_key.encode(), caller.encode())
        stretched = _stretch(vault, key, wish.password)
        # Under the master key, and behind the stretching: guessing the body costs what guessing the link does.
        secret = vault.keyring.get(key_name) + key + (stretched or b"")
        mac = hmac.digest(hkdf(secret, b"body"), wish.body(), "sha256")
        return _Sealing(key, stretched, hkdf(mac, b"nonce", length=12), tag), mac

    newest = vault.keyring.newest
    sealing, mac = under(newest, os.urandom(16))
    known = vault.store.remember(place, joined(newest.encode(), mac, sealing.tag))
    if known is None:
        return sealing
    key_name, known_mac, tag = separated(known)
    try:
        if key_name.decode() != newest:
            sealing, mac = under(key_name.decode(), tag)
    except KeyMissing:
        raise Conflict(N_("This Idempotency-Key belongs to a secret that is gone for good.")) from None
    if not hmac.compare_digest(mac, known_mac):
        raise Invalid(("Idempotency-Key", N_("It came with another body before.")))
    return replace(sealing, tag=tag)


def look(vault: Vault, key: bytes) -> Look:
    """Step 1 of an opening, for whoever holds the link key."""
    handles = format.derive_handles(key)
    return vault.look(handles.id, handles.token, "link", record=True)


def open(
    vault: Vault, look: Look, key: bytes, *, password: str, idempotency_key: str | None, collector: str | None
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
        collector=collector,
        password_field="password",
    )
    if payload is None:  # pragma: no cover - claim calls inspect or raises
        raise RecordDamaged
    return payload


def answer(
    vault: Vault, look: Look, asked: RequestLink, payload: Payload, *, max_bytes: int, facts: str = NO_FACTS
) -> View:
    """Seal and store the one answer to a request; a repeat is another answer, since sealing is random.

    Args:
        max_bytes: the most content allowed.
        facts: what stands outside the sealed part, as JSON.

    Raises:
        TooLarge: nothing was stored.
        Conflict: it has been answered before, whatever has become of that answer.
        Ended: it was revoked or ran out unanswered.
    """
    if len(payload.content) > max_bytes:
        raise TooLarge(max_bytes, field="secret")
    try:
        return vault.answer(look, format.seal_answer(asked, payload), facts)
    except Opened:
        raise Conflict(N_("This request has been answered already.")) from None


def _stretch(vault: Vault, key: bytes, password: str) -> bytes | None:
    if not password:
        return None
    with vault.slots.take():
        return format.stretch_password(key, password)
