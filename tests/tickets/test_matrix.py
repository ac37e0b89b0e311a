"""Who may do what: every kind of person at every address of the ticket module, on tickets theirs or not.

Whatever is not theirs is not there: the answer is, byte for byte, the one of a ticket that nobody knows.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from secretsvc import envelope
from secretsvc.envelope import Payload, RequestLink, b64, unb64
from secretsvc.tickets.model import Reference
from secretsvc.tickets.sessions import Sessions
from secretsvc.tickets.web.module import Module
from secretsvc.tokens import Person
from tests.harness import Answer, Backends, InProcess, Secret, new_idempotency_key
from tests.tickets.notifying import patient, write_config
from tests.tickets.rt.instance import RT
from tests.web.common import BROWSER, FORM, Asked, is_problem, wrong_password
from tests.web.test_leaks import Canaries
from tests.web.test_openapi import document, is_described

OURS, THEIRS, NOBODYS = "Kunde GmbH", "Agentur AG", "Niemand & Söhne"
KIM = "kim@kunde.example"
COOKIE = "__Host-secretsvc"
MORE = """
orders = "rt"
[desks.local]
kind = "local"
[mail]
host = "127.0.0.1"
sender = "links@desk.example"
starttls = false
"""
# Who asks.  Sessions send what browsers send along; ``another site`` is an agent's browser misused by one.
ROWS = (
    "nobody",
    "revoked token",
    "ended session",
    "agent",
    "agent, signed in",
    "agent, another site",
    "agent elsewhere",
    "member",
    "member elsewhere",
    "requester",
    "requester, unverified",
)
STRANGERS = ("nobody", "revoked token", "ended session")
AGENTS = ("agent", "agent, signed in", "agent, another site")


# --- the scene -----------------------------------------------------------------------------------------


@dataclass
class Scene:
    """A service with the desks ``local`` and ``rt``, a ticket of Kunde GmbH on each, and all headers."""

    here: InProcess
    rt: RT
    heads: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    tickets: dict[str, Reference] = field(default_factory=dict)
    made: Canaries = field(default_factory=Canaries)
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    request: Asked | None = None

    @property
    def module(self) -> Module:
        found: Module = self.here.app.extensions["secretsvc.tickets"]
        return found

    @property
    def agent(self) -> dict[str, str]:
        return self.heads["agent", "rt"]

    def send(self, method: str, path: str, body: bytes | None, head: Mapping[str, str]) -> Answer:
        """A call without anything that calls before have left; a browser's jar would take our cookies away."""
        found = self.here.app.test_client(use_cookies=False).open(
            path, method=method, data=body, headers=dict(head)
        )
        answer = Answer(found.status_code, {k.lower(): v for k, v in found.headers.items()}, found.data)
        self.seen.append((f"{method} {path.partition('?')[0]}", answer.body))
        return answer

    def session(self, person: Person) -> dict[str, str]:
        """The headers of a browser in which somebody has signed in."""
        token = Sessions(self.here.service.store.node).begin(person)
        self.made.add("session", token)
        return {"Cookie": f"{COOKIE}={token}", "Sec-Fetch-Site": "same-origin"}

    def token(self, name: str, role: Any, organisations: tuple[str, ...] = (), **more: Any) -> dict[str, str]:
        found = self.here.service.tokens.add(name, role, organisations, **more)
        self.made.add("API token", found)
        return {"X-API-Key": found, "Sec-Fetch-Site": "same-origin"}

    def secret(self, ticket: Reference, **more: Any) -> Secret:
        """A secret on a ticket, by the agent."""
        secret = Secret.make(b"kanarie-" + os.urandom(8).hex().encode(), label=str(ticket), **more)
        answer = self.here.post("/api/v1/secrets", secret.body, self.agent)
        assert answer.status == 201, answer.text
        secret.receipt_token = answer.json["receipt_token"]
        self.made.secret(secret)
        self.made.add("id", unb64(secret.id))
        return secret

    def ask(self, ticket: Reference) -> Asked:
        """A request on a ticket, by the agent."""
        asked = Asked.create(self.here, self.agent, label=str(ticket))
        self.made.key(asked.key)
        self.made.add("token", asked.request.answer_token())
        self.made.add("receipt token", unb64(asked.receipt_token))
        self.made.add("id", unb64(asked.id))
        self.made.add("request link", asked.request.public_key)
        return asked

    def state(self, ticket: Reference) -> str:
        """All that anybody could have changed of a ticket and its links."""
        record = self.module.tickets.notice(ticket)
        facts = record.facts
        known = (facts.organisation, facts.chosen, facts.requester, facts.status)
        links = [(id, link, record.of(id)) for id, link in sorted(record.links.items())]
        return repr((known, links))

    def capabilities(self) -> list[str]:
        """Which answers so far hold something that opens, or that something is stored under."""
        assert {"link key", "token", "receipt token", "id", "session", "API token"} <= self.made.kinds
        return sorted({f"{what} in {where}" for where, body in self.seen for what in self.made.found_in(body)})

    def ref(self, ticket: Reference, id: str) -> str:
        return self.module.tickets.store.read(ticket).links[id].ref


