"""How a command ends: its exit code, and one line that never repeats what was typed."""

from __future__ import annotations

from pathlib import Path

import click

from ..client import State
from ..errors import SecretsvcError
from ..terminal import say

# Exit code by the error's word; 0 is success, 1 whatever is not listed, 128 + n the end by signal n.
CODES = {
    **dict.fromkeys(("usage", "misconfigured", "no-terminal"), 2),
    **dict.fromkeys(("damaged", "bad-link", "bad-request-link", "bad-password", "unknown-type"), 3),
    **dict.fromkeys(("bad-header", "bad-answer", "unreadable"), 3),
    "not-found": 4,
    **dict.fromkeys(("opened", "revoked", "expired", "ended-by-operator"), 5),
    **dict.fromkeys(("password-needed", "wrong-password", "locked"), 6),
    **dict.fromkeys(("rate-limited", "busy", "unavailable", "unreachable", "not-answered"), 7),
    **dict.fromkeys(("store-unavailable", "ledger-unavailable", "internal-error"), 7),
    "desk-unavailable": 7,
    **dict.fromkeys(("record-damaged", "record-missing", "key-missing"), 7),
    **dict.fromkeys(("unauthorized", "forbidden", "invalid", "conflict", "too-large"), 8),
    **dict.fromkeys(("unsupported-media-type", "method-not-allowed", "not-confirmed"), 8),
    "ticket-closed": 8,
    "output-failed": 9,
}
EXIT_CODES = """\b
Exit codes:
  0  done
  1  unexpected: a bug, or what answered is not a secretsvc
  2  wrong usage or settings
  3  the link, the input or what was sealed is damaged or cannot be read
  4  there is no such secret or ticket, or it is not yours
  5  it has ended: opened, revoked or expired
  6  password needed or wrong, or the secret is locked
  7  not now: unavailable, unreachable, too many calls, not answered yet
  8  refused: not allowed, invalid, too large, or not confirmed
  9  the output could not be written
"""


class Usage(SecretsvcError):
    """A command line that cannot be understood, told without repeating it."""

    kind = "usage"


class PasswordNeeded(SecretsvcError):
    """A secret with a password, and nobody to ask for it."""

    kind = "password-needed"
    detail = "This secret has a password: give it with --password-file or --ask-password. Nothing was used up."


class Ended(SecretsvcError):
    """It has ended: told by its state, so that nothing was claimed in vain."""

    def __init__(self, state: State) -> None:
        at = f" ({state.state} at {state.ended_at})" if state.ended_at else ""
        super().__init__(f"This secret has ended: it cannot be opened any more{at}.")
        self.kind = state.state  # type: ignore[misc]  # opened, revoked or expired


class Refused(SecretsvcError):
    """Not allowed, found out on this side: nothing was changed."""

    kind = "forbidden"


class Unknown(SecretsvcError):
    """An operator's command about something that does not exist."""

    kind = "not-found"


class NotConfirmed(SecretsvcError):
    """The person said no, or could not be asked."""

    kind = "not-confirmed"
    detail = "Not confirmed; nothing was changed."


class Failed(SecretsvcError):
    """Anything else, told by its class alone: its message may hold what nobody should read."""

    kind = "unexpected"


class Interrupted(BaseException):
    """A signal to end; like KeyboardInterrupt, but it knows which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def fail(error: SecretsvcError) -> int:
    """Say it in one line; its exit code."""
    say(f"secretsvc: {error.detail}")
    return CODES.get(error.kind, 1)


def unforeseen(error: Exception) -> Failed:
    """An error of no kind of ours, by its class and place."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = f" at {Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else ""
    return Failed(f"Something unexpected went wrong ({type(error).__name__}{where}). Please report it.")


def usage(error: click.UsageError) -> str:
    """What is wrong with a command line, without repeating it: somebody may have put a secret there."""
    see = f"See '{error.ctx.command_path if error.ctx else 'secretsvc'} --help'."
    if isinstance(error, click.NoSuchOption):
        return f"There is no such option. {see}"
    if isinstance(error, click.BadParameter) and error.param is not None:
        is_option = error.param.param_type_name == "option"
        name = error.param.opts[0] if is_option else (error.param.name or "").upper()
        choices = " or ".join(getattr(error.param.type, "choices", ()))
        return f"{name}: {'expected ' + choices if choices else 'missing or not understood'}. {see}"
    return f"This command line is not understood. {see}"
