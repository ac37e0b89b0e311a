"""Without a helpdesk tickets are known by number alone."""

from __future__ import annotations

import pytest

from secretsvc.errors import DeskForbidden, HookRefused
from secretsvc.tickets import config
from secretsvc.tickets.desks import open_desks
from secretsvc.tickets.model import Desk, NewTicket, Note, Ticket


@pytest.fixture
def desk() -> Desk:
    return open_desks(config.Config())["local"]


def test_every_number_is_an_open_ticket_of_nobodys(desk: Desk) -> None:
    assert desk.read("INC-4711") == Ticket(number="INC-4711")
    assert (desk.name, desk.notes, desk.settles) == ("local", False, 0)


def test_nothing_arrives_there(desk: Desk) -> None:
    with pytest.raises(DeskForbidden, match="order"):
        desk.open(NewTicket(marker="x", subject="x", text="x", requester="kim@kunde.example"))
    for write in (desk.note, desk.reply):
        with pytest.raises(DeskForbidden, match="note"):
            write("1", Note("x", "x", "x"))
    assert desk.opened("x") is None
    assert not desk.noted("1", "x")
    with pytest.raises(HookRefused):
        desk.hint({}, b"{}", 0)
