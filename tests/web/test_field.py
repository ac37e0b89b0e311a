"""What goes wrong elsewhere: the known failures of a well-known service of our kind, one test each.

Parallel reads have tests of their own.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from secretsvc.envelope import b64
from tests.harness import Backends, InProcess, Secret, backends, web
from tests.web.common import BROWSER, FORM, dump, is_problem
from tests.web.conftest import Live


@pytest.mark.parametrize("cut", [0, 1, 10, 42])
def test_a_cut_key_destroys_nothing_and_is_no_500(here: InProcess, backs: Backends, cut: int) -> None:
    secret = Secret.create(here)
    key = b64(secret.key)[:cut]
    before = dump(backs)
    for answer in (
        here.post("/api/v1/open", {"link": f"http://h/s#{key}"}),
        here.post("/api/v1/open", {"key": key}),
        here.send("POST", "/open", f"link=http://h/s%23{key}".encode(), FORM),
    ):
        assert answer.status == 400, answer.text
    head = {"Authorization": f"Bearer {secret.token[:cut]}"}
    is_problem(here.post(f"/api/v1/secrets/{secret.id}/claim", {}, head), 401, "unauthorized")
    is_problem(
        here.post(f"/api/v1/secrets/{secret.id[: cut // 2]}x/claim", {}, secret.auth()), 404, "not-found"
    )
    assert dump(backs) == before
    assert secret.unseal(secret.claim(here)) == b"hunter2"


@pytest.mark.parametrize("position", [0, 20, 41])
def test_a_mistyped_key_is_404_and_destroys_nothing(here: InProcess, backs: Backends, position: int) -> None:
    secret = Secret.create(here)
    key = b64(secret.key)
    typed = key[:position] + ("A" if key[position] != "A" else "B") + key[position + 1 :]
    before = dump(backs)
    is_problem(here.post("/api/v1/open", {"key": typed}), 404, "not-found")
    assert dump(backs) == before
    assert secret.claim(here).status == 200


def test_a_token_or_id_naming_another_key_of_the_store_returns_and_deletes_nothing(
    here: InProcess, backs: Backends
) -> None:
    here.service.tokens.add("anna", "agent")
    secret = Secret.create(here)
    client = backs.store.client()
    client.set("foreign", "value")
    before = dump(backs)
    names = [key.decode("latin-1") for key in client.keys("*")]
    names += [
        f"ss:{{{secret.id}}}:r",
        f"{{{secret.id}}}",
        f"{secret.id}}}:r",
        "*",
        "foreign",
        "..",
        "%2e%2e",
        "\x00",
    ]
    assert len(names) >= 12
    for name in names:
        quoted = "".join(f"%{ord(character):02x}" for character in name)
        for id in (quoted, name.replace("/", "") if name.isprintable() and "%" not in name else quoted):
            for method, what in (
                ("GET", ""),
                ("POST", "/claim"),
                ("POST", "/done"),
                ("POST", "/revoke"),
                ("POST", "/unlock"),
            ):
                answer = here.send(method, f"/api/v1/secrets/{id}{what}", None, secret.auth())
                assert answer.status in (404, 405), (name, answer.text)
                assert b"value" not in answer.body
        for head in (
            {"Authorization": f"Bearer {name}"},
            {"Authorization": f"Bearer {b64(name.encode('latin-1'))}"},
        ):
            if name.isprintable():
                answer = here.send("POST", f"/api/v1/secrets/{secret.id}/claim", None, head)
                assert answer.status in (401, 404), (name, answer.text)
        assert here.post("/api/v1/open", {"link": name}).status == 400
        assert here.post("/api/v1/open", {"key": name}).status == 400
    assert dump(backs) == before
    assert client.get("foreign") == b"value"


def test_a_forged_host_is_in_no_link(live: Live) -> None:
    head = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    answer = live.client().post("/api/v1/secrets", {"secret": "x", "expires_in": 60}, head)
    assert answer.status == 201
    assert answer.json["link"].startswith(f"{live.url}/s#")
    assert answer.json["receipt_url"].startswith(f"{live.url}/receipt#")
    page = live.client().send("POST", "/", b"secret=x", {**FORM, **BROWSER, **head})
    assert f"{live.url}/s#" in page.text
    assert "evil" not in page.text


def test_health_touches_the_servers(tmp_path: Path) -> None:
    with backends(tmp_path) as backs, web(backs, tmp_path) as running:
        client = running.client()
        assert (client.get("/readyz").status, client.get("/readyz").text) == (200, "store: ok\nledger: ok\n")
        for server, text in (
            (backs.store, "store: unavailable\nledger: ok\n"),
            (backs.ledger, "store: ok\nledger: unavailable\n"),
        ):
            server.kill()
            found = client.get("/readyz")
            assert (found.status, found.text) == (503, text)
            assert client.get("/healthz").status == 200  # the process itself is well
            server.start()
            assert client.get("/readyz").status == 200


def test_the_key_is_in_no_path_and_no_log(tmp_path: Path) -> None:
    with backends(tmp_path) as backs, web(backs, tmp_path, log_level="debug") as running:
        client = running.client()
        link = client.send("POST", "/", b"secret=x", FORM).text.strip()
        key = link.partition("#")[2]
        assert link == f"{running.url}/s#{key}"  # what stands behind # is never sent
        assert client.send("GET", f"/s%23{key}").status == 400  # but a mail program may make a path of it
        assert client.send("GET", f"/s/{key}").status == 404
        body = f"link={running.url}/s%23{key}".encode()
        assert client.send("POST", "/open", body, FORM).body == b"x"
        assert client.send("POST", "/open", body, FORM).status == 410
    log = running.log.read_text()
    assert log.count('"request"') >= 5
    assert key not in log
    assert '"route":"/s#<path:rest>"' in log


def test_nothing_that_only_looks_opens(here: InProcess, backs: Backends) -> None:
    secret = Secret.create(here)
    before = dump(backs)
    for path in (
        "/s",
        f"/s?{b64(secret.key)}",
        f"/open?link={secret.link}",
        f"/api/v1/secrets/{secret.id}/claim",
    ):
        for head in ({}, BROWSER, secret.auth()):
            here.send("GET", path, None, head)
            here.send("HEAD", path, None, head)
    assert dump(backs) == before
    assert secret.claim(here).status == 200


def test_whoever_has_only_the_id_can_do_nothing(here: InProcess, backs: Backends) -> None:
    secret = Secret.create(here)
    before = dump(backs)
    for what in ("claim", "done", "report", "revoke", "unlock"):
        path = f"/api/v1/secrets/{secret.id}/{what}"
        is_problem(here.post(path, {}), 401, "unauthorized")
        is_problem(here.post(path, {}, {"Authorization": f"Bearer {b64(os.urandom(32))}"}), 404, "not-found")
    is_problem(
        here.send("DELETE", f"/api/v1/secrets/{secret.id}", None, secret.auth()), 405, "method-not-allowed"
    )
    assert dump(backs) == before
