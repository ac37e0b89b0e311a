"""The server's half of the format: the keyring, Argon2 in bounded slots, and the record layer.

An envelope is encrypted once more before it is stored, under a key of its own that is derived from a master
key and, where there is a password, from Argon2id over the client's proof.  So the store together with an old
link opens nothing without the master key, and dropping a master key ends all it sealed.  The bytes are laid
down in docs/format.md, "At rest".
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .envelope import b64, unb64
from .errors import Busy, Damaged, KeyMissing, Misconfigured, RecordDamaged, SecretsvcError

PLAIN, WITH_PASSWORD = b"\x01", b"\x02"
SALT, NONCE, CHECK, TAG = 32, 12, 16, 16
KEY_NAME = re.compile(r"[A-Za-z0-9._-]{1,16}")
# Places where an orchestrator puts a secret file itself, with a mode that is not ours to choose.
MANAGED = (Path("/run/secrets"), Path("/run/credentials"))


class WrongProof(SecretsvcError):
    """The proof is not the one the record was sealed with.  The record itself is sound."""

    kind = "wrong-password"


def hkdf(key: bytes, info: bytes, *, salt: bytes | None = None, length: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869) with our prefix ``secretsvc/v1/`` before ``info``; ``length`` in bytes."""
    return HKDF(SHA256(), length, salt, b"secretsvc/v1/" + info).derive(key)


# --- keyring -------------------------------------------------------------------------------------------


class Keyring:
    """Master keys by name.  The first seals, and is called the newest; all of them open.

    Args:
        keys: name to 32 random bytes each, the one that seals first.

    Raises:
        Misconfigured: no key, or one that is short, weak or there twice.  Keys are never in the message.
    """

    def __init__(self, keys: dict[str, bytes]) -> None:
        if not keys:
            raise Misconfigured("The keyring holds no key. Add one with 'secretsvc keys add'.")
        for name, key in keys.items():
            _check_key(name, key)
        if len(set(keys.values())) < len(keys):
            raise Misconfigured("The keyring holds the same key twice under different names.")
        self._keys = dict(keys)
        self.newest = next(iter(keys))

    def __repr__(self) -> str:
        return f"<Keyring {', '.join(self._keys)}>"

    @property
    def names(self) -> list[str]:
        """All names, the one that seals first."""
        return list(self._keys)

    def get(self, name: str) -> bytes:
        """The 32 bytes of a key.

        Raises:
            KeyMissing: it was dropped, or never was here.
        """
        try:
            return self._keys[name]
        except KeyError:
            raise KeyMissing from None

    def derive(self, name: str, label: bytes, *context: bytes) -> bytes:
        """32 bytes that only a holder of this master key can compute, for one purpose and context."""
        return hkdf(self.get(name), label + b"/" + joined(*context))


