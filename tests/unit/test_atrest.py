"""The server's half of the format: keyring, Argon2 slots, records."""

from __future__ import annotations

import json
import os
import secrets
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from secretsvc import atrest
from secretsvc.atrest import Argon2, Binding, Keyring, Slots, WrongProof, seal_record, unseal_record
from secretsvc.envelope import b64, unb64
from secretsvc.errors import Busy, KeyMissing, Misconfigured, RecordDamaged
from tests.vectors import make_atrest

VECTORS = json.loads(make_atrest.FILE.read_text())["records"]
CHEAP = Argon2(7168, 1, 1)
KEY = secrets.token_bytes(32)
BINDING = Binding("k", b"i" * 16, "secret", b"t" * 32, b"", 1_900_000_000, b"e" * 12)
ENVELOPE = secrets.token_bytes(285)


def ring(**keys: bytes) -> Keyring:
    return Keyring(keys or {"k": KEY})


# --- records


def test_the_vectors_are_current() -> None:
    assert make_atrest.FILE.read_text() == make_atrest.document()
    assert len(VECTORS) == 4


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_every_record_vector_opens(vector: dict[str, str]) -> None:
    binding = Binding(
        vector["key_name"],
        unb64(vector["id"]),
        vector["kind"],
        unb64(vector["token_hash"]),
        unb64(vector["answer_hash"]),
        int(vector["expires_at"]),
        unb64(vector["epoch"]),
    )
    keyring = Keyring({vector["key_name"]: unb64(vector["master_key"])})
    proof = unb64(vector["proof"]) if vector["proof"] else None
    assert unseal_record(keyring, binding, unb64(vector["record"]), proof=proof) == unb64(vector["envelope"])


@pytest.mark.parametrize("proof", [None, b"p" * 32])
def test_a_record_opens_again(proof: bytes | None) -> None:
    record = seal_record(ring(), BINDING, ENVELOPE, proof=proof, argon2=CHEAP)
    assert unseal_record(ring(), BINDING, record, proof=proof) == ENVELOPE
    assert ENVELOPE not in record


def test_two_records_of_one_envelope_share_nothing() -> None:
    first, second = (seal_record(ring(), BINDING, ENVELOPE) for _ in range(2))
    assert first[1:45] != second[1:45]
    assert first[45:] != second[45:]


CHANGES = {
    "key name": {"key_name": "l"},
    "id": {"id": b"j" + b"i" * 15},
    "kind": {"kind": "request"},
    "token": {"token_hash": b"u" + b"t" * 31},
    "answer token": {"answer_hash": b"a" * 32},
    "expiry": {"expires_at": 1_900_000_001},
    "epoch": {"epoch": b"f" + b"e" * 11},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("proof", [None, b"p" * 32], ids=["plain", "password"])
def test_a_record_is_bound_to_every_field(change: dict[str, object], proof: bytes | None) -> None:
    keyring = ring(k=KEY)
    keyring._keys["l"] = KEY  # the same key under another name: only the bound name differs
    record = seal_record(keyring, BINDING, ENVELOPE, proof=proof, argon2=CHEAP)
    with pytest.raises(RecordDamaged):
        unseal_record(keyring, replace(BINDING, **change), record, proof=proof)  # type: ignore[arg-type]


def test_no_flipped_bit_passes_and_none_is_taken_for_a_wrong_password() -> None:
    """Every bit of a plain record, and every bit before the ciphertext of one with a password."""
    plain = seal_record(ring(), BINDING, ENVELOPE)
    proof = b"p" * 32
    locked = seal_record(ring(), BINDING, ENVELOPE, proof=proof, argon2=CHEAP)
    flips = [(plain, None, bit) for bit in range(8 * len(plain))]
    flips += [(locked, proof, bit) for bit in range(8 * (1 + 32 + 12 + 25 + 32))]
    flips += [(locked, proof, 8 * (len(locked) - 1)), (locked, proof, 8 * 110)]
    refused = 0
    for record, given, bit in flips:
        changed = bytearray(record)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordDamaged):
            unseal_record(ring(), BINDING, bytes(changed), proof=given)
        refused += 1
    assert refused == 8 * len(plain) + 8 * 102 + 2


@pytest.mark.parametrize("length", [0, 1, 44, 60, 101])
def test_a_cut_record_is_damaged(length: int) -> None:
    for proof in (None, b"p" * 32):
        record = seal_record(ring(), BINDING, ENVELOPE, proof=proof, argon2=CHEAP)
        with pytest.raises(RecordDamaged):
            unseal_record(ring(), BINDING, record[:length], proof=proof)


def test_a_wrong_proof_is_told_from_damage() -> None:
    record = seal_record(ring(), BINDING, ENVELOPE, proof=b"p" * 32, argon2=CHEAP)
    with pytest.raises(WrongProof):
        unseal_record(ring(), BINDING, record, proof=b"q" * 32)


def test_a_record_with_a_password_does_not_open_without_one() -> None:
    record = seal_record(ring(), BINDING, ENVELOPE, proof=b"p" * 32, argon2=CHEAP)
    with pytest.raises(RecordDamaged):
        unseal_record(ring(), BINDING, record)
    with pytest.raises(RecordDamaged):
        unseal_record(ring(), BINDING, seal_record(ring(), BINDING, ENVELOPE), proof=b"p" * 32)


