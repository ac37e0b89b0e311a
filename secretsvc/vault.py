"""The rules: create, state, claim, done, revoke, unlock, report, request, answer.

The vault knows envelopes, proofs and tokens; it never sees a secret, a link key or a password (``serverside``
does, where somebody asks the server to seal or open).  It knows no HTTP and no Redis: a store and a ledger
are handed in.

The claim, in its numbered steps:

1. *look* at the store: token, state, record.  With a password: ask the ledger, take a slot, reserve a try.
2. *unseal* the record in memory (Argon2 where there is a password).  A fault up to here costs nothing.
3. *end* at the ledger.  **The only commit.**
4. The winner is answered, everybody else hears the truth.
5. *mark* the receipt just before the bytes go out.  It may fail: whoever looks next does it again.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal, Protocol, TypeVar

from .atrest import Argon2, Binding, Keyring, Slots, joined, seal_record, sha256, unseal_record
from .ends import DAY, Ends
from .envelope import b64
from .errors import (
    N_,
    Conflict,
    EndedByOperator,
    Expired,
    Forbidden,
    Invalid,
    KeyMissing,
    LedgerUnavailable,
    Locked,
    NotAnswered,
    NotFound,
    Opened,
    RecordDamaged,
    RecordMissing,
    Revoked,
    StoreUnavailable,
    Unavailable,
    WrongPassword,
)
from .model import ClockOff, Ledger, Look, Receipt, Role, State, Store, Verdict, View
from .tries import Tries

Prove = Callable[[], bytes]
T = TypeVar("T")
# Every "no such secret" takes this many seconds at least, so that its time does not tell an unknown id (a few
# tenths of a microsecond quicker in the store) from a wrong token.
NOT_FOUND_TAKES = 0.002
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """The numbers the rules go by.

    Attributes:
        retry_window: seconds in which the winner of a claim may fetch the same bytes again.
        retention: seconds a receipt is kept after the expiry.
        tries: how many wrong passwords lock a secret.
        argon2: parameters for new records.
    """

    retry_window: int = 60
    retention: int = 30 * DAY
    tries: int = 5
    argon2: Argon2 = field(default_factory=Argon2)


@dataclass(frozen=True, repr=False)
class New:
    """A secret, or with ``answer_token`` a request, that somebody wants stored.

    Attributes:
        id, token, envelope, proof, answer_token: bytes of the format; an envelope for secrets only.
        expires_in: seconds.
        by, identity, order: for whoever keeps a list of labels, not kept here: who creates it, by name; how it
            was made sure who the customer is; whether they ask for a place for what they hand in themselves.
        caller: the API token's id, or empty.  Another caller's repeat is another body: or whoever knows what
            was asked could rebuild a request and be given its receipt.
        fingerprint: what tells a repeat from another body, where the body itself is not to be kept even as
            an HMAC; by default an HMAC of all the fields.
    """

    id: bytes
    token: bytes
    expires_in: int
    envelope: bytes | None = None
    proof: bytes | None = None
    answer_token: bytes | None = None
    form: str | None = None
    language: str | None = None
    label: str | None = None
    sealed_by: Literal["client", "server"] = "client"
    caller: str = ""
    by: str = ""
    identity: str | None = None
    order: bool = False
    fingerprint: bytes | None = None


@dataclass(frozen=True)
class Created:
    """A stored secret as its sender sees it.  ``receipt_token`` is 32 bytes and can revoke."""

    view: View
    receipt_token: bytes

    def __repr__(self) -> str:
        return f"<Created {b64(self.view.id)}>"


class Labels(Protocol):
    """Whoever keeps a list of what has a label: the ticket module.  Neither call may change anything here."""

    def creating(self, new: New, now: float) -> None:
        """Something with a label is about to be stored, or is stored again; ``now`` in seconds since 1970.

        Raises:
            Unavailable: the list cannot be written, so that nothing is stored.
        """

    def changed(self, label: str) -> None:
        """Something with this label has changed.  A hint: the receipts tell what."""


class Unlisted:
    """Nobody keeps a list."""

    def creating(self, new: New, now: float) -> None:
        """Nothing."""

    def changed(self, label: str) -> None:
        """Nothing."""


class Tally(Protocol):
    """Whoever keeps count of what becomes of secrets.  Nothing depends on it."""

    def created(self, receipt: Receipt) -> None:
        """Something new was stored."""

    def answered(self) -> None:
        """A request was answered."""

    def ended(self, receipt: Receipt, verdict: Verdict) -> None:
        """The ledger has ended something, or has said so once more to whoever ended it."""

    def locked(self) -> None:
        """Wrong passwords have locked a secret."""

    def reported(self) -> None:
        """A reader says of an opening: that was not me."""


class Uncounted:
    """Nobody does."""

    def created(self, receipt: Receipt) -> None:
        """Nothing."""

    def answered(self) -> None:
        """Nothing."""

    def ended(self, receipt: Receipt, verdict: Verdict) -> None:
        """Nothing."""

    def locked(self) -> None:
        """Nothing."""

    def reported(self) -> None:
        """Nothing."""


class Vault:
    """All that can be done with a secret, over a store, a ledger and a keyring."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        keyring: Keyring,
        slots: Slots,
        rules: Rules | None = None,
        labels: Labels | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.keyring = keyring
        self.slots = slots
        self.rules = rules or Rules()
        self.labels = labels or Unlisted()
        self.tally = tally or Uncounted()
        self.ends = Ends(store, ledger, retry_window=self.rules.retry_window, retention=self.rules.retention)
        self.tries = Tries(self.ends, slots, cap=self.rules.tries)
        self._fingerprint_key = cache(lambda key_name: keyring.derive(key_name, b"fingerprint"))

    # --- making ------------------------------------------------------------------------------------

    def create(self, new: New) -> Created:
        """Store an envelope or a request; repeating the very same is answered with the present state.

        Raises:
            Conflict: the id is taken by something else; nothing was changed.
            Busy: no slot for the password.
            StoreUnavailable, LedgerUnavailable: nothing was stored, or repeating tells.
        """
        key_name = self.keyring.newest
        fingerprint = new.fingerprint or self._fingerprint(key_name, new)
        receipt_token = self._receipt_token(key_name, new.id, fingerprint)

        def attempt() -> tuple[Receipt, bool]:
            now = int(self.store.now())
            receipt = Receipt(
                state="sealed" if new.envelope is not None else "waiting",
                kind="secret" if new.envelope is not None else "request",
                key_name=key_name,
                record_key_name=key_name,
                epoch=epoch,
                created_at=now,
                expires_at=now + new.expires_in,
                token_hash=sha256(new.token),
                fingerprint=fingerprint,
                size=len(new.envelope or b""),
                password=new.proof is not None,
                sealed_by=new.sealed_by,
                answer_hash=sha256(new.answer_token) if new.answer_token is not None else b"",
                language=new.language,
                label=new.label,
                form=new.form,
                expires_in=new.expires_in if new.envelope is None else None,
            )
            record = None
            if new.envelope is not None:
                record = self._seal(new.id, receipt, new.envelope, new.proof)
            found = self.store.create(new.id, receipt, sha256(receipt_token), record)
            return found or receipt, found is None

        epoch = self.ledger.epoch(new.id)
        if new.label is not None:
            self.labels.creating(new, self.store.now())
        receipt, is_new = _with_right_clock(attempt)
        if is_new:
            self.tally.created(receipt)
        self._changed(receipt)
        if is_new and self.ledger.rules(epoch):
            return Created(_view(new.id, receipt), receipt_token)
        if receipt.key_name != key_name or not hmac.compare_digest(receipt.fingerprint, fingerprint):
            receipt_token = self._repeated(new, receipt)
        return Created(self.state(self._again(new.id, sha256(receipt_token), "sender")), receipt_token)

    def answer(self, look: Look, envelope: bytes, facts: str) -> View:
        """Store the one answer to a request; the same again is fine, another one is not.

        Args:
            look: by the holder of the answer token.
            envelope: type 2, checked.
            facts: what stands outside the sealed part, as JSON.

        Raises:
            Conflict: it has been answered before.
            Ended: it is revoked or has expired.
        """
        receipt = look.receipt
        body = joined(b"answer", look.id, envelope, facts.encode())
        try:
            fingerprint = self._hmac(receipt.key_name, body)
        except KeyMissing:
            self.ends.truth(look)
            raise
        if not hmac.compare_digest(receipt.answer_fingerprint, fingerprint):
            if self.ends.truth(look).state != "waiting":
                raise Conflict(N_("This request has been answered already."))

            def attempt() -> str:
                answered = replace(
                    receipt,
                    record_key_name=self.keyring.newest,
                    expires_at=int(self.store.now()) + (receipt.expires_in or 0),
                    size=len(envelope),
                    answer_fingerprint=fingerprint,
                    facts=facts,
                )
                return self.store.answer(look.id, answered, self._seal(look.id, answered, envelope, None))

            word = _with_right_clock(attempt)
            if word == "answered":
                self.tally.answered()
            look = self._again(look.id, look.token_hash, "answerer")
            truth = self.ends.truth(look)  # revoked while we stored: then this answer does not stay
            if word == "taken":
                raise Conflict(N_("This request has been answered already."))
            if truth.state == "waiting":  # another server has it, and this one has not heard of it
                raise StoreUnavailable
            self._changed(receipt)
        return self.state(look)

    # --- looking -----------------------------------------------------------------------------------

    def look(self, id: bytes, token: bytes, *roles: Role, record: bool = False) -> Look:
        """Step 1 of every call: whose token is this, and how does the secret stand?  Consumes nothing.

        Raises:
            NotFound: an unknown id, a wrong token, or the token of another role; they look the same.
        """
        return self._look(id, sha256(token), *roles, record=record)

    def status(self, id: bytes) -> Look:
        """Step 1 by the id alone, with the sender's rights: for the ticket module, which knows who may.

        Raises:
            NotFound: there is no receipt (any more).
        """
        look = self.store.status(id)
        if look is None:
            raise NotFound
        return look

    def state(self, look: Look) -> View:
        """How it stands, as the ledger knows it; ends are told here, not raised.

        Raises:
            RecordMissing: it should be there and is not.
            LedgerUnavailable: it cannot be told just now.
        """
        try:
            state: State = self.ends.truth(look).state
            ended_at, by_operator = None, False
            if state in ("sealed", "locked") and not look.has_record:
                raise RecordMissing
        except (Opened, Revoked, Expired, EndedByOperator) as end:
            state, ended_at, by_operator = end.state, end.ended_at, isinstance(end, EndedByOperator)
        view = _view(look.id, look.receipt)
        view = replace(view, state=state, ended_at=ended_at, by_operator=by_operator)
        if look.role == "sender":
            view = replace(view, collected_by=look.receipt.collected_by)
        if view.password and look.role == "sender" and state in ("sealed", "locked"):
            view = replace(view, tries_left=self.tries.left(look.receipt.tries))
        return view

    # --- opening -----------------------------------------------------------------------------------

    def claim(
        self,
        look: Look,
        *,
        prove: Prove | None = None,
        key: str | None = None,
        collector: str | None = None,
        inspect: Callable[[bytes], None] | None = None,
        password_field: str = "proof",
    ) -> bytes:
        """The one opening: the envelope, for one claimant only.

        Args:
            look: by the link's holder, with the record.
            prove: gives the proof; called in a slot, only where the secret has a password.
            key: the caller's Idempotency-Key.  Without one nobody can fetch the bytes again.
            collector: the name of the agent who asks; answers to requests are theirs alone.
            inspect: sees the envelope before anything is used up, and may raise to refuse it.
            password_field: what the caller knows the proof as, for the message.

        Raises:
            Invalid: it has a password, and no proof was given.
            Forbidden, NotAnswered, Locked, WrongPassword, RateLimited, Busy: nothing was given out.
            Opened, Revoked, Expired, EndedByOperator: the truth.
            RecordDamaged, RecordMissing, KeyMissing, StoreUnavailable: nothing was used up.
            LedgerUnavailable: it may have been decided; ``claimant`` is the key to repeat it with.
        """
        receipt = look.receipt
        if receipt.kind == "request" and collector is None:
            raise Forbidden(N_("Only a signed-in agent may collect the answer to a request."))
        claimant_key = key or secrets.token_urlsafe(32)
        claimant = claimant_hash(look.id, claimant_key)
        if receipt.ended and (key is None or look.record is None):
            self.ends.truth(look)
        if receipt.state == "waiting" and self.ends.truth(look):
            raise NotAnswered
        if look.record is None or look.now >= receipt.expires_at:
            self.ends.truth(look)
            raise RecordMissing
        if receipt.password and prove is None:
            if self.ends.truth(look).state == "locked":
                raise Locked
            raise Invalid((password_field, N_("This secret has a password.")))
        try:
            with self.tries.one(look, claimant) if receipt.password else nullcontext("") as reservation:
                envelope = self._unseal(look, prove)
                if inspect:
                    inspect(envelope)
                if collector is not None and receipt.kind == "request":
                    self.store.collecting(look.id, claimant, collector)
                try:
                    verdict = self.ends.end(look, "opened", claimant)
                except LedgerUnavailable as unclear:
                    unclear.claimant = claimant_key
                    raise
                self.tally.ended(receipt, verdict)
                life = self.ends.window_left(look, verdict) if key else 0
                self.ends.mark(look, verdict, life=life, reservation=reservation)
        except WrongPassword as wrong:
            if wrong.tries_left == 0:
                self.tally.locked()
                self._changed(receipt)
            raise
        self._changed(receipt)
        return envelope

    def done(self, look: Look, key: str) -> None:
        """The claimant has the secret: close the retry window and delete the record.  May be repeated.

        Raises:
            Conflict: nobody has claimed it.
            Ended: it was ended by somebody else.
        """
        verdict = self.ledger.done(look.id, look.receipt.epoch, claimant_hash(look.id, key))
        if verdict.word == "open" and look.receipt.ended:
            raise LedgerUnavailable
        if verdict.word == "open":
            raise Conflict(N_("Nobody has claimed this secret."))
        if verdict.word == "epoch":
            self.ends.truth(look)
        if verdict.word != "done":
            self.ends.tell(look, verdict)
        self.ends.mark(look, verdict, life=0)

    # --- the sender's and the reader's other calls -------------------------------------------------

    def revoke(self, look: Look) -> View:
        """End it unread, for good.  May be repeated.

        Raises:
            Opened, Expired, EndedByOperator: it had ended before.
        """
        if look.receipt.state == "revoked":
            return self.state(look)
        if look.receipt.ended or look.now >= look.receipt.expires_at:
            self.ends.truth(look)
        sender = look.token_hash or sha256(look.receipt.token_hash)  # by the id alone there is no token
        verdict = self.ends.end(look, "revoked", sender[:16])
        self.tally.ended(look.receipt, verdict)
        self.ends.mark(look, verdict, life=0)
        self._changed(look.receipt)
        return replace(_view(look.id, look.receipt), state="revoked", ended_at=verdict.ended_at)

    def unlock(self, look: Look) -> View:
        """Give all tries back after too many wrong passwords.

        Raises:
            Conflict: it is not locked.
            Ended: it has ended.
        """
        self.ends.truth(look)
        if not self.store.unlock(look.id, cap=self.rules.tries):
            raise Conflict(N_("This secret is not locked."))
        self._changed(look.receipt)
        return self.state(self._again(look.id, look.token_hash, "sender"))

    def report(self, look: Look) -> View:
        """ "That was not me": the reader says that somebody else opened it.  Once, and changes no state.

        Raises:
            Conflict: it is not opened, or was reported before.
        """
        if self.state(look).state != "opened":
            raise Conflict(N_("Only a secret that was opened can be reported."))
        if not self.store.report(look.id):
            raise Conflict(N_("This was reported before."))
        self.tally.reported()
        self._changed(look.receipt)
        return self.state(self._again(look.id, look.token_hash, "link"))

    # --- inside ------------------------------------------------------------------------------------

    def _look(self, id: bytes, token_hash: bytes, *roles: Role, record: bool = False) -> Look:
        due = time.monotonic() + NOT_FOUND_TAKES
        look = self.store.look(id, token_hash, record=record)
        if look is None or look.role not in roles:
            time.sleep(max(0.0, due - time.monotonic()))
            raise NotFound
        return look

    def _changed(self, receipt: Receipt) -> None:
        """Give a hint to whoever keeps a list of this label; without it they come round to it by themselves."""
        if receipt.label is not None:
            try:
                self.labels.changed(receipt.label)
            except Unavailable:
                log.warning("a change was not hinted at; it is found without that")

    def _again(self, id: bytes, token_hash: bytes, role: Role) -> Look:
        """Look once more, for somebody who was known a moment ago.

        Raises:
            StoreUnavailable: the store failed over meanwhile, to a server that has not heard of it.
        """
        try:
            return self._look(id, token_hash, role) if token_hash else self.status(id)
        except NotFound:
            raise StoreUnavailable from None

    def _seal(self, id: bytes, receipt: Receipt, envelope: bytes, proof: bytes | None) -> bytes:
        binding = _binding(id, receipt)
        if proof is None:
            return seal_record(self.keyring, binding, envelope)
        with self.slots.take():
            return seal_record(self.keyring, binding, envelope, proof=proof, argon2=self.rules.argon2)

    def _unseal(self, look: Look, prove: Prove | None) -> bytes:
        try:
            proof = prove() if prove and look.receipt.password else None
            return unseal_record(self.keyring, _binding(look.id, look.receipt), look.record or b"", proof=proof)
        except (RecordDamaged, KeyMissing):
            self.ends.truth(look)  # an ended secret is told as ended, whatever became of its record
            raise

    def _repeated(self, new: New, receipt: Receipt) -> bytes:
        """The receipt token of what is stored under this id, if it is this very body under an older key."""
        conflict = Conflict(N_("This id is taken by another secret. Nothing was changed."))
        try:
            fingerprint = new.fingerprint or self._fingerprint(receipt.key_name, new)
            if not hmac.compare_digest(receipt.fingerprint, fingerprint):
                raise conflict
            return self._receipt_token(receipt.key_name, new.id, fingerprint)
        except KeyMissing:
            raise conflict from None

    def _fingerprint(self, key_name: str, new: New) -> bytes:
        fields = (new.id, new.token, new.envelope, new.proof, new.answer_token)
        words = (str(new.expires_in), new.form, new.language, new.label, new.caller)
        body = joined(*(b"" if f is None else b"\x01" + f for f in fields))
        body += joined(*(b"" if w is None else b"\x01" + w.encode() for w in words))
        return self._hmac(key_name, body)

    def _hmac(self, key_name: str, body: bytes) -> bytes:
        return hmac.new(self._fingerprint_key(key_name), body, "sha256").digest()[:16]

    def _receipt_token(self, key_name: str, id: bytes, fingerprint: bytes) -> bytes:
        return self.keyring.derive(key_name, b"receipt", id, fingerprint)


def claimant_hash(id: bytes, key: str) -> bytes:
    """What is kept of an Idempotency-Key: a hash, of no use for another secret; 16 bytes."""
    return sha256(joined(b"secretsvc/v1/claimant", id, key.encode()))[:16]


def _view(id: bytes, receipt: Receipt) -> View:
    return View(
        id=id,
        kind=receipt.kind,
        state=receipt.state,
        password=receipt.password,
        size=receipt.size,
        created_at=receipt.created_at,
        expires_at=receipt.expires_at,
        sealed_by=receipt.sealed_by,
        language=receipt.language,
        ended_at=receipt.ended_at,
        reported_at=receipt.reported_at,
    )


def _binding(id: bytes, receipt: Receipt) -> Binding:
    return Binding(
        key_name=receipt.record_key_name,
        id=id,
        kind=receipt.kind,
        token_hash=receipt.token_hash,
        answer_hash=receipt.answer_hash,
        expires_at=receipt.expires_at,
        epoch=receipt.epoch,
    )


def _with_right_clock(attempt: Callable[[], T]) -> T:
    try:
        return attempt()
    except ClockOff:
        return attempt()
