"""open: the one opening, made so that what goes wrong on this side does not cost the secret.

In this order: the link, the output, the state; only then the claim, with a key of our own; then the secret is
written, all of it; and last the service hears that it has arrived.  What fails before the claim costs nothing;
what fails after it tells the key with which the same bytes can be fetched again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator

import click

from .. import envelope as format
from .. import settings, terminal
from ..client import IDEMPOTENCY_KEY, Client, Handle, Problem, State, read_link
from ..envelope import Payload
from ..errors import Locked, NotAnswered, SecretsvcError
from ..settings import Settings, variable
from ..terminal import NewFile, OutputFailed, say
from .ends import EXIT_CODES, Ended, Interrupted, PasswordNeeded, Refused, Usage, unforeseen
from .inputs import api_key_of, client_of, password_of, refuse_links, server_of


@click.command("open", epilog=EXIT_CODES)
@click.argument("file", required=False)
@click.option("--output", "-o", metavar="FILE", help="A new file for the secret; - forces standard output.")
@click.option("--password-file", metavar="FILE", help="A file with the password.")
@click.option("--ask-password", is_flag=True, help="Ask for the password on the terminal.")
@click.option(
    "--key", metavar="KEY", help="Repeat an opening whose secret did not arrive, with the key it told."
)
@click.option("--server", metavar="URL", help="The service that the API token is for.")
@click.option(
    "--api-key-file", metavar="FILE", help="A file with an agent's API token, for answers to requests."
)
def open_(
    file: str | None,
    output: str | None,
    password_file: str | None,
    ask_password: bool,
    key: str | None,
    server: str | None,
    api_key_file: str | None,
) -> None:
    """Open the link in standard input or FILE, once, and write the secret byte for byte.

    What can be checked is checked before anything is used up: the link, the password's presence, the output.
    Should the secret not arrive all the same, the message tells a key: with --key it can be fetched once more,
    for a minute.

    A file, or anything else that a terminal cannot show, is not written to one: you are asked where to save it.
    """
    refuse_links(file, output, password_file, api_key_file, key)
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise Usage("--key: expected 22 to 64 letters, digits, - and _.")
    conf = settings.load()
    password = password_of(password_file, ask_password)
    handle = read_link(terminal.read_text(file, "link"))
    if output in (None, "-"):
        terminal.check_output()
    client = client_of(handle.origin)
    state = client.state(handle)
    _refuse_what_cannot_be_opened(state, repeats=key is not None)
    if state.kind == "request":
        client = _agent(handle, api_key_file, server, conf)
    kept = NewFile(output, size=state.size) if output not in (None, "-") else None
    with kept or contextlib.nullcontext():
        opening = _Opening(client, handle, state, key or secrets.token_urlsafe(24))
        with opening.repeatable():
            _deliver(opening.claim(password, ask=ask_password), kept, even_to_terminal=output == "-")
    opening.done()


class _Opening:
    """One opening and the Idempotency-Key it goes by.

    ``in_doubt`` says whether the secret may count as opened without having arrived.
    """

    def __init__(self, client: Client, handle: Handle, state: State, key: str) -> None:
        self.client = client
        self.handle = handle
        self.state = state
        self.key = key
        self.in_doubt = False

    def claim(self, password: str | None, *, ask: bool) -> Payload:
        """Claim and unseal; a password that is missing or was asked for and is wrong is asked for.

        Raises:
            PasswordNeeded: nobody to ask.
            Problem, Unreachable, NotTheService: as ``Client.claim``.
            FormatError: what was sealed is damaged.
        """
        asks = self.state.password and password is None
        if asks:
            password = self._ask(ask)
        while True:
            try:
                return self._claim(password or "")
            except Problem as problem:
                if not (asks and problem.kind == "wrong-password" and problem.tries_left):
                    raise
                say(problem.detail)
                self.in_doubt = False
                password = terminal.ask_password()

    @contextlib.contextmanager
    def repeatable(self) -> Iterator[None]:
        """Tell the key with whatever goes wrong once the service may have decided."""
        again = (
            f"If it counts as opened by now, this gets it for about a minute: secretsvc open --key {self.key}"
        )
        try:
            yield
        except SecretsvcError as error:
            if getattr(error, "in_doubt", self.in_doubt):
                error.detail += f" {again}"
            raise
        except (KeyboardInterrupt, Interrupted):
            if self.in_doubt:
                say(f"secretsvc: {again}")
            raise
        except Exception as error:
            failed = unforeseen(error)
            failed.detail += f" {again}" if self.in_doubt else ""
            raise failed from None

    def done(self) -> None:
        """Tell the service that the secret has arrived; failing at that costs nothing."""
        try:
            self.client.done(self.handle, self.key)
        except SecretsvcError:
            say("secretsvc: the secret is here; the service could not be told and will find out by itself")

    def _ask(self, wanted: bool) -> str:
        if not wanted and not terminal.has_terminal():
            raise PasswordNeeded
        return terminal.ask_password()

    def _claim(self, password: str) -> Payload:
        link_key = self.handle.key or b""
        stretched = format.stretch_password(link_key, password) if self.state.password else None
        proof = None if stretched is None else format.proof(stretched)
        self.in_doubt = True
        staff = self.state.kind == "request"
        envelope, self.key = self.client.claim(self.handle, proof, self.key, staff=staff)
        if staff:
            return format.unseal_answer(link_key, envelope)
        return format.unseal(link_key, envelope, stretched=stretched)


def _refuse_what_cannot_be_opened(state: State, *, repeats: bool) -> None:
    """Nothing is claimed that cannot be opened.

    Raises:
        Ended, Locked, NotAnswered, Refused.
    """
    if state.state in ("revoked", "expired") or (state.state == "opened" and not repeats):
        raise Ended(state)
    if state.state == "locked":
        raise Locked
    if state.state == "waiting":
        raise NotAnswered
    if state.kind not in ("secret", "request") or (state.kind == "request" and state.password):
        raise Refused("This version cannot open a secret of this kind. Nothing was used up.")


def _agent(handle: Handle, api_key_file: str | None, server: str | None, conf: Settings) -> Client:
    """A client for an answer to a request: its API token goes to its own service alone, whatever the link says.

    Raises:
        Refused: no token, or the link is of another service.
    """
    api_key = api_key_of(api_key_file, conf)
    if api_key is None:
        raise Refused("Answers to requests are for agents: give an API token with --api-key-file.")
    if server_of(server, conf) != handle.origin:
        raise Refused(
            "The link is of another service than the API token, which goes to its own alone: "
            f"see --server and {variable('server')}."
        )
    return client_of(handle.origin, api_key)


def _deliver(payload: Payload, kept: NewFile | None, *, even_to_terminal: bool) -> None:
    """Write the secret where it is wanted.

    Raises:
        OutputFailed: it is not there.
    """
    if kept is not None:
        kept.write(payload.content)
    elif even_to_terminal or not terminal.to_terminal():
        terminal.write_output(payload.content)
    elif (text := payload.text()) is not None and terminal.is_for_terminals(text):
        terminal.write_output(payload.content)
        if not text.endswith("\n"):
            say("")
    else:
        _save(payload)
        return
    if payload.name is not None and os.isatty(2):
        say(f"file name: {payload.name}")


def _save(payload: Payload) -> None:
    """Ask where to save what a terminal cannot show; the name that came along is shown and never used.

    Raises:
        OutputFailed: nobody wants it saved.
    """
    name = f" named {payload.name!r}" if payload.name is not None else ""
    say(f"This is a file{name} ({len(payload.content)} bytes), not text for a terminal.")
    while path := terminal.ask("Save as (nothing to give up): "):
        try:
            with NewFile(path, size=len(payload.content)) as kept:
                kept.write(payload.content)
                return
        except OutputFailed as error:
            say(error.detail)
    raise OutputFailed("The secret was not saved.")
