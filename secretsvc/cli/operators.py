"""keys, tokens, ledger: for the operator, on the settings of the service and where it runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from .. import atrest, backends, settings, terminal
from ..errors import Misconfigured
from ..settings import MAX_EXPIRES_IN, Settings
from ..shard import FRESH
from ..terminal import OutputFailed, say
from ..tokens import ApiToken, Tokens
from .ends import NotConfirmed, Refused, Unknown, Usage


@click.group()
def keys() -> None:
    """The keyring of master keys: for the operator, where the service runs.

    Processes that run keep the keyring they have read: restart or reload them after every change, on every
    server.
    """


@keys.command("list")
def list_keys() -> None:
    """Name the keys, the one that seals first; never shows them."""
    keyring = atrest.load_keyring(_operator().keyring_path)
    lines = [f"{name}\t{'seals, opens' if name == keyring.newest else 'opens'}\n" for name in keyring.names]
    terminal.write_output("".join(lines).encode())


@keys.command()
@click.argument("name", required=False)
@click.option("--last", is_flag=True, help="Put it last: it opens, and seals nothing until it is promoted.")
def add(name: str | None, *, last: bool) -> None:
    """Put a fresh random key first: it seals from the next restart on.  NAME is today's date by default.

    With several web servers use --last: what a key seals opens only where it is known, so all of them must know
    it before one seals with it.
    """
    conf = _operator()
    with _keyring(conf) as (path, known):
        name = name or _todays(known)
        if name in known:
            raise Usage("There is a key of this name already.")
        if not atrest.KEY_NAME.fullmatch(name):
            raise Usage("A key's name has 1-16 letters, digits, dots, dashes or underscores.")
        if not known and conf.embedded:
            atrest.refuse_data_without_keyring(path, Path(conf.data_dir))
        fresh = {name: secrets.token_bytes(32)}
        _save_keyring(path, {**known, **fresh} if last else {**fresh, **known})
    does = "open" if last and known else "seal"
    say(f"Restart the service to {does} with {name!r}. Back up {path} apart from the data.")


@keys.command()
@click.argument("name")
def promote(name: str) -> None:
    """Put the key NAME first: it seals from the next restart on, and the others go on opening."""
    with _keyring(_operator()) as (path, known):
        if name not in known:
            raise Unknown("There is no key of this name.")
        _save_keyring(path, {name: known[name], **known})
    say(f"Restart the service to seal with {name!r}.")


@keys.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(name: str, yes: bool) -> None:
    """Remove the key NAME: everything sealed under it can never be opened again, from backups neither."""
    with _keyring(_operator()) as (path, known):
        if name not in known:
            raise Unknown("There is no key of this name.")
        if name == next(iter(known)):
            raise Refused("This key seals: add a new one first, restart the service, and drop this one later.")
        _confirm(
            f"Everything sealed under {name!r} can never be opened again, in backups too. "
            f"After {MAX_EXPIRES_IN // 86_400} days without sealing a key holds nothing unread. Drop it?",
            yes,
        )
        _save_keyring(path, {kept: key for kept, key in known.items() if kept != name})
    say("Restart the service to make it so.")


@click.group()
def tokens() -> None:
    """API tokens, for scripts of agents and customers: for the operator, where the service runs."""


@tokens.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["agent", "customer"]), required=True, help="An agent is staff.")
@click.option(
    "--organisation", "organisations", multiple=True, metavar="ORG", help="That it may see; repeatable."
)
@click.option("--desk", "desks", multiple=True, metavar="DESK", help="An agent works at; by default all.")
def add_token(name: str, role: Any, organisations: tuple[str, ...], desks: tuple[str, ...]) -> None:
    """Make a token and print it on standard output: the only time it is seen."""
    if any(not re.fullmatch(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}", each) for each in organisations):
        raise Usage("--organisation: expected 1 to 200 characters on one line.")
    if any(not re.fullmatch(r"[a-z][a-z0-9-]{0,31}", desk) for desk in desks):
        raise Usage("--desk: expected the name of a desk, as in rt.")
    if desks and role != "agent":
        raise Usage("--desk: customers work at none.")
    terminal.check_output()
    with _tokens() as found:
        token = found.add(name, role, organisations, desks)
        try:
            terminal.write_output(token.encode() + b"\n")
        except OutputFailed:
            found.revoke(name)
            raise


@tokens.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_tokens(as_json: bool) -> None:
    """Name the tokens, oldest first; never shows them."""
    with _tokens() as found:
        known = found.all()
    if as_json:
        terminal.write_output(msgspec.json.encode(known) + b"\n")
    else:
        terminal.write_output("".join(map(_token_line, known)).encode())


@tokens.command("revoke")
@click.argument("name")
def revoke_token(name: str) -> None:
    """Make the token called NAME void, at once."""
    with _tokens() as found:
        if not found.revoke(name):
            raise Unknown("There is no token of this name.")


@click.group()
def ledger() -> None:
    """The register of ends: for the operator, where the service runs."""


@ledger.command("new-epoch")
@click.option("--lost", is_flag=True, help="Only the share of nodes that are lost, emptied or restored.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def new_epoch(*, lost: bool, yes: bool) -> None:
    """End everything unread, after a backup of store or ledger was restored or the ledger was lost.

    What was opened since the backup cannot be told from what was not: so nothing of that time opens any more.
    What is created from now on does. Processes that run need no restart.

    With --lost, what the other nodes of the ledger decide stays as it is. That is for a lost node, not for a
    restored store.
    """
    conf = _operator()
    which = "that a lost node of the ledger would decide" if lost else "that is not opened yet"
    _confirm(f"Every secret and request {which} ends for good. Go on?", yes)
    with backends.running(conf) as (store, register):
        number = backends.new_epoch(store, register, lost=lost)
        time.sleep(FRESH + 0.5)  # until every process has asked again: from here on, what is created lives
    if number:
        share = "what lost nodes would have decided" if lost else "everything unread of earlier ones"
        say(f"Epoch {number} has begun: {share} is ended.")
    else:
        say("No node is lost. Nothing was changed.")


def _operator() -> Settings:
    return backends.located(settings.load())


@contextlib.contextmanager
def _tokens() -> Iterator[Tokens]:
    with backends.running(_operator()) as (store, _):
        yield Tokens(store.node)


def _token_line(token: ApiToken) -> str:
    made = time.strftime("%Y-%m-%d", time.gmtime(token.created_at))
    return (
        "\t".join((token.name, token.role, token.id, made, ", ".join((*token.organisations, *token.desks))))
        + "\n"
    )


@contextlib.contextmanager
def _keyring(conf: Settings) -> Iterator[tuple[Path, dict[str, bytes]]]:
    """The keyring's real path and its keys, for changing them: one change at a time, by its owner alone.

    Raises:
        Misconfigured: the keyring is refused, or belongs to somebody else.
        OutputFailed: its folder cannot be written.
    """
    path = conf.keyring_path.resolve()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OutputFailed(f"The keyring {path} cannot be changed: {error.strerror}.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        owner = (path if path.exists() else path.parent).stat().st_uid
        if owner != os.geteuid():
            raise Misconfigured(
                f"{path} belongs to another user, who could not read it any more; run this as them."
            )
        known: dict[str, bytes] = {}
        if path.exists():
            keyring = atrest.load_keyring(path)
            known = {name: keyring.get(name) for name in keyring.names}
        yield path, known
    finally:
        os.close(lock)


def _save_keyring(path: Path, keys: dict[str, bytes]) -> None:
    try:
        atrest.save_keyring(path, keys)
    except OSError as error:
        raise OutputFailed(f"The keyring {path} could not be written: {error.strerror}.") from None


def _todays(known: dict[str, bytes]) -> str:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    names = (today, *(f"{today}.{number}" for number in range(2, 1000)))
    return next(name for name in names if name not in known)


def _confirm(question: str, yes: bool) -> None:
    """Ask, unless told not to.

    Raises:
        NotConfirmed: no, or nobody to ask.
    """
    if yes:
        return
    try:
        answer = terminal.ask(f"{question} [y/N] ")
    except terminal.NoTerminal:
        raise NotConfirmed("There is no terminal to ask on: use --yes. Nothing was changed.") from None
    if answer.strip().lower() not in ("y", "yes"):
        raise NotConfirmed
