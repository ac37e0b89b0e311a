"""The application without its memory of the ledger: it believes any node, however old.

Loaded by gunicorn (``tests.faults.forgetful:create_app()``) in the place of the real one, to show that the
checks which are missing here are what keeps a rolled-back ledger from deciding again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flask import Flask

import app as composition
from secretsvc.ends import Ends
from secretsvc.epochs import NOTHING, Told
from secretsvc.model import End, Look, Verdict
from secretsvc.shard import Shard, Stranger


def believe(shard: Shard, told: Told, marks: Mapping[bytes, int], seen: Told = NOTHING) -> None:
    """Take whatever a node says for the truth, and remember of it only who it is."""
    if not told.epoch:
        raise Stranger(shard.name)  # it is new, and begins
    shard.adopt(replace(told, sequence=0))


def learn(shard: Shard, seen: Told, epoch: bytes, sequence: int) -> None:
    """Remember nothing of an answer."""


def end(ends: Ends, look: Look, end: End, claimant: bytes) -> Verdict:
    """End it, without a thought of what the receipt says."""
    return decide(ends, replace(look, receipt=replace(look.receipt, state="sealed")), end, claimant)


decide = Ends.end


def create_app() -> Flask:
    """The application, forgetful."""
    stand_ins: tuple[tuple[type, str, object], ...] = (
        (Shard, "admit", believe),
        (Shard, "_learn", learn),
        (Ends, "end", end),
    )
    for owner, name, stand_in in stand_ins:
        assert callable(getattr(owner, name))
        setattr(owner, name, stand_in)
    return composition.create_app()
