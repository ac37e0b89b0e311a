"""The ledger: a set-once register of ends, on servers apart from the secrets.

It exists because the store alone cannot be trusted with "once": a failover, a cut AOF tail or a restored
backup brings a used secret back to life there.  An entry, once written here, decides for good.

Its nodes are shards.  Every record names the epoch of the node that will decide it, so each node decides its
own share and knows nothing of the others: one that is down makes its share wait, and nothing else.  No node is
ever asked in place of another, and none has a copy: two that disagree would be two answers.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from .epochs import RETIRED, Marks, Told, epoch_number, judge
from .errors import LedgerUnavailable, Misconfigured, Unavailable
from .model import End, Verdict
from .shard import FRESH, Shard, Stranger

log = logging.getLogger(__name__)


class RedisLedger:
    """The ledger on one or several Redis-compatible servers.

    Args:
        shards: its nodes.
        marks: where their high-water marks are.
        check: refuses a node that could forget, by raising ``Misconfigured``; asked once of each.
    """

    def __init__(
        self, shards: Sequence[Shard], marks: Marks, check: Callable[[Shard], None] = lambda shard: None
    ) -> None:
        self.shards = tuple(shards)
        self._marks = marks
        self._check = check
        self._checked: set[Shard] = set()
        self._admitting = threading.Lock()
        self._admitted_at = float("-inf")

    def start(self) -> None:
        """Admit the nodes.  One that does not answer is admitted when it does, if another one answers.

        Raises:
            Misconfigured: a node was emptied, swapped or rolled back, or one is missing.
            LedgerUnavailable: none answers.
            StoreUnavailable: the high-water marks cannot be read.
        """
        self._admit()
        if not any(shard.told.epoch for shard in self.shards):
            raise LedgerUnavailable

    def up(self) -> tuple[int, int]:
        """How many nodes answer and are believed, and how many there are."""
        self._admit_late()
        return sum(shard.is_believed() for shard in self.shards), len(self.shards)

    def close(self) -> None:
        """Close all connections."""
        for shard in self.shards:
            shard.node.close()

    def epoch(self, id: bytes) -> bytes:
        """See ``model.Ledger.epoch``: spread by id, past nodes that do not answer."""
        first = id[0] % len(self.shards)
        for shard in (*self.shards[first:], *self.shards[:first]):
            try:
                return shard.epoch()
            except LedgerUnavailable:
                continue
        self._admit_late()
        raise LedgerUnavailable

    def rules(self, epoch: bytes) -> bool:
        """See ``model.Ledger.rules``."""
        shard = self._shard(epoch)
        with contextlib.suppress(LedgerUnavailable):  # then its last word counts, of a moment ago
            shard.epoch()
        return shard.told.epoch == epoch

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
        times_ms = (expires_at * 1000, window * 1000, keep_until * 1000)
        return self._shard(epoch).end(id, epoch, end, claimant, *times_ms)

    def peek(self, id: bytes, epoch: bytes) -> Verdict:
        """See ``model.Ledger.peek``."""
        return self._shard(epoch).peek(id, epoch)

    def done(self, id: bytes, epoch: bytes, claimant: bytes) -> Verdict:
        """See ``model.Ledger.done``."""
        return self._shard(epoch).done(id, epoch, claimant)

    def new_epoch(self, *, lost: bool = False) -> int:
        """End everything unread: begin an epoch, later than any that was seen, on every node.

        Nodes and marks agree afterwards, whatever became of a node before, and processes that run take it up
        with the next thing they ask.  May be repeated.

        Args:
            lost: end only what nodes have to decide that are lost, emptied, replaced or rolled back.

        Returns:
            The number of the epoch, or 0 where nothing was lost.

        Raises:
            Misconfigured: naming a node that does not answer.
            StoreUnavailable: the high-water marks cannot be read or kept.
        """
        marks = self._marks.high_water()  # first: ends go on, and a node is never behind an older mark
        found = {shard: self._told(shard) for shard in self.shards}
        known = {epoch for told in found.values() for epoch in told.epochs}
        gone = tuple(epoch for epoch in marks if epoch not in known)
        bad = [shard for shard, told in found.items() if not lost or judge(told, marks) != "itself"]
        missing = [epoch for epoch in gone if marks[epoch] < RETIRED]
        if not bad and not missing:
            return 0
        number = max(map(epoch_number, (*known, *marks)), default=0) + 1
        for shard in bad:
            told = shard.begin(number, lost=gone)
            self._marks.raise_high_water(told.epoch, told.sequence)
        if not bad:
            self.shards[0].begin(0, lost=gone)
        ended = [found[shard].epoch for shard in bad if found[shard].epoch]
        for epoch in (*gone, *ended):
            self._marks.raise_high_water(epoch, RETIRED)
        for shard in self.shards:
            if shard.told.epoch:
                shard.refresh()
        return number

    def _told(self, shard: Shard) -> Told:
        try:
            return shard.ask()
        except LedgerUnavailable:
            raise Misconfigured(f"{shard.name} does not answer. Nothing was changed.") from None

    def _shard(self, epoch: bytes) -> Shard:
        """The node that decides what was sealed under this epoch.

        Raises:
            LedgerUnavailable: it is not among those admitted; it may come back.
        """
        for again in (False, True):
            for shard in self.shards:
                if epoch in shard.told.epochs:
                    return shard
            if not again:
                self._admit_late(ask=True)
        raise LedgerUnavailable

    def _admit(self) -> None:
        marks = self._marks.high_water()
        new: dict[Shard, Told] = {}
        refused: Misconfigured | None = None
        down = False
        for shard in self.shards:
            if shard.told.epoch:
                continue
            try:
                if shard not in self._checked:
                    self._check(shard)
                    self._checked.add(shard)
                told = shard.ask()  # after all that takes time: it may have gone back meanwhile
                self._refuse_copy(shard, told)
                shard.admit(told, marks)
                self._marks.raise_high_water(told.epoch, told.sequence)
            except LedgerUnavailable:
                log.warning("%s does not answer", shard.name)
                down = True
            except Stranger:
                new[shard] = told
            except Misconfigured as error:
                refused = refused or error
        if refused:
            raise refused
        self._admit_new(new, marks, down=down)

    def _admit_new(self, new: Mapping[Shard, Told], marks: Mapping[bytes, int], *, down: bool) -> None:
        """Admit nodes that nobody has seen: to a new ledger, or to one of which nothing is missing."""
        known = {epoch for shard in self.shards for epoch in shard.told.epochs}
        missing = [epoch for epoch, mark in marks.items() if mark < RETIRED and epoch not in known]
        if missing and down:
            for shard in new:
                log.warning("%s is new, and waits until all the others answer", shard.name)
            return
        if missing and not new:
            raise Misconfigured(
                "A node of the ledger is missing: the settings name it no longer. Bring it back, or end what "
                "it would have decided with 'secretsvc ledger new-epoch --lost'."
            )
        for shard, told in new.items():
            self._refuse_copy(shard, told)
            if missing:
                shard.admit(told, marks)  # raises, and says why
            found = told if told.epoch else shard.begin(max(map(epoch_number, marks), default=1), first=True)
            self._marks.raise_high_water(found.epoch, found.sequence)
            shard.adopt(found)

    def _refuse_copy(self, shard: Shard, told: Told) -> None:
        """Two nodes that rule with one epoch would both decide what was sealed under it."""
        for other in self.shards:
            if told.epoch and other is not shard and told.epoch == other.told.epoch:
                raise Misconfigured(
                    f"{shard.name} and {other.name} have the same data: one is a copy of the other. Bring the "
                    "right data back, or empty it; end what is lost with 'secretsvc ledger new-epoch --lost'."
                )

    def _admit_late(self, *, ask: bool = False) -> None:
        """Look again at nodes that were not admitted, at most once a second; with ``ask`` at all of them."""
        if not self._admitting.acquire(blocking=False):
            return  # somebody is at it
        try:
            believed = [shard for shard in self.shards if shard.told.epoch]
            if time.monotonic() - self._admitted_at < FRESH or (len(believed) == len(self.shards) and not ask):
                return
            for shard in believed if ask else ():
                with contextlib.suppress(LedgerUnavailable):
                    shard.refresh()
            self._admit()
            self._admitted_at = time.monotonic()
        except Misconfigured as error:
            log.error("%s", error.detail)  # noqa: TRY400 - the sentence says it all
            self._admitted_at = time.monotonic()
        except Unavailable:
            log.warning("the ledger's marks could not be read")
        finally:
            self._admitting.release()
