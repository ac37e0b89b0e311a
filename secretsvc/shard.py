"""One node of the ledger: what it says of itself, whether it is believed, and what it decides.

Keys, all with the prefix ``ss:``:

======================  ==================================================================================
``ss:e:<id>``           entry: s state, c claimant's hash, t time in ms, r time of the winner's first repeat,
                        d done
``ss:epoch``            id of the epoch that rules (12 bytes: number, 8 random), its number, and f<id> for each
                        earlier one: when it was over, in ms
``ss:sequence``         how many ends the ruling epoch has seen; it only grows while the epoch lasts
======================  ==================================================================================

``epochs`` judges what a node says of itself.  Every new connection is proved before its first use: a server
that is put back to an older copy has closed those it had.  (One that becomes a replica of such a copy has not,
so a node that has or is a replica is refused.)
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import get_args

from .connections import Ask
from .envelope import b64
from .epochs import NOTHING, Marks, Told, judge
from .errors import LedgerUnavailable, Misconfigured, StoreUnavailable
from .model import End, Verdict, Word
from .node import Node
from .rules import Argument, rule

EPOCH, SEQUENCE = "ss:epoch", "ss:sequence"
WORDS: dict[bytes, Word] = {word.encode(): word for word in get_args(Word)}
FRESH = 1.0  # seconds an epoch may be used for new records without asking again
COMPLAIN_EVERY = 60.0  # seconds between two lines in the log about one node
OLDER = (
    "is older than what this service has seen of it: it was emptied, replaced or restored. Bring the real one "
    "back, or end what it would have decided with 'secretsvc ledger new-epoch --lost', or everything unread "
    "with 'secretsvc ledger new-epoch'."
)


log = logging.getLogger(__name__)


class Older(Misconfigured):
    """A node of the ledger has gone back behind what was seen of it."""


class Stranger(Misconfigured):
    """A node of the ledger says nothing that connects it with what was seen."""


class Shard:
    """One node of the ledger, as one process knows it.

    Args:
        connect: makes the node, given what is to prove its connections.
        name: for messages.
        marks: the high-water marks in the store.
    """

    def __init__(
        self,
        connect: Callable[[Callable[[Ask], None]], Node],
        *,
        name: str,
        marks: Marks,
    ) -> None:
        self.name = name
        self._marks = marks
        self._lock = threading.Lock()
        self._told = NOTHING
        self._asked = self._complained = float("-inf")
        prove = weakref.WeakMethod(self._prove)  # no cycle: connections close as soon as nobody has the node

        def proved(ask: Ask) -> None:
            if mine := prove():
                mine(ask)

        self.node = connect(proved)

    @property
    def told(self) -> Told:
        """What this process has seen of the node; nothing before it was admitted."""
        with self._lock:
            return self._told

    def ask(self) -> Told:
        """What the node says now, believed or not.

        Raises:
            LedgerUnavailable: it does not answer.
        """
        return _told(self.node.command)

    def admit(self, told: Told, marks: Mapping[bytes, int], seen: Told = NOTHING) -> None:
        """Believe the node from now on, if its history fits.

        Args:
            told, marks, seen: as for ``epochs.judge``.

        Raises:
            Older: it has gone back.
            Stranger: nothing connects it with what was seen of this ledger.
        """
        word = judge(told, marks, seen)
        if word == "older" or not told.epoch:
            raise (Older if word == "older" else Stranger)(f"{self.name} {OLDER}")
        if word == "stranger":
            raise Stranger(f"{self.name} is not one that this service has used before.")
        with self._lock:
            self._asked = time.monotonic()
            if self._told.epoch == told.epoch:
                former = told.former | self._told.former
                self._told = Told(told.epoch, max(told.sequence, self._told.sequence), former)
            elif self._told.epoch == seen.epoch:  # otherwise another thread has heard of a later epoch
                self._told = told

    def adopt(self, told: Told) -> None:
        """Believe a node that is new to this service."""
        with self._lock:
            self._told = told
            self._asked = time.monotonic()

    def begin(self, number: int, *, first: bool = False, lost: tuple[bytes, ...] = ()) -> Told:
        """Begin an epoch: all unread secrets of this node's earlier ones are ended.

        Args:
            number: higher than that of any epoch; 0 to begin none.
            first: only if none rules.
            lost: epochs of lost nodes, which this one answers for from now on.

        Returns:
            What the node says afterwards: the epoch may be another process's, if that was quicker.

        Raises:
            LedgerUnavailable: it may have begun, or not; beginning again is safe.
        """
        epoch = struct.pack(">I", number) + os.urandom(8) if number else b""
        self.node.run("ledger_epoch", [EPOCH, SEQUENCE], epoch, number, "first" if first else "", *lost)
        return self.ask()

    def epoch(self) -> bytes:
        """The epoch that rules here, asked at most once a second.

        Raises:
            LedgerUnavailable: it cannot be asked, or is not believed.
        """
        with self._lock:
            told, asked = self._told, self._asked
        if not told.epoch:
            raise LedgerUnavailable
        if time.monotonic() - asked > FRESH:
            self.refresh()
        return self.told.epoch

    def refresh(self) -> None:
        """Ask the node anew.

        Raises:
            LedgerUnavailable: it cannot be asked, or is not believed.
        """
        seen = self.told
        self._believe(self.ask(), {}, seen)

    def is_believed(self) -> bool:
        """Whether the node answers just now, and is the one it was."""
        try:
            if self.told.epoch:
                self.refresh()
        except LedgerUnavailable:
            return False
        return bool(self.told.epoch)

    def end(self, id: bytes, epoch: bytes, end: End, claimant: bytes, *times_ms: int) -> Verdict:
        """See ``model.Ledger.end``; the times are expiry, window, and end of the entry."""
        return self._decided("ledger_end", id, epoch, end, claimant, *times_ms)

    def peek(self, id: bytes, epoch: bytes) -> Verdict:
        """See ``model.Ledger.peek``."""
        return self._decided("ledger_peek", id, epoch)

    def done(self, id: bytes, epoch: bytes, claimant: bytes) -> Verdict:
        """See ``model.Ledger.done``."""
        return self._decided("ledger_done", id, epoch, claimant)

    def _decided(self, name: str, id: bytes, epoch: bytes, *arguments: Argument) -> Verdict:
        seen = self.told
        keys = [f"ss:e:{b64(id)}", EPOCH, SEQUENCE]
        word, rules, sequence, now_ms, state, ended_ms, *more = self.node.run(
            name, keys, epoch, seen.epoch, seen.sequence, *arguments
        )
        if word == b"behind":
            raise LedgerUnavailable
        self._learn(seen, rules, sequence)
        return Verdict(
            WORDS[word],
            state.decode(),
            ended_ms // 1000,
            more[0] if more else b"",
            (rules, sequence),
            now_ms / 1000,
            more[1] / 1000 if more else 0.0,
        )

    def _learn(self, seen: Told, epoch: bytes, sequence: int) -> None:
        """Take up an answer, which was judged by what was known when the question was sent.

        What other threads have learnt meanwhile says nothing about it: the answer may simply be older.
        """
        with self._lock:
            if self._told.epoch != seen.epoch:
                return
            if epoch != seen.epoch:
                self._told = Told(epoch, sequence, self._told.epochs)
            elif sequence > self._told.sequence:
                self._told = Told(epoch, sequence, self._told.former)

    def _prove(self, ask: Ask) -> None:
        seen = self.told
        if seen.epoch:
            marks = self._marks.high_water()
            self._believe(_told(ask), marks, seen)

    def _believe(self, told: Told, marks: Mapping[bytes, int], seen: Told) -> None:
        try:
            self.admit(told, marks, seen)
        except Misconfigured as error:
            with contextlib.suppress(StoreUnavailable):  # so that other processes get to know it too
                self._marks.raise_high_water(seen.epoch, seen.sequence)
            if time.monotonic() - self._complained > COMPLAIN_EVERY:
                self._complained = time.monotonic()
                log.error("%s", error.detail)  # noqa: TRY400 - the sentence says it all
            raise LedgerUnavailable from None


def _told(ask: Ask) -> Told:
    sequence, flat = ask("EVAL", rule("ledger_tell").text, 2, EPOCH, SEQUENCE)
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    former = frozenset(name[1:] for name in fields if name[:1] == b"f")
    return Told(fields.get(b"id", b""), sequence, former)