def load_keyring(path: Path) -> Keyring:
    """Read a keyring file: a line ``name:key`` each, the one that seals first; ``#`` begins a comment.

    Raises:
        Misconfigured: missing, readable by others, malformed, weak or duplicate keys.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii")
    except FileNotFoundError:
        raise Misconfigured(f"There is no keyring at {path}. Make one with 'secretsvc keys add'.") from None
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f"The keyring at {path} cannot be read.") from None
    if mode & 0o077 and not any(path.is_relative_to(place) for place in MANAGED):
        raise Misconfigured(f"The keyring at {path} can be read by others: chmod 600 it.")
    keys: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, key = line.strip().partition(":")
        if name in keys:
            raise Misconfigured(f"{path}, line {number}: the key name {name!r} is there twice.")
        try:
            keys[name] = unb64(key)
        except Damaged:
            raise Misconfigured(f"{path}, line {number}: expected name:key, the key as base64url.") from None
    return Keyring(keys)


def save_keyring(path: Path, keys: dict[str, bytes]) -> None:
    """Write a keyring file, mode 0600, whole or not at all.

    Raises:
        Misconfigured: what is to be written would not be accepted at start.
    """
    Keyring(keys)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write("".join(f"{name}:{b64(key)}\n" for name, key in keys.items()))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def first_key(path: Path, data_dir: Path) -> None:
    """Make the keyring of the embedded default if this is its first start.

    Raises:
        Misconfigured: the keyring is missing although there is data sealed with its keys.
    """
    if path.exists():
        return
    refuse_data_without_keyring(path, data_dir)
    save_keyring(path, {time.strftime("%Y-%m-%d", time.gmtime()): secrets.token_bytes(32)})


def refuse_data_without_keyring(path: Path, data_dir: Path) -> None:
    """Make sure that a new keyring is not one that has gone missing.

    Raises:
        Misconfigured: the keyring is missing although there is data sealed with its keys.
    """
    if (data_dir / "store").exists():
        raise Misconfigured(
            f"The keyring {path} is missing, and {data_dir} holds secrets sealed with its keys. Bring it back, "
            "or move the folder away to start anew."
        )


def _check_key(name: str, key: bytes) -> None:
    if not KEY_NAME.fullmatch(name):
        raise Misconfigured("A key name in the keyring is not 1-16 letters, digits, dots, dashes.")
    if len(key) != 32:
        raise Misconfigured(f"The key {name!r} has {len(key)} bytes; it must have exactly 32.")
    steps = {(b - a) % 256 for a, b in pairwise(key)}
    # 32 random bytes have fewer than 16 distinct values, or distances, once in more than 10^12 keys.
    if len(set(key)) < 16 or len(steps) < 16:
        raise Misconfigured(f"The key {name!r} is not random. Make one with 'secretsvc keys add'.")


# --- Argon2 --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Argon2:
    """Argon2id parameters: memory in KiB, passes, lanes.

    The default is the OWASP Password Storage Cheat Sheet's (19 MiB, 2, 1).  They are stored with each
    record, so a changed setting applies to new records only.
    """

    memory_kib: int = 19_456
    passes: int = 2
    lanes: int = 1

    def pack(self, salt: bytes) -> bytes:
        """The 25 bytes kept in a record."""
        return struct.pack(">IIB", self.memory_kib, self.passes, self.lanes) + salt

    @classmethod
    def unpack(cls, packed: bytes) -> tuple[Argon2, bytes]:
        """Parameters and salt; refuses what would cost more than we ever write.

        Raises:
            RecordDamaged: over the ceiling of 256 MiB, 16 passes, 8 lanes.
        """
        found = cls(*struct.unpack(">IIB", packed[:9]))
        if not (0 < found.memory_kib <= 262_144 and 0 < found.passes <= 16 and 0 < found.lanes <= 8):
            raise RecordDamaged
        return found, packed[9:]

    def stretch(self, proof: bytes, salt: bytes) -> bytes:
        """32 bytes from a 32-byte proof and a 16-byte salt; slow and memory-hungry on purpose.

        Raises:
            Busy: there is not enough memory just now.
        """
        try:
            return hash_secret_raw(proof, salt, self.passes, self.memory_kib, self.lanes, 32, Type.ID)
        except HashingError:
            raise Busy from None


class SlotWatch(Protocol):
    """Whoever keeps count of the slots."""

    def took(self, waited: float) -> None:
        """A slot was taken after so many seconds."""

    def left(self) -> None:
        """It is free again."""

    def refused(self) -> None:
        """Somebody was turned away."""


class Unwatched:
    """Nobody does."""

    def took(self, waited: float) -> None:
        """Nothing."""

    def left(self) -> None:
        """Nothing."""

    def refused(self) -> None:
        """Nothing."""


@dataclass
class Slots:
    """How many password computations may run at once in this process, and how many may wait.

    Memory is bounded by ``slots`` times the Argon2 setting, and waiting by ``slots`` callers and
    ``patience`` seconds, so that a flood of passwords leaves threads for everything else.
    """

    slots: int
    patience: float = 1.0
    watch: SlotWatch = field(default_factory=Unwatched, repr=False)
    _free: threading.Semaphore = field(init=False, repr=False)
    _places: threading.Semaphore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._free = threading.Semaphore(self.slots)
        self._places = threading.Semaphore(2 * self.slots)

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a slot.

        Raises:
            Busy: every slot and every waiting place is taken, or the wait was too long.
        """
        if not self._places.acquire(blocking=False):
            self.watch.refused()
            raise Busy
        try:
            began = time.monotonic()
            if not self._free.acquire(timeout=self.patience):
                self.watch.refused()
                raise Busy
            try:
                self.watch.took(time.monotonic() - began)
                yield
            finally:
                self._free.release()
                self.watch.left()
        finally:
            self._places.release()


