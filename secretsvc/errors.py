"""Everything that can go wrong, as one tree.  Nothing here knows of HTTP.

``SecretsvcError.kind`` is a stable word: the API sends it as the problem's ``type`` and the command line
turns it into an exit code.  ``detail`` is one sentence a person can act on; it never holds a secret, a link
key, a token or anything else of the caller's input.
"""

from __future__ import annotations

from typing import ClassVar, Literal


def N_(sentence: str) -> str:  # noqa: N802 - gettext's own name for it
    """Mark a sentence that the pages translate; it is English here."""
    return sentence


class SecretsvcError(Exception):
    """The root: everything this package raises on purpose."""

    kind: ClassVar[str]
    detail: str = ""

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail if detail is not None else self.detail)
        self.detail = str(self)


# --- the format (docs/format.md); ``kind`` is the refusal's name there ---------------------------------


class FormatError(SecretsvcError):
    """Bytes that do not follow the format.  Nothing was sent and nothing was released."""


class Damaged(FormatError):
    """Not decodable: base64, a length, padding, or an authentication tag that does not fit.

    ``field`` names the input it was found in, where there is one.
    """

    kind = "damaged"
    detail = N_("This is damaged: it was cut or altered on its way.")

    def __init__(self, detail: str | None = None, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.field = field


class BadLink(FormatError):
    """A link that does not end in ``#`` and 43 canonical characters."""

    kind = "bad-link"
    detail = N_("This link is incomplete or damaged. Copy it again, whole, up to its last character.")


class BadRequestLink(FormatError):
    """A request link that does not end in ``#`` and 64 canonical characters, or holds an unusable key."""

    kind = "bad-request-link"
    detail = N_("This request link is incomplete or damaged. Copy it again, whole, up to its last character.")


class BadPassword(FormatError):
    """A password that cannot be used: over 1,024 bytes after NFKC, or holding a lone surrogate."""

    kind = "bad-password"
    detail = N_("This password cannot be used: it is longer than 1,024 bytes or holds an invalid character.")


class UnknownType(FormatError):
    """An envelope of a type this version does not know, or not the type that was expected."""

    kind = "unknown-type"
    detail = N_("This is not an envelope of a kind that fits here.")


class BadHeader(FormatError):
    """A payload header that is not a JSON object with only the strings ``name`` and ``type``."""

    kind = "bad-header"
    detail = N_("The description inside this secret is malformed, or its file name or type is not allowed.")


class BadAnswer(FormatError):
    """Form answers that are not one flat JSON object of strings."""

    kind = "bad-answer"
    detail = N_("The form answers inside this secret are malformed.")


# --- the caller's part ---------------------------------------------------------------------------------


class Invalid(SecretsvcError):
    """Decodable and refused.  ``errors`` lists (field, message) pairs; nothing was stored or used up."""

    kind = "invalid"

    def __init__(self, *errors: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors))
        self.errors = errors


class TooLarge(SecretsvcError):
    """More than the configured size.  ``field`` names what was too large."""

    kind = "too-large"

    def __init__(self, limit: int, *, field: str) -> None:
        super().__init__(f"Too large: {field} may have at most {limit} bytes here.")
        self.field = field
        self.limit = limit


class UnsupportedMediaType(SecretsvcError):
    """A body in a format this address does not read."""

    kind = "unsupported-media-type"


class Unauthorized(SecretsvcError):
    """A token is absent or malformed, or an API key is unknown."""

    kind = "unauthorized"
    detail = N_("This call needs the token that belongs to the secret, as 'Authorization: Bearer'.")


class Forbidden(SecretsvcError):
    """Known, and not allowed to do this."""

    kind = "forbidden"

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.field = field


class NotFound(SecretsvcError):
    """No such secret for this caller: an unknown id and a wrong token look the same."""

    kind = "not-found"
    detail = N_("There is no such secret, or this is not its link.")


class Conflict(SecretsvcError):
    """The call does not fit what is stored; nothing was changed."""

    kind = "conflict"


class NotAnswered(Conflict):
    """The request has not been answered yet, so there is nothing to claim."""

    kind = "not-answered"
    detail = N_("Nobody has answered this request yet.")


class WrongPassword(SecretsvcError):
    """The password is wrong.  ``tries_left`` counts what is left, or is None where no try was spent."""

    kind = "wrong-password"

    def __init__(self, tries_left: int | None) -> None:
        super().__init__(
            "Wrong password, and that was the last try: the secret is locked until its sender unlocks it."
            if tries_left == 0
            else "Wrong password." + (f" Tries left: {tries_left}." if tries_left else "")
        )
        self.tries_left = tries_left


class Locked(SecretsvcError):
    """Too many wrong passwords.  Not ended: the sender's receipt can unlock or revoke it."""

    kind = "locked"
    detail = N_("Too many wrong passwords: the secret is locked. Its sender can unlock it from the receipt.")


