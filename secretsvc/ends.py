"""What has become of a secret: asking the ledger, ending it there, telling it, and writing it down.

Before anyone says that a secret is sealed, locked, or expired unread, the ledger is asked; and whoever finds an
end there that the receipt does not say yet, writes it into the receipt.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import NoReturn

from .errors import EndedByOperator, Expired, LedgerUnavailable, Opened, Revoked, Unavailable
from .model import End, Ledger, Look, Receipt, Store, Verdict

DAY = 86_400
log = logging.getLogger(__name__)


class Ends:
    """The ends of secrets, over a store and a ledger.

    Args:
        store: where receipts are.
        ledger: what decides.
        retry_window: seconds in which the winner of a claim may fetch the same bytes again.
        retention: seconds a receipt is kept after the expiry.
    """

    def __init__(self, store: Store, ledger: Ledger, *, retry_window: int, retention: int) -> None:
        self.store = store
        self.ledger = ledger
        self.retry_window = retry_window
        self.retention = retention

    def truth(self, look: Look) -> Receipt:
        """The receipt, if the secret has not ended.

        Raises:
            Ended: in whatever way it did.
            LedgerUnavailable: it cannot be told.
        """
        receipt = look.receipt
        if receipt.ended:
            self.tell(look, Verdict("ended", receipt.state, receipt.ended_at or 0))
        verdict = self.ledger.peek(look.id, receipt.epoch)
        past = max(look.now, verdict.now) if verdict.word == "open" else verdict.ended_at
        if verdict.word in ("open", "epoch") and past >= receipt.expires_at:
            verdict = replace(verdict, word="expired", state="expired", ended_at=receipt.expires_at)
        if verdict.word != "open":
            self.remember(look, verdict)
            self.tell(look, verdict)
        return receipt

    def end(self, look: Look, end: End, claimant: bytes) -> Verdict:
        """End it at the ledger; the only commit there is.  Whoever loses hears the truth.

        Returns:
            The verdict ``won`` or ``again``.

        Raises:
            Ended: somebody else was first, or time was.
            LedgerUnavailable: it may have been decided, or not; or the ledger is older than the receipt.
        """
        receipt = look.receipt
        if receipt.ended and self.ledger.peek(look.id, receipt.epoch).word == "open":
            # The receipt knows of an end that the ledger has forgotten: it was rolled back under a process that
            # had not seen its latest ends, and would decide again.
            raise LedgerUnavailable
        verdict = self.ledger.end(
            look.id,
            receipt.epoch,
            end,
            claimant,
            expires_at=receipt.expires_at,
            window=self.retry_window,
            keep_until=receipt.expires_at + (receipt.expires_in or 0) + self.retention + DAY,
        )
        if verdict.word not in ("won", "again"):
            self.remember(look, verdict)
            self.tell(look, verdict)
        return verdict

    def remember(self, look: Look, verdict: Verdict) -> None:
        """Mark a receipt that does not say yet what the ledger knows, as the winner should have done."""
        if verdict.word in ("expired", "epoch") or look.receipt.ended:
            return
        self.mark(look, verdict, life=self.window_left(look, verdict) if verdict.state == "opened" else 0.0)

    def window_left(self, look: Look, verdict: Verdict) -> float:
        """Seconds in which the winner may still fetch the bytes again."""
        return min(verdict.since + self.retry_window, look.receipt.expires_at) - verdict.now

    def mark(self, look: Look, verdict: Verdict, *, life: float, reservation: str = "") -> None:
        """Write an end into the receipt; the record lives for at most ``life`` more seconds.

        A failure is logged and ignored: it is decided already, and whoever looks next does this again.
        """
        try:
            self.store.mark(look.id, verdict, life_ms=max(0, int(life * 1000)), reservation=reservation)
        except Unavailable:
            log.warning("an end was not marked; whoever looks next does it")

    def tell(self, look: Look, verdict: Verdict) -> NoReturn:
        """Raise the truth.

        Raises:
            Opened, Revoked, Expired, EndedByOperator: as it was.
        """
        if verdict.word == "epoch" and look.receipt.ended:
            verdict = Verdict("ended", look.receipt.state, look.receipt.ended_at or 0)
        at = verdict.ended_at
        if verdict.word == "epoch":
            raise EndedByOperator("The operator has ended all unread secrets of that time.", ended_at=at)
        if verdict.state == "opened":
            raise Opened("This secret has been opened before, and it opens only once.", ended_at=at)
        if verdict.state == "revoked":
            raise Revoked("The sender has revoked this secret; it was not opened.", ended_at=at)
        unread = "was not answered" if look.receipt.state == "waiting" else "was not opened"
        raise Expired(f"The time of this secret ran out, and it {unread}.", ended_at=at)
