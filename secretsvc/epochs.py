"""Epochs of the ledger's nodes: what a node says of its own, and whether it is believed.

A node proves itself by its history.  It has to know every epoch that the service has seen rule there, and to
have seen as many ends as the service has: one that was emptied, replaced, or restored from a copy does not, and
would decide again what is decided.  The highest sequence seen of each epoch is kept in the store as well, its
*high-water mark*, so that a process which has seen nothing yet knows it too.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Word = Literal["itself", "older", "stranger"]
RETIRED = 2**53  # the mark of an epoch that no node may rule with any more: higher than any sequence


def epoch_number(epoch: bytes) -> int:
    """Which epoch came later: the number in its first four bytes."""
    return int(struct.unpack(">I", epoch[:4])[0])


@dataclass(frozen=True)
class Told:
    """What a node says of itself.

    Attributes:
        epoch: the one that rules; empty where none does.
        sequence: how many ends it has seen.
        former: the epochs before it, and those of lost nodes it answers for.
    """

    epoch: bytes = b""
    sequence: int = 0
    former: frozenset[bytes] = field(default_factory=frozenset)

    @property
    def epochs(self) -> frozenset[bytes]:
        """All the epochs this node answers for."""
        return self.former | ({self.epoch} if self.epoch else set())


class Marks(Protocol):
    """High-water marks of the ledger, kept apart from it."""

    def high_water(self) -> dict[bytes, int]:
        """The highest sequence seen in each epoch."""

    def raise_high_water(self, epoch: bytes, sequence: int) -> None:
        """Keep a mark; it never goes down."""


NOTHING = Told()


def judge(told: Told, marks: Mapping[bytes, int], seen: Told = NOTHING) -> Word:
    """Whether a node is the one that is known.

    Args:
        told: what it says.
        marks: the high-water marks, read before it was asked: ends go on meanwhile.
        seen: what this process had seen of it before it was asked.

    Returns:
        ``older`` where it has gone back, ``stranger`` where nothing connects it with what was seen: it is new,
        or was emptied, or is another one.
    """
    mine = seen.sequence if seen.epoch == told.epoch else 0
    if told.epoch and told.sequence < max(mine, marks.get(told.epoch, 0)):
        return "older"
    if seen.epoch and seen.epoch not in told.epochs:
        return "older"
    if not told.epoch or not told.epochs & (seen.epochs | marks.keys()):
        return "stranger"
    return "itself"
