"""The client's half of the link format: links, derivations and envelopes (what they hold: ``payload``).

``docs/format.md`` says it in prose and ``tests/vectors`` fixes every byte.  ``static/js/envelope.js`` is the
twin of both modules, name for name in camelCase.  The command line uses them, and the server only where it
acts for a plain curl or a page without script.

Every refusal is one error of ``errors.FormatError``, and none carries anything of the input.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import secrets
import unicodedata
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secretsvc import errors
from secretsvc.payload import (
    BLOCK_BYTES,
    Masked,
    Payload,
    has_surrogate,
    padded_length,
    read_answers,
    read_payload,
    utf8_length,
    write_answers,
    write_payload,
)

__all__ = [
    "Handles",
    "Payload",
    "RequestLink",
    "b64",
    "check_envelope",
    "derive_handles",
    "format_link",
    "format_request_link",
    "max_envelope_bytes",
    "new_key",
    "proof",
    "read_answers",
    "read_link",
    "read_request_link",
    "request_public_key",
    "seal",
    "seal_answer",
    "stretch_password",
    "unb64",
    "unseal",
    "unseal_answer",
    "write_answers",
]

KEY_BYTES = 32
ID_BYTES = 16
NONCE_BYTES = 12
MAX_PASSWORD_BYTES = 1024
# OWASP Password Storage Cheat Sheet, PBKDF2-HMAC-SHA256
PASSWORD_ROUNDS = 600_000

SEALED = 0x01
ANSWER = 0x02
SEALED_WITH_PASSWORD = 0x03
# Bytes around the payload: type, nonce, tag; for an answer type, encapsulated key, tag.
OVERHEAD = {SEALED: 1 + 12 + 16, SEALED_WITH_PASSWORD: 1 + 12 + 16, ANSWER: 1 + 32 + 16}

# What JavaScript's String.trim strips, and nothing else: str.strip() alone would strip U+001C to U+001F and
# U+0085 too, and keep U+FEFF.
WHITE_SPACE = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
# What mail clients and people put behind a link.
TRAILING = ".,;:!?)>]}'\""

_PREFIX = b"secretsvc/v1/"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_FIELD_PRIME = 2**255 - 19
# Every u of order 1, 2, 4 or 8 on Curve25519 and its twist: the shared secret would be zero, whoever asks.
_LOW_ORDER = {
    0,
    1,
    _FIELD_PRIME - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
}


@dataclass(frozen=True, slots=True, repr=False)
class Handles(Masked):
    """What the server knows a secret by: its name ``id`` (16 bytes) and bearer ``token`` (32 bytes)."""

    id: bytes
    token: bytes


@dataclass(frozen=True, slots=True, repr=False)
class RequestLink(Masked):
    """What a request link holds: the request's ``id`` (16 bytes) and X25519 ``public_key`` (32 bytes).

    Raises:
        BadRequestLink: another length, or a key that is not canonical or of low order.
    """

    id: bytes
    public_key: bytes

    def __post_init__(self) -> None:
        if len(self.id) != ID_BYTES or not _is_usable_public_key(self.public_key):
            raise errors.BadRequestLink

    def answer_token(self) -> bytes:
        """Return the bearer token (32 bytes) of whoever holds the request link."""
        return _hkdf(self.id + self.public_key, "answer-token", 32)


# --- base64url -----------------------------------------------------------------------------------------


_URLSAFE, _STANDARD = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")


def b64(data: bytes) -> str:
    """Return ``data`` in base64url without padding (RFC 4648, section 5)."""
    return binascii.b2a_base64(data, newline=False).translate(_URLSAFE).rstrip(b"=").decode("ascii")


def unb64(text: str, *, length: int | None = None, field: str | None = None) -> bytes:
    """Return the bytes whose one ``b64`` is ``text``, ``length`` of them where given.

    Raises:
        Damaged: everything else: padding, another alphabet, white space, stray bits.  It names ``field``.
    """
    data = _decode_b64(text, length)
    if data is None:
        raise errors.Damaged(field=field)
    return data


def _decode_b64(text: str, length: int | None) -> bytes | None:
    try:
        data = binascii.a2b_base64(text.encode("ascii").translate(_STANDARD) + b"=" * (-len(text) % 4))
    except ValueError:
        return None
    # The decoder skips what it does not know; encoding again shows it.
    return data if b64(data) == text and length in {None, len(data)} else None


# --- links ---------------------------------------------------------------------------------------------


def new_key() -> bytes:
    """Return a fresh link key, 32 bytes from the system's CSPRNG."""
    return secrets.token_bytes(KEY_BYTES)