class RateLimited(SecretsvcError):
    """Too many calls from this client, or too many tries at once.  ``retry_after`` is in seconds."""

    kind = "rate-limited"

    def __init__(self, detail: str, *, retry_after: int, limit: str = "") -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        self.limit = limit


# --- ends: the truth, told to link holders -------------------------------------------------------------


class Ended(SecretsvcError):
    """The secret has ended for good.

    ``state`` (``opened``, ``revoked`` or ``expired``) and ``ended_at`` (seconds since 1970) say how and when.
    """

    state: Literal["opened", "revoked", "expired"]

    def __init__(self, detail: str, *, ended_at: int) -> None:
        super().__init__(detail)
        self.ended_at = ended_at


class Opened(Ended):
    """It was opened before; a second opening never happens."""

    kind = "opened"
    state = "opened"


class Revoked(Ended):
    """The sender ended it."""

    kind = "revoked"
    state = "revoked"


class Expired(Ended):
    """Its time ran out and nobody had opened it."""

    kind = "expired"
    state = "expired"


class EndedByOperator(Ended):
    """The ledger began a new epoch: everything unread from before is ended."""

    kind = "ended-by-operator"
    state = "revoked"


# --- the service's part: nothing was used up -----------------------------------------------------------


class Unavailable(SecretsvcError):
    """We cannot answer now; nothing was used up.

    ``retry_after`` is in seconds.  ``claimant`` is set where a claim may already have been decided: the
    same claim must be repeated with it as its Idempotency-Key, and only with it.
    """

    retry_after: int = 5
    claimant: str | None = None


class StoreUnavailable(Unavailable):
    """The store did not answer, refused, or is full."""

    kind = "store-unavailable"
    detail = N_("The store cannot be reached just now. Nothing was used up: please try again.")


class StoreFull(StoreUnavailable):
    """The store has no memory left, so what would write is refused."""


class LedgerUnavailable(Unavailable):
    """The ledger did not answer clearly, so nobody is given anything."""

    kind = "ledger-unavailable"
    detail = N_("The ledger cannot be reached just now. Please try again.")


class Busy(Unavailable):
    """All slots for password work are taken."""

    kind = "busy"
    retry_after = 1
    detail = N_("Too many passwords are being checked just now. Nothing was used up: please try again.")


class RecordDamaged(Unavailable):
    """The stored record does not pass its checks."""

    kind = "record-damaged"
    detail = N_("The stored record is damaged and cannot be opened. Nothing was used up; tell the operator.")
    retry_after = 60


class RecordMissing(Unavailable):
    """The record is gone before its time, and the ledger knows of no end."""

    kind = "record-missing"
    detail = N_("The stored record is missing although nobody opened it. Tell the operator.")
    retry_after = 60


class KeyMissing(Unavailable):
    """The master key that sealed this record is not in the keyring."""

    kind = "key-missing"
    detail = N_("The key for this secret is not available here. Nothing was used up; tell the operator.")
    retry_after = 60


# --- the helpdesk's part -------------------------------------------------------------------------------


class DeskUnavailable(Unavailable):
    """The helpdesk did not answer, or not now.

    ``unclear`` says that what was asked of it may have been done all the same; ``asked`` is how many seconds it
    asked for, or None.
    """

    kind = "desk-unavailable"
    detail = N_("The helpdesk does not answer just now. Please try again.")

    def __init__(
        self, detail: str | None = None, *, retry_after: int | None = None, unclear: bool = False
    ) -> None:
        super().__init__(detail)
        self.asked = retry_after
        self.retry_after = 30 if retry_after is None else retry_after
        self.unclear = unclear


class DeskForbidden(Unavailable):
    """Our account at the helpdesk may not do this, or is not known there: the operator has to set it up."""

    kind = "desk-unavailable"
    detail = N_("The helpdesk refuses our account. Please tell the operator.")
    retry_after = 300


class TicketClosed(Conflict):
    """The helpdesk takes no more notes or replies for this ticket."""

    kind = "ticket-closed"
    detail = N_("This ticket is closed in the helpdesk, which takes nothing more for it.")


class TicketGone(NotFound):
    """There is no such ticket, or not for us or whoever asks."""

    detail = N_("There is no such ticket, or it is not yours.")


class HookRefused(Forbidden):
    """An incoming webhook without a valid signature, or too old."""

    def __init__(self, detail: str = N_("The signature of this webhook is missing, wrong or too old.")) -> None:
        super().__init__(detail)


# --- the operator's part: refuse to start --------------------------------------------------------------


class Misconfigured(SecretsvcError):
    """A setting, keyring, store or ledger this service refuses to start with.  The message names it."""

    kind = "misconfigured"
