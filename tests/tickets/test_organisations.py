"""Organisations and the freeze against a real Request Tracker, which would let everything be changed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from secretsvc.errors import DeskUnavailable
from secretsvc.tickets.model import Reference
from secretsvc.tickets.rules import DAY
from secretsvc.tickets.web.session import COOKIE
from secretsvc.tokens import Person
from tests.harness import Backends, InProcess, wait_until
from tests.tickets.rt.instance import BOT, RT
from tests.tickets.test_notifier import Desk

WHSEC = "whsec_" + "c2VjcmV0c3ZjLXRlc3RzLXNpZ24tdGhlaXItaG9va3M="


@pytest.fixture
def desk(backs: Backends, tmp_path: Path, rt: RT) -> Desk:
    return Desk(backs, tmp_path, rt)


def customer(desk: Desk, *organisations: str) -> dict[str, str]:
    name = f"customer-{len(desk.here.service.tokens.all())}"
    return {"X-API-Key": desk.here.service.tokens.add(name, "customer", organisations)}


def sees(desk: Desk, number: str, head: dict[str, str]) -> bool:
    answer = desk.here.get(f"/api/v1/tickets/rt/{number}", **head)
    assert answer.status in (200, 404), answer.text
    return answer.status == 200


def reread(desk: Desk, number: str) -> None:
    desk.module.tickets.facts(Reference("rt", number), fresh=0)


def test_the_organisation_is_read_from_the_tracker_and_decides_who_sees_the_list(desk: Desk, rt: RT) -> None:
    kunde, agentur = customer(desk, "Kunde GmbH"), customer(desk, "Agentur AG")
    by_requestor, by_field = (
        rt.create("mail"),
        rt.create("ftp", "ada@agentur.example", organisation="Kunde GmbH"),
    )
    for number in (by_requestor, by_field):
        desk.send(number)
        assert (sees(desk, number, kunde), sees(desk, number, agentur)) == (True, False)


def test_a_ticket_without_links_is_not_there_for_customers_and_the_tracker_is_not_asked(
    desk: Desk, rt: RT
) -> None:
    kunde, number = customer(desk, "Kunde GmbH"), rt.create("nothing here")
    log = rt.folder / "access.log"
    before = log.stat().st_size if log.exists() else 0
    assert not sees(desk, number, kunde)
    assert not sees(desk, "999999", kunde)
    assert (log.stat().st_size if log.exists() else 0) == before


def test_a_ticket_that_changes_hands_takes_its_list_along(desk: Desk, rt: RT) -> None:
    """Staff set the organisation later, as for mails of an agency."""
    kunde, agentur = customer(desk, "Kunde GmbH"), customer(desk, "Agentur AG")
    number = rt.create("mail", "ada@agentur.example")
    desk.send(number)
    assert (sees(desk, number, kunde), sees(desk, number, agentur)) == (False, True)
    rt.set(number, organisation="Kunde GmbH")
    reread(desk, number)
    assert (sees(desk, number, kunde), sees(desk, number, agentur)) == (True, False)
    listed = desk.here.get("/api/v1/organisations/links?organisation=Agentur%20AG", **agentur)
    assert f"rt:{number}" not in listed.text


def test_what_changes_after_the_close_is_ignored_although_the_tracker_accepts_it(desk: Desk, rt: RT) -> None:
    kunde, agentur = customer(desk, "Kunde GmbH"), customer(desk, "Agentur AG")
    number = rt.create("mail", "kim@kunde.example", organisation="Kunde GmbH")
    desk.send(number)
    assert sees(desk, number, kunde)
    rt.set(number, Status="closed")
    reread(desk, number)
    rt.set(number, organisation="Agentur AG", Requestor="ada@agentur.example")
    reread(desk, number)
    assert rt.send("GET", f"/ticket/{number}").json["Requestor"][0]["id"] == "ada@agentur.example"
    assert (sees(desk, number, kunde), sees(desk, number, agentur)) == (True, False)
    shown = desk.here.get(f"/api/v1/tickets/rt/{number}", **desk.agent).json
    assert (shown["organisation"], shown["requester"]) == ("Kunde GmbH", "kim@kunde.example")
    refused = desk.here.post(
        f"/api/v1/tickets/rt/{number}/organisation", {"organisation": "Agentur AG"}, desk.agent
    )
    assert refused.status == 409


def test_three_days_after_it_was_solved_a_ticket_stands_still(desk: Desk, rt: RT) -> None:
    number = rt.create("mail", "kim@kunde.example", organisation="Kunde GmbH")
    desk.send(number)
    rt.set(number, Status="solved")
    reread(desk, number)
    ticket = Reference("rt", number)
    known = desk.module.tickets.store.read(ticket).facts
    assert known.frozen_at is None
    assert known.solved_at == pytest.approx(time.time(), abs=60)
    # Three days go by: everything the tracker and we know of the time is three days older.
    past = 3 * DAY + 60

    def older(facts: Any) -> Any:
        return msgspec.structs.replace(facts, solved_at=known.solved_at - past, read_at=int(time.time()) - 3600)

    desk.module.tickets.store.change_facts(ticket, older)
    rt.age(number, past)
    rt.set(number, organisation="Agentur AG")
    reread(desk, number)
    after = desk.module.tickets.store.read(ticket).facts
    assert after.frozen_at == after.solved_at + 3 * DAY
    assert after.organisation == "Kunde GmbH"


def test_without_an_organisation_the_requester_alone_sees_the_list(desk: Desk, rt: RT) -> None:
    number = rt.create("mail", "nobody@example.org")
    desk.send(number)
    sessions = desk.here.app.extensions["secretsvc.people"].sessions

    def signed_in(email: str, *organisations: str) -> dict[str, str]:
        person = Person("N", "customer", organisations, f"n{email}", (), email)
        return {"Cookie": f"{COOKIE}={sessions.begin(person)}"}

    assert sees(desk, number, signed_in("Nobody@example.org"))
    assert not sees(desk, number, signed_in("kim@kunde.example", "Kunde GmbH"))
    assert not sees(desk, number, signed_in("", "Kunde GmbH"))


def test_a_subject_suggests_and_decides_alone_for_members(desk: Desk, rt: RT) -> None:
    number = rt.create("Kunde GmbH: mail is down", "ada@agentur.example")
    desk.send(rt.create("so that the organisation is known"))
    desk.module.tickets.facts(Reference("rt", number))
    desk.send(number)
    kunde = rt.create("known", organisation="Kunde GmbH")
    desk.send(kunde)
    desk.module.tickets.facts(Reference("rt", kunde), fresh=0)
    reread(desk, number)
    shown = desk.here.get(f"/api/v1/tickets/rt/{number}", **desk.agent).json
    assert (shown["organisation"], shown["suggested"]) == ("Agentur AG", "Kunde GmbH")
    ada = Person("Ada", "customer", ("Agentur AG", "Kunde GmbH"), "ada", (), "ada@agentur.example")
    desk.module.tickets.store.note_person(ada)
    reread(desk, number)
    shown = desk.here.get(f"/api/v1/tickets/rt/{number}", **desk.agent).json
    assert (shown["organisation"], shown.get("suggested")) == ("Kunde GmbH", None)


def test_with_the_tracker_down_a_stale_answer_shows_nobody_a_list(desk: Desk, rt: RT) -> None:
    kunde, number = customer(desk, "Kunde GmbH"), rt.create("mail")
    desk.send(number)
    assert sees(desk, number, kunde)
    rt.kill()
    ticket = Reference("rt", number)
    store = desk.module.tickets.store
    store.change_facts(ticket, lambda known: msgspec.structs.replace(known, read_at=known.read_at - 120))
    assert sees(desk, number, kunde)
    store.change_facts(ticket, lambda known: msgspec.structs.replace(known, read_at=known.read_at - 3600))
    answer = desk.here.get(f"/api/v1/tickets/rt/{number}", **kunde)
    assert (answer.status, answer.json["type"]) == (503, "desk-unavailable")
    with pytest.raises(DeskUnavailable):
        desk.module.tickets.facts(ticket)


@contextmanager
def receiving(here: InProcess) -> Iterator[tuple[str, list[int]]]:
    """A web server in front of the application, for the tracker to call; and what it answered."""
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = InProcess(here.app).send("POST", self.path, body, dict(self.headers.items()))
            statuses.append(answer.status)
            self.send_response(answer.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/desk/rt/hook", statuses
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_webhook_of_the_tracker_has_its_ticket_read_again(backs: Backends, tmp_path: Path, rt: RT) -> None:
    (tmp_path / "whsec").write_text(WHSEC)
    desk = Desk(backs, tmp_path, rt, hook_secret=tmp_path / "whsec")
    kunde, agentur = customer(desk, "Kunde GmbH"), customer(desk, "Agentur AG")
    number = rt.create("mail", "kim@kunde.example")
    desk.send(number)
    assert sees(desk, number, kunde)
    with receiving(desk.here) as (url, statuses):
        rt.hook(url, WHSEC)
        rt.set(number, organisation="Agentur AG")
        wait_until(lambda: statuses)
        rt.hook()
    assert set(statuses) == {204}
    assert (sees(desk, number, kunde), sees(desk, number, agentur)) == (False, True)


def test_a_webhook_that_is_not_the_trackers_is_refused(backs: Backends, tmp_path: Path, rt: RT) -> None:
    (tmp_path / "whsec").write_text(WHSEC)
    desk = Desk(backs, tmp_path, rt, hook_secret=tmp_path / "whsec")
    body = {"type": "ticket.changed", "data": {"ticket_id": 1}}
    head = {"webhook-id": "x", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"}
    assert desk.here.post("/desk/rt/hook", body, head).status == 403
    assert desk.here.send("POST", "/desk/rt/hook", json.dumps(body).encode()).status == 403
    assert desk.here.post("/desk/nosuch/hook", body, head).status == 404


def test_an_own_echo_and_a_repeated_webhook_are_no_hint(backs: Backends, tmp_path: Path, rt: RT) -> None:
    (tmp_path / "whsec").write_text(WHSEC)
    desk = Desk(backs, tmp_path, rt, hook_secret=tmp_path / "whsec")
    number = rt.create("mail", "kim@kunde.example")
    desk.send(number)

    def hints_after(delivery: str, actor: str) -> int:
        body = json.dumps(
            {"type": "ticket.changed", "data": {"ticket_id": int(number), "actor": actor}}
        ).encode()
        at = str(int(time.time()))
        signed = hmac.new(base64.b64decode(WHSEC[6:]), f"{delivery}.{at}.".encode() + body, hashlib.sha256)
        head = {
            "Content-Type": "application/json",
            "webhook-id": delivery,
            "webhook-timestamp": at,
            "webhook-signature": "v1," + base64.b64encode(signed.digest()).decode(),
        }
        assert desk.here.send("POST", "/desk/rt/hook", body, head).status == 204
        return desk.module.tickets.store.read(Reference("rt", number)).facts.hints

    assert hints_after("msg_1", BOT) == 0
    assert hints_after("msg_2", "eve") == 1
    assert hints_after("msg_2", "eve") == 1
    assert hints_after("msg_3", "eve") == 2
    assert hints_after("msg_4", BOT) == 2