def format_link(public_url: str, key: bytes) -> str:
    """Return the link that opens the secret under ``key``; for a request, the agent's pick-up link."""
    return f"{public_url.rstrip('/')}/s#{b64(key)}"


def read_link(text: str) -> bytes:
    """Return the link key (32 bytes) in a link as people paste it.

    White space around it and one run of punctuation behind it are dropped, then ``%23`` and ``%2523`` are
    undone.  What stands before the first ``#`` is not looked at.

    Raises:
        BadLink: what is left is not exactly 43 canonical characters.
    """
    key = _decode_b64(_fragment(text), KEY_BYTES)
    if key is None:
        raise errors.BadLink
    return key


def format_request_link(public_url: str, id: bytes, public_key: bytes) -> str:
    """Return the link a customer answers a request with.

    Raises:
        BadRequestLink: no one could use it.
    """
    request = RequestLink(id, public_key)
    return f"{public_url.rstrip('/')}/r#{b64(request.id + request.public_key)}"


def read_request_link(text: str) -> RequestLink:
    """Return what a request link holds, read by the rules of ``read_link``.

    Raises:
        BadRequestLink: not exactly 64 canonical characters, or an unusable public key.
    """
    held = _decode_b64(_fragment(text), ID_BYTES + KEY_BYTES)
    if held is None:
        raise errors.BadRequestLink
    return RequestLink(held[:ID_BYTES], held[ID_BYTES:])


def _fragment(text: str) -> str:
    trimmed = text.strip(WHITE_SPACE).rstrip(TRAILING)
    return re.sub("%(?:25)?23", "#", trimmed).partition("#")[2]


# --- derivations ---------------------------------------------------------------------------------------


def derive_handles(key: bytes) -> Handles:
    """Return the id and token that belong to a link key."""
    return Handles(id=_hkdf(key, "id", ID_BYTES), token=_hkdf(key, "token", 32))


def stretch_password(key: bytes, password: str) -> bytes | None:
    """Return S, the stretched password (32 bytes), or None for the empty password, which means none.

    Takes some tenths of a second.  Nothing is trimmed.

    Raises:
        BadPassword: a lone surrogate, or more than 1,024 bytes after NFKC.
    """
    if not password:
        return None
    # Before normalizing, which takes time with the square of the length and lets nothing else run: NFKC makes
    # at least one byte of four, so what is longer here is too long in the end.
    if utf8_length(password) > 4 * MAX_PASSWORD_BYTES:
        raise errors.BadPassword
    normal = unicodedata.normalize("NFKC", password)
    if has_surrogate(normal) or utf8_length(normal) > MAX_PASSWORD_BYTES:
        raise errors.BadPassword
    salt = _hkdf(key, "password", 32)
    return hashlib.pbkdf2_hmac("sha256", normal.encode("utf-8"), salt, PASSWORD_ROUNDS)


def proof(stretched: bytes) -> bytes:
    """Return what the server sees of a password (32 bytes)."""
    return _hkdf(stretched, "proof", 32)


def request_public_key(key: bytes) -> bytes:
    """Return the X25519 public key (32 bytes) that answers to this link key's request are sealed to."""
    return _request_key(key).public_key().public_bytes_raw()


def _request_key(key: bytes) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(_hkdf(key, "request", 32))


def _box_key(key: bytes, stretched: bytes | None) -> bytes:
    return _hkdf(key, "box", 32) if stretched is None else _hkdf(key + stretched, "box-password", 32)


def _hkdf(key: bytes, label: str, length: int) -> bytes:
    info = _PREFIX + label.encode("ascii")
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(key)


# --- envelopes -----------------------------------------------------------------------------------------


