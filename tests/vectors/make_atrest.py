"""Make or check ``atrest.json``: records computed from docs/format.md, not with the product's code.

python tests/vectors/make_atrest.py            writes the file
python tests/vectors/make_atrest.py --check    exits 1 if the file is not current
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

FILE = Path(__file__).parent / "atrest.json"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def chosen(name: str, length: int) -> bytes:
    """Bytes that look random and are the same in every run."""
    return hashlib.shake_256(b"secretsvc test vector " + name.encode()).digest(length)


def derive(key: bytes, salt: bytes, label: bytes, length: int = 32) -> bytes:
    return HKDF(SHA256(), length, salt, b"secretsvc/v1/" + label).derive(key)


def vector(name: str, *, kind: str, envelope_bytes: int, password: bool) -> dict[str, Any]:
    master, salt, nonce = chosen(name + " master", 32), chosen(name + " salt", 32), chosen(name + " nonce", 12)
    id, token_hash = chosen(name + " id", 16), chosen(name + " token hash", 32)
    answer_hash = chosen(name + " answer hash", 32) if kind == "request" else b""
    envelope, proof = chosen(name + " envelope", envelope_bytes), chosen(name + " proof", 32)
    epoch, expires_at = (7).to_bytes(4, "big") + chosen(name + " epoch", 8), 1_800_000_000
    parameters, stretch = b"", b""
    if password:
        argon2_salt = chosen(name + " argon2 salt", 16)
        parameters = (7168).to_bytes(4, "big") + (1).to_bytes(4, "big") + b"\x01" + argon2_salt
        stretch = hash_secret_raw(proof, argon2_salt, 1, 7168, 1, 32, Type.ID)
    fields = [
        b"\x01",
        b"2026-11",
        id,
        kind.encode(),
        token_hash,
        answer_hash,
        expires_at.to_bytes(8, "big"),
        parameters,
        epoch,
    ]
    aad = b"secretsvc/v1/record" + b"".join(len(f).to_bytes(4, "big") + f for f in fields)
    sealed = AESGCM(derive(master + stretch, salt, b"record")).encrypt(nonce, envelope, aad)
    record = b"\x01" + salt + nonce + sealed
    if password:
        check = derive(master + stretch, salt, b"check", 16)
        header = AESGCM(derive(master, salt, b"header")).encrypt(nonce, check, aad)
        record = b"\x02" + salt + nonce + parameters + header + sealed
    return {
        "name": name,
        "master_key": b64(master),
        "key_name": "2026-11",
        "id": b64(id),
        "kind": kind,
        "token_hash": b64(token_hash),
        "answer_hash": b64(answer_hash),
        "expires_at": expires_at,
        "epoch": b64(epoch),
        "proof": b64(proof) if password else None,
        "envelope": b64(envelope),
        "record": b64(record),
    }


def document() -> str:
    vectors = [
        vector("secret", kind="secret", envelope_bytes=285, password=False),
        vector("secret, two blocks", kind="secret", envelope_bytes=541, password=False),
        vector("secret with a password", kind="secret", envelope_bytes=285, password=True),
        vector("answer", kind="request", envelope_bytes=305, password=False),
    ]
    return json.dumps({"format": "secretsvc/v1 at rest", "records": vectors}, indent=1) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(FILE.read_text() != document())
    FILE.write_text(document())
