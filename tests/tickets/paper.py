"""A service with a helpdesk on paper: what its tickets say stands in the store, written there by a test.

The rules and pages are the service's own; how real helpdesks are called is tested elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask

import app as composition
from secretsvc import settings
from secretsvc.errors import DeskUnavailable, HookRefused, TicketClosed, TicketGone
from secretsvc.node import Node
from secretsvc.settings import Settings
from secretsvc.tickets.model import Hint, NewTicket, Note, Ticket
from secretsvc.tickets.web.module import Module
from secretsvc.tokens import Person
from secretsvc.web.service import Service
from tests.browser import scriptless

TARGET = "tests.tickets.paper:create_app()"
TICKETS, NOTES = "paper:tickets", "paper:notes"
CONFIG = """
agencies = ["Agentur Süd"]
[mail]
host = "127.0.0.1"
sender = "desk@service.example"
[desks.paper]
kind = "local"
[desks.local]
kind = "local"
shared = false
"""
# Known by their addresses alone: nobody calls them.
REMOTES = """
[desks.rt]
kind = "rt"
url = "https://rt.example/rt"
token_file = "{token}"
[desks.zammad]
kind = "zammad"
url = "https://zammad.example"
token_file = "{token}"
"""
ANNA = Person("Anna Agent", "agent", desks=("paper",), id="anna", email="anna@service.example")
BERT = Person("Bert", "agent", id="bert")
CARL = Person("Carl", "agent", desks=("local",), id="carl")
KIM = Person("Kim", "customer", ("Kunde GmbH",), id="kim", email="kim@kunde.example")
LEE = Person("Lee", "customer", ("Andere AG",), id="lee", email="lee@andere.example")


class PaperDesk:
    """A helpdesk whose tickets, notes and replies stand in the store."""

    notes = True
    settles = 5.0

    def __init__(self, name: str, node: Node) -> None:
        self.name, self.node = name, node

    def read(self, number: str) -> Ticket:
        found = self.node.command("HGET", TICKETS, number)
        if not found:
            raise TicketGone
        if found == b"down":
            raise DeskUnavailable
        return msgspec.json.decode(found, type=Ticket)

    def open(self, new: NewTicket) -> str:
        raise DeskUnavailable

    def opened(self, marker: str) -> str | None:
        return None

    def note(self, number: str, note: Note) -> None:
        self._write(number, "note", note)

    def noted(self, number: str, marker: str) -> bool:
        return any(json.loads(each)["marker"] == marker for each in self.node.command("LRANGE", NOTES, 0, -1))

    def reply(self, number: str, reply: Note) -> None:
        self._write(number, "reply", reply)

    def hint(self, headers: Mapping[str, str], body: bytes, now: float) -> Hint | None:
        raise HookRefused

    def _write(self, number: str, kind: str, note: Note) -> None:
        if self.read(number).status == "closed":
            raise TicketClosed
        said = {"number": number, "kind": kind, "marker": note.marker, "text": note.text}
        self.node.command("RPUSH", NOTES, json.dumps(said))


def create_app(conf: Settings | None = None) -> Flask:
    """What gunicorn loads."""
    app = composition.create_app(conf or settings.load())
    here: Service = app.extensions["secretsvc"]
    found: Module = app.extensions["secretsvc.tickets"]
    found.tickets.desks = {**found.tickets.desks, "paper": PaperDesk("paper", here.store.node)}
    if "tickets_pages" not in app.blueprints:
        from secretsvc.tickets.web.pages import tickets_pages

        app.register_blueprint(tickets_pages)
    app.wsgi_app = scriptless.with_sandbox(app.wsgi_app)  # type: ignore[method-assign]
    return app


def write_config(folder: Path) -> Path:
    (folder / "token").write_text("not-asked")
    path = folder / "tickets.toml"
    path.write_text(CONFIG + REMOTES.format(token=folder / "token"))
    return path


def says(client: Any, number: str, **ticket: Any) -> None:
    """What the helpdesk says of a ticket from now on; ``client`` is the store's."""
    client.hset(TICKETS, number, msgspec.json.encode(Ticket(number=number, **ticket)))


def noted(client: Any) -> list[dict[str, str]]:
    """What was written into the helpdesk."""
    return [json.loads(each) for each in client.lrange(NOTES, 0, -1)]
