"""people: sign-in links and sessions, for the operator, where the service runs."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .. import backends, settings, terminal
from ..cli.ends import Unknown, Usage
from ..errors import Misconfigured
from ..settings import Settings
from ..terminal import OutputFailed
from ..tokens import Person
from . import config
from .sessions import INVITE_SECONDS, Entry, Sessions, first_link, link, person_id

_NAME = re.compile(r"(?=.*\S)[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]{1,80}")
_ORGANISATION = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")
_EMAIL = re.compile(r"[^@\s<>]{1,64}@[^@\s<>]{1,190}")
FIRST_FILE = "sign-in"
log = logging.getLogger("secretsvc")


@click.group()
def people() -> None:
    """Agents and customers who sign in: for the operator, where the service runs."""


@people.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["agent", "customer"]), required=True, help="An agent is staff.")
@click.option(
    "--organisation", "organisations", multiple=True, metavar="ORG", help="They belong to; repeatable."
)
@click.option("--desk", "desks", multiple=True, metavar="DESK", help="An agent works at; by default all.")
@click.option("--email", default="", help="Whose tickets are theirs; you vouch for it.")
@click.option("--expires", metavar="TIME", help="How long the link works; by default 24h.")
def invite(
    name: str,
    role: Any,
    organisations: tuple[str, ...],
    desks: tuple[str, ...],
    email: str,
    expires: str | None,
) -> None:
    """Make a one-time sign-in link for NAME and print it on standard output: the only time it is seen.

    Whoever opens it is NAME. Pass it on by a way that you trust.
    """
    conf = _operator()
    _check(conf, name, role, organisations, desks, email)
    seconds = INVITE_SECONDS if expires is None else _seconds(expires)
    terminal.check_output()
    person = Person(name, role, organisations, person_id("", name), desks, email)
    with _sessions(conf) as found:
        token = found.invite(person, seconds)
        try:
            terminal.write_output(link(conf.base_url, token).encode() + b"\n")
        except OutputFailed:
            found.redeem(token)
            raise


@people.command("list")
def list_people() -> None:
    """Name those who are signed in or have a link they have not used; never shows session or link."""
    with _sessions(_operator()) as found:
        entries = found.all()
    terminal.write_output("".join(map(_line, entries)).encode())


@people.command("sign-out")
@click.argument("who", metavar="NAME|ID")
def sign_out(who: str) -> None:
    """End all sessions and unused sign-in links of a person, at once.

    Whoever signs in at a provider can sign in again until they are refused there.
    """
    with _sessions(_operator()) as found:
        ids = {entry.person.id for entry in found.all() if who in (entry.person.id, entry.person.name)}
        if not ids:
            raise Unknown("Nobody of this name or id is signed in or has a sign-in link.")
        for id in ids:
            found.end_all(id)


def tell_first_link(conf: Settings) -> None:
    """Give the first agent a one-time sign-in link, as long as nobody has ever signed in.

    It goes to standard output where that is a terminal, else to the file ``sign-in`` in the data folder, which
    nobody else can read; never to a log.  Where people sign in at a provider there is none.  The store has to
    run; the paths in ``conf`` count from the current folder.

    Raises:
        Misconfigured: the ticket module's settings are refused, or the file cannot be written.
        StoreUnavailable: the store does not answer.
    """
    if config.load(conf.tickets_file).sign_in is not None:
        return
    path = Path(conf.data_dir) / FIRST_FILE
    store, ledger = backends.pair(conf)
    try:
        found = first_link(Sessions(store.node), conf.base_url)
        path.unlink(missing_ok=True)
        if found is None:
            return
        if terminal.to_terminal():
            print(f"Sign in as the first agent, once, within 24 hours: {found}", flush=True)
        else:
            _write_private(path, found + "\n")
            log.info("sign-in link of the first agent", extra={"fields": {"file": str(path.resolve())}})
    except OSError as error:
        raise Misconfigured(f"{path}: cannot be written ({error.strerror}).") from None
    finally:
        ledger.close()
        store.node.close()


def _write_private(path: Path, text: str) -> None:
    """A new file, readable by its owner alone from its first moment."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(file, "w", encoding="utf-8") as writing:
        writing.write(text)


def _operator() -> Settings:
    return backends.located(settings.load())


@contextlib.contextmanager
def _sessions(conf: Settings) -> Iterator[Sessions]:
    with backends.running(conf) as (store, _):
        yield Sessions(store.node)


def _check(
    conf: Settings,
    name: str,
    role: str,
    organisations: tuple[str, ...],
    desks: tuple[str, ...],
    email: str,
) -> None:
    if not _NAME.fullmatch(name):
        raise Usage("NAME: expected 1 to 80 characters on one line.")
    if not all(map(_ORGANISATION.fullmatch, organisations)):
        raise Usage("--organisation: expected 1 to 200 characters on one line.")
    if desks and role != "agent":
        raise Usage("--desk: is for agents.")
    known = config.load(conf.tickets_file).desks
    if not set(desks) <= set(known):
        raise Usage(f"--desk: expected {' or '.join(known)}.")
    if email and not _EMAIL.fullmatch(email):
        raise Usage("--email: expected an e-mail address.")


def _seconds(text: str) -> int:
    try:
        return settings.duration(text)
    except ValueError as error:
        raise Usage(f"--expires: {error}") from None


def _line(entry: Entry) -> str:
    what = "signed in" if entry.kind == "session" else "link not used"
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(entry.ends_at))
    person = entry.person
    return "\t".join((person.name, person.role, person.id, what, until, ", ".join(person.organisations))) + "\n"
