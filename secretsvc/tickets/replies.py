"""What the commands for tickets have in common: which ticket, and the reply that a customer is to be sent."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click

from .. import settings, terminal
from ..cli.ends import Refused, Usage
from ..cli.inputs import api_key_of, client_of, duration_of, refuse_links, server_of
from ..client import Client, Created, read_receipt
from ..errors import SecretsvcError
from ..model import Kind
from ..settings import variable
from ..terminal import say
from .model import Reference
from .remote import Page, Remote, filled
from .texts import FORMATS, Format
from .wording import Language

Command = Callable[..., Any]


def at_service(command: Command) -> Command:
    """Options of every command for a ticket."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="As JSON."),
        click.option(
            "--api-key-file",
            metavar="FILE",
            help=f"A file with an agent's API token; or {variable('api_key_file')}.",
        ),
        click.option("--server", metavar="URL", help=f"The service; by default {variable('server')}."),
    ):
        command = option(command)
    return command


def with_reply(command: Command) -> Command:
    """Options of those that print a reply."""
    for option in (
        click.option("--link-only", is_flag=True, help="Print the link alone, without the text around it."),
        click.option(
            "--format", "in_format", type=click.Choice(FORMATS), default="plain", help="Of the reply's text."
        ),
        click.option(
            "--language",
            type=click.Choice(["de", "en"]),
            help="Of text and page; by default the customer's where the desk knows it, else English.",
        ),
        click.option("--expires", metavar="TIME", help="How long the link works: 30m, 12h, 3d, 2w or seconds."),
    ):
        command = option(command)
    return at_service(command)


@dataclass(frozen=True)
class Reply:
    """What is to be printed for the customer, and how."""

    expires_in: int
    language: Language | None
    format: Format
    link_only: bool
    as_json: bool

    @classmethod
    def of(cls, given: dict[str, Any]) -> Reply:
        """Read the options.

        Raises:
            Usage: they do not go together.
        """
        expires, link_only, as_json = given["expires"], given["link_only"], given["as_json"]
        if link_only and as_json:
            raise Usage("Give --link-only or --json, not both.")
        expires_in = settings.load().default_expires_in if expires is None else duration_of(expires)
        return cls(expires_in, given["language"], given["in_format"], link_only, as_json)

    def spoken(self, page: Page) -> Language:
        """The text's language."""
        return self.language or page.language or "en"

    def text(self, here: Remote, page: Page, kind: Kind, *, password: bool) -> str:
        """The reply with its slots open; empty where the link alone is wanted."""
        if self.link_only:
            return ""
        return here.text(kind, self.spoken(page), self.format, password=password)

    def body(self, here: Remote, page: Page) -> dict[str, Any]:
        """Fields of a create; without a language the page behind the link goes by the browser's."""
        body = {"expires_in": self.expires_in, "label": str(here.ticket)}
        language = self.language or page.language
        return body if language is None else {**body, "language": language}

    def write(
        self, here: Remote, page: Page, created: Created, text: str, *, link: str, refs: list[str], **more: str
    ) -> None:
        """Print it; the reference, where it is certain, goes to standard error.

        Raises:
            OutputFailed: it could not be written.
        """
        ref = refs[0] if len(refs) == 1 else None
        whole = filled(text, link, created, self.spoken(page))
        if self.as_json:
            until = created.fields.get("expires_at")
            found = {"ticket": str(here.ticket), "ref": ref, "link": link, "expires_at": until, "text": whole}
            terminal.write_output(json.dumps({**found, **more}).encode() + b"\n")
            return
        terminal.write_output(f"{link}\n".encode() if self.link_only else whole.encode())
        if ref is not None:
            say(f"reference on the ticket: {ref}")


def remote_of(which: str, given: dict[str, Any]) -> Remote:
    """The ticket at its service.

    Raises:
        Usage, Refused, Misconfigured: no such reference; no token; no service.
    """
    refuse_links(which, given["api_key_file"])
    found = Reference.of(which)
    if found is None:
        raise Usage("TICKET: expected desk:number, as in rt:4711.")
    conf = settings.load()
    api_key = api_key_of(given["api_key_file"], conf)
    if api_key is None:
        raise Refused(
            f"Tickets are for agents: give an API token with --api-key-file or {variable('api_key_file')}."
        )
    return Remote(client_of(server_of(given["server"], conf), api_key), found)


@contextlib.contextmanager
def or_taken_back(client: Client, created: Created) -> Iterator[None]:
    """Revoke what was made where it does not come to the agent: nobody would ever know its link."""
    try:
        yield
    except SecretsvcError as error:
        try:
            client.end(read_receipt(created.receipt_url), "revoke")
            error.detail += " The link was revoked again."
        except SecretsvcError:
            error.detail += " The link waits all the same: see 'secretsvc ticket list', and revoke it."
        raise
