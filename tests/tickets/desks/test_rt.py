"""Against a real Request Tracker 5."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any

import pytest

from secretsvc.errors import DeskForbidden, DeskUnavailable, HookRefused, Misconfigured, TicketGone
from secretsvc.tickets import config
from secretsvc.tickets.desks import open_desk
from secretsvc.tickets.model import Desk, NewTicket, Note
from tests.harness import wait_until
from tests.tickets.rt.instance import BOT, ORGANISATION_FIELD, PACKAGE_FIELD, RT

Keep = Callable[[str, str], str]
Delivery = tuple[dict[str, str], bytes]
SECRET = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
KIM, LEE, ADA = "kim@kunde.example", "lee@kunde.example", "ada@agentur.example"


@pytest.fixture
def settings(rt: RT, kept: Keep) -> dict[str, Any]:
    return {
        "url": rt.url,
        "token_file": str(rt.bot_token_path),
        "webhook_secret_file": kept("hook", SECRET),
        "account": BOT,
        "queue": "Support",
        "organisation_field": ORGANISATION_FIELD,
        "package_field": PACKAGE_FIELD,
        "packages": {"Managed Plus": "managed"},
    }


@pytest.fixture
def desk(settings: dict[str, Any]) -> Desk:
    return open_desk("rt", config.RequestTracker(**settings))


def marker() -> str:
    return f"{secrets.token_hex(4).upper()}.opened-note"


def note(text: str = "Einmal-Link 7QK2 wurde geöffnet.") -> Note:
    return Note(marker=marker(), subject="One-time link 7QK2", text=text)


# --- reading ---------------------------------------------------------------------------------------


def test_a_ticket_tells_its_organisation_by_its_requestor(rt: RT, desk: Desk) -> None:
    number = rt.create("FTP fails", KIM)
    found = desk.read(number)
    assert (found.number, found.status, found.subject) == (number, "open", "FTP fails")
    assert (found.organisation, found.requester, found.requester_name) == ("Kunde GmbH", KIM, "Kim Kunde")
    assert (found.language, found.package, found.solved_at) == ("de", None, None)


def test_a_custom_field_outdoes_the_requestors_own_organisation(rt: RT, desk: Desk) -> None:
    number = rt.create("For a customer", ADA, organisation="Kunde GmbH", package="Managed Plus")
    found = desk.read(number)
    assert (found.organisation, found.requester, found.package) == ("Kunde GmbH", ADA, "managed")
    rt.set(number, package="Basic", organisation="Agentur AG")
    assert (desk.read(number).organisation, desk.read(number).package) == ("Agentur AG", "Basic")


def test_without_a_custom_field_in_the_settings_the_requestors_counts(rt: RT, settings: dict[str, Any]) -> None:
    settings.update(organisation_field="", package_field="")
    desk = open_desk("rt", config.RequestTracker(**settings))
    found = desk.read(rt.create("For a customer", ADA, organisation="Kunde GmbH", package="Basic"))
    assert (found.organisation, found.package) == ("Agentur AG", None)


def test_a_ticket_without_a_known_organisation_has_none(rt: RT, desk: Desk) -> None:
    found = desk.read(rt.create("Hello", f"{secrets.token_hex(4)}@new.example"))
    assert (found.organisation, found.language, found.requester_name) == (None, None, None)


def test_the_lifecycles_words_say_solved_and_closed_and_since_when(rt: RT, desk: Desk) -> None:
    number = rt.create("To be solved")
    before = int(time.time())
    rt.set(number, Status="solved")
    solved = desk.read(number)
    assert solved.status == "solved"
    assert solved.solved_at is not None
    assert before - 1 <= solved.solved_at <= time.time() + 1
    rt.set(number, Status="open")
    assert (desk.read(number).status, desk.read(number).solved_at) == ("open", None)
    rt.set(number, Status="closed")
    assert desk.read(number).status == "closed"
    rt.set(number, Requestor=LEE)  # which Request Tracker allows, and our rules do not follow
    assert desk.read(number).requester == LEE


@pytest.mark.parametrize("number", ["999999", "x", "1 OR id > 0", "0", ""])
def test_a_ticket_that_is_not_there_is_gone(desk: Desk, number: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: desk.read(number),
        lambda: desk.note(number, note()),
        lambda: desk.reply(number, note()),
        lambda: desk.noted(number, marker()),
    ]
    for call in calls:
        with pytest.raises(TicketGone):
            call()


def test_a_ticket_of_a_queue_that_we_may_not_see_is_gone(rt: RT, desk: Desk) -> None:
    number = rt.create("Secret plans", queue="Board")
    with pytest.raises(TicketGone):
        desk.read(number)
    with pytest.raises(TicketGone):
        desk.note(number, note())
    assert rt.notes(number) == []


def test_a_deleted_ticket_is_gone(rt: RT, desk: Desk) -> None:
    number = rt.create("Oops")
    rt.set(number, Status="deleted")
    with pytest.raises(TicketGone):
        desk.read(number)


def test_a_merged_ticket_is_read_and_noted_where_it_went(rt: RT, desk: Desk) -> None:
    number, into = rt.create("Twice", KIM), rt.create("Once", LEE)
    before, after = note(), note()
    desk.note(number, before)
    rt.merge(number, into)
    found = desk.read(number)
    assert (found.number, found.subject) == (into, "Once")
    desk.note(number, after)
    assert desk.noted(number, before.marker)
    assert desk.noted(number, after.marker)
    assert len(rt.notes(into)) == 2


# --- writing ---------------------------------------------------------------------------------------


def test_a_note_is_never_seen_by_the_customer(rt: RT, desk: Desk) -> None:
    number = rt.create("FTP fails", KIM)
    written = note()
    desk.note(number, written)
    assert rt.notes(number) == [(f"One-time link 7QK2 ({written.marker})", "Einmal-Link 7QK2 wurde geöffnet.")]
    assert [item["Type"] for item in rt.history(number, KIM)] == ["Create"]
    assert desk.read(number).status == "open"


def test_a_reply_is_seen_by_the_customer(rt: RT, desk: Desk) -> None:
    number = rt.create("FTP fails", KIM)
    written = note("Ihr Link: folgt.")
    desk.reply(number, written)
    assert rt.replies(number, KIM) == [(f"One-time link 7QK2 ({written.marker})", "Ihr Link: folgt.")]
    assert rt.notes(number) == []
    assert desk.noted(number, written.marker)
    desk.reply(number, note())  # now that it is no longer new
    assert len(rt.replies(number, KIM)) == 2


def test_a_note_is_found_again_by_its_whole_marker_on_its_own_ticket(rt: RT, desk: Desk) -> None:
    number, other = rt.create("One"), rt.create("Other")
    written = note()
    assert not desk.noted(number, written.marker)
    desk.note(number, written)
    assert desk.noted(number, written.marker)
    assert not desk.noted(number, written.marker[:-1])
    assert not desk.noted(number, written.marker[1:])
    assert not desk.noted(other, written.marker)


def test_a_closed_ticket_still_takes_notes_and_says_that_it_is_closed(rt: RT, desk: Desk) -> None:
    number = rt.create("Over")
    rt.set(number, Status="closed")
    desk.note(number, note())
    assert len(rt.notes(number)) == 1
    assert desk.read(number).status == "closed"


def test_an_order_is_opened_once_and_found_again(rt: RT, desk: Desk) -> None:
    word = marker()
    new = NewTicket(
        marker=word,
        subject='Order: it\'s "root" & more\r\nX-Header: no',
        text="Zugangsdaten liegen bereit.",
        requester=ADA,
        requester_name="Ada Agentur",
        organisation="Kunde GmbH",
    )
    assert desk.opened(word) is None
    number = desk.open(new)
    assert desk.opened(word) == number
    assert desk.opened(word[1:]) is None
    found = desk.read(number)
    assert (found.requester, found.organisation, found.status) == (ADA, "Kunde GmbH", "open")
    assert found.subject == f'Order: it\'s "root" & more X-Header: no ({word})'
    assert [item["Type"] for item in rt.history(number, ADA)][:1] == ["Create"]


def test_an_order_in_a_queue_that_is_not_ours_is_refused(rt: RT, settings: dict[str, Any]) -> None:
    for queue in ("Board", "Nowhere", "it's"):
        desk = open_desk("rt", config.RequestTracker(**{**settings, "queue": queue}))
        with pytest.raises(DeskForbidden):
            desk.open(NewTicket(marker=marker(), subject="Order", text="x", requester=KIM))
        assert desk.opened(marker()) is None


# --- when it does not work -------------------------------------------------------------------------


def test_a_wrong_token_is_forbidden_and_not_shown(settings: dict[str, Any], kept: Keep) -> None:
    settings["token_file"] = kept("token", "1-29-0123456789abcdef0123456789abcdef")
    desk = open_desk("rt", config.RequestTracker(**settings))
    assert "0123456789abcdef" not in repr(desk)
    for call in (lambda: desk.read("1"), lambda: desk.note("1", note()), lambda: desk.noted("1", marker())):
        with pytest.raises(DeskForbidden) as caught:
            call()
        assert "0123456789abcdef" not in repr(caught.value)


@pytest.mark.parametrize("place", ["token_file", "webhook_secret_file"])
def test_a_missing_secret_is_named_at_construction(settings: dict[str, Any], place: str) -> None:
    with pytest.raises(Misconfigured, match=rf"desks\.rt\.{place}"):
        open_desk("rt", config.RequestTracker(**{**settings, place: "/nowhere/secret"}))


def test_a_stopped_desk_has_done_nothing(rt: RT, desk: Desk) -> None:
    number = rt.create("While it is down")
    rt.kill()
    with pytest.raises(DeskUnavailable) as caught:
        desk.note(number, note())
    assert not caught.value.unclear
    rt.start()
    assert rt.notes(number) == []


def test_a_hanging_desk_is_left_in_time_and_may_have_done_it(
    rt: RT, desk: Desk, settings: dict[str, Any]
) -> None:
    hasty = open_desk("rt", config.RequestTracker(**{**settings, "timeout": 1}))
    number = rt.create("While it hangs")
    written = note()
    rt.pause()
    began = time.monotonic()
    with pytest.raises(DeskUnavailable) as caught:
        hasty.note(number, written)
    assert time.monotonic() - began < 2.5
    assert caught.value.unclear
    with pytest.raises(DeskUnavailable) as reading:
        hasty.read(number)
    assert not reading.value.unclear
    rt.resume()
    wait_until(lambda: desk.noted(number, written.marker), 30)
    assert len(rt.notes(number)) == 1  # so one has to look before one repeats


# --- webhooks --------------------------------------------------------------------------------------


@pytest.fixture
def deliveries(rt: RT) -> Iterator[Queue[Delivery]]:
    """What the real scrip sends."""
    found: Queue[Delivery] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.put(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    rt.hook(f"http://127.0.0.1:{server.server_address[1]}/hook", SECRET)
    try:
        yield found
    finally:
        rt.hook()
        server.shutdown()
        server.server_close()
        thread.join()


def next_of(number: str, deliveries: Queue[Delivery]) -> Delivery:
    """The next webhook about this ticket."""
    while True:
        headers, body = deliveries.get(timeout=20)
        if json.loads(body)["data"]["ticket_id"] == int(number):
            return headers, body


def test_the_scrips_webhook_is_a_hint_to_its_ticket(rt: RT, desk: Desk, deliveries: Queue[Delivery]) -> None:
    number = rt.create("With a webhook")
    headers, body = next_of(number, deliveries)
    hint = desk.hint(headers, body, time.time())
    assert hint is not None
    assert (hint.number, hint.own) == (number, False)
    assert hint.delivery == headers["webhook-id"]


def test_our_own_notes_echo_is_known_as_ours(rt: RT, desk: Desk, deliveries: Queue[Delivery]) -> None:
    number = rt.create("With an echo")
    next_of(number, deliveries)
    desk.note(number, note())
    hint = desk.hint(*next_of(number, deliveries), time.time())
    assert hint is not None
    assert (hint.number, hint.own) == (number, True)


def test_a_webhook_that_was_tampered_with_or_is_old_is_refused(
    rt: RT, desk: Desk, deliveries: Queue[Delivery], settings: dict[str, Any]
) -> None:
    number = rt.create("With a webhook")
    headers, body = next_of(number, deliveries)
    now = time.time()
    assert desk.hint(headers, body, now)
    unsigned = {name: value for name, value in headers.items() if name != "webhook-signature"}
    other = open_desk("rt", config.RequestTracker(**{**settings, "webhook_secret_file": ""}))
    refused: list[Callable[[], Any]] = [
        lambda: desk.hint(headers, body.replace(number.encode(), b"999"), now),
        lambda: desk.hint({**headers, "webhook-id": "rt-1"}, body, now),
        lambda: desk.hint(headers, body, now + 310),
        lambda: desk.hint(headers, body, now - 310),
        lambda: desk.hint(unsigned, body, now),
        lambda: other.hint(headers, body, now),
    ]
    for each in refused:
        with pytest.raises(HookRefused):
            each()
