"""The ledger: a set-once register of ends, on a server apart from the secrets.

It exists because the store alone cannot be trusted with "once": a failover, a cut AOF tail or a restored
backup brings a used secret back to life there.  An entry, once written here, decides for good.

Keys, all with the prefix ``ss:``:

======================  ==================================================================================
``ss:e:<id>``           entry: s state, c claimant's hash, t time in ms, r time of the winner's first repeat,
                        d done
``ss:epoch``            id (12 bytes: number, 8 random), number, began (ms); b<number> when each one began
``ss:sequence``         how many ends this epoch has seen; it only grows while the epoch lasts
======================  ==================================================================================
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Mapping
from typing import get_args

from .envelope import b64
from .errors import LedgerUnavailable, Misconfigured
from .model import End, Verdict, Word
from .node import Node

EPOCH, SEQUENCE = "ss:epoch", "ss:sequence"
WORDS: dict[bytes, Word] = {word.encode(): word for word in get_args(Word)}
FRESH = 1.0  # seconds an epoch may be used for new records without asking again


def epoch_number(epoch: bytes) -> int:
    """Which epoch came later: the number in its first four bytes."""
    return int(struct.unpack(">I", epoch[:4])[0])


class RedisLedger:
    """The ledger on one Redis-compatible server.

    It remembers the newest epoch and the highest sequence it has seen, and takes no answer from a node that
    is behind: such a node was rolled back or replaced, and would decide again what is decided.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self._lock = threading.Lock()
        self._epoch = b""
        self._sequence = 0
        self._asked = float("-inf")

    @property
    def seen(self) -> tuple[bytes, int]:
        """Newest epoch and highest sequence seen, for the high-water mark in the store."""
        with self._lock:
            return self._epoch, self._sequence

    def start(self, seen: Mapping[bytes, int]) -> None:
        """Check the node against the high-water marks that the store keeps; begin the first epoch if new.

        Raises:
            Misconfigured: the node was emptied, swapped or rolled back.
            LedgerUnavailable: it cannot be asked.
        """
        if not seen:
            self.begin_epoch(1, first=True)
        for epoch, sequence in seen.items():
            self._learn(epoch, sequence)
        epoch, sequence = self._ask()
        known, highest = self.seen
        if not epoch or epoch_number(epoch) < epoch_number(known) or (epoch == known and sequence < highest):
            raise Misconfigured(
                "The ledger is older than what this service has seen of it: it was emptied, replaced or "
                "restored. Bring the real one back, or end everything unread with 'secretsvc ledger new-epoch'."
            )
        if epoch_number(epoch) == epoch_number(known) and epoch != known:
            raise Misconfigured("The ledger is not the one this service has used before.")
        self._learn(epoch, sequence)

    def begin_epoch(self, number: int, *, first: bool = False) -> bytes:
        """Begin an epoch: all unread secrets of earlier ones are ended.  With ``first`` only if none rules."""
        epoch = struct.pack(">I", number) + os.urandom(8)
        found, _, sequence = self.node.run(
            "ledger_epoch", [EPOCH, SEQUENCE], epoch, number, "first" if first else ""
        )
        self._learn(found, sequence)
        return bytes(found)

    def ruling(self) -> bytes:
        """The epoch the node itself says, whatever its past; empty where there is none."""
        return self._ask()[0]

    def epoch(self) -> bytes:
        """The epoch that rules now, asked at most once a second.

        Raises:
            LedgerUnavailable: it cannot be asked, or the node is behind.
        """
        if time.monotonic() - self._asked > FRESH:
            known, highest = self.seen
            epoch, sequence = self._ask()
            _refuse_swapped(epoch, known)
            if epoch == known and sequence < highest:
                raise LedgerUnavailable
            self._learn(epoch, sequence)
            self._asked = time.monotonic()
        return self._epoch

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
        """See ``model.Ledger.end``; times in seconds since 1970, the window in seconds."""
        keys = [f"ss:e:{b64(id)}", EPOCH, SEQUENCE]
        times = (expires_at * 1000, window * 1000, keep_until * 1000)
        seen = self.seen
        found = self.node.run("ledger_end", keys, epoch, *_lowest(epoch, seen), end, claimant, *times)
        return self._verdict(seen[0], *found)

    def peek(self, id: bytes, epoch: bytes) -> Verdict:
        """See ``model.Ledger.peek``."""
        keys = [f"ss:e:{b64(id)}", EPOCH, SEQUENCE]
        seen = self.seen
        return self._verdict(seen[0], *self.node.run("ledger_peek", keys, epoch, *_lowest(epoch, seen)))

    def done(self, id: bytes, epoch: bytes, claimant: bytes) -> Verdict:
        """See ``model.Ledger.done``."""
        word, state, ended_ms = self.node.run("ledger_done", [f"ss:e:{b64(id)}", EPOCH], epoch, claimant)
        if word == b"behind":
            raise LedgerUnavailable
        return Verdict(WORDS[word], state.decode(), ended_ms // 1000)

    def _verdict(
        self,
        known: bytes,
        word: bytes,
        epoch: bytes,
        sequence: int,
        now_ms: int,
        state: bytes,
        ended_ms: int,
        claimant: bytes = b"",
    ) -> Verdict:
        """An answer, judged by what was known when the question was sent.

        What other threads have learnt meanwhile says nothing about it: the answer may simply be older.
        """
        if word == b"behind":
            raise LedgerUnavailable
        _refuse_swapped(epoch, known)
        self._learn(epoch, sequence)
        return Verdict(
            WORDS[word], state.decode(), ended_ms // 1000, claimant, (epoch, sequence), now_ms / 1000
        )

    def _ask(self) -> tuple[bytes, int]:
        epoch = self.node.command("HGET", EPOCH, "id") or b""
        return epoch, int(self.node.command("GET", SEQUENCE) or 0)

    def _learn(self, epoch: bytes, sequence: int) -> None:
        with self._lock:
            if not self._epoch or epoch_number(epoch) > epoch_number(self._epoch):
                self._epoch, self._sequence = epoch, sequence
            elif epoch == self._epoch:
                self._sequence = max(self._sequence, sequence)


def _lowest(epoch: bytes, seen: tuple[bytes, int]) -> tuple[int, int]:
    """Lowest epoch number and sequence to accept an answer from; a record's own epoch was seen too."""
    known, sequence = seen
    newest = max(epoch_number(known) if known else 0, epoch_number(epoch))
    return newest, sequence if known and epoch_number(known) == newest else 0


def _refuse_swapped(epoch: bytes, known: bytes) -> None:
    """A later epoch has a higher number; anything else but the known one is no ledger of ours."""
    if not epoch or (known and epoch != known and epoch_number(epoch) <= epoch_number(known)):
        raise LedgerUnavailable
