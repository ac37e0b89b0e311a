"""The store: records and receipts in Redis, two keys for each secret in one hash slot.

Keys, all with the prefix ``ss:`` and, where traffic makes them, a TTL:

======================  ==================================================================================
``ss:{<id>}``           receipt, a hash of the fields below; lives for the retention after the expiry
``ss:{<id>}:r``         record, bytes as ``atrest`` makes them; lives until the expiry at most
``ss:i:<hash>``         what an Idempotency-Key created where the server sealed; a day
``ss:seen``             high-water mark of the ledger: epoch to sequence
``ss:tokens``           API tokens by hash
``ss:rewritten:…``      that a server's file was written anew, or is being (``hygiene``); an interval
======================  ==================================================================================

Receipt fields are short, since every secret pays for them: s state, g kind, k and rk names of the master
keys, l ledger epoch, c created, x expires, e ended, t r a SHA-256 of the link's, the receipt's and the
answer token, b and ab fingerprints of what was created and answered, z size, f flags ("p" password, "s"
sealed by the server), n wrong tries, p<name> a try reserved until then (ms), rp reported, un rn the calls
that unlocked and reported, u language, v label, form, xi the answer's life, facts, w<claimant> the name of an
agent about to collect the answer, w the name of the one who did.
"""

from __future__ import annotations

import secrets
import time
from typing import Literal

from .envelope import b64
from .model import ClockOff, Look, Receipt, Verdict
from .node import Node
from .rules import Argument

SEEN = "ss:seen"
RESERVED_MS = 30_000
REMEMBER = 86_400