def test_a_dropped_key_ends_what_it_sealed() -> None:
    record = seal_record(ring(), BINDING, ENVELOPE)
    with pytest.raises(KeyMissing):
        unseal_record(ring(other=secrets.token_bytes(32)), BINDING, record)


def test_another_master_key_of_the_same_name_opens_nothing() -> None:
    record = seal_record(ring(), BINDING, ENVELOPE)
    with pytest.raises(RecordDamaged):
        unseal_record(ring(k=secrets.token_bytes(32)), BINDING, record)


@pytest.mark.parametrize(
    "costly", [Argon2(262_145, 1, 1), Argon2(7168, 17, 1), Argon2(7168, 1, 9), Argon2(0, 1, 1)]
)
def test_parameters_over_the_ceiling_are_refused_before_argon2_runs(costly: Argon2) -> None:
    with pytest.raises(RecordDamaged):
        Argon2.unpack(costly.pack(b"s" * 16))


def test_the_default_is_what_owasp_says() -> None:
    assert Argon2() == Argon2(memory_kib=19 * 1024, passes=2, lanes=1)


# --- keyring


def test_a_keyring_is_written_and_read_with_mode_0600(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keyring"
    keys = {"new": secrets.token_bytes(32), "old": secrets.token_bytes(32)}
    atrest.save_keyring(path, keys)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keyring = atrest.load_keyring(path)
    assert keyring.names == ["new", "old"]
    assert keyring.newest == "new"
    assert keyring.get("old") == keys["old"]
    assert [p.name for p in path.parent.iterdir()] == ["keyring"]


GOOD = b64(bytes.fromhex("8f0ac34c51d2b5f79ae1c6804be37312d9fe67102a9bc8453e6f11d05cb7a824"))
WEAK = {
    "empty": "",
    "only a comment": "# none\n",
    "short": f"a:{b64(secrets.token_bytes(31))}",
    "long": f"a:{b64(secrets.token_bytes(33))}",
    "zeros": f"a:{b64(bytes(32))}",
    "one byte repeated": f"a:{b64(b'A' * 32)}",
    "counting up": f"a:{b64(bytes(range(32)))}",
    "a short pattern": f"a:{b64(b'abcdefgh' * 4)}",
    "the same name twice": f"a:{GOOD}\na:{b64(secrets.token_bytes(32))}",
    "the same key twice": f"a:{GOOD}\nb:{GOOD}",
    "no name": f":{GOOD}",
    "a name with a space": f"a b:{GOOD}",
    "a long name": f"{'a' * 17}:{GOOD}",
    "padding": f"a:{GOOD}=",
    "not base64": "a:???",
    "no key": "a:",
}


@pytest.mark.parametrize("text", WEAK.values(), ids=WEAK)
def test_a_weak_keyring_is_refused_and_never_printed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keyring"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(Misconfigured) as refused:
        atrest.load_keyring(path)
    for line in text.splitlines():
        key = line.partition(":")[2]
        assert not key or key not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_keyring_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keyring"
    path.write_text(f"a:{GOOD}\n")
    path.chmod(0o600)
    atrest.load_keyring(path)
    path.chmod(mode)
    with pytest.raises(Misconfigured, match="chmod 600"):
        atrest.load_keyring(path)


def test_a_missing_keyring_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no keyring"):
        atrest.load_keyring(tmp_path / "keyring")


def test_a_hundred_fresh_keys_are_accepted() -> None:
    keyring = Keyring({f"k{n}": os.urandom(32) for n in range(100)})
    assert len(keyring.names) == 100
    assert b64(keyring.get("k7")) not in repr(keyring)


def test_the_first_start_makes_a_key_once_and_never_over_data(tmp_path: Path) -> None:
    path = tmp_path / "keyring"
    atrest.first_key(path, tmp_path)
    made = path.read_text()
    atrest.first_key(path, tmp_path)
    assert path.read_text() == made
    (tmp_path / "store").mkdir()
    path.unlink()
    with pytest.raises(Misconfigured, match="missing"):
        atrest.first_key(path, tmp_path)
    assert not path.exists()


def test_derived_values_differ_by_label_and_by_how_the_context_is_cut() -> None:
    keyring = ring()
    values = {
        keyring.derive("k", b"a", b"bc"),
        keyring.derive("k", b"ab", b"c"),
        keyring.derive("k", b"a", b"b", b"c"),
        keyring.derive("k", b"a", b"", b"bc"),
    }
    assert len(values) == 4


# --- slots


def test_slots_bound_who_works_and_who_waits() -> None:
    slots = Slots(2, patience=30)
    entered, leave = threading.Semaphore(0), threading.Event()

    def work() -> None:
        with slots.take():
            entered.release()
            leave.wait(30)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        assert entered.acquire(timeout=10)
    while slots._places._value > 0:  # the other two have taken the waiting places
        pass
    assert not entered.acquire(blocking=False)
    with pytest.raises(Busy), slots.take():
        pass
    leave.set()
    for thread in threads:
        thread.join(10)
    with slots.take():
        assert slots._free._value == 1


def test_a_slot_is_given_back_after_a_failure() -> None:
    slots = Slots(1, patience=0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), slots.take():
            raise ZeroDivisionError
    with slots.take(), pytest.raises(Busy), slots.take():
        pass