def _person(name: str, role: Any, email: str = "", organisations: tuple[str, ...] = ()) -> Person:
    return Person(name, role, organisations, id=b64(os.urandom(12)), email=email)


@pytest.fixture
def scene(backs: Backends, tmp_path: Path, rt: RT) -> Scene:
    config = patient(write_config(tmp_path, rt, MORE))
    found = Scene(InProcess(backs.app(tickets_file=str(config))), rt)
    every = {
        "nobody": {"Sec-Fetch-Site": "same-origin"},
        "revoked token": found.token("gone", "agent"),
        "ended session": found.session(_person("Eve", "agent")),
        "agent": found.token("anna", "agent"),
        "agent, signed in": found.session(_person("Ben", "agent", "ben@desk.example")),
        "member": found.token("customer-kunde", "customer", (OURS,)),
        "member elsewhere": found.token("customer-agentur", "customer", (THEIRS,)),
        "requester": found.session(_person("Kim", "customer", KIM)),
        "requester, unverified": found.session(_person("Kim", "customer")),
    }
    every["agent, another site"] = found.session(_person("Dora", "agent")) | {"Sec-Fetch-Site": "cross-site"}
    found.here.service.tokens.revoke("gone")
    Sessions(found.here.service.store.node).end(every["ended session"]["Cookie"].partition("=")[2])
    found.heads = {(row, desk): head for row, head in every.items() for desk in ("local", "rt")}
    for desk, other in (("local", "rt"), ("rt", "local")):
        found.heads["agent elsewhere", desk] = found.token(f"carl-{other}", "agent", desks=(other,))
    number = rt.create("FTP login fails", KIM, organisation=OURS)
    found.tickets = {"rt": Reference("rt", number), "local": Reference("local", "4711")}
    for ticket in found.tickets.values():
        found.secret(ticket)
        found.request = found.ask(ticket)
    answer = found.here.post("/api/v1/tickets/local/4711/organisation", {"organisation": OURS}, found.agent)
    assert answer.status == 200, answer.text
    assert found.here.get(f"/api/v1/tickets/rt/{number}", **found.agent).json["organisation"] == OURS
    return found


# --- what is expected ----------------------------------------------------------------------------------

Expected = Callable[[str, str], int]  # by row and desk


def _sees(row: str, desk: str) -> bool:
    """Whether the list of a ticket of Kunde GmbH, which kim has opened at ``rt``, is theirs to see."""
    return row in AGENTS or row == "member" or (row == "requester" and desk == "rt")


def to_see(row: str, desk: str) -> int:
    return 401 if row in STRANGERS else 200 if _sees(row, desk) else 404


def to_read_as_staff(row: str, desk: str) -> int:
    return 401 if row in STRANGERS else 200 if row in AGENTS else 404


def to_act(done: int) -> Expected:
    """What agents of the desk alone may do; another site does nothing with their session."""

    def expected(row: str, desk: str) -> int:
        if row in STRANGERS or row == "agent, another site":
            return 401
        return done if row in AGENTS else 404

    return expected


def signed_in(row: str, desk: str) -> int:
    return 401 if row in STRANGERS else 200


def of_organisation(row: str, desk: str) -> int:
    if row in STRANGERS:
        return 401
    return 200 if "agent" in row or row == "member" else 404


