"""The command line: send, open, state, revoke, unlock for people; keys, tokens, ledger for the operator.

``secretsvc.__main__`` adds what the core knows nothing of.

No option takes a secret, a link, a password or a token: what stands on a command line, everybody on the machine
can read.  What goes wrong is one line on standard error and an exit code that a script can use (``ends``); what
was typed is never repeated there.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import FrameType

import click

from ..errors import SecretsvcError
from ..terminal import hold_standard_streams, say
from . import opening, people
from .ends import EXIT_CODES, Interrupted, NotConfirmed, Usage, fail, unforeseen, usage

OPERATORS = dict.fromkeys(("keys", "tokens", "ledger"), f"{__name__}.operators")


class Commands(click.Group):
    """Loads some commands, and all that they stand on, only where they are wanted.

    Attributes:
        later: those commands, with the module that holds each.
    """

    later: Mapping[str, str] = OPERATORS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return [*self.commands, *self.later]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of this name."""
        if name not in self.later:
            return super().get_command(ctx, name)
        found: click.Command = getattr(import_module(self.later[name]), name)
        return found


@click.group(cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """One-time secrets: the link opens exactly once.

    Secrets and links come from standard input or a file, never from the command line, and are sealed and opened
    on this machine: the service sees neither the secret nor the link nor the password.
    """


for command in (people.send, opening.open_, people.state, people.revoke, people.unlock):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None, *, also: Mapping[str, str] | None = None) -> int:
    """Run a command; the exit code.  Never ends with a traceback.

    Args:
        arguments: by default this process's.
        also: further commands by name, each with the module that holds it.
    """
    if also:
        cli.later = {**also, **OPERATORS}
    logging.getLogger().addHandler(logging.NullHandler())  # an error is one line, and it is ours
    try:
        hold_standard_streams()
        _end_by_signals()
        code = cli.main(arguments, prog_name="secretsvc", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as help:
        say(help.format_message())
        return 2
    except click.UsageError as error:
        return fail(Usage(usage(error)))
    except click.Abort:
        return fail(NotConfirmed())
    except SecretsvcError as error:
        return fail(error)
    except (KeyboardInterrupt, Interrupted) as interrupted:
        say("secretsvc: interrupted")
        return 128 + (interrupted.number if isinstance(interrupted, Interrupted) else signal.SIGINT)
    except Exception as error:
        return fail(unforeseen(error))
    return code if isinstance(code, int) else 0


def _end_by_signals() -> None:
    """Let SIGTERM and SIGHUP end us as Ctrl-C does: with what was begun cleaned up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup means it
            signal.signal(number, _interrupt)


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)
