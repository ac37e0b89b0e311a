"""ticket: for agents with an API token; links in replies, credentials from customers, a ticket's trail.

Everything is sealed and put together here: the service gets neither the link nor the reply that it stands in.
The exception is ``--note``, by which the pick-up link goes into the ticket, where it leads agents alone.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any, get_args

import click

from .. import envelope as format
from .. import terminal
from ..cli.ends import EXIT_CODES, Refused, Unknown
from ..cli.inputs import password_of, payload_of, refuse_links, sealed
from ..client import Created, plain
from ..terminal import NewFile, say
from .model import Identity
from .remote import Page, Remote, Row, reference
from .replies import Reply, at_service, or_taken_back, remote_of, with_reply

LINK_BYTES = 4096


@click.group(epilog=EXIT_CODES)
def ticket() -> None:
    """Links in replies to tickets, credentials from customers, and what became of them: for agents.

    A TICKET is desk:number, as in rt:4711; a REF is the short reference that ``list`` and the notes in the
    ticket give a link. All of it takes an agent's API token.
    """


@ticket.command(epilog=EXIT_CODES)
@click.argument("which", metavar="TICKET")
@click.argument("file", required=False)
@click.option("--password-file", metavar="FILE", help="A file with a password, which opening then needs.")
@click.option("--ask-password", is_flag=True, help="Ask for the password, twice, on the terminal.")
@click.option("--no-name", is_flag=True, help="Do not send the file's name along.")
@with_reply
def send(
    which: str, file: str | None, password_file: str | None, ask_password: bool, no_name: bool, **given: Any
) -> None:
    """Seal standard input or FILE for a customer, and print the reply to send them, with the link in it."""
    refuse_links(which, file, password_file)
    wanted = Reply.of(given)
    here = remote_of(which, given)
    password = password_of(password_file, ask_password)
    locked = password is not None or ask_password
    page = here.page()[0]
    _warn(page, password=locked)
    text = wanted.text(here, page, "secret", password=locked)
    content, name = terminal.read_secret(file)
    payload = payload_of(content, None if no_name else name)
    if ask_password:
        password = terminal.ask_password(twice=True)
    key = format.new_key()
    terminal.check_output()
    created = here.client.create(key, sealed(key, payload, password or "") | wanted.body(here, page))
    with or_taken_back(here.client, created):
        link = format.format_link(created.public_url, key)
        wanted.write(here, page, created, text, link=link, refs=here.refs(created, "secret", page))


@ticket.command(epilog=EXIT_CODES)
@click.argument("which", metavar="TICKET")
@click.option("--form", "form", metavar="NAME", required=True, help="What to ask for.")
@click.option(
    "--identity",
    type=click.Choice(get_args(Identity)),
    default="not-checked",
    help="How you made sure who the customer is; the form says so.",
)
@click.option("--pick-up", metavar="FILE", help="A new file for the pick-up link.")
@click.option("--note", is_flag=True, help="Write the pick-up link into an internal note of the ticket.")
@with_reply
def ask(which: str, form: str, identity: str, pick_up: str | None, note: bool, **given: Any) -> None:
    """Ask a customer for credentials, and print the reply to send them, with the link to hand them in.

    The pick-up link opens their answer, once, for agents of the ticket's desk alone. It goes to a file or a
    note, else to standard error; ``secretsvc open`` takes it.
    """
    refuse_links(which, form, pick_up)
    wanted = Reply.of(given)
    here = remote_of(which, given)
    page = here.page()[0]
    if note and not page.notes:
        raise Refused("--note: this desk takes no notes. Nothing was asked.")
    if form not in (known := here.forms()):
        raise Refused(f"--form: there is no such form here; there are: {plain(', '.join(known))}.")
    _warn(page)
    text = wanted.text(here, page, "request", password=False)
    key = format.new_key()
    body = {"form": form, "identity": identity, **wanted.body(here, page)}
    terminal.check_output()
    kept = NewFile(pick_up, size=LINK_BYTES, what="pick-up file") if pick_up else None
    with kept or contextlib.nullcontext():
        created = here.client.ask(key, body)
        with or_taken_back(here.client, created):
            _hand_over(here, page, key, created, text, wanted, kept, note=note)


def _hand_over(
    here: Remote,
    page: Page,
    key: bytes,
    created: Created,
    text: str,
    wanted: Reply,
    kept: NewFile | None,
    *,
    note: bool,
) -> None:
    """The pick-up link to the agent, the request link to the customer."""
    pick_up = format.format_link(created.public_url, key)
    id, public_key = format.derive_handles(key).id, format.request_public_key(key)
    refs = here.refs(created, "request", page)
    if note:
        refs = [here.note(refs, pick_up)]
    link = format.format_request_link(created.public_url, id, public_key)
    shown = {} if note or kept else {"pick_up": pick_up}
    wanted.write(here, page, created, text, link=link, refs=refs, **shown)
    if kept is not None:
        kept.write(f"{pick_up}\n".encode())
    elif not note and not wanted.as_json:
        say(f"pick-up link, opens the answer for agents alone: {pick_up}")


@ticket.command("list", epilog=EXIT_CODES)
@click.argument("which", metavar="TICKET")
@at_service
def list_(which: str, **given: Any) -> None:
    """Tell what became of a ticket's links, the latest first."""
    page, found = remote_of(which, given).page()
    lines = [_columns(page.ticket, page.status, page.organisation), *map(_told, page.links)]
    _print("\n".join(lines), found, given)


@ticket.command(epilog=EXIT_CODES)
@click.argument("which", metavar="TICKET")
@click.argument("ref")
@at_service
def revoke(which: str, ref: str, **given: Any) -> None:
    """End a link unread: nobody opens it any more."""
    row, found = remote_of(which, given).act(_ref(ref), "revoke")
    _print(_told(row), found, given)


@ticket.command(epilog=EXIT_CODES)
@click.argument("which", metavar="TICKET")
@click.argument("ref")
@at_service
def unlock(which: str, ref: str, **given: Any) -> None:
    """Give all tries back after too many wrong passwords."""
    row, found = remote_of(which, given).act(_ref(ref), "unlock")
    _print(_told(row), found, given)


def _ref(text: str) -> str:
    """A reference, before it stands in an address that others log.

    Raises:
        Unknown: it cannot be one.
    """
    found = reference(text)
    if found is None:
        raise Unknown("There is no link of this reference on the ticket.")
    return found


# --- what is shown -------------------------------------------------------------------------------------


def _warn(page: Page, *, password: bool = True) -> None:
    """Say who else reads the reply, before anything is made."""
    organisation = plain(page.organisation)
    if page.confirm:
        say(f"secretsvc: warning: {organisation} acts for others; is this ticket theirs or their customer's?")
    if page.shared and not password:
        say(
            f"secretsvc: warning: everybody at {organisation} can read this ticket, and whoever opens the link "
            "first has the secret; a password, sent another way, keeps it to one person"
        )


def _print(text: str, found: dict[str, Any], given: dict[str, Any]) -> None:
    terminal.write_output((json.dumps(found) if given["as_json"] else text).encode() + b"\n")


def _told(row: Row) -> str:
    """A link's line, and one for everything that became of it."""
    kind = "order" if row.order else row.kind
    facts = (row.form, row.identity, "password" if row.password else "")
    head = _columns(row.ref, kind, row.state, f"until {row.expires_at}", *filter(None, facts))
    events = [_columns("", event.at, event.type, event.by) for event in row.events]
    return "\n".join([head, *events])


def _columns(*words: str) -> str:
    return "\t".join(map(plain, words)).rstrip("\t")