def to_follow(row: str, desk: str) -> int:
    if row in STRANGERS or row == "agent, another site":
        return 401
    return 204 if "agent" in row or row == "member" else 404


def to_order(row: str, desk: str) -> int:
    if row in STRANGERS or row == "agent, another site":
        return 401
    return 201 if row == "requester" else 403


def always(status: int) -> Expected:
    return lambda row, desk: status


def as_page(expected: Expected, *, done: int = 200) -> Expected:
    """The same for a browser, which is sent to sign in; a form from another site is refused."""

    def found(row: str, desk: str) -> int:
        if row in ("nobody", "ended session"):
            return 303
        status = expected(row, desk)
        if status == 401 and row == "agent, another site":
            return 403
        return done if status < 300 else status

    return found


def from_our_pages(status: int) -> Expected:
    return lambda row, desk: 403 if row == "agent, another site" else status


# --- every address -------------------------------------------------------------------------------------

Call = tuple[str, bytes | None, dict[str, str]]


def json_body(**body: Any) -> tuple[bytes, dict[str, str]]:
    return json.dumps(body).encode(), {"Content-Type": "application/json"}


def form_body(**body: str) -> tuple[bytes, dict[str, str]]:
    return urlencode(body).encode(), {**FORM, **BROWSER}


@dataclass
class Column:
    """An address, what is sent there, and what each gets.

    Attributes:
        send: body and headers, for a ticket of Kunde GmbH.
        foreign: whether it is about a ticket, so that foreign ones are tried too.
        link: the link that its address names, made anew for each call.
    """

    expected: Expected
    send: Callable[[Scene, Any], tuple[bytes | None, dict[str, str]]] = lambda scene, link: (None, {})
    query: str = ""
    about: str = ""  # "ticket" or "organisation"
    link: str = ""  # "secret", "locked" or "request"


def _link_of(asked: Asked) -> str:
    return envelope.format_link("http://127.0.0.1", asked.key)


def _order(scene: Scene, link: Any) -> tuple[bytes, dict[str, str]]:
    key = envelope.new_key()
    scene.made.key(key)
    request = RequestLink(envelope.derive_handles(key).id, envelope.request_public_key(key))
    sealed = b64(envelope.seal_answer(request, Payload(b"kanarie-of-the-order")))
    body, head = json_body(key=b64(key), form="text", envelope=sealed, consents=[])
    return body, head | {"Idempotency-Key": new_idempotency_key()}


def _asked_form(scene: Scene, link: Any) -> tuple[None, dict[str, str]]:
    assert scene.request is not None
    return None, scene.request.answerer


def page_get(scene: Scene, link: Any) -> tuple[None, dict[str, str]]:
    return None, BROWSER