class RedisStore:
    """The store on one Redis-compatible server.

    Args:
        node: the connection.
        retention: seconds a receipt is kept after the expiry.
        replicas: how many replicas have to confirm a new secret, request or answer.
    """

    def __init__(self, node: Node, *, retention: int, replicas: int = 0) -> None:
        self.node = node
        self.retention = retention
        self.replicas = replicas
        self._offset: float | None = None

    def now(self) -> float:
        """The store's time: ours plus the offset learnt from its last answer."""
        if self._offset is None:
            self._learn(int(self.node.time() * 1000))
        return time.time() + (self._offset or 0.0)

    def look(self, id: bytes, token_hash: bytes, *, record: bool) -> Look | None:
        """See ``model.Store.look``."""
        now_ms, role, fields, stored = self.node.run("look", _keys(id), token_hash, "1" if record else "")
        self._learn(now_ms)
        if not role:
            return None
        content = None if isinstance(stored, int) else stored
        has_record = content is not None or bool(stored)
        return Look(id, role.decode(), now_ms / 1000, _receipt(fields), content, has_record, token_hash)

    def status(self, id: bytes) -> Look | None:
        """See ``model.Store.status``."""
        now_ms, fields, has_record = self.node.run("status", _keys(id))
        self._learn(now_ms)
        if not fields:
            return None
        return Look(id, "sender", now_ms / 1000, _receipt(fields), None, bool(has_record), b"")

    def create(self, id: bytes, receipt: Receipt, receipt_hash: bytes, record: bytes | None) -> Receipt | None:
        """See ``model.Store.create``."""
        word, now_ms, *found = self.node.run(
            "create",
            _keys(id),
            receipt.created_at,
            receipt.expires_at,
            receipt.expires_at + self.retention,
            record or b"",
            *_fields(receipt, receipt_hash),
            replicas=self.replicas,
        )
        self._learn(now_ms)
        if word == b"clock":
            raise ClockOff
        return _receipt(found[0]) if found else None

    def answer(self, id: bytes, receipt: Receipt, record: bytes) -> Literal["answered", "again", "taken"]:
        """See ``model.Store.answer``."""
        fields: list[Argument] = ["rk", receipt.record_key_name, "z", receipt.size]
        word, now_ms = self.node.run(
            "answer",
            _keys(id),
            int(self.now()),
            receipt.expires_at,
            receipt.expires_at + self.retention,
            record,
            receipt.answer_fingerprint,
            *fields,
            "facts",
            receipt.facts or "{}",
            replicas=self.replicas,
        )
        self._learn(now_ms)
        if word == b"clock":
            raise ClockOff
        found: Literal["answered", "again", "taken"] = word.decode()
        return found

    def mark(self, id: bytes, verdict: Verdict, *, life_ms: int, reservation: str = "") -> None:
        """See ``model.Store.mark``; the ledger's high-water mark goes along in the same round trip."""
        arguments = (verdict.state, verdict.ended_at, life_ms, reservation, verdict.word, verdict.claimant)
        before = ("ZADD", SEEN, "GT", verdict.seen[1], verdict.seen[0]) if verdict.seen else ()
        self.node.run("mark", _keys(id), *arguments, before=before)

    def collecting(self, id: bytes, claimant: bytes, name: str) -> None:
        """See ``model.Store.collecting``."""
        self.node.run("collecting", _keys(id)[:1], claimant, name)

    def reserve(
        self, id: bytes, reservation: str, *, cap: int
    ) -> tuple[Literal["ok", "locked", "pending", "gone"], int]:
        """See ``model.Store.reserve``."""
        word, wait_ms = self.node.run("reserve", _keys(id)[:1], reservation, cap, RESERVED_MS)
        return word.decode(), -(-wait_ms // 1000)

    def settle(self, id: bytes, reservation: str, outcome: Literal["wrong", "back"], *, cap: int) -> int:
        """See ``model.Store.settle``."""
        return int(self.node.run("settle", _keys(id)[:1], reservation, outcome, cap))

    def unlock(self, id: bytes, *, cap: int) -> bool:
        """See ``model.Store.unlock``."""
        return bool(self.node.run("unlock", _keys(id)[:1], secrets.token_urlsafe(6), cap))

    def report(self, id: bytes) -> bool:
        """See ``model.Store.report``."""
        return bool(self.node.run("report", _keys(id)[:1], secrets.token_urlsafe(6)))

    def remember(self, key: bytes, value: bytes) -> bytes | None:
        """See ``model.Store.remember``."""
        found: bytes | None = self.node.command(
            "SET", f"ss:i:{b64(key)}", value, "NX", "GET", "EX", REMEMBER, get=True
        )
        return found

    def high_water(self) -> dict[bytes, int]:
        """The highest sequence seen in each ledger epoch."""
        flat = self.node.command("ZRANGE", SEEN, 0, -1, "WITHSCORES")
        return {epoch: int(float(score)) for epoch, score in zip(flat[::2], flat[1::2], strict=True) if epoch}

    def raise_high_water(self, epoch: bytes, sequence: int) -> None:
        """Keep a mark of the ledger; it never goes down."""
        self.node.command("ZADD", SEEN, "GT", sequence, epoch)

    def _learn(self, now_ms: int) -> None:
        self._offset = now_ms / 1000 - time.time()


def _keys(id: bytes) -> list[str]:
    receipt = f"ss:{{{b64(id)}}}"
    return [receipt, receipt + ":r"]


def _fields(receipt: Receipt, receipt_hash: bytes) -> list[Argument]:
    flags = ("p" if receipt.password else "") + ("s" if receipt.sealed_by == "server" else "")
    fields: dict[str, Argument | None] = {
        # First, and always there: so that finding them takes no longer than not finding a receipt.
        "t": receipt.token_hash,
        "r": receipt_hash,
        "a": receipt.answer_hash,
        "s": receipt.state,
        "g": None if receipt.kind == "secret" else receipt.kind,
        "k": receipt.key_name,
        "rk": None if receipt.record_key_name == receipt.key_name else receipt.record_key_name,
        "l": receipt.epoch,
        "c": receipt.created_at,
        "x": receipt.expires_at,
        "b": receipt.fingerprint,
        "z": receipt.size or None,
        "f": flags or None,
        "u": receipt.language,
        "v": receipt.label,
        "form": receipt.form,
        "xi": receipt.expires_in,
    }
    return [word for name, value in fields.items() if value is not None for word in (name, value)]


def _receipt(flat: list[bytes]) -> Receipt:
    found = dict(zip((name.decode("latin-1") for name in flat[::2]), flat[1::2], strict=True))
    flags = found.get("f", b"")

    def text(name: str) -> str | None:
        return found[name].decode() if name in found else None

    def number(name: str) -> int | None:
        return int(found[name]) if name in found else None

    key_name = found["k"].decode()
    return Receipt(
        state=found["s"].decode(),  # type: ignore[arg-type]
        kind=text("g") or "secret",  # type: ignore[arg-type]
        key_name=key_name,
        record_key_name=text("rk") or key_name,
        epoch=found["l"],
        created_at=int(found["c"]),
        expires_at=int(found["x"]),
        token_hash=found["t"],
        fingerprint=found["b"],
        size=number("z") or 0,
        password=b"p" in flags,
        sealed_by="server" if b"s" in flags else "client",
        answer_hash=found.get("a", b""),
        answer_fingerprint=found.get("ab", b""),
        tries=number("n") or 0,
        ended_at=number("e"),
        reported_at=number("rp"),
        language=text("u"),
        label=text("v"),
        form=text("form"),
        expires_in=number("xi"),
        facts=text("facts"),
        collected_by=text("w"),
    )
