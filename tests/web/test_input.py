"""Hostile input at every address there is: the routes come from the application, new ones too."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from werkzeug.routing import Rule

from secretsvc.tickets.web.session import COOKIE
from secretsvc.tokens import Person
from tests.harness import Answer, Backends, InProcess, Secret, Web, backends, web
from tests.web.common import BROWSER, FORM, Asked, staff, store, with_proof
from tests.web.test_api import NOT_JSON

CANARY = "never-said-back"
TICKET = "local:7"
JSON = {"Content-Type": "application/json"}
# They read no body, so that there is nothing wrong with one.
ACT = "/desk/<desk>/<number>/links/<ref>/<any(revoke, unlock):what>"
WITHOUT_BODY = {"/desk/sign-out", "/s", ACT}
EVIL_FORMS = {
    "NUL": b"secret=a%00b&link=%00&next=%00&consents=%00",
    "percent ff": b"secret=%ff%fe&link=%ff&language=%ff&next=%ff",
    "raw bytes": b"secret=\xff\xfe&link=\xff",
    "BOM": b"\xef\xbb\xbfsecret=x",
    "right to left": "secret=‮cod.exe&link=‮".encode(),
    "unknown": b"nosuch=" + CANARY.encode(),
    "twice": b"link=a&link=b&secret=a&secret=b",
    "many": b"&".join(b"f%d=x" % n for n in range(3000)),
    "no name": b"=x&=y&&&",
    "damaged link": b"link=" + CANARY.encode() + b"&receipt=" + CANARY.encode(),
    "numbers": b"expires=" + b"9" * 5000 + b"&organisation=-1",
    "lines": b"secret=x&label=a%0d%0aX-Injected:%201&link=a%0d%0aX-Injected:%201",
}
EVIL_PARTS = {
    "no end": b'--b\r\nContent-Disposition: form-data; name="secret"\r\n\r\nx',
    "no name": b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
    "no header": b"--b\r\n\r\nx\r\n--b--\r\n",
    "bad UTF-8": b'--b\r\nContent-Disposition: form-data; name="secret"\r\n\r\n\xff\xfe\r\n--b--\r\n',
    "bad name": b'--b\r\nContent-Disposition: form-data; name="\xff\xfe"\r\n\r\nx\r\n--b--\r\n',
    "lines": b'--b\r\nContent-Disposition: form-data; name="secret"; '
    b'filename="a%0d%0aX-Injected: 1"\r\n\r\nx\r\n--b--\r\n',
    "many": b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 200 + b"--b--\r\n",
    "nothing": b"",
}
EVIL_JSON = {
    **{name: data for name, data in NOT_JSON.items() if data},
    "canary": json.dumps({"nosuch": CANARY, "id": CANARY, "secret": [CANARY]}).encode(),
    "huge number": b'{"expires_in":' + b"9" * 5000 + b"}",
    "huge exponent": b'{"expires_in":1e999}',
    "long key": b'{"' + b"k" * 100_000 + b'":1}',
}
BODIES: list[tuple[str, dict[str, str], bytes]] = [
    *((f"json {name}", JSON, data) for name, data in EVIL_JSON.items()),
    *((f"form {name}", FORM, data) for name, data in EVIL_FORMS.items()),
    *(
        (f"parts {name}", {"Content-Type": "multipart/form-data; boundary=b"}, data)
        for name, data in EVIL_PARTS.items()
    ),
    ("no boundary", {"Content-Type": "multipart/form-data"}, b"--\r\n\r\n--"),
    ("long boundary", {"Content-Type": "multipart/form-data; boundary=" + "b" * 5000}, b"x"),
    ("odd boundary", {"Content-Type": 'multipart/form-data; boundary="\xe4"'}, b"x"),
    ("odd charset", {"Content-Type": "application/json; charset=utf-16"}, b"{}{"),
    ("no type", {}, b"{"),
]
EVIL_PATHS = (
    "%00",
    "%ff%fe",
    "..%2f..%2fetc%2fpasswd",
    "a" * 3000,
    "%0d%0aX-Injected:%201",
    "-1",
    "٣",
    "'\"<>",
)
EVIL_QUERIES = (
    *("next=//evil.example", "next=%00", "lang=%ff", "lang=de&lang=en", "plain", "page=-1"),
    *("page=" + "9" * 400, "page=x", "organisation=%00", "code=%ff&state=%00", "%00", "=", "a" * 3000),
)


def signed_in(here: InProcess, person: Person) -> dict[str, str]:
    """What this person's browser sends along."""
    people = here.app.extensions["secretsvc.people"]
    people.entered(person)
    return {"Cookie": f"{COOKIE}={people.sessions.begin(person)}", "Sec-Fetch-Site": "same-origin"}


