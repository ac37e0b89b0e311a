"""Zammad, against a server that takes nothing but the calls of its documentation."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from secretsvc.errors import DeskForbidden, DeskUnavailable, HookRefused, Misconfigured, TicketGone
from secretsvc.tickets import config
from secretsvc.tickets.desks import open_desk
from secretsvc.tickets.model import Desk, Hint, NewTicket, Note, Ticket
from tests.tickets.desks.strict import Strict

Keep = Callable[[str, str], str]
AUTH = "Token token=zammad-token-1"
NOTE = Note(marker="7QK2.opened-note", subject="One-time link 7QK2", text="One-time link 7QK2 was opened.")
TICKET = {
    "id": 5,
    "number": "22003",
    "title": "FTP login fails",
    "state_id": 2,
    "state": "open",
    "customer_id": 3,
    "customer": "kim@kunde.example",
    "organization_id": 2,
    "organization": "Kunde GmbH",
    "close_at": None,
    "last_close_at": None,
    "updated_at": "2026-11-22T04:29:42.000Z",
    "service_package": "Managed Plus",
}
USER = {
    "id": 3,
    "login": "kim@kunde.example",
    "firstname": "Kim",
    "lastname": "Kunde",
    "email": "kim@kunde.example",
    "preferences": {"locale": "de-de", "tickets_closed": 0},
}
STATES = [
    {"id": 1, "name": "new", "state_type_id": 1},
    {"id": 2, "name": "open", "state_type_id": 2},
    {"id": 3, "name": "pending reminder", "state_type_id": 3},
    {"id": 4, "name": "erledigt", "state_type_id": 5},
    {"id": 5, "name": "merged", "state_type_id": 6},
    {"id": 6, "name": "removed", "state_type_id": 7},
    {"id": 7, "name": "pending close", "state_type_id": 4},
    {"id": 8, "name": "archived", "state_type_id": 5},
]
FIND = "GET /api/v1/tickets/search?query=number%3A22003&expand=true"
READ = "GET /api/v1/tickets/5?expand=true"
ARTICLE = {
    "ticket_id": 5,
    "subject": "One-time link 7QK2 (7QK2.opened-note)",
    "body": "One-time link 7QK2 was opened.",
    "content_type": "text/plain",
    "type": "note",
    "internal": True,
    "sender": "Agent",
}


class Zammad:
    """A Zammad with the next calls it expects."""

    def __init__(self, server: Strict, settings: dict[str, Any]) -> None:
        self.server = server
        self.settings = settings

    def desk(self, **more: Any) -> Desk:
        return open_desk("zam", config.Zammad(**{**self.settings, **more}))

    def expect(self, call: str, body: Any = None, **more: Any) -> None:
        self.server.expect(call, body, authorization=AUTH, **more)

    def finds(self) -> None:
        self.expect(FIND, answer=[{**TICKET, "id": 9, "number": "122003"}, TICKET])


@pytest.fixture
def zammad(server: Strict, kept: Keep) -> Zammad:
    settings = {
        "url": server.url,
        "token_file": kept("token", "zammad-token-1"),
        "webhook_secret_file": kept("hook", "zam-secret"),
        "account": "12",
        "group": "Support",
        "solved": ("pending close",),
        "closed": ("archived",),
        "package_field": "service_package",
        "packages": {"Managed Plus": "managed"},
    }
    return Zammad(server, settings)


def test_a_ticket_is_found_by_its_number_and_read_by_its_id(zammad: Zammad) -> None:
    desk = zammad.desk()
    zammad.finds()
    zammad.expect(READ, answer=TICKET)
    zammad.expect("GET /api/v1/users/3", answer=USER)
    zammad.expect("GET /api/v1/ticket_states", answer=STATES)
    assert desk.read("22003") == Ticket(
        number="22003",
        status="open",
        organisation="Kunde GmbH",
        requester="kim@kunde.example",
        requester_name="Kim Kunde",
        subject="FTP login fails",
        language="de",
        package="managed",
    )
    # Number and states are known now.
    zammad.expect(READ, answer={**TICKET, "organization": None, "organization_id": None, "service_package": ""})
    zammad.expect("GET /api/v1/users/3", status=404, answer={"error": "Couldn't find User"})
    again = desk.read("22003")
    assert (again.organisation, again.requester, again.package) == (None, None, None)


@pytest.mark.parametrize(
    ("state", "status"),
    [(1, "open"), (3, "open"), (4, "solved"), (7, "solved"), (5, "closed"), (6, "closed"), (8, "closed")],
)
def test_states_go_by_their_type_and_the_settings_words(zammad: Zammad, state: int, status: str) -> None:
    zammad.finds()
    closed = {"close_at": "2026-11-20T04:29:42.000Z", "last_close_at": "2026-11-22T04:29:42.000Z"}
    zammad.expect(READ, answer={**TICKET, "state_id": state, **closed})
    zammad.expect("GET /api/v1/users/3", answer=USER)
    zammad.expect("GET /api/v1/ticket_states", answer=STATES)
    found = zammad.desk().read("22003")
    assert (found.status, found.solved_at) == (status, None if status == "open" else 1795321782)


def test_without_its_search_engine_the_number_is_found_as_text(zammad: Zammad) -> None:
    zammad.expect(FIND, answer=[])
    zammad.expect("GET /api/v1/tickets/search?query=22003&expand=true", answer=[TICKET])
    zammad.expect("POST /api/v1/ticket_articles", ARTICLE, status=201, answer={"id": 17})
    zammad.desk().note("22003", NOTE)


def test_a_number_that_nobody_has_is_gone(zammad: Zammad) -> None:
    zammad.expect(FIND, answer=[])
    other = {**TICKET, "title": "see 22003", "number": "22004"}
    zammad.expect("GET /api/v1/tickets/search?query=22003&expand=true", answer=[other])
    with pytest.raises(TicketGone):
        zammad.desk().read("22003")
    with pytest.raises(TicketGone):
        zammad.desk().read("22003 OR number:1")


def test_a_note_is_of_type_note_and_internal(zammad: Zammad) -> None:
    zammad.finds()
    zammad.expect("POST /api/v1/ticket_articles", ARTICLE, status=201, answer={"id": 17, "ticket_id": 5})
    zammad.desk().note("22003", NOTE)


def test_a_reply_is_mailed_to_the_requester(zammad: Zammad) -> None:
    zammad.finds()
    zammad.expect(READ, answer=TICKET)
    zammad.expect("GET /api/v1/users/3", answer=USER)
    reply = {**ARTICLE, "type": "email", "to": "kim@kunde.example", "internal": False}
    zammad.expect("POST /api/v1/ticket_articles", reply, status=201, answer={"id": 17})
    zammad.desk().reply("22003", NOTE)


def test_a_reply_to_somebody_without_an_address_is_shown_in_the_portal(zammad: Zammad) -> None:
    zammad.finds()
    zammad.expect(READ, answer=TICKET)
    zammad.expect("GET /api/v1/users/3", answer={**USER, "email": ""})
    reply = {**ARTICLE, "internal": False}
    zammad.expect("POST /api/v1/ticket_articles", reply, status=201, answer={"id": 17})
    zammad.desk().reply("22003", NOTE)


def test_a_note_is_found_again_by_its_subject(zammad: Zammad) -> None:
    desk = zammad.desk()
    zammad.finds()
    articles = [{"id": 1, "subject": None}, {"id": 2, "subject": "One-time link 7QK2 (7QK2.opened-note)"}]
    for _ in range(2):
        zammad.expect("GET /api/v1/ticket_articles/by_ticket/5", answer=articles)
    assert desk.noted("22003", "7QK2.opened-note")
    assert not desk.noted("22003", "opened-note")


@pytest.mark.parametrize("status", [404, 429, 503, 401, 422])
def test_refusals_have_their_names(zammad: Zammad, status: int) -> None:
    zammad.finds()
    zammad.expect(
        "POST /api/v1/ticket_articles", ARTICLE, status=status, answer={"error": "x"}, Retry_After="7"
    )
    names = {
        404: TicketGone,
        429: DeskUnavailable,
        503: DeskUnavailable,
        401: DeskForbidden,
        422: DeskForbidden,
    }
    with pytest.raises(names[status]) as caught:
        zammad.desk().note("22003", NOTE)
    if isinstance(caught.value, DeskUnavailable):
        assert (caught.value.retry_after, caught.value.unclear) == (7, status == 503)
    assert "zammad-token-1" not in repr(caught.value)


@pytest.mark.parametrize("how", ["hang", "drip", "cut", "hang-up"])
def test_a_note_whose_answer_is_lost_is_unclear(zammad: Zammad, how: Any) -> None:
    zammad.finds()
    zammad.expect("POST /api/v1/ticket_articles", ARTICLE, status=201, answer={"id": 17}, how=how)
    with pytest.raises(DeskUnavailable) as caught:
        zammad.desk(timeout=0.6).note("22003", NOTE)
    assert caught.value.unclear


@pytest.mark.parametrize("answer", [{}, [], [{"id": "x"}], {"tickets": [5]}, "<html>"])
def test_an_answer_of_another_shape_is_no_answer(zammad: Zammad, answer: Any) -> None:
    zammad.finds()
    zammad.expect(READ, answer=answer)
    with pytest.raises(DeskUnavailable) as caught:
        zammad.desk().read("22003")
    assert not caught.value.unclear


ORDER = NewTicket(
    marker="order-9f2c",
    subject="Server order",
    text="Credentials are ready.",
    requester="kim@kunde.example",
    organisation="Kunde GmbH",
)
OPENED = {
    "title": "Server order (order-9f2c)",
    "group": "Support",
    "customer_id": "guess:kim@kunde.example",
    "article": {
        "subject": "Server order (order-9f2c)",
        "body": "Credentials are ready.",
        "content_type": "text/plain",
        "type": "note",
        "internal": False,
    },
}


@pytest.mark.parametrize("known", [True, False])
def test_an_order_is_opened_and_found_by_its_title(zammad: Zammad, known: bool) -> None:
    desk = zammad.desk()
    organisations = [
        {"id": 1, "name": "Kunde GmbH & Co"},
        *([{"id": 2, "name": "Kunde GmbH"}] if known else []),
    ]
    zammad.expect("GET /api/v1/organizations/search?query=Kunde%20GmbH&expand=true", answer=organisations)
    body = {**OPENED, "organization_id": 2} if known else OPENED
    zammad.expect("POST /api/v1/tickets", body, status=201, answer={"id": 5, "number": "22003"})
    assert desk.open(ORDER) == "22003"
    look = "GET /api/v1/tickets/search?query=order-9f2c&expand=true"
    near = {**TICKET, "title": "Re: order-9f2c"}
    zammad.expect(look, answer=[near, {**TICKET, "title": "Server order (order-9f2c)"}])
    assert desk.opened("order-9f2c") == "22003"
    zammad.expect(look, answer=[near])
    assert desk.opened("order-9f2c") is None


# --- webhooks --------------------------------------------------------------------------------------


def said(desk: Desk, body: Any) -> Hint | None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    signature = "sha1=" + hmac.new(b"zam-secret", raw, hashlib.sha1).hexdigest()
    return desk.hint({"x-hub-signature": signature, "x-zammad-delivery": "d-1"}, raw, 0.0)


def test_the_default_body_names_the_number_and_who_did_it(zammad: Zammad) -> None:
    desk = zammad.desk()
    ticket = {"id": 5, "number": "22003", "updated_by_id": 3, "updated_by": {"login": "kim@kunde.example"}}
    assert said(desk, {"ticket": ticket, "article": {}}) == Hint("22003", "d-1")
    assert said(desk, {"ticket": {**ticket, "updated_by_id": 12}}) == Hint("22003", "d-1", own=True)


def test_a_body_of_ones_own_may_have_the_id_alone(zammad: Zammad) -> None:
    desk = zammad.desk()
    zammad.expect("GET /api/v1/tickets/5", answer=TICKET)
    assert said(desk, {"ticket_id": "5"}) == Hint("22003", "d-1")
    assert said(desk, {"number": "22003", "actor": "12"}) == Hint("22003", "d-1", own=True)
    zammad.expect("GET /api/v1/tickets/6", status=404, answer={"error": "Couldn't find Ticket"})
    assert said(desk, {"ticket_id": 6}) is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{", {}, {"ticket": []}, {"ticket_id": "../x"}, {"number": "x"}])
def test_a_webhook_about_something_else_concerns_no_ticket(zammad: Zammad, body: Any) -> None:
    assert said(zammad.desk(), body) is None


def test_a_wrong_signature_asks_the_desk_nothing(zammad: Zammad) -> None:
    with pytest.raises(HookRefused):
        zammad.desk().hint({"x-hub-signature": "sha1=0", "x-zammad-delivery": "d-1"}, b'{"ticket_id":5}', 0.0)


@pytest.mark.parametrize("place", ["token_file", "webhook_secret_file"])
def test_a_missing_secret_is_named(zammad: Zammad, place: str) -> None:
    with pytest.raises(Misconfigured, match=rf"desks\.zam\.{place}"):
        zammad.desk(**{place: "/nowhere/secret"})
    assert "zammad-token-1" not in repr(zammad.desk())
