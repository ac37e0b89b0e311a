"""Zendesk, against a server that takes nothing but the calls of its documentation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from secretsvc.errors import DeskForbidden, DeskUnavailable, Misconfigured, TicketClosed, TicketGone
from secretsvc.tickets import config
from secretsvc.tickets.desks import open_desk
from secretsvc.tickets.model import Desk, Hint, NewTicket, Note, Ticket
from tests.tickets.desks.strict import Strict

Keep = Callable[[str, str], str]
NOTE = Note(marker="7QK2.opened-note", subject="One-time link 7QK2", text="One-time link 7QK2 was opened.")
BODY = "One-time link 7QK2 was opened.\n\n(7QK2.opened-note)"
TOKEN_REQUEST = {
    "grant_type": "client_credentials",
    "client_id": "secretsvc_links",
    "client_secret": "client-secret-1",
    "scope": "tickets:read tickets:write organizations:read users:read",
}
TICKET = {
    "id": 35436,
    "url": "https://kunde.zendesk.com/api/v2/tickets/35436.json",
    "subject": "FTP login fails",
    "status": "open",
    "organization_id": 509974,
    "requester_id": 20978392,
    "external_id": None,
    "updated_at": "2026-11-22T04:29:42Z",
    "custom_status_id": 1,
    "tags": ["ftp"],
    "custom_fields": [{"id": 27642, "value": "745"}, {"id": 27648, "value": "managed_plus"}],
}
ORGANISATION = {"id": 509974, "name": "Kunde GmbH", "shared_tickets": True, "shared_comments": True}
USER = {
    "id": 20978392,
    "name": "Kim Kunde",
    "email": "kim@kunde.example",
    "locale": "de-AT",
    "role": "end-user",
}
CLOSED = {
    "error": "RecordInvalid",
    "description": "Record validation errors",
    "details": {"status": [{"description": "Status: closed prevents ticket update"}]},
}
CLOSED_TOO = {"error": "ClosedTicket", "description": "Ticket is closed"}
GONE = {"error": "RecordNotFound", "description": "Not found"}
UPDATED = {"ticket": TICKET, "audit": {"id": 2127301143, "events": []}}


class Account:
    """A Zendesk account with the next calls it expects."""

    def __init__(self, server: Strict, settings: dict[str, Any]) -> None:
        self.server = server
        self.settings = settings
        self.token = "first"

    def desk(self, **more: Any) -> Desk:
        return open_desk("zen", config.Zendesk(**{**self.settings, **more}))

    def signs_in(self, token: str = "first", **more: Any) -> None:
        self.token = token
        answer = {"access_token": token, "token_type": "bearer", "scope": TOKEN_REQUEST["scope"], **more}
        self.server.expect("POST /oauth/tokens", TOKEN_REQUEST, answer=answer)

    def expect(self, call: str, body: Any = None, **more: Any) -> None:
        self.server.expect(call, body, authorization=f"Bearer {self.token}", **more)


@pytest.fixture
def account(server: Strict, kept: Keep) -> Account:
    settings = {
        "url": server.url,
        "client_id": "secretsvc_links",
        "client_secret_file": kept("client", "client-secret-1\n"),
        "webhook_secret_file": kept("hook", "dGhpc19zZWNyZXQ="),
        "account": "4711",
        "package_field": 27648,
        "packages": {"managed_plus": "managed"},
    }
    return Account(server, settings)


def test_a_ticket_is_read_with_organisation_and_requester(account: Account) -> None:
    account.signs_in()
    account.expect("GET /api/v2/tickets/35436", answer={"ticket": TICKET})
    account.expect("GET /api/v2/users/20978392", answer={"user": USER})
    account.expect("GET /api/v2/organizations/509974", answer={"organization": ORGANISATION})
    assert account.desk().read("35436") == Ticket(
        number="35436",
        status="open",
        organisation="Kunde GmbH",
        requester="kim@kunde.example",
        requester_name="Kim Kunde",
        subject="FTP login fails",
        language="de",
        package="managed",
    )


@pytest.mark.parametrize(
    ("said", "status"),
    [("new", "open"), ("pending", "open"), ("hold", "open"), ("solved", "solved"), ("closed", "closed")],
)
def test_the_status_decides_and_a_ticket_may_have_no_organisation(
    account: Account, said: str, status: str
) -> None:
    account.signs_in()
    ticket = {**TICKET, "status": said, "organization_id": None, "custom_fields": []}
    account.expect("GET /api/v2/tickets/35436", answer={"ticket": ticket})
    account.expect("GET /api/v2/users/20978392", status=404, answer=GONE)
    found = account.desk().read("35436")
    assert (found.status, found.organisation, found.requester, found.package) == (status, None, None, None)


def test_a_note_is_not_public(account: Account) -> None:
    account.signs_in()
    note = {"ticket": {"comment": {"body": BODY, "public": False}}}
    account.expect("PUT /api/v2/tickets/35436", note, answer=UPDATED)
    account.desk().note("35436", NOTE)


def test_a_reply_is_public(account: Account) -> None:
    account.signs_in()
    reply = {"ticket": {"comment": {"body": BODY, "public": True}}}
    account.expect("PUT /api/v2/tickets/35436", reply, answer=UPDATED)
    account.desk().reply("35436", NOTE)


@pytest.mark.parametrize("said", [CLOSED, CLOSED_TOO])
def test_a_closed_ticket_takes_nothing_more(account: Account, said: Any) -> None:
    account.signs_in()
    for public in (False, True):
        body = {"ticket": {"comment": {"body": BODY, "public": public}}}
        account.expect("PUT /api/v2/tickets/35436", body, status=422, answer=said)
    desk = account.desk()
    with pytest.raises(TicketClosed):
        desk.note("35436", NOTE)
    with pytest.raises(TicketClosed):
        desk.reply("35436", NOTE)


@pytest.mark.parametrize(
    "said",
    [
        "",
        [],
        {"error": "RecordInvalid", "details": {"base": [{"description": "Too many comments"}]}},
        {"details": {"status": "closed"}},
        {"details": []},
    ],
)
def test_another_refusal_is_not_taken_for_closed(account: Account, said: Any) -> None:
    account.signs_in()
    note = {"ticket": {"comment": {"body": BODY, "public": False}}}
    account.expect("PUT /api/v2/tickets/35436", note, status=422, answer=said)
    with pytest.raises(DeskForbidden):
        account.desk().note("35436", NOTE)


def test_a_deleted_ticket_is_gone(account: Account) -> None:
    account.signs_in()
    note = {"ticket": {"comment": {"body": BODY, "public": False}}}
    account.expect("GET /api/v2/tickets/35436", status=404, answer=GONE)
    account.expect("PUT /api/v2/tickets/35436", note, status=404, answer=GONE)
    desk = account.desk()
    with pytest.raises(TicketGone):
        desk.read("35436")
    with pytest.raises(TicketGone):
        desk.note("35436", NOTE)
    with pytest.raises(TicketGone):
        desk.read("35436/comments")


def test_too_many_updates_wait_as_long_as_they_are_told(account: Account) -> None:
    account.signs_in()
    note = {"ticket": {"comment": {"body": BODY, "public": False}}}
    account.expect("PUT /api/v2/tickets/35436", note, status=429, answer={"error": "TooMany"}, Retry_After="93")
    with pytest.raises(DeskUnavailable) as caught:
        account.desk().note("35436", NOTE)
    assert (caught.value.retry_after, caught.value.unclear) == (93, False)


@pytest.mark.parametrize("how", ["hang", "drip", "cut", "hang-up"])
def test_a_note_whose_answer_is_lost_is_unclear(account: Account, how: Any) -> None:
    account.signs_in()
    note = {"ticket": {"comment": {"body": BODY, "public": False}}}
    account.expect("PUT /api/v2/tickets/35436", note, answer=UPDATED, how=how)
    with pytest.raises(DeskUnavailable) as caught:
        account.desk(timeout=0.6).note("35436", NOTE)
    assert caught.value.unclear


def test_a_server_error_on_a_note_is_unclear(account: Account) -> None:
    account.signs_in()
    note = {"ticket": {"comment": {"body": BODY, "public": False}}}
    account.expect("PUT /api/v2/tickets/35436", note, status=503, answer="<html>", Retry_After="5")
    with pytest.raises(DeskUnavailable) as caught:
        account.desk().note("35436", NOTE)
    assert (caught.value.retry_after, caught.value.unclear) == (5, True)


def comments(*bodies: str, after: str | None = None) -> dict[str, Any]:
    rows = [{"id": n, "type": "Comment", "body": body, "public": False} for n, body in enumerate(bodies)]
    return {"comments": rows, "meta": {"has_more": after is not None, "after_cursor": after}, "links": {}}


def test_a_note_is_found_again_page_by_page(account: Account) -> None:
    account.signs_in()
    first = "GET /api/v2/tickets/35436/comments?sort=-created_at&page%5Bsize%5D=100"
    other = "Something about (7QK2.opened-note) in a sentence."
    desk = account.desk()
    account.expect(first, answer=comments("Hello", other, after="c2=="))
    account.expect(first + "&page%5Bafter%5D=c2%3D%3D", answer=comments(BODY))
    assert desk.noted("35436", "7QK2.opened-note")
    account.expect(first, answer=comments("Hello", other, BODY))
    assert not desk.noted("35436", "7QK2.opened")
    account.expect(first, answer=comments(BODY))
    assert desk.noted("35436", "7QK2.opened-note")
    account.expect(first, status=404, answer=GONE)
    with pytest.raises(TicketGone):
        desk.noted("35436", "7QK2.opened-note")


ORDER = NewTicket(
    marker="order-9f2c",
    subject="Server order",
    text="Credentials are ready.",
    requester="kim@kunde.example",
    requester_name="Kim Kunde",
    organisation="Kunde GmbH",
)
OPENED = {
    "subject": "Server order",
    "comment": {"body": "Credentials are ready.", "public": True},
    "requester": {"name": "Kim Kunde", "email": "kim@kunde.example"},
    "external_id": "order-9f2c",
}


def test_an_order_is_opened_with_an_external_id_and_found_by_it(account: Account) -> None:
    account.signs_in()
    account.expect(
        "GET /api/v2/organizations/search?name=Kunde%20GmbH",
        answer={"organizations": [{"id": 1, "name": "Kunde GmbH & Co"}, ORGANISATION]},
    )
    account.expect(
        "POST /api/v2/tickets",
        {"ticket": {**OPENED, "organization_id": 509974}},
        status=201,
        answer={"ticket": {**TICKET, "external_id": "order-9f2c"}},
    )
    desk = account.desk()
    assert desk.open(ORDER) == "35436"
    account.expect(
        "GET /api/v2/tickets?external_id=order-9f2c",
        answer={"tickets": [{**TICKET, "external_id": "order-9f2c"}], "count": 1},
    )
    assert desk.opened("order-9f2c") == "35436"
    account.expect("GET /api/v2/tickets?external_id=order-9f2d", answer={"tickets": [], "count": 0})
    assert desk.opened("order-9f2d") is None


def test_a_desk_that_ignores_the_external_id_finds_nothing(account: Account) -> None:
    account.signs_in()
    account.expect("GET /api/v2/tickets?external_id=order-9f2c", answer={"tickets": [TICKET]})
    assert account.desk().opened("order-9f2c") is None


def test_an_order_of_an_organisation_unknown_there_is_opened_without(account: Account) -> None:
    account.signs_in()
    account.expect("GET /api/v2/organizations/search?name=Kunde%20GmbH", answer={"organizations": []})
    account.expect("POST /api/v2/tickets", {"ticket": OPENED}, status=201, answer={"ticket": TICKET})
    assert account.desk().open(ORDER) == "35436"


def test_an_order_whose_answer_is_broken_is_unclear(account: Account) -> None:
    account.signs_in()
    account.expect("GET /api/v2/organizations/search?name=Kunde%20GmbH", answer={"organizations": []})
    account.expect("POST /api/v2/tickets", {"ticket": OPENED}, status=201, answer={"tickets": []})
    with pytest.raises(DeskUnavailable) as caught:
        account.desk().open(ORDER)
    assert caught.value.unclear


# --- tokens ----------------------------------------------------------------------------------------

EMPTY = {"tickets": []}
LOOK = "GET /api/v2/tickets?external_id=x"


def test_a_token_is_kept_until_it_expires(account: Account) -> None:
    desk = account.desk()
    account.signs_in(expires_in=3600)
    for _ in range(3):
        account.expect(LOOK, answer=EMPTY)
    for _ in range(3):
        desk.opened("x")
    short = account.desk()
    account.signs_in("second", expires_in=0)
    account.expect(LOOK, answer=EMPTY)
    account.signs_in("third", expires_in=3600)
    account.expect(LOOK, answer=EMPTY)
    short.opened("x")
    short.opened("x")


def test_a_token_that_is_refused_is_renewed_once(account: Account) -> None:
    desk = account.desk()
    account.signs_in()
    account.expect(LOOK, status=401, answer={"error": "invalid_token"})
    account.signs_in("second")
    account.expect(LOOK, answer=EMPTY)
    assert desk.opened("x") is None
    account.expect(LOOK, status=401, answer={"error": "invalid_token"})
    account.signs_in("third")
    account.expect(LOOK, status=401, answer={"error": "invalid_token"})
    with pytest.raises(DeskForbidden):
        desk.opened("x")


def test_one_token_is_enough_for_all_threads(account: Account) -> None:
    desk = account.desk()
    account.signs_in()
    for _ in range(8):
        account.expect(LOOK, answer=EMPTY)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(desk.opened, "x" * 8)) == [None] * 8


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_client_that_is_refused_is_the_operators_part(account: Account, status: int) -> None:
    account.server.expect(
        "POST /oauth/tokens", TOKEN_REQUEST, status=status, answer={"error": "invalid_client"}
    )
    with pytest.raises(DeskForbidden) as caught:
        account.desk().note("35436", NOTE)
    assert "client-secret-1" not in repr(caught.value)


@pytest.mark.parametrize("how", ["hang-up", "cut"])
def test_without_a_token_nothing_was_written(account: Account, how: Any) -> None:
    account.server.expect("POST /oauth/tokens", TOKEN_REQUEST, answer={"access_token": "x"}, how=how)
    with pytest.raises(DeskUnavailable) as caught:
        account.desk().note("35436", NOTE)
    assert not caught.value.unclear


@pytest.mark.parametrize("place", ["client_secret_file", "webhook_secret_file"])
def test_a_missing_secret_is_named(account: Account, place: str) -> None:
    with pytest.raises(Misconfigured, match=rf"desks\.zen\.{place}"):
        account.desk(**{place: "/nowhere/secret"})
    assert "client-secret-1" not in repr(account.desk())


# --- webhooks --------------------------------------------------------------------------------------

AT, NOW = "2026-11-22T04:29:42Z", 1795321782


def said(desk: Desk, body: Any) -> Hint | None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    signature = base64.b64encode(hmac.new(b"dGhpc19zZWNyZXQ=", AT.encode() + raw, hashlib.sha256).digest())
    headers = {
        "x-zendesk-webhook-signature": signature.decode(),
        "x-zendesk-webhook-signature-timestamp": AT,
    }
    return desk.hint(headers, raw, NOW)


def test_events_and_triggers_are_hints_and_our_own_are_known(account: Account) -> None:
    desk = account.desk()
    event = {
        "type": "zen:event-type:ticket.status_changed",
        "detail": {"id": "35436", "status": "SOLVED", "organization_id": "509974", "actor_id": "8447388090494"},
    }
    found = said(desk, event)
    assert found is not None
    assert (found.number, found.own) == ("35436", False)
    assert 0 < len(found.delivery) <= 200
    own = said(desk, {**event, "detail": {"id": "35436", "actor_id": "4711"}})
    assert own is not None
    assert own.own
    assert own.delivery != found.delivery
    trigger = said(desk, {"ticket_id": 35436, "actor": 4711})
    assert trigger is not None
    assert (trigger.number, trigger.own) == ("35436", True)
    unnamed = said(account.desk(account=""), {"ticket_id": "35436", "actor": ""})
    assert unnamed is not None
    assert not unnamed.own


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", {}, {"detail": []}, {"ticket_id": "x"}, {"ticket_id": None}]
)
def test_a_webhook_about_something_else_concerns_no_ticket(account: Account, body: Any) -> None:
    assert said(account.desk(), body) is None
