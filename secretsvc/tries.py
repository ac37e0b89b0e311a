"""Tries at a password: reserved before the work, settled after it; guessing in parallel gains nothing."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from .atrest import Slots, WrongProof
from .ends import Ends
from .errors import N_, Locked, RateLimited, StoreUnavailable, Unavailable, WrongPassword
from .model import Look

log = logging.getLogger(__name__)


class Tries:
    """The tries that a secret with a password allows.

    Args:
        ends: asked before a try is spent on what has ended.
        slots: bound the Argon2 work of this process.
        cap: how many wrong passwords lock a secret.
    """

    def __init__(self, ends: Ends, slots: Slots, *, cap: int) -> None:
        self.ends = ends
        self.slots = slots
        self.cap = cap
        self._store = ends.store

    def left(self, used: int) -> int:
        """How many tries are left after so many wrong ones."""
        return max(0, self.cap - used)

    @contextmanager
    def one(self, look: Look, claimant: bytes) -> Iterator[str]:
        """Around the checking of a proof: one reserved try in one slot, settled in every case.

        Yields the reservation's name, which the mark of an opening gives back; empty where none was needed.

        Raises:
            Ended: before any Argon2.
            Locked, WrongPassword: too many were wrong; this one was.
            RateLimited: every try that is left is in use.
            Busy: no slot.
        """
        if self._won_before(look, claimant):
            with self.slots.take():
                # It was proved before, with this very key: no try is spent, and no lock stands in the way.
                try:
                    yield ""
                except WrongProof:
                    raise WrongPassword(None) from None
            return
        if look.receipt.state == "locked":
            raise Locked
        reservation = secrets.token_urlsafe(6)
        with self.slots.take():
            self._reserve(look, reservation)
            try:
                yield reservation
            except WrongProof:
                used = self._store.settle(look.id, reservation, "wrong", cap=self.cap)
                self.ends.truth(look)
                raise WrongPassword(self.left(used)) from None
            except BaseException:
                self._give_back(look, reservation)
                raise

    def _won_before(self, look: Look, claimant: bytes) -> bool:
        """Whether this claimant has opened it before; anybody else hears how it ended."""
        verdict = self.ends.ledger.peek(look.id, look.receipt.epoch)
        if verdict.word == "open":
            return False
        if verdict.state != "opened" or not hmac.compare_digest(verdict.claimant, claimant):
            self.ends.remember(look, verdict)
            self.ends.tell(look, verdict)
        return True

    def _reserve(self, look: Look, reservation: str) -> None:
        word, wait = self._store.reserve(look.id, reservation, cap=self.cap)
        if word == "locked":
            raise Locked
        if word == "gone":  # the store failed over since the look, to a server that has not heard of it
            raise StoreUnavailable
        if word == "pending":
            detail = N_("Every try that is left is being used just now.")
            raise RateLimited(detail, retry_after=wait, limit="tries")

    def _give_back(self, look: Look, reservation: str) -> None:
        try:
            self._store.settle(look.id, reservation, "back", cap=self.cap)
        except Unavailable:
            log.warning("a try was not given back; it runs out by itself")