T = "/api/v1/tickets/<desk>/<number>"
P = "/desk/<desk>/<number>"
COLUMNS: dict[str, Column] = {
    "GET /api/v1/me": Column(signed_in),
    "GET /api/v1/forms": Column(signed_in),
    "GET /api/v1/forms/<name>": Column(signed_in),
    "GET /api/v1/requests/<id>/form": Column(
        lambda row, desk: 401 if row == "revoked token" else 200, _asked_form
    ),
    f"GET {T}": Column(to_see, about="ticket"),
    f"GET {T}/texts": Column(to_read_as_staff, about="ticket"),
    f"POST {T}/organisation": Column(
        to_act(200), lambda scene, link: json_body(organisation=OURS), about="ticket"
    ),
    f"POST {T}/links/<ref>/revoke": Column(to_act(200), about="ticket", link="secret"),
    f"POST {T}/links/<ref>/unlock": Column(to_act(200), about="ticket", link="locked"),
    f"POST {T}/links/<ref>/note": Column(
        to_act(204), lambda scene, link: json_body(link=_link_of(link)), about="ticket", link="request"
    ),
    f"POST {T}/links/<ref>/reply": Column(
        to_act(204), lambda scene, link: json_body(text="Please use it."), about="ticket", link="secret"
    ),
    "GET /api/v1/organisations": Column(signed_in),
    "GET /api/v1/organisations/links": Column(of_organisation, about="organisation"),
    "POST /api/v1/organisations/follow": Column(
        to_follow, lambda scene, link: json_body(organisation=link, language=None), about="organisation"
    ),
    "POST /api/v1/orders": Column(to_order, _order),
    "POST /desk/<desk>/hook": Column(always(403), lambda scene, link: json_body(data={"ticket_id": 1})),
    # Pages.
    "GET /desk": Column(as_page(signed_in), page_get),
    "POST /desk": Column(
        as_page(lambda row, desk: to_act(200)(row, desk) if row in (*STRANGERS, *AGENTS) else 422, done=303),
        lambda scene, link: form_body(desk="", ticket=str(link)),
    ),
    f"GET {P}": Column(as_page(to_see), page_get, about="ticket"),
    f"GET {P}/trail": Column(as_page(to_see), page_get, about="ticket"),
    f"POST {P}/links/<ref>/<any(revoke, unlock):what>": Column(
        as_page(to_act(200), done=303), lambda scene, link: form_body(), about="ticket", link="secret"
    ),
    f"POST {P}/organisation": Column(
        as_page(to_act(200), done=303), lambda scene, link: form_body(organisation=OURS), about="ticket"
    ),
    "GET /desk/organisations": Column(as_page(signed_in), page_get),
    "GET /desk/organisations/links": Column(as_page(of_organisation), page_get, about="organisation"),
    "POST /desk/organisations/follow": Column(
        as_page(to_follow, done=303),
        lambda scene, link: form_body(organisation=link, language=""),
        about="organisation",
    ),
    "GET /desk/order": Column(
        as_page(lambda row, desk: 401 if row in STRANGERS else 200 if row == "requester" else 403), page_get
    ),
    "POST /desk/order": Column(
        lambda row, desk: 401 if row == "revoked token" else 200 if row == "requester" else 403,
        lambda scene, link: form_body(form="text", idempotency_key=new_idempotency_key()),
    ),
    # For whoever holds a link, and for signing in: no person is asked for, and none sees anything by it.
    "GET /r": Column(always(200), page_get),
    "GET /r%23<path:rest>": Column(always(400), page_get),
    "GET /r#<path:rest>": Column(always(400), page_get),
    "POST /r": Column(from_our_pages(400), lambda scene, link: form_body(link="damaged")),
    "GET /desk/sign-in": Column(always(200), page_get),
    "GET /desk/sign-in%23<path:rest>": Column(always(400), page_get),
    "GET /desk/sign-in#<path:rest>": Column(always(400), page_get),
    "GET /desk/sign-in/start": Column(always(404), page_get),
    "GET /desk/sign-in/back": Column(always(404), page_get),
    "POST /desk/sign-in/link": Column(from_our_pages(403), lambda scene, link: form_body(link="damaged")),
    "POST /desk/sign-out": Column(from_our_pages(200), lambda scene, link: form_body()),
}
UNKNOWN = {"rt": Reference("rt", "999999999"), "local": Reference("local", "0815")}