@dataclass
class Stage:
    """An application with something at every address, and what opens each of them."""

    here: InProcess
    agent: dict[str, str]
    customer: dict[str, str]
    secret: Secret
    asked: Asked
    ref: str

    @classmethod
    def make(cls, here: InProcess) -> Stage:
        agent = staff(here)
        labelled = here.post("/api/v1/secrets", Secret.make(label=TICKET).body, agent)
        assert labelled.status == 201, labelled.text
        ref = here.get("/api/v1/tickets/local/7", **agent).json["links"][0]["ref"]
        eve = signed_in(here, Person("Eve", "agent", (), "eve", (), "eve@desk.example"))
        kim = signed_in(here, Person("Kim", "customer", ("Kunde GmbH",), "kim", (), "kim@kunde.example"))
        return cls(here, agent | eve, kim, Secret.create(here), Asked.create(here, agent), ref)

    def rules(self, method: str) -> list[Rule]:
        return [rule for rule in self.here.app.url_map.iter_rules() if method in (rule.methods or ())]

    def path(self, rule: Rule) -> str:
        """An address that is there."""
        id = self.asked.id if "/requests/" in rule.rule else self.secret.id
        known = {"id": id, "desk": "local", "number": "7", "ref": self.ref, "name": "text"}
        known |= {"any(revoke, unlock):what": "unlock", "path:filename": "icon.svg", "path:rest": "x"}
        return re.sub("<([^>]+)>", lambda found: known[found[1]], rule.rule).replace("#", "%23")

    def head(self, rule: Rule) -> dict[str, str]:
        """Everything that whoever calls needs in order to get as far as the body."""
        sender = rule.rule.startswith("/api/v1/secrets") and rule.rule.endswith(("/revoke", "/unlock"))
        token = self.secret.receipt_token if sender else self.secret.token
        auth = self.asked.answerer if "/requests/" in rule.rule else self.secret.auth(token)
        key = {"Idempotency-Key": "x" * 30} if rule.rule.endswith(("/done", "/orders")) else {}
        person = self.customer if rule.rule.endswith(("/order", "/orders")) else self.agent
        return {**person, **auth, **key}

    def is_untouched(self) -> None:
        assert self.secret.state(self.here).json["state"] == "sealed"
        assert (
            self.here.get(f"/api/v1/requests/{self.asked.id}", **self.asked.answerer).json["state"] == "waiting"
        )


def tickets(folder: Path) -> str:
    """Settings with a desk that takes orders; nobody is there, since nothing here gets so far."""
    (folder / "token").write_text("token")
    config = folder / "tickets.toml"
    config.write_text(f"""
orders = "rt"
[desks.local]
kind = "local"
[desks.rt]
kind = "rt"
url = "http://127.0.0.1:9"
token_file = "{folder / "token"}"
queue = "Support"
""")
    return str(config)


@pytest.fixture
def stage(backs: Backends, tmp_path: Path) -> Stage:
    return Stage.make(InProcess(backs.app(tickets_file=tickets(tmp_path))))


def is_calm(answer: Answer, what: object) -> None:
    """No bug, no injected header, nothing said back."""
    assert answer.status < 500, (what, answer.status, answer.text[:300])
    assert "Traceback" not in answer.text, what
    assert "x-injected" not in answer.headers, what
    assert not any("\r" in value or "\n" in value for value in answer.headers.values()), what
    assert CANARY not in answer.text, what
    assert CANARY not in repr(answer.headers), what


