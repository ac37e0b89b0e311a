"""Nothing that opens, and nothing that was sealed, in a note, webhook, mail, log or command to the store."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from secretsvc import envelope
from secretsvc.envelope import Payload, RequestLink, b64, unb64
from secretsvc.tickets.model import Reference
from secretsvc.tickets.sessions import Sessions
from secretsvc.tokens import Person
from tests.harness import Answer, Backends, Client, Secret, Web, new_idempotency_key, wait_until, web
from tests.tickets.notifying import Process, patient
from tests.tickets.outgoing.conftest import new_secret
from tests.tickets.outgoing.receivers import Receiver
from tests.tickets.outgoing.smtpd import MailServer
from tests.tickets.rt.instance import RT
from tests.tickets.test_notifier import Desk
from tests.web.common import BROWSER, FORM, Asked
from tests.web.test_leaks import Canaries, Monitor, everything_stored, unescaped

OURS, KIM = "Kunde GmbH", "kim@kunde.example"
SETTINGS = """
orders = "rt"
allow_networks = ["127.0.0.0/8"]
[[webhooks]]
name = "board"
url = "{url}"
secret_file = "{secret}"
[mail]
host = "127.0.0.1"
port = {port}
sender = "links@desk.example"
starttls = false
"""


@dataclass
class Round:
    """Everything that agents and customers do with tickets, each value in it a canary.

    Attributes:
        canaries: what must be nowhere.
        pointers: keys of pick-up links, which notes may hold: collecting takes an agent all the same.
        typed: what was typed for a ticket's number, by which the store is asked.
        links: of secrets that an agent had sent in a reply.
    """

    client: Client
    desk: Desk
    number: str
    canaries: Canaries = field(default_factory=Canaries)
    pointers: Canaries = field(default_factory=Canaries)
    typed: Canaries = field(default_factory=Canaries)
    links: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        tokens, sessions = self.desk.here.service.tokens, Sessions(self.desk.here.service.store.node)
        self.agent = {"X-API-Key": tokens.add("anna", "agent")}
        self.canaries.add("API token", self.agent["X-API-Key"])
        self.customer, self.signed_in = (
            {"Cookie": f"__Host-secretsvc={sessions.begin(person)}", "Sec-Fetch-Site": "same-origin"}
            for person in (
                Person("Kim", "customer", (OURS,), id="kim-id", email=KIM),
                Person("Ben", "agent", id="ben-id"),
            )
        )
        for head in (self.customer, self.signed_in):
            self.canaries.add("session cookie", head["Cookie"].partition("=")[2])

    @property
    def ticket(self) -> str:
        return f"/api/v1/tickets/rt/{self.number}"

    def post(self, path: str, body: Any, head: dict[str, str], status: int) -> Answer:
        answer = self.client.post(path, body, head)
        assert answer.status == status, (path, answer.text)
        return answer

    def word(self, what: str) -> str:
        word = f"kanarie-{os.urandom(9).hex()}-ä/ +"
        self.canaries.add(what, word)
        return word

    def key(self) -> str:
        key = new_idempotency_key()
        self.canaries.add("Idempotency-Key", key)
        return key

    def ref(self, id: str) -> str:
        return self.desk.module.tickets.store.read(Reference("rt", self.number)).links[id].ref

    # --- what they do ------------------------------------------------------------------------------

    def sent(self) -> Secret:
        """A secret with a password: wrong tries, locked, unlocked by the agent, opened, reported."""
        secret = Secret.make(
            self.word("secret").encode(), password=self.word("password"), label=f"rt:{self.number}"
        )
        made = self.post("/api/v1/secrets", secret.body, self.agent | {"Idempotency-Key": self.key()}, 201)
        secret.receipt_token = made.json["receipt_token"]
        self.canaries.secret(secret)
        for _ in range(5):
            wrong = os.urandom(32)
            self.canaries.add("proof", wrong)
            assert secret.claim(self.client, self.key(), b64(wrong)).status == 403
        self.post(f"{self.ticket}/links/{self.ref(secret.id)}/unlock", None, self.agent, 200)
        assert secret.claim(self.client, self.key()).status == 200
        assert secret.call(self.client, "report").status == 200
        return secret

    def sealed_by_server(self) -> None:
        body = {"secret": self.word("secret"), "password": self.word("password"), "expires_in": 600}
        head = self.agent | {"Idempotency-Key": self.key()}
        made = self.post("/api/v1/secrets", body | {"label": f"rt:{self.number}"}, head, 201).json
        self.canaries.link(made["link"])
        self.canaries.add("receipt token", unb64(made["receipt_token"]))
        self.links.append(made["link"])
        reply = f"Please open {made['link']} once."
        self.post(f"{self.ticket}/links/{self.ref(made['id'])}/reply", {"text": reply}, self.agent, 204)
        self.post(f"{self.ticket}/links/{self.ref(made['id'])}/revoke", None, self.signed_in, 200)

    def asked(self) -> None:
        """A request: its form, a note with the pick-up link, the answer, and who collects it."""
        for sealed_here in (False, True):
            asked = Asked.make(label=f"rt:{self.number}", identity="phone-password")
            self.pointers.key(asked.key)
            self.canaries.add("token", unb64(asked.token), asked.request.answer_token())
            self.canaries.add("request link", asked.request.public_key)
            made = self.post("/api/v1/requests", asked.body, self.agent, 201)
            self.canaries.add("receipt token", unb64(made.json["receipt_token"]))
            assert self.client.get(f"/api/v1/requests/{asked.id}/form", **asked.answerer).status == 200
            pick_up = {"link": envelope.format_link("http://127.0.0.1", asked.key)}
            self.post(f"{self.ticket}/links/{self.ref(asked.id)}/note", pick_up, self.signed_in, 204)
            if sealed_here:
                link = envelope.format_request_link(
                    "http://127.0.0.1", asked.request.id, asked.request.public_key
                )
                form = urlencode({"link": link, "secret": self.word("secret")}).encode()
                assert self.client.send("POST", "/r", form, {**FORM, "Sec-Fetch-Site": "none"}).status == 201
            else:
                sealed = asked.sealed(self.word("secret").encode())
                self.canaries.add("envelope", unb64(sealed)[1:])
                assert asked.answer(self.client, {"envelope": sealed, "consents": []}).status == 201
            claim = f"/api/v1/secrets/{asked.id}/claim"
            self.post(claim, {}, asked.holder | self.customer, 403)
            self.post(claim, {}, asked.holder | self.signed_in | {"Idempotency-Key": self.key()}, 200)

    def ordered(self) -> str:
        """An order, one for a foreign organisation, one by an agent; the ticket of the one that is taken."""
        key = envelope.new_key()
        self.pointers.key(key)
        handles = envelope.derive_handles(key)
        self.canaries.add("token", handles.token)
        request = RequestLink(handles.id, envelope.request_public_key(key))
        sealed = envelope.seal_answer(request, Payload(self.word("secret").encode()))
        self.canaries.add("envelope", sealed[1:])
        body = {"key": b64(key), "form": "text", "envelope": b64(sealed), "consents": [], "organisation": OURS}
        head = {"Idempotency-Key": self.key()}
        self.post("/api/v1/orders", body | {"organisation": "Agentur AG"}, self.customer | head, 422)
        self.post("/api/v1/orders", body, self.agent | head, 403)
        placed = self.post("/api/v1/orders", body, self.customer | head, 201).json
        assert self.post("/api/v1/orders", body, self.customer | head, 201).json == placed
        return str(placed["ticket"]).partition(":")[2]

    def followed(self) -> None:
        """By the customer, who has signed in lately."""
        kim = Person("Kim", "customer", (OURS,), id="kim-id", email=KIM)
        self.desk.module.tickets.store.note_person(kim)
        follow = {"organisation": OURS, "language": "de"}
        self.post("/api/v1/organisations/follow", follow, self.customer, 204)

    def listed(self) -> None:
        """What lists say, to whoever may see them."""
        for path in (self.ticket, f"/api/v1/organisations/links?{urlencode({'organisation': OURS})}"):
            for head in (self.agent, self.customer):
                answer = self.client.get(path, **head)
                assert answer.status == 200
                assert self.canaries.found_in(answer.body) == self.pointers.found_in(answer.body) == []

    def misplaced(self) -> None:
        """Tokens and keys where they do not belong, and a helpdesk that does not answer."""
        secret = Secret.make(self.word("secret").encode())
        self.canaries.secret(secret)
        key, token = b64(secret.key), secret.token
        typed = envelope.new_key()
        self.typed.key(typed)
        for path in (
            f"/api/v1/tickets/rt/X{b64(typed)}",
            f"/api/v1/tickets/{token}/1",
            f"/api/v1/forms/{key}",
            f"/api/v1/requests/{key}/form",
            f"/api/v1/organisations/links?organisation={key}&state={token}",
            f"/api/v1/organisations/links?organisation={key}",
            f"/desk/rt/X{b64(typed)}",
            f"/desk/rt/{self.number}/trail?id={token}",
            f"/desk/sign-in?next=/desk/{key}",
            f"/desk/sign-in%23{key}",
            f"/r%23{key}",
        ):
            for head in (self.agent, self.customer, {"Cookie": f"__Host-secretsvc={key}"}):
                self.client.get(path, **head, **BROWSER)
        link = f"{self.ticket}/links/{key}"
        for path in (f"{link}/revoke", f"{link}/note", f"{self.ticket}/organisation", "/api/v1/orders"):
            for body in ({"link": key}, {"organisation": key, token: 1}, {"key": key, "form": token}, None):
                assert self.client.post(path, body, self.agent | {"Idempotency-Key": self.key()}).status < 500
        for path in ("/r", "/desk/sign-in/link", "/desk/order"):
            form = f"link=%23{key}&{token}={key}&idempotency_key={token}!".encode()
            for given in (form, f"link=%23{key}".encode()):
                head = {**FORM, **BROWSER, **self.customer}
                assert self.client.send("POST", path, given, head).status < 500
        self.desk.rt.pause()
        try:
            unsent = self.post("/api/v1/secrets", secret.body | {"label": f"rt:{self.number}"}, self.agent, 201)
            self.canaries.add("receipt token", unb64(unsent.json["receipt_token"]))
            reply = {"text": f"Please open {secret.link} once."}
            self.post(f"{self.ticket}/links/{self.ref(secret.id)}/reply", reply, self.agent, 503)
        finally:
            self.desk.rt.resume()


@dataclass
class Running:
    """The service and its notifier as processes at log level debug, and where its webhooks go."""

    web: Web
    notifier: Process
    receiver: Receiver
    mails: MailServer
    desk: Desk

    def logs(self) -> bytes:
        return self.web.log.read_bytes() + self.notifier.log.read_bytes()

    def hooks(self) -> bytes:
        return b"\n".join(
            repr((each.line, each.headers)).encode() + each.body for each in self.receiver.requests
        )


@pytest.fixture
def running(backs: Backends, tmp_path: Path, rt: RT) -> Iterator[Running]:
    (tmp_path / "hook-secret").write_text(new_secret())
    with ExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        mails = stack.enter_context(MailServer())
        more = SETTINGS.format(url=receiver.url, secret=tmp_path / "hook-secret", port=mails.port)
        desk = Desk(backs, tmp_path, rt, more)
        patient(desk.config, 4)
        served = stack.enter_context(
            web(backs, tmp_path, tickets_file=str(desk.config), log_level="debug", sign_in_limit="0")
        )
        notifier = Process(backs, tmp_path, desk.config)
        notifier.env["SECRETSVC_LOG_LEVEL"] = "debug"
        notifier.start()
        stack.callback(notifier.end, signal.SIGKILL)
        yield Running(served, notifier, receiver, mails, desk)


def test_no_note_webhook_log_or_command_holds_what_opens_or_what_was_sealed(
    running: Running, backs: Backends, rt: RT, say: Callable[[str], None]
) -> None:
    desk = running.desk
    monitors = [Monitor(server) for server in (backs.store, backs.ledger)]
    round = Round(running.web.client(), desk, rt.create("FTP login fails", KIM, organisation=OURS))
    assert round.client.get(round.ticket, **round.agent).json["organisation"] == OURS
    try:
        round.followed()
        round.sent()
        round.sealed_by_server()
        round.asked()
        numbers = [round.number, round.ordered()]
        round.listed()
        round.misplaced()
        expected = {number: desk.expected(number) for number in numbers}
        events = sum(found.total() for found in expected.values())
        wait_until(lambda: all(not expected[number] - desk.told(number) for number in numbers), 60)
        wait_until(lambda: len(running.receiver.requests) >= events, 60)
        wait_until(lambda: len(running.mails.taken) >= 6, 60)
    finally:
        commands = b"".join(monitor.stop() for monitor in monitors)
    notes = repr([rt.notes(number) for number in numbers]).encode()
    replies = repr(rt.replies(round.number)).encode()
    places = {
        "notes": notes,
        "webhooks": running.hooks(),
        "logs": running.logs(),
        "mails": repr(running.mails.taken).encode(),
        "commands": unescaped(commands),
        "stored": b"\n".join(map(everything_stored, (backs.store, backs.ledger))),
    }
    for place, text in places.items():
        assert len(text) > 1000, place
        assert round.canaries.found_in(text) == [], place
        if place != "notes":
            assert round.pointers.found_in(text) == [], place
        if place not in ("commands", "stored"):
            assert round.typed.found_in(text) == [], place
    # What people chose to have written stands where they chose it.
    assert round.links[0].encode() in replies
    assert "link key as base64url" in round.pointers.found_in(notes)
    wanted = {"secret", "link key", "token", "password", "proof", "receipt token", "envelope"}
    assert round.canaries.kinds == wanted | {"Idempotency-Key", "API token", "session cookie", "request link"}
    sizes = ", ".join(f"{len(text)} bytes of {place}" for place, text in places.items())
    say(f"{events} events, {len(running.receiver.requests)} webhooks; {sizes}: none found")
    assert json.loads(running.receiver.requests[0].body)["data"]["ticket"] in numbers