# --- records -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Binding:
    """What a record is bound to: it opens only with every one of these as it was when sealed.

    Attributes:
        key_name: the master key's name.
        id: 16 bytes.
        kind: ``secret`` or ``request``.
        token_hash: SHA-256 of the link's token.
        answer_hash: SHA-256 of the answer token, empty for a secret.
        expires_at: seconds since 1970.
        epoch: the ledger epoch that will decide its end, 12 bytes.
    """

    key_name: str
    id: bytes
    kind: str
    token_hash: bytes
    answer_hash: bytes
    expires_at: int
    epoch: bytes

    def associated_data(self, argon2: bytes) -> bytes:
        """Every bound field, each behind its length, so that no two sets of fields look alike."""
        return b"secretsvc/v1/record" + joined(
            b"\x01",
            self.key_name.encode(),
            self.id,
            self.kind.encode(),
            self.token_hash,
            self.answer_hash,
            struct.pack(">Q", self.expires_at),
            argon2,
            self.epoch,
        )


def seal_record(
    keyring: Keyring,
    binding: Binding,
    envelope: bytes,
    *,
    proof: bytes | None = None,
    argon2: Argon2 | None = None,
) -> bytes:
    """The record to store around an envelope; with a proof it takes a slot's worth of Argon2 time."""
    master = keyring.get(binding.key_name)
    random = os.urandom(SALT + NONCE)
    salt, nonce = random[:SALT], random[SALT:]
    if proof is None:
        aad = binding.associated_data(b"")
        sealed = AESGCM(hkdf(master, b"record", salt=salt)).encrypt(nonce, envelope, aad)
        return PLAIN + salt + nonce + sealed
    argon2 = argon2 or Argon2()
    argon2_salt = os.urandom(16)
    packed = argon2.pack(argon2_salt)
    stretch = argon2.stretch(proof, argon2_salt)
    aad = binding.associated_data(packed)
    check = hkdf(master + stretch, b"check", salt=salt, length=CHECK)
    header = AESGCM(hkdf(master, b"header", salt=salt)).encrypt(nonce, check, aad)
    sealed = AESGCM(hkdf(master + stretch, b"record", salt=salt)).encrypt(nonce, envelope, aad)
    return WITH_PASSWORD + salt + nonce + packed + header + sealed


def unseal_record(keyring: Keyring, binding: Binding, record: bytes, *, proof: bytes | None = None) -> bytes:
    """The envelope inside a record.

    With a password the record is checked under the master key alone before Argon2 runs, and the proof by a
    check value after it: so a wrong password and a damaged record are never taken for each other.

    Raises:
        KeyMissing: the master key is gone.
        RecordDamaged: the record, or anything it is bound to, was altered.
        WrongProof: the record is sound and the proof is not its own.
    """
    master = keyring.get(binding.key_name)
    kind, salt, rest = record[:1], record[1 : 1 + SALT], record[1 + SALT :]
    nonce, rest = rest[:NONCE], rest[NONCE:]
    try:
        if kind == PLAIN and proof is None:
            return AESGCM(hkdf(master, b"record", salt=salt)).decrypt(nonce, rest, binding.associated_data(b""))
        if kind != WITH_PASSWORD or proof is None:
            raise RecordDamaged
        packed, header, sealed = rest[:25], rest[25 : 25 + CHECK + TAG], rest[25 + CHECK + TAG :]
        aad = binding.associated_data(packed)
        check = AESGCM(hkdf(master, b"header", salt=salt)).decrypt(nonce, header, aad)
        argon2, argon2_salt = Argon2.unpack(packed)
        stretch = argon2.stretch(proof, argon2_salt)
        if not hmac.compare_digest(hkdf(master + stretch, b"check", salt=salt, length=CHECK), check):
            raise WrongProof
        return AESGCM(hkdf(master + stretch, b"record", salt=salt)).decrypt(nonce, sealed, aad)
    except (InvalidTag, ValueError, struct.error):
        raise RecordDamaged from None


def sha256(data: bytes) -> bytes:
    """What is kept of a token: its SHA-256.  Enough, since tokens are 32 random bytes."""
    return hashlib.sha256(data).digest()


def joined(*parts: bytes) -> bytes:
    """Parts in a row, each behind its 4-byte length, so that no two lists of parts look alike."""
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])


def separated(row: bytes) -> list[bytes]:
    """The parts that ``joined`` put in a row."""
    parts = []
    while row:
        end = 4 + int.from_bytes(row[:4], "big")
        parts.append(row[4:end])
        row = row[end:]
    return parts
