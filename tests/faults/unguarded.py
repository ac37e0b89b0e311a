"""The application without a guard: its ledger stands in the store, goes back with it, and checks no sequence.

Loaded by gunicorn (``tests.faults.unguarded:create_app()``) in the place of the real one.  What must never
happen to the real one has to happen to this: or the tests that look for it are blind.
"""

from __future__ import annotations

import time

from flask import Flask

import app as composition
from secretsvc import settings
from secretsvc.ends import Ends
from secretsvc.envelope import b64
from secretsvc.model import End, Verdict
from secretsvc.node import Node

EPOCH = bytes([0, 0, 0, 1]) + b"unguarde"


class LedgerInTheStore:
    """Entries are set once, in one atomic step, on the store itself: which is not enough."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def epoch(self, id: bytes) -> bytes:
        return EPOCH

    def rules(self, epoch: bytes) -> bool:
        return True

    def end(
        self,
        id: bytes,
        epoch: bytes,
        end: End,
        claimant: bytes,
        *,
        expires_at: int,
        window: int,
        keep_until: int,
    ) -> Verdict:
        now = time.time()
        entry = f"{end} {claimant.hex()} {int(now)}"
        found = self.node.command("SET", _key(id), entry, "NX", "GET", "EXAT", keep_until, get=True)
        if found is None:
            return Verdict("won", end, int(now), now=now)
        state, winner, at = found.decode().split()
        again = (state, winner) == (end, claimant.hex()) and now <= int(at) + window
        return Verdict("again" if again else "ended", state, int(at), now=now)

    def peek(self, id: bytes, epoch: bytes) -> Verdict:
        found = self.node.command("GET", _key(id))
        if found is None:
            return Verdict("open", "", 0, now=time.time())
        state, winner, at = found.decode().split()
        return Verdict("ended", state, int(at), bytes.fromhex(winner), now=time.time())

    def done(self, id: bytes, epoch: bytes, claimant: bytes) -> Verdict:
        found = self.peek(id, epoch)
        mine = found.state == "opened" and found.claimant == claimant
        return Verdict("done" if mine else found.word, found.state, found.ended_at)


def _key(id: bytes) -> str:
    return f"ss:x:{{{b64(id)}}}"


def create_app() -> Flask:
    """The application, unguarded."""
    conf = settings.load()
    service = composition.make_service(conf)
    vault = service.vault
    vault.ledger = LedgerInTheStore(service.store.node)
    ends = vault.ends
    vault.ends = vault.tries.ends = Ends(
        vault.store, vault.ledger, retry_window=ends.retry_window, retention=ends.retention
    )
    return composition.create_app(conf, service=service)