def served(here: InProcess) -> set[str]:
    """Every method and address of the ticket module that the application answers."""
    return {
        f"{method} {rule.rule}"
        for rule in here.app.url_map.iter_rules()
        if here.app.view_functions[rule.endpoint].__module__.startswith("secretsvc.tickets.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_address_of_the_ticket_module_is_in_the_matrix(here: InProcess) -> None:
    assert served(here) == set(COLUMNS)


def _address(rule: str, ticket: Reference, ref: str) -> str:
    values = {"desk": ticket.desk, "number": ticket.number, "ref": ref, "name": "text", "rest": "x"}
    path = re.sub(r"<any\((\w+)[^>]*>", r"\1", rule.replace("#", "%23"))
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: values[found[1]], path)


def _make(scene: Scene, column: Column, ticket: Reference) -> tuple[Any, str]:
    """The link that a call is about, and its reference."""
    if not column.link:
        return None, ""
    if column.link == "request":
        asked = scene.ask(ticket)
        return asked, scene.ref(ticket, asked.id)
    locked = column.link == "locked"
    secret = scene.secret(ticket, **({"stretched": os.urandom(32)} if locked else {}))
    if locked:
        wrong_password(scene.here, secret, 5)
    return secret, scene.ref(ticket, secret.id)


def call(
    scene: Scene,
    name: str,
    row: str,
    ticket: Reference,
    link: Any,
    ref: str,
    organisation: str = OURS,
    head_of: str = "",
) -> Answer:
    """Send what stands in a column, as somebody; ``head_of`` a desk, where the ticket is of none."""
    column = COLUMNS[name]
    method, _, rule = name.partition(" ")
    about = {"organisation": organisation, "": ticket}.get(column.about, link)
    body, head = column.send(scene, about)
    path = _address(rule.replace("<id>", scene.request.id if scene.request else ""), ticket, ref)
    if column.about == "organisation" and method == "GET":
        path += "?" + urlencode({"organisation": organisation})
    who = scene.heads[row, head_of or ticket.desk]
    if name == "POST /desk/sign-out" and "Cookie" in who:
        who = scene.session(_person("Gone", "agent")) | {"Sec-Fetch-Site": who["Sec-Fetch-Site"]}
    return scene.send(method, path, body, who | head)


def expected_of(name: str, row: str, desk: str) -> int:
    status = COLUMNS[name].expected(row, desk)
    takes_none = desk == "local" and name.endswith(("/note", "/reply"))
    return 422 if takes_none and status == 204 else status


def refused_alike(scene: Scene, name: str, row: str, desk: str, link: Any, ref: str, body: bytes) -> int:
    """How many tickets and organisations that nobody knows are refused with the same bytes."""
    tickets = {UNKNOWN[desk], Reference("elsewhere", "1"), scene.tickets[desk]}
    if row in AGENTS or COLUMNS[name].about == "organisation":
        tickets = {UNKNOWN[desk]}
    for ticket in tickets:
        unknown = call(scene, name, row, ticket, link, "XXXXXX", NOBODYS, head_of=desk)
        assert (unknown.status, unknown.body) == (404, body), (name, row, ticket)
    return len(tickets)


def test_whatever_is_not_theirs_is_not_there(scene: Scene, say: Callable[[str], None]) -> None:
    counted: dict[str, Counter[int]] = {row: Counter() for row in ROWS}
    described, same, wrong, there = document(scene.here), 0, [], served(scene.here)
    links: dict[tuple[str, str], tuple[Any, str]] = {}
    for name, desk, row in product(sorted(there), scene.tickets, ROWS):
        if name == "POST /api/v1/orders" and desk == "local":
            continue  # opens a ticket at the same desk again
        column, ticket = COLUMNS[name], scene.tickets[desk]
        if (name, desk) not in links:
            links[name, desk] = _make(scene, column, ticket)
        link, ref = links[name, desk]
        before = scene.state(ticket)
        answer = call(scene, name, row, ticket, link, ref)
        counted[row][answer.status] += 1
        if answer.status != (expected := expected_of(name, row, desk)):
            wrong.append(f"{name} as {row} on {desk}: {answer.status} instead of {expected}")
        if name.partition(" ")[2].startswith("/api/"):
            rule = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", name)
            is_described(described, rule, answer.status, answer.body)
        if answer.status >= 400:
            assert scene.state(ticket) == before, (name, row, desk)
        else:
            del links[name, desk]
        if answer.status == 404 and column.about:
            same += refused_alike(scene, name, row, desk, link, ref, answer.body)
    assert not wrong, "\n".join(wrong)
    for row, found in counted.items():
        say(f"{row}: {', '.join(f'{n} times {status}' for status, n in sorted(found.items()))}")
    total = sum(found.total() for found in counted.values())
    say(f"{total} calls; foreign ones refused like {same} unknown ones")
    assert same >= 200
    # What agents of the desk have asked for, and no more.
    number = scene.tickets["rt"].number
    assert len(scene.rt.notes(number)) == len(scene.rt.replies(number)) == 2
    assert scene.capabilities() == []


def test_a_ticket_that_is_not_theirs_is_refused_before_a_look_at_the_body(scene: Scene) -> None:
    tried = 0
    for name, column in COLUMNS.items():
        if not name.startswith("POST /api/") or column.about != "ticket":
            continue
        path = _address(name.partition(" ")[2], scene.tickets["rt"], "XXXXXX")
        for row in ("agent elsewhere", "member"):
            answer = scene.send("POST", path, b"{", scene.heads[row, "rt"])
            assert is_problem(answer, 404, "not-found")
            tried += 1
    assert tried == 10


def test_an_organisations_list_has_the_tickets_of_ones_own_desks_and_is_nobody_elses(scene: Scene) -> None:
    path = "/api/v1/organisations/links?" + urlencode({"organisation": OURS})
    for desk, ticket in scene.tickets.items():
        for row, wanted in (("agent", 2), ("member", 2), ("agent elsewhere", 1)):
            answer = scene.send("GET", path, None, scene.heads[row, desk])
            found = {link["ticket"] for link in answer.json["links"]}
            assert len(found) == wanted, (row, found)
            assert (str(ticket) in found) == (row != "agent elsewhere")
        other = scene.send("GET", path.replace("Kunde", "Agentur"), None, scene.heads["member elsewhere", desk])
        assert other.status == 404
    assert scene.capabilities() == []


# --- the core's calls, where tickets have a say --------------------------------------------------------


def test_only_agents_of_its_desk_put_links_on_a_ticket(scene: Scene, say: Callable[[str], None]) -> None:
    """A ticket of a foreign desk is no more there than an id that nobody knows."""
    unknown = scene.send("GET", f"/api/v1/secrets/{b64(os.urandom(16))}", None, Secret.make().auth())
    counted = Counter[int]()
    for desk, ticket in scene.tickets.items():
        before = scene.state(ticket)
        for row in sorted(ROWS, key=lambda row: row in AGENTS):
            secret, asked = Secret.make(label=str(ticket)), Asked.make(label=str(ticket))
            sealed_here = {"secret": "x", "expires_in": 60, "label": str(ticket)}
            for path, body in (("secrets", secret.body), ("secrets", sealed_here), ("requests", asked.body)):
                data, head = json_body(**body)
                answer = scene.here.send("POST", f"/api/v1/{path}", data, scene.heads[row, desk] | head)
                counted[answer.status] += 1
                assert answer.status == to_label(row, path), (row, path, answer.text)
                if answer.status == 404:
                    assert answer.body == unknown.body
                elif row not in AGENTS:
                    assert scene.state(ticket) == before
    say(f"{dict(counted)}")


def to_label(row: str, path: str) -> int:
    if row in ("agent", "agent, signed in"):
        return 201
    if row == "revoked token":
        return 401
    if row in STRANGERS or row == "agent, another site":
        return 401 if path == "requests" else 403
    return 404 if row == "agent elsewhere" else 403


def test_only_agents_of_its_desk_collect_an_answer_and_a_refusal_uses_nothing_up(
    scene: Scene, say: Callable[[str], None]
) -> None:
    refused = Counter[int]()
    for desk, ticket in scene.tickets.items():
        for ways in (claimed, opened_by_api, opened_by_form):
            asked = scene.ask(ticket)
            assert asked.answer(scene.here).status == 201
            before = scene.state(ticket)
            for row in ROWS:
                if row in ("agent", "agent, signed in"):
                    continue
                answer = ways(scene, asked, scene.heads[row, desk])
                assert answer.status == (401 if row == "revoked token" else 403), (row, answer.text)
                assert b"hunter2" not in answer.body
                refused[answer.status] += 1
            assert scene.state(ticket) == before
            assert ways(scene, asked, scene.heads["agent, signed in", desk]).status == 200
            state = scene.here.get(f"/api/v1/secrets/{asked.id}", **asked.sender).json
            assert (state["state"], state["collected_by"]) == ("opened", "Ben")
    say(f"{dict(refused)}, then collected")


def claimed(scene: Scene, asked: Asked, head: dict[str, str]) -> Answer:
    return _sent(scene, f"/api/v1/secrets/{asked.id}/claim", json_body(), asked.holder | head)


def opened_by_api(scene: Scene, asked: Asked, head: dict[str, str]) -> Answer:
    return _sent(scene, "/api/v1/open", json_body(link=_link_of(asked)), head)


def opened_by_form(scene: Scene, asked: Asked, head: dict[str, str]) -> Answer:
    return _sent(scene, "/open", form_body(link=_link_of(asked)), head)


def _sent(scene: Scene, path: str, content: tuple[bytes, dict[str, str]], head: dict[str, str]) -> Answer:
    found = scene.here.app.test_client(use_cookies=False).post(path, data=content[0], headers=content[1] | head)
    return Answer(found.status_code, {k.lower(): v for k, v in found.headers.items()}, found.data)
