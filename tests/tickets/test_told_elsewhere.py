"""Webhooks and followers' mails: who hears of what, at least once, and never of a link."""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secretsvc.tickets.model import Reference
from secretsvc.tickets.web.module import Module
from secretsvc.tickets.web.session import COOKIE
from secretsvc.tokens import Person
from tests.harness import Backends, InProcess, Secret, wait_until
from tests.tickets.outgoing.conftest import new_secret
from tests.tickets.outgoing.receivers import OK, Receiver, Request
from tests.tickets.outgoing.smtpd import MailServer, Ways

KIM = Person("Kim", "customer", ("Kunde GmbH",), "kim", (), "kim@kunde.example")
TICKET = Reference("local", "7")


class Office:
    """The service with a webhook target, a mail server, and a desk that knows numbers alone."""

    def __init__(self, backs: Backends, folder: Path, target: Receiver, mails: MailServer) -> None:
        (folder / "whsec").write_text(new_secret())
        (folder / "tickets.toml").write_text(f"""
allow_networks = ["127.0.0.0/8"]
[[webhooks]]
name = "log"
url = "{target.url}"
secret_file = "{folder / "whsec"}"
[mail]
host = "127.0.0.1"
port = {mails.port}
sender = "links@desk.example"
starttls = false
""")
        self.here = InProcess(backs.app(tickets_file=str(folder / "tickets.toml")))
        self.module: Module = self.here.app.extensions["secretsvc.tickets"]
        self.agent = {"X-API-Key": self.here.service.tokens.add("eve", "agent")}
        self.target, self.mails = target, mails

    def person(self, person: Person) -> dict[str, str]:
        people = self.here.app.extensions["secretsvc.people"]
        people.entered(person)
        cookie = f"{COOKIE}={people.sessions.begin(person)}"
        return {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}

    def send(self) -> Secret:
        secret = Secret.make(b"hunter2", label=str(TICKET))
        assert self.here.post("/api/v1/secrets", secret.body, self.agent).status == 201
        return secret

    def choose(self, organisation: str | None) -> None:
        body = {"organisation": organisation}
        answer = self.here.post("/api/v1/tickets/local/7/organisation", body, self.agent)
        assert answer.status == 200, answer.text

    def follow(self, head: dict[str, str], language: str | None = "de") -> int:
        body = {"organisation": "Kunde GmbH", "language": language}
        return self.here.post("/api/v1/organisations/follow", body, head).status

    def tell(self) -> None:
        """Let the notifier do everything that is due."""

        def done() -> bool:
            self.module.notifier.round()
            return not self.module.tickets.store.read(TICKET).outbox.open

        wait_until(done, 40)

    def heard(self) -> list[tuple[str, str]]:
        return [
            (request.headers["webhook-id"], json.loads(request.body)["type"])
            for request in self.target.requests
        ]


@pytest.fixture
def office(backs: Backends, tmp_path: Path) -> Iterator[Office]:
    with Receiver() as target, MailServer(ways=Ways(starttls=False)) as mails:
        yield Office(backs, tmp_path, target, mails)


def test_a_target_hears_of_every_event_under_a_name_of_its_own(office: Office) -> None:
    secret = office.send()
    office.choose("Kunde GmbH")
    assert secret.claim(office.here).status == 200
    office.tell()
    heard = office.heard()
    assert sorted(type for _, type in heard) == ["link.created", "link.opened"]
    assert len({id for id, _ in heard}) == 2
    body: dict[str, Any] = json.loads(office.target.requests[0].body)
    assert (body["data"]["ticket"], body["data"]["organisation"]) == ("7", "Kunde GmbH")
    for word in (secret.id, secret.token, secret.link, "hunter2", "kim@"):
        assert word not in repr(office.target.requests)
    office.tell()
    assert office.heard() == heard


def test_what_a_target_did_not_take_comes_again_under_the_same_name(office: Office) -> None:
    office.target.answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
    office.send()
    office.module.tickets.facts(TICKET)
    office.module.notifier.round()
    assert len(office.heard()) == 1
    office.target.answer = OK
    office.tell()
    assert [type for _, type in office.heard()] == ["link.created"] * 2
    assert len({id for id, _ in office.heard()}) == 1


def test_a_follower_hears_of_a_new_link_and_never_the_link(office: Office) -> None:
    assert office.follow(office.person(KIM)) == 204
    secret = office.send()
    office.choose("Kunde GmbH")
    assert secret.claim(office.here).status == 200
    office.tell()
    [taken] = office.mails.taken
    mail = email.message_from_bytes(taken.raw, policy=email.policy.default)
    text = mail.get_body().get_content()  # type: ignore[union-attr]
    assert taken.to == ["kim@kunde.example"]
    assert "local:7" in mail["Subject"]
    assert "Kunde GmbH" in text
    for word in (secret.id, secret.token, secret.link, b"/s#".decode()):
        assert word not in taken.raw.decode()


def test_nobody_follows_what_is_not_theirs(office: Office) -> None:
    stranger = Person("Ada", "customer", ("Agentur AG",), "ada", (), "ada@agentur.example")
    nameless = Person("Lee", "customer", ("Kunde GmbH",), "lee")
    assert office.follow(office.person(stranger)) == 404
    assert office.follow(office.person(nameless)) == 422
    office.send()
    office.choose("Kunde GmbH")
    office.tell()
    assert office.mails.taken == []


def test_whoever_has_left_the_organisation_hears_nothing_more(office: Office) -> None:
    assert office.follow(office.person(KIM)) == 204
    office.person(
        Person("Kim", "customer", (), "kim", (), "kim@kunde.example")
    )  # signs in again, a member no more
    office.send()
    office.choose("Kunde GmbH")
    office.tell()
    assert office.mails.taken == []


def test_whoever_follows_no_longer_hears_nothing_more(office: Office) -> None:
    head = office.person(KIM)
    assert (office.follow(head), office.follow(head, None)) == (204, 204)
    office.send()
    office.choose("Kunde GmbH")
    office.tell()
    assert office.mails.taken == []


def test_a_mail_server_that_is_down_costs_time_alone(office: Office) -> None:
    assert office.follow(office.person(KIM)) == 204
    office.mails.ways.answers = {"rcpt": "451 not now", "data": "451 not now"}
    office.send()
    office.choose("Kunde GmbH")
    office.module.notifier.couriers.first = 0.5
    office.module.notifier.round()
    assert office.mails.taken == []
    office.mails.ways.answers = {}
    office.tell()
    assert len(office.mails.taken) == 1
    assert isinstance(office.target.requests[0], Request)
