"""What the log says of each request and each delivery, and what it never says."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from secretsvc.web import logs
from tests.harness import ROOT, Backends, InProcess, Secret, backends, lines_of, new_idempotency_key, web
from tests.web.common import BROWSER, FORM, Asked, staff, store, with_proof, wrong_password

Line = dict[str, Any]


class Log:
    """What is written from now on."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[Line]:
        return [json.loads(line) for line in self.text.split("\n")[:-1]]

    @property
    def requests(self) -> list[Line]:
        return [line for line in self.lines if line["message"] == "request"]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, here: InProcess) -> Log:
    """The application's own lines, written here."""
    return Log(lines_of(monkeypatch))


def test_a_request_is_one_line_with_the_template_of_its_route(here: InProcess, log: Log) -> None:
    secret = Secret.create(here)
    assert secret.claim(here).status == 200
    assert secret.claim(here).status == 410
    create, claim, again = log.requests
    assert set(create) == {"time", "level", "logger", "message", "request", "method", "route", "status", "ms"}
    assert (create["method"], create["route"], create["status"]) == ("POST", "/api/v1/secrets", 201)
    assert (claim["route"], claim["status"]) == ("/api/v1/secrets/<id>/claim", 200)
    assert (again["status"], again["problem"]) == (410, "opened")
    assert all(0 < line["ms"] < 10_000 for line in log.requests)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in log.lines)
    assert len({line["request"] for line in log.requests}) == 3


def test_what_was_sent_is_in_no_line(here: InProcess, log: Log) -> None:
    """A canary of each kind, wherever one may stand; whole and in pieces."""
    agent = staff(here)
    words: dict[str, str] = {}

    def canary(kind: str) -> str:
        return words.setdefault(f"{kind} {len(words)}", "kanarie" + os.urandom(6).hex())

    secret = Secret.create(here, canary("secret").encode())
    key = new_idempotency_key()
    guarded = store(here, with_proof())
    asked = Asked.create(here, agent)
    secret.claim(here, key)
    wrong_password(here, guarded)
    asked.answer(here)
    here.send("POST", "/", f"secret={canary('secret')}&password={canary('password')}".encode(), FORM)
    here.send("POST", "/open", f"link={secret.link}&password={canary('password')}".encode(), FORM | BROWSER)
    for path in ("/", "/s", "/receipt", "/nothing", "/status", "/readyz", "/metrics", "/api/v1/secrets"):
        for method in ("GET", "POST", "PUT", "OPTIONS"):
            here.send(method, f"{path}?{canary('query')}={canary('query')}", b"x")
    here.send("GET", f"/s%23{canary('path')}")
    here.send("GET", f"/api/v1/secrets/{canary('id')}", headers={"Authorization": f"Bearer {canary('token')}"})
    here.send("DELETE", f"/{canary('path')}")
    here.send(canary("method").upper(), "/")
    head = {name: canary(name) for name in ("User-Agent", "Referer", "X-Request-Id", "X-API-Key", "Cookie")}
    head |= {"Idempotency-Key": canary("key"), "Accept-Language": canary("language"), "Host": canary("host")}
    here.send("GET", "/", headers=head)
    here.send("POST", "/api/v1/secrets", json.dumps({canary("field"): canary("value")}).encode(), head)
    here.send("POST", "/", b"secret=a", FORM | {"X-Forwarded-For": canary("address")})
    words |= {
        "id": secret.id,
        "token": secret.token,
        "link": secret.link.partition("#")[2],
        "receipt": secret.receipt_token,
        "key": key,
        "proof": guarded.proof or "none",
        "API token": agent["X-API-Key"],
        "answer token": asked.body["answer_token"],
        "label": asked.id,
    }
    assert len(log.requests) >= 45
    assert [kind for kind, word in words.items() if word.lower() in log.text.lower()] == []
    assert "127.0.0.1" not in log.text
    assert {line["route"] for line in log.requests} >= {"-", "/", "/s", "/s#<path:rest>", "/metrics"}
    assert {line["method"] for line in log.requests} <= {"-", "GET", "POST", "OPTIONS"}