def max_envelope_bytes(content_bytes: int, *, answer: bool = False) -> int:
    """Return the length of the longest envelope around ``content_bytes`` of content, whatever its header."""
    return OVERHEAD[ANSWER if answer else SEALED] + padded_length(content_bytes)


def check_envelope(envelope: bytes, *, answer: bool, password: bool) -> int:
    """Return the envelope's type, once it is the one expected and the length fits it.

    This is all a server can check before it stores one.

    Raises:
        UnknownType: another type; there is none for an answer with a password.
        Damaged: the length, which is judged second, but for no byte at all.
    """
    if not envelope:
        raise errors.Damaged
    expected = {(False, False): SEALED, (False, True): SEALED_WITH_PASSWORD, (True, False): ANSWER}
    if envelope[0] != expected.get((answer, password)):
        raise errors.UnknownType
    payload_bytes = len(envelope) - OVERHEAD[envelope[0]]
    if payload_bytes <= 0 or payload_bytes % BLOCK_BYTES:
        raise errors.Damaged
    return envelope[0]


def seal(key: bytes, payload: Payload, *, stretched: bytes | None = None, nonce: bytes | None = None) -> bytes:
    """Return the envelope of a secret, with the password whose S is ``stretched`` where there is one.

    A link key seals once.  ``nonce`` (12 bytes) is random unless given; it is given only where it depends on
    all of the payload and the key: two payloads under one nonce open each other, and forge a third.
    """
    kind = SEALED if stretched is None else SEALED_WITH_PASSWORD
    nonce = secrets.token_bytes(NONCE_BYTES) if nonce is None else nonce
    box = AESGCM(_box_key(key, stretched))
    return bytes([kind]) + nonce + box.encrypt(nonce, write_payload(payload), _box_aad(kind, key))


def unseal(key: bytes, envelope: bytes, *, stretched: bytes | None = None) -> Payload:
    """Return the payload of a secret's envelope; ``stretched`` is S where a password is expected, else None.

    Raises:
        UnknownType: not the type that is due (judged first).
        Damaged: the length, the tag (a wrong link key or password as well) or the padding.
        BadHeader: the payload's header.
    """
    kind = check_envelope(envelope, answer=False, password=stretched is not None)
    nonce, ciphertext = envelope[1 : 1 + NONCE_BYTES], envelope[1 + NONCE_BYTES :]
    try:
        padded = AESGCM(_box_key(key, stretched)).decrypt(nonce, ciphertext, _box_aad(kind, key))
    except InvalidTag:
        raise errors.Damaged from None
    return read_payload(padded)


def seal_answer(request: RequestLink, payload: Payload) -> bytes:
    """Return the envelope of an answer, which only the request's own link key unseals (HPKE, RFC 9180)."""
    public_key = X25519PublicKey.from_public_bytes(request.public_key)
    return bytes([ANSWER]) + _SUITE.encrypt(write_payload(payload), public_key, _answer_info(request.id))


def unseal_answer(key: bytes, envelope: bytes) -> Payload:
    """Return the payload of an answer's envelope.

    It proves only that the sender held the request link.

    Raises:
        UnknownType: not an answer (judged first).
        Damaged: the length, an encapsulated key that no honest sender makes, the tag or the padding.
        BadHeader: the payload's header.
    """
    check_envelope(envelope, answer=True, password=False)
    if not _is_usable_public_key(envelope[1 : 1 + KEY_BYTES]):
        raise errors.Damaged
    info = _answer_info(_hkdf(key, "id", ID_BYTES))
    try:
        padded = _SUITE.decrypt(envelope[1:], _request_key(key), info)
    except InvalidTag:
        raise errors.Damaged from None
    return read_payload(padded)


def _box_aad(kind: int, key: bytes) -> bytes:
    return _PREFIX + b"box" + bytes([kind]) + _hkdf(key, "id", ID_BYTES)


def _answer_info(id: bytes) -> bytes:
    return _PREFIX + b"answer" + id


def _is_usable_public_key(public_key: bytes) -> bool:
    u = int.from_bytes(public_key, "little")
    return len(public_key) == KEY_BYTES and u < _FIELD_PRIME and u not in _LOW_ORDER
