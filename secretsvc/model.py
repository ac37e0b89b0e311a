"""The words the rules are written in: receipt, look, verdict, view, and what a store and a ledger must do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from .errors import StoreUnavailable

Kind = Literal["secret", "request"]
Role = Literal["link", "sender", "answerer"]
# What a receipt may say.  "expired" is never written: time alone makes it true.
State = Literal["waiting", "sealed", "locked", "opened", "revoked", "expired"]
End = Literal["opened", "revoked"]
Word = Literal["won", "again", "ended", "expired", "epoch", "open", "done"]


@dataclass(frozen=True)
class Receipt:
    """What is kept about a secret, and outlives it: never content, address or browser.

    Attributes:
        state: as written; see ``Vault.state`` for the truth of the moment.
        key_name: the master key the receipt token is derived from.
        record_key_name: the master key that sealed the record.
        size: bytes of the envelope, 0 for a request that waits.
        fingerprint: an HMAC of what was created, under a master key; tells a repeat from another body.
        answer_fingerprint: the same of a request's answer.
        expires_in: seconds an answer lives, for requests.
        facts: what an answer says outside its sealed part, as JSON.
        collected_by: the agent who has collected the answer.
        created_at, expires_at, ended_at, reported_at: seconds since 1970.
    """

    state: State
    kind: Kind
    key_name: str
    record_key_name: str
    epoch: bytes
    created_at: int
    expires_at: int
    token_hash: bytes
    fingerprint: bytes
    size: int = 0
    password: bool = False
    sealed_by: Literal["client", "server"] = "client"
    answer_hash: bytes = b""
    answer_fingerprint: bytes = b""
    tries: int = 0
    ended_at: int | None = None
    reported_at: int | None = None
    language: str | None = None
    label: str | None = None
    form: str | None = None
    expires_in: int | None = None
    facts: str | None = None
    collected_by: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the receipt itself already says how it ended."""
        return self.state in ("opened", "revoked")


@dataclass(frozen=True)
class Look:
    """What a caller with a fitting token gets to see first.  Consumes nothing.

    Attributes:
        id: 16 bytes.
        role: whose token it was.
        now: the store's time, seconds since 1970.
        record: the sealed record where it was asked for and exists.
        has_record: whether it exists.
        token_hash: SHA-256 of the caller's token.
    """

    id: bytes
    role: Role
    now: float
    receipt: Receipt
    record: bytes | None
    has_record: bool
    token_hash: bytes


@dataclass(frozen=True)
class Verdict:
    """What the ledger says.

    Attributes:
        word: ``won``, ``again`` (the winner, within its window), ``ended``, ``expired``, ``epoch`` (another
            epoch rules: ended by the operator), ``open`` (nobody has ended it) or ``done``.
        ended_at: seconds since 1970, 0 where it has not ended.
        claimant: who ended it, as a hash.
        now: the ledger's time, seconds since 1970; only with ``seen``.
        seen: the ledger's epoch and sequence, to be kept as its high-water mark.
        since: when the winner's retry window began, seconds since 1970: at its end, or at its first repeat.
    """

    word: Word
    state: str
    ended_at: int
    claimant: bytes = b""
    seen: tuple[bytes, int] | None = None
    now: float = 0.0
    since: float = 0.0


@dataclass(frozen=True)
class View:
    """How a secret stands, for whoever holds its link or its receipt.

    ``by_operator``: a new epoch has ended it.  It is told as revoked; nobody knows whether it had been opened.
    """

    id: bytes
    kind: Kind
    state: State
    password: bool
    size: int
    created_at: int
    expires_at: int
    sealed_by: Literal["client", "server"]
    language: str | None = None
    ended_at: int | None = None
    reported_at: int | None = None
    tries_left: int | None = None
    by_operator: bool = False
    collected_by: str | None = None


class ClockOff(StoreUnavailable):
    """A time that was handed to the store is more than 5 s off its own, which has been learnt: try again."""


class Store(Protocol):
    """Secrets and receipts.  Every call raises StoreUnavailable when the server does not answer."""

    def now(self) -> float:
        """The store's time, seconds since 1970, as last learnt from an answer."""

    def look(self, id: bytes, token_hash: bytes, *, record: bool) -> Look | None:
        """The secret as this token's holder may see it, or None: unknown, or not theirs."""

    def status(self, id: bytes) -> Look | None:
        """The secret by its id alone, with its sender's rights, or None; ``token_hash`` is empty."""

    def create(self, id: bytes, receipt: Receipt, receipt_hash: bytes, record: bytes | None) -> Receipt | None:
        """Store it and return None, or change nothing and return the receipt that is there already.

        Raises:
            ClockOff: the time that ``receipt.created_at`` was taken from is more than 5 s off.
        """

    def answer(self, id: bytes, receipt: Receipt, record: bytes) -> Literal["answered", "again", "taken"]:
        """Store the answer to a request, once.  Raises ClockOff as ``create`` does."""

    def mark(self, id: bytes, verdict: Verdict, *, life_ms: int, reservation: str = "") -> None:
        """Write down what the ledger decided; the record lives for at most ``life_ms`` more.

        Only a verdict of ``again`` lengthens its life: the winner's window has begun anew, once.
        """

    def collecting(self, id: bytes, claimant: bytes, name: str) -> None:
        """Note who this claimant is; ``mark`` makes it ``collected_by`` if the ledger decides for them."""

    def reserve(
        self, id: bytes, reservation: str, *, cap: int
    ) -> tuple[Literal["ok", "locked", "pending", "gone"], int]:
        """Reserve a try at the password; with the seconds until another reservation runs out."""

    def settle(self, id: bytes, reservation: str, outcome: Literal["wrong", "back"], *, cap: int) -> int:
        """Settle a try; how many wrong ones there have been."""

    def unlock(self, id: bytes, *, cap: int) -> bool:
        """Whether it was locked, or had as many wrong tries as lock it, and no longer is."""

    def report(self, id: bytes) -> bool:
        """Whether this was the first report."""

    def remember(self, key: bytes, value: bytes) -> bytes | None:
        """Keep ``value`` under ``key`` for a day and return None, or return what is kept already."""


class Ledger(Protocol):
    """The set-once register of ends.  Every call raises LedgerUnavailable when its answer is not clear."""

    def epoch(self, id: bytes) -> bytes:
        """The epoch to bind into a new record; 12 bytes.  It says which node will decide."""

    def rules(self, epoch: bytes) -> bool:
        """Whether this epoch rules still, as far as is known of a node that has just stopped answering."""

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
        """End it for this claimant, or say who and what ended it before.  The only commit there is."""

    def peek(self, id: bytes, epoch: bytes) -> Verdict:
        """``open``, ``ended`` or ``epoch``; changes nothing."""

    def done(self, id: bytes, epoch: bytes, claimant: bytes) -> Verdict:
        """Close the claimant's retry window: ``done``, ``open``, ``ended`` or ``epoch``."""
