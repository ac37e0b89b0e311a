"""send, state, revoke, unlock: for people and their scripts."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import click

from .. import envelope as format
from .. import settings, terminal
from ..client import Client, State, plain, read_any, read_receipt
from ..settings import variable
from ..terminal import NewFile, OutputFailed, say
from .ends import EXIT_CODES
from .inputs import (
    api_key_of,
    client_of,
    duration_of,
    password_of,
    payload_of,
    refuse_links,
    sealed,
    server_of,
)

RECEIPT_BYTES = 4096


@click.command(epilog=EXIT_CODES)
@click.argument("file", required=False)
@click.option("--server", metavar="URL", help=f"The service; by default {variable('server')}.")
@click.option("--expires", metavar="TIME", help="How long the link works: 30m, 12h, 3d, 2w or seconds.")
@click.option("--password-file", metavar="FILE", help="A file with a password, which opening then needs.")
@click.option("--ask-password", is_flag=True, help="Ask for the password, twice, on the terminal.")
@click.option("--language", type=click.Choice(["de", "en"]), help="Of the page behind the link.")
@click.option("--no-name", is_flag=True, help="Do not send the file's name along.")
@click.option("--receipt", metavar="FILE", help="A new file for the receipt link.")
@click.option(
    "--api-key-file", metavar="FILE", help=f"A file with an API token; or {variable('api_key_file')}."
)
@click.option(
    "--json", "as_json", is_flag=True, help="All about it as JSON, the link and the receipt link too."
)
def send(
    file: str | None,
    server: str | None,
    expires: str | None,
    password_file: str | None,
    ask_password: bool,
    language: str | None,
    no_name: bool,
    receipt: str | None,
    api_key_file: str | None,
    as_json: bool,
) -> None:
    """Seal standard input or FILE and print the link that opens it once.

    The receipt link, on standard error, tells what became of it and can revoke it: keep it, and do not pass it
    on.
    """
    refuse_links(file, password_file, receipt, api_key_file)
    conf = settings.load()
    client = client_of(server_of(server, conf), api_key_of(api_key_file, conf))
    expires_in = conf.default_expires_in if expires is None else duration_of(expires)
    password = password_of(password_file, ask_password)
    content, name = terminal.read_secret(file)
    payload = payload_of(content, None if no_name else name)
    if ask_password:
        password = terminal.ask_password(twice=True)
    key = format.new_key()
    body = {**sealed(key, payload, password or ""), "expires_in": expires_in}
    if language:
        body["language"] = language
    terminal.check_output()
    kept = NewFile(receipt, size=RECEIPT_BYTES, what="receipt file") if receipt else None
    with kept or contextlib.nullcontext():
        _create(client, key, body, kept, as_json)


@click.command(epilog=EXIT_CODES)
@click.argument("file", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def state(file: str | None, as_json: bool) -> None:
    """Tell how the secret stands whose link or receipt link is in standard input or FILE.  Uses nothing up.

    An ended secret is told too, with exit code 0.
    """
    refuse_links(file)
    settings.load()
    handle = read_any(terminal.read_text(file, "link"))
    _show(client_of(handle.origin).state(handle), as_json)


@click.command(epilog=EXIT_CODES)
@click.argument("file", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def revoke(file: str | None, as_json: bool) -> None:
    """End the secret whose receipt link is in standard input or FILE: nobody opens it any more."""
    _end(file, "revoke", as_json)


@click.command(epilog=EXIT_CODES)
@click.argument("file", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def unlock(file: str | None, as_json: bool) -> None:
    """Give all tries back after too many wrong passwords; by the receipt link in standard input or FILE."""
    _end(file, "unlock", as_json)


def _create(client: Client, key: bytes, body: dict[str, Any], kept: NewFile | None, as_json: bool) -> None:
    """Store it; then the receipt goes where it is wanted, and last the link."""
    created = client.create(key, body)
    shown = {name: created.fields.get(name) for name in ("id", "state", "created_at", "expires_at")}
    shown["link"] = format.format_link(created.public_url, key)
    try:
        if kept is not None:
            kept.write((created.receipt_url + "\n").encode())
        elif as_json:
            shown["receipt"] = created.receipt_url
        else:
            say(f"receipt, tells what became of it and can revoke it: {created.receipt_url}")
        terminal.write_output((json.dumps(shown) if as_json else str(shown["link"])).encode() + b"\n")
    except OutputFailed as error:
        if kept is not None or as_json:
            error.detail += f" The secret waits all the same; revoke it with its receipt: {created.receipt_url}"
        raise


def _end(file: str | None, what: str, as_json: bool) -> None:
    refuse_links(file)
    settings.load()
    handle = read_receipt(terminal.read_text(file, "receipt link"))
    _show(client_of(handle.origin).end(handle, what), as_json)


def _show(state: State, as_json: bool) -> None:
    """``name: value`` lines, the state first, or the service's own JSON."""
    if as_json:
        text = json.dumps(state.fields)
    else:
        fields = {"state": state.state, **state.fields}
        known = {name: value for name, value in fields.items() if isinstance(value, str | int)}
        said = {name: json.dumps(value) if isinstance(value, int) else value for name, value in known.items()}
        text = "\n".join(f"{plain(name)}: {plain(value)}" for name, value in said.items())
    terminal.write_output(text.encode() + b"\n")