def test_a_request_id_is_ours_and_told_only_with_a_fault_of_ours(
    here: InProcess, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two answers about what does not exist are the same to the last byte: there is no room for an id."""
    unknown = [here.get(f"/api/v1/secrets/{'A' * 22}", Authorization=f"Bearer {'A' * 43}") for _ in range(2)]
    assert unknown[0].headers == unknown[1].headers
    assert unknown[0].body == unknown[1].body
    created = Secret.create(here)
    assert all("x-request-id" not in answer.headers for answer in (*unknown, created.state(here)))

    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(here.service.vault, "state", broken)
    answer = here.get(
        f"/api/v1/secrets/{created.id}", **created.auth(), **{"X-Request-Id": "0123456789abcdef-theirs"}
    )
    assert answer.status == 500
    mine = [line for line in log.lines if line.get("request") == answer.headers["x-request-id"]]
    assert [line["message"] for line in mine] == ["unforeseen", "request"]
    assert mine[1]["problem"] == "internal-error"
    assert "theirs" not in log.text


def test_every_line_of_a_request_has_its_id(tmp_path: Path) -> None:
    with backends(tmp_path) as backs, web(backs, tmp_path) as running:
        client = running.client()
        secret = Secret.create(client)
        backs.ledger.kill()
        answer = secret.claim(client)
        assert answer.status == 503
    lines = [json.loads(line) for line in running.log.read_text().splitlines()]
    mine = [line for line in lines if line.get("request") == answer.headers["x-request-id"]]
    assert [line["message"] for line in mine][-1] == "request"
    assert any(line["message"].startswith("ledger-unavailable") for line in mine[:-1])
    assert mine[-1]["problem"] == "ledger-unavailable"


SHORTENED = {
    "203.0.113.77": "203.0.113.0/24",
    "::ffff:203.0.113.77": "203.0.113.0/24",
    "2001:db8:1234:5678::9": "2001:db8:1234::/48",
    "fe80::%kanarie": "fe80::/48",
    "fe80::%\udc80": "fe80::/48",
    "not an address": "-",
    "": "-",
}


@pytest.mark.parametrize(("address", "network"), SHORTENED.items())
def test_a_client_is_logged_as_a_network_and_only_if_asked_for(
    backs: Backends, log: Log, address: str, network: str
) -> None:
    for setting in ("true", "false"):
        app = backs.app(log_clients=setting)
        app.test_client().get("/healthz", environ_base={"REMOTE_ADDR": address})
    with_client, without = log.requests
    assert with_client["client"] == network
    assert "client" not in without
    assert not address or address not in log.text


def test_a_request_is_answered_whatever_becomes_of_its_line(
    backs: Backends, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "shortened", lambda _: "no text at all \udc80")
    assert backs.app(log_clients="true").test_client().get("/healthz").status_code == 200
    assert log.requests == []


def test_where_standard_error_is_closed_nothing_is_written_to_what_takes_its_number() -> None:
    program = """
import os, logging
from pathlib import Path
from secretsvc.web import logs
number = os.open("taken", os.O_CREAT | os.O_RDWR)
logs.configure("info")
logging.getLogger("secretsvc").warning("something")
logs.write_request("id", "GET", "/", 200, 0.1, "", "")
print(number, Path("taken").read_text())
"""
    with tempfile.TemporaryDirectory() as folder:
        argv = ["/bin/sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, program]
        ran = subprocess.run(
            argv, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, timeout=60
        )
    assert (ran.returncode, ran.stdout) == (0, b"2 \n")


def test_a_line_is_json_whatever_it_says(log: Log) -> None:
    odd = 'a\nb"c\\ d\u2028e\x00f\U0001f511'
    logging.getLogger("secretsvc.odd").warning("%s", odd, extra={"fields": {"path": Path("/x"), "odd": odd}})
    [line] = log.lines
    assert (line["message"], line["odd"], line["path"]) == (odd, odd, "/x")
    assert log.text.count("\n") == 1


def test_a_route_has_one_name_over_all_versions_of_its_files(here: InProcess, log: Log) -> None:
    icon = re.search(r'href="(/static/\w+/icon\.svg)"', here.get("/", **BROWSER).text)
    assert icon is not None
    here.get(icon[1])
    assert log.requests[-1]["route"] == "/static/<path:filename>"