def test_no_route_falls_over_or_says_back_what_it_was_sent(
    stage: Stage, full: bool, say: Callable[[str], None]
) -> None:
    seen: Counter[int] = Counter()
    for rule in stage.rules("POST"):
        for name, head, body in BODIES:
            heads = [stage.head(rule), *([{}, stage.head(rule) | BROWSER] if full else [])]
            for auth in heads:
                answer = stage.here.send("POST", stage.path(rule), body, {**auth, **head})
                is_calm(answer, (rule.rule, name))
                seen[answer.status] += 1
    stage.is_untouched()
    routes = len(stage.rules("POST"))
    say(f"{sum(seen.values())} hostile bodies at {routes} routes: {dict(sorted(seen.items()))}")
    assert routes >= 25
    assert {400, 415, 422} <= set(seen)


def test_no_address_falls_over_whatever_stands_in_it(stage: Stage, say: Callable[[str], None]) -> None:
    seen: Counter[int] = Counter()
    for rule in stage.rules("GET"):
        fields = re.findall("<[^>]+>", rule.rule)
        paths = [re.sub("<[^>]+>", lambda _, evil=evil: evil, rule.rule) for evil in EVIL_PATHS if fields]
        queries = [f"{stage.path(rule)}?{query}" for query in EVIL_QUERIES]
        for path in (*paths, *queries):
            for auth in (stage.head(rule), stage.agent | BROWSER):
                answer = stage.here.get(path.replace("#", "%23"), **auth)
                is_calm(answer, path)
                assert "location" not in answer.headers or "evil" not in answer.headers["location"], path
                seen[answer.status] += 1
    stage.is_untouched()
    say(f"{sum(seen.values())} hostile addresses: {dict(sorted(seen.items()))}")
    assert {200, 404} <= set(seen)


def test_every_route_refuses_another_kind_of_body(stage: Stage) -> None:
    """JSON where forms are read, forms where JSON is read, and text, with all that it takes to be let in."""
    refused = 0
    for rule in stage.rules("POST"):
        api = rule.rule.startswith("/api/")
        if rule.rule in WITHOUT_BODY or rule.rule.endswith("/hook"):  # that one looks at the signature first
            continue
        for kind in ("text/plain", "application/x-www-form-urlencoded" if api else "application/json", ""):
            head = stage.head(rule) | ({"Content-Type": kind} if kind else {})
            answer = stage.here.send("POST", stage.path(rule), b"{}", head)
            assert answer.status == 415, (rule.rule, kind, answer.status, answer.text[:200])
            refused += 1
    stage.is_untouched()
    assert refused >= 60


FORGED = ("X-Forwarded-Host", "X-Forwarded-Server", "X-Host", "X-Original-Url", "X-Rewrite-Url", "Forwarded")


def test_no_answer_names_a_host_that_only_the_caller_said(backs: Backends) -> None:
    stage = Stage.make(InProcess(backs.app(public_url="https://secrets.example")))
    forged = {name: "host=evil.example" if name == "Forwarded" else "evil.example" for name in FORGED}
    forged |= {"Host": "evil.example", "X-Forwarded-Proto": "gopher", "X-Forwarded-Prefix": "/evil.example"}
    named = 0
    for method in ("GET", "POST"):
        for rule in stage.rules(method):
            for more in ({}, BROWSER):
                head = {**stage.head(rule), **more, **forged}
                body = b"secret=x" if method == "POST" else None
                answer = stage.here.send(method, stage.path(rule), body, {**head, **(FORM if body else {})})
                assert answer.status < 500, rule.rule
                for where in (answer.text, *answer.headers.values()):
                    assert "evil.example" not in where, rule.rule
                    assert "gopher" not in where, rule.rule
                named += "https://secrets.example" in answer.text
    assert named > 2  # links and curl lines, by the public address


ELSEWHERE = (
    *(
        "//evil.example",
        "https://evil.example/desk",
        "/\\evil.example",
        "\\\\evil.example",
        "/desk/..//../evil.example",
    ),
    *("/desk@evil.example", "javascript:alert(1)", "/desk\r\nX-Injected: 1", "/desk\x00", " //evil.example"),
    *(
        "/%2fevil.example",
        "/desk?next=//evil.example#//evil.example",
        "///evil.example",
        "desk",
        "",
        "/desk/sign-out",
    ),
)


def test_signing_in_leads_nowhere_else(here: InProcess) -> None:
    people = here.app.extensions["secretsvc.people"]
    for wanted in ELSEWHERE:
        page = here._client.get("/desk/sign-in", query_string={"next": wanted}, headers=BROWSER)
        assert page.status_code == 200
        assert "evil.example" not in page.text, wanted
        token = people.sessions.invite(Person("Eve", "agent", (), "eve", (), "eve@desk.example"))
        answer = here._client.post(
            "/desk/sign-in/link",
            data={"link": f"https://x/desk/sign-in#{token}", "next": wanted},
            headers={"Sec-Fetch-Site": "same-origin", **BROWSER},
        )
        assert answer.status_code == 303, answer.text
        leads_to = urljoin("https://secrets.example/desk/sign-in/link", answer.headers["Location"])
        assert leads_to.startswith("https://secrets.example/"), wanted
        assert "evil.example" not in leads_to.partition("?")[0], wanted
        assert "X-Injected" not in answer.headers, wanted


# --- sizes, over real connections -----------------------------------------------------------------------

MOST = 6 * 1024 + 65_536  # bytes of a body, with the settings below


@dataclass
class Wire:
    """A real web process that takes little, and a stage on the same servers."""

    web: Web
    stage: Stage

    def answer(self, rule: Rule, head: dict[str, str], body: list[bytes]) -> bytes:
        """What it answers to a body in pieces; empty where it hung up while we were sending."""
        kind = "application/json" if rule.rule.startswith("/api/") else "application/x-www-form-urlencoded"
        whole = {"Host": "x", "Connection": "close", "Content-Type": kind, **self.stage.head(rule), **head}
        lines = "".join(f"{name}: {value}\r\n" for name, value in whole.items())
        with socket.create_connection(("127.0.0.1", self.web.port), 10) as connection:
            try:
                connection.sendall(f"POST {self.stage.path(rule)} HTTP/1.1\r\n{lines}\r\n".encode())
                for piece in body:
                    connection.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass
            try:
                return connection.recv(65_536)
            except ConnectionResetError:
                return b""


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    folder: Path = tmp_path_factory.mktemp("wire")
    settings = {"max_secret_bytes": "1024", "tickets_file": tickets(folder)}
    with backends(folder) as backs, web(backs, folder, **settings) as running:
        yield Wire(running, Stage.make(InProcess(backs.app(**settings))))


def bounded(wire: Wire) -> list[Rule]:
    return [rule for rule in wire.stage.rules("POST") if rule.rule not in WITHOUT_BODY]


def test_every_route_refuses_a_body_that_announces_too_much(wire: Wire) -> None:
    for rule in bounded(wire):
        answer = wire.answer(rule, {"Content-Length": str(MOST + 1)}, [b"x"])
        assert answer.startswith(b"HTTP/1.1 413"), (rule.rule, answer[:200])
    wire.stage.is_untouched()


def test_every_route_refuses_too_much_in_chunks(wire: Wire) -> None:
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    for rule in bounded(wire):
        answer = wire.answer(rule, {"Transfer-Encoding": "chunked"}, [chunk] * 6 + [b"0\r\n\r\n"])
        assert answer.startswith(b"HTTP/1.1 413") or answer == b"", (rule.rule, answer[:200])
    wire.stage.is_untouched()


def test_a_flood_of_headers_is_refused_and_the_next_call_answered(wire: Wire) -> None:
    [rule] = [rule for rule in wire.stage.rules("POST") if rule.rule == "/api/v1/secrets"]
    floods: list[dict[str, Any]] = [
        {f"X-{n}": "x" for n in range(500)},
        {"X-Long": "x" * 100_000},
        {"Cookie": "; ".join(f"c{n}=x" for n in range(3000))},
    ]
    for flood in floods:
        answer = wire.answer(rule, {**flood, "Content-Length": "0"}, [])
        assert answer.startswith(b"HTTP/1.1 4") or answer == b"", answer[:200]
        assert wire.web.client().get("/healthz").status == 200


def test_a_password_is_never_said_back(here: InProcess) -> None:
    secret = store(here, with_proof())
    answer = here.send(
        "POST", "/open", f"link=%23{secret.link[-43:]}&password={CANARY}".encode(), FORM | BROWSER
    )
    assert answer.status == 403
    is_calm(answer, "password")
