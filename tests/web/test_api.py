"""The JSON API: every call, every field, every status."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import statistics
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secretsvc import atrest, envelope
from secretsvc.atrest import sha256
from secretsvc.envelope import Payload, b64, unb64
from secretsvc.errors import Conflict, NotFound
from secretsvc.settings import MAX_EXPIRES_IN
from tests.harness import Answer, Backends, Client, InProcess, Secret, new_idempotency_key
from tests.web.common import (
    BROWSER,
    Asked,
    dump,
    expire,
    is_problem,
    receipt_key,
    staff,
    store,
    with_proof,
    wrong_password,
)
from tests.web.conftest import Live

JSON = {"Content-Type": "application/json"}
CREATE = "/api/v1/secrets"


def server_sealed(**more: Any) -> dict[str, Any]:
    return {"secret": "hunter2", "expires_in": 3600, **more}


# --- what comes back -----------------------------------------------------------------------------------


def test_created_by_the_client_has_these_fields(here: InProcess) -> None:
    secret = Secret.make(language="de", expires_in=120)
    answer = here.post(CREATE, secret.body)
    assert (answer.status, answer.headers["content-type"]) == (201, "application/json")
    found = answer.json
    assert set(found) == {
        "id",
        "state",
        "created_at",
        "expires_at",
        "sealed_by",
        "receipt_token",
        "receipt_url",
    }
    assert (found["id"], found["state"], found["sealed_by"]) == (secret.id, "sealed", "client")
    assert len(unb64(found["receipt_token"])) == 32
    origin = "http://127.0.0.1:8000"
    assert found["receipt_url"] == f"{origin}/receipt#" + b64(unb64(secret.id) + unb64(found["receipt_token"]))
    began, ends = (time.strptime(found[name], "%Y-%m-%dT%H:%M:%SZ") for name in ("created_at", "expires_at"))
    assert time.mktime(ends) - time.mktime(began) == 120


def test_created_by_the_server_also_has_the_link(here: InProcess) -> None:
    answer = here.post(CREATE, server_sealed(name="a.txt", type="text/plain", language="de"))
    assert answer.status == 201
    assert answer.json["sealed_by"] == "server"
    assert answer.json["link"].startswith("http://127.0.0.1:8000/s#")
    key = envelope.read_link(answer.json["link"])
    assert b64(envelope.derive_handles(key).id) == answer.json["id"]
    opened = here.post("/api/v1/open", {"link": answer.json["link"]})
    described = {"name": "a.txt", "type": "text/plain"}
    assert opened.json == {"secret": b64(b"hunter2"), "encoding": "base64", **described}  # a file is bytes


def test_state_tells_each_role_its_own(here: InProcess) -> None:
    secret = store(here, with_proof(language="de"))
    wrong_password(here, secret)
    link, sender = secret.state(here), secret.state(here, sender=True)
    assert link.status == sender.status == 200
    assert set(link.json) == {
        "id",
        "kind",
        "state",
        "password",
        "size",
        "created_at",
        "expires_at",
        "language",
    }
    assert set(sender.json) == {*link.json, "tries_left"}
    assert sender.json["tries_left"] == 4
    assert (link.json["kind"], link.json["state"], link.json["password"]) == ("secret", "sealed", True)
    assert (link.json["size"], link.json["language"]) == (285, "de")


@pytest.mark.parametrize(
    ("sent", "opened"),
    [
        ({"secret": "päß\r\n\u202e\x00"}, {"secret": "päß\r\n\u202e\x00", "encoding": "utf-8"}),
        ({"secret": "\ufeffbom"}, {"secret": "\ufeffbom", "encoding": "utf-8"}),
        (
            {"secret": b64(b"\xff\xfe"), "encoding": "base64"},
            {"secret": b64(b"\xff\xfe"), "encoding": "base64"},
        ),
        ({"secret": b64(b"text"), "encoding": "base64"}, {"secret": "text", "encoding": "utf-8"}),
        (
            {"secret": "key", "name": "ä b.pem"},
            {"secret": b64(b"key"), "encoding": "base64", "name": "ä b.pem"},
        ),
        ({"secret": "x", "type": "text/x"}, {"secret": "x", "encoding": "utf-8", "type": "text/x"}),
    ],
)
def test_what_the_server_seals_it_opens_unaltered(
    here: InProcess, sent: dict[str, Any], opened: dict[str, Any]
) -> None:
    created = here.post(CREATE, {"expires_in": 60, **sent})
    assert here.post("/api/v1/open", {"link": created.json["link"]}).json == opened


@pytest.mark.parametrize("form", ["link", "key", "other host", "%23", "trailing"])
def test_open_takes_link_or_key(here: InProcess, form: str) -> None:
    link = here.post(CREATE, server_sealed()).json["link"]
    key = link.partition("#")[2]
    body = {
        "link": {"link": link},
        "key": {"key": key},
        "other host": {"link": f"https://elsewhere.example/s#{key}"},
        "%23": {"link": link.replace("#", "%23")},
        "trailing": {"link": f"  {link}>.\n"},
    }[form]
    assert here.post("/api/v1/open", body).json == {"secret": "hunter2", "encoding": "utf-8"}
    is_problem(here.post("/api/v1/open", body), 410, "opened")


def test_open_with_password(here: InProcess, backs: Backends) -> None:
    link = here.post(CREATE, server_sealed(password="sesam")).json["link"]
    is_problem(here.post("/api/v1/open", {"link": link}), 422, "invalid", "password")
    is_problem(
        here.post("/api/v1/open", {"link": link, "password": "\u0000" * 1025}), 422, "invalid", "password"
    )
    wrong = is_problem(here.post("/api/v1/open", {"link": link, "password": "x"}), 403, "wrong-password")
    assert (wrong["tries_left"], wrong["state"]) == (4, "sealed")
    assert here.post("/api/v1/open", {"link": link, "password": "sesam"}).json["secret"] == "hunter2"


def test_the_secret_is_released_only_by_an_opening(here: InProcess) -> None:
    secret = Secret.create(here, b"canary-content")
    answer = secret.claim(here)
    assert set(answer.json) == {"envelope"}
    assert secret.unseal(answer) == b"canary-content"


# --- bodies --------------------------------------------------------------------------------------------

DEEP = 200_000
NOT_JSON = {
    "nothing": b"",
    "cut": b'{"secret": "a"',
    "deep": b'{"secret":"a","expires_in":60,"x":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep field": b'{"secret":' + b"[" * DEEP + b"]" * DEEP + b',"expires_in":60}',
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "array": b"[]",
    "string": b'"secret"',
    "null": b"null",
    "NUL": b'{"secret":"a\x00","expires_in":60}',
    "BOM": b'\xef\xbb\xbf{"secret":"a","expires_in":60}',
    "UTF-16": '{"secret":"a","expires_in":60}'.encode("utf-16"),
    "bad UTF-8": b'{"secret":"\xff\xfe","expires_in":60}',
    "surrogate": b'{"secret":"\\ud800","expires_in":60}',
    "surrogate name": b'{"secret":"a","name":"\\udc00","expires_in":60}',
    "NaN": b'{"secret":"a","expires_in":NaN}',
    "two keys": b'{"secret":"a","secret":"a","expires_in":60}',
    "two keys, one escaped": b'{"secret":"a","s\\u0065cret":"a","expires_in":60}',
    "trailing": b'{"secret":"a","expires_in":60} x',
    "single quotes": b"{'secret':'a','expires_in':60}",
}


@pytest.mark.parametrize("what", NOT_JSON)
def test_what_is_not_one_json_object_is_400_and_stores_nothing(
    here: InProcess, backs: Backends, what: str
) -> None:
    before = dump(backs)
    is_problem(here.send("POST", CREATE, NOT_JSON[what], JSON), 400, "damaged", "body")
    assert dump(backs) == before


@pytest.mark.parametrize("what", NOT_JSON)
def test_no_route_answers_5xx_to_what_is_not_json(here: InProcess, what: str) -> None:
    secret = Secret.create(here)
    asked = Asked.create(here, staff(here))
    sender = secret.auth(secret.receipt_token)
    for path, head in (
        ("/api/v1/open", {}),
        ("/api/v1/requests", staff(here, "bert")),
        (f"/api/v1/secrets/{secret.id}/claim", secret.auth()),
        (f"/api/v1/secrets/{secret.id}/done", secret.auth()),
        (f"/api/v1/secrets/{secret.id}/report", secret.auth()),
        (f"/api/v1/secrets/{secret.id}/revoke", sender),
        (f"/api/v1/secrets/{secret.id}/unlock", sender),
        (f"/api/v1/requests/{asked.id}/answer", asked.answerer),
    ):
        if NOT_JSON[what] or "open" in path or "requests" in path:  # elsewhere no body is an empty object
            answer = here.send("POST", path, NOT_JSON[what], JSON | head)
            assert answer.status in (400, 413, 422), (path, answer.text)
    assert secret.state(here).json["state"] == "sealed"
    assert here.get(f"/api/v1/requests/{asked.id}", **asked.answerer).json["state"] == "waiting"


def field_errors() -> list[tuple[str, Any, int]]:
    """Field, value, status: a value that cannot be decoded is 400, one that is refused 422."""
    return [
        ("id", b64(os.urandom(15)), 400),
        ("id", b64(os.urandom(16)) + "=", 400),
        ("id", 5, 400),
        ("id", None, 400),
        ("token", b64(os.urandom(31)), 400),
        ("token", "", 400),
        ("token", b64(os.urandom(32))[:-1] + "B", 400),  # non-zero trailing bits
        ("token", " " + b64(os.urandom(32)), 400),
        ("proof", b64(os.urandom(33)), 400),
        ("proof", [], 400),
        ("envelope", "", 400),
        ("envelope", "!!!", 400),
        ("envelope", {}, 400),
        ("envelope", b64(b"\x01" + os.urandom(28)), 400),  # no payload
        ("envelope", b64(b"\x01" + os.urandom(285)), 400),
        ("envelope", b64(b"\x02" + os.urandom(48 + 256)), 400),  # an answer
        ("envelope", b64(b"\x03" + os.urandom(284)), 400),  # with a password, and no proof
        ("envelope", b64(b"\x04" + os.urandom(284)), 400),
        ("envelope", b64(b"\x01" + os.urandom(29 + 256)), 400),
        ("language", "fr", 422),
        ("language", "DE", 422),
        ("language", 1, 422),
        ("label", "", 422),
        ("label", "x" * 201, 422),
        ("label", "a\nb", 422),
        ("label", 1, 422),
    ]


@pytest.mark.parametrize(("field", "value", "status"), field_errors())
def test_a_refused_field_of_the_client_is_named_and_nothing_stored(
    here: InProcess, backs: Backends, field: str, value: Any, status: int
) -> None:
    agent = staff(here)
    before = dump(backs)
    body = Secret.make().body | {field: value}
    kind = {400: "damaged", 422: "invalid"}[status]
    found = is_problem(here.post(CREATE, body, agent), status, kind, field)
    assert len(found["errors"]) == 1
    assert dump(backs) == before


def test_a_proof_needs_an_envelope_with_a_password(here: InProcess, backs: Backends) -> None:
    before = dump(backs)
    body = Secret.make().body | {"proof": b64(os.urandom(32))}
    is_problem(here.post(CREATE, body), 400, "damaged", "envelope")
    assert dump(backs) == before


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("secret", "", 422),
        ("secret", None, 422),
        ("secret", 1, 422),
        ("encoding", "hex", 422),
        ("encoding", None, 422),
        ("name", "", 422),
        ("name", "a/b", 422),
        ("name", "a\\b", 422),
        ("name", "..", 422),
        ("name", "a\r\nX: y", 422),
        ("name", "\u202egpj.exe", 422),
        ("name", "ä" * 128, 422),
        ("name", 1, 422),
        ("type", "a\nb", 422),
        ("type", "x" * 128, 422),
        ("type", 1, 422),
        ("password", "x" * 1025, 422),
        ("password", 1, 422),
        ("language", "fr", 422),
        ("label", "", 422),
    ],
)
def test_a_refused_field_for_the_server_is_named_and_nothing_stored(
    here: InProcess, backs: Backends, field: str, value: Any, status: int
) -> None:
    agent = staff(here)
    before = dump(backs)
    is_problem(here.post(CREATE, server_sealed(**{field: value}), agent), status, "invalid", field)
    assert dump(backs) == before


def test_base64_that_does_not_decode_is_400(here: InProcess, backs: Backends) -> None:
    before = dump(backs)
    for text in ("AA==", "A", "AB", "+/+/", "a b"):
        is_problem(here.post(CREATE, server_sealed(secret=text, encoding="base64")), 400, "damaged", "secret")
    assert dump(backs) == before


EXPIRIES = [
    "0",
    "-1",
    "59",
    "2678401",
    "1e18",
    "1e400",
    "1" + "0" * 400,
    "1.5",
    "60.0",
    "true",
    "null",
    '"1h"',
    "[]",
]


@pytest.mark.parametrize("value", EXPIRIES)
def test_an_expiry_out_of_range_is_422_and_named(here: InProcess, backs: Backends, value: str) -> None:
    agent = staff(here)
    before = dump(backs)
    bodies = {CREATE: [Secret.make().body, server_sealed()], "/api/v1/requests": [Asked.make().body]}
    for path, wishes in bodies.items():
        for wish in wishes:
            data = json.dumps({**wish, "expires_in": "HERE"}).replace('"HERE"', value).encode()
            is_problem(here.send("POST", path, data, JSON | agent), 422, "invalid", "expires_in")
    assert dump(backs) == before


def test_the_ends_of_the_range_are_inside(here: InProcess, backs: Backends) -> None:
    for expires_in in (60, MAX_EXPIRES_IN):
        assert here.post(CREATE, server_sealed(expires_in=expires_in)).status == 201
    client = backs.store.client()
    assert all(client.ttl(key) > 0 for key in client.keys("ss:{*"))


ALL_BODIES: dict[str, Callable[[], dict[str, Any]]] = {
    "client": lambda: Secret.make().body,
    "server": server_sealed,
    "request": lambda: Asked.make().body,
    "answer": lambda: {"envelope": "AA", "consents": []},
    "claim": dict,
    "open": lambda: {"link": "x"},
    "done": dict,
    "report": dict,
    "revoke": dict,
    "unlock": dict,
}


@pytest.mark.parametrize("what", ALL_BODIES)
def test_an_unknown_field_is_422_and_named(here: InProcess, backs: Backends, what: str) -> None:
    agent = staff(here)
    secret = Secret.create(here)
    asked = Asked.create(here, agent)
    path, head = {
        "client": (CREATE, {}),
        "server": (CREATE, {}),
        "request": ("/api/v1/requests", agent),
        "answer": (f"/api/v1/requests/{asked.id}/answer", asked.answerer),
        "open": ("/api/v1/open", {}),
    }.get(
        what,
        (
            f"/api/v1/secrets/{secret.id}/{what}",
            secret.auth(secret.receipt_token if what in ("revoke", "unlock") else None),
        ),
    )
    before = dump(backs)
    is_problem(here.post(path, ALL_BODIES[what]() | {"views": 2}, head), 422, "invalid", "views")
    assert dump(backs) == before


@pytest.mark.parametrize("missing", ["id", "token", "envelope", "expires_in"])
def test_a_missing_field_is_422_and_named(here: InProcess, missing: str) -> None:
    body = {name: value for name, value in Secret.make().body.items() if name != missing}
    is_problem(here.post(CREATE, body), 422, "invalid", missing)


@pytest.mark.parametrize(
    ("field", "value", "status", "kind"),
    [
        ("envelope", b64(b"\x01" + os.urandom(284)), 400, "damaged"),
        ("envelope", b64(b"\x02" + os.urandom(48)), 400, "damaged"),
        ("envelope", b64(b"\x02" + os.urandom(49 + 256)), 400, "damaged"),
        ("envelope", None, 400, "damaged"),
        ("consents", None, 422, "invalid"),
        ("consents", "all", 422, "invalid"),
        ("consents", ["Not A Name"], 422, "invalid"),
        ("consents", ["a"] * 21, 422, "invalid"),
        ("cost_accepted", "yes", 422, "invalid"),
        ("inquiry", "a\nb", 422, "invalid"),
        ("product", "x" * 201, 422, "invalid"),
    ],
)
def test_a_refused_field_of_an_answer_is_named_and_nothing_stored(
    here: InProcess, backs: Backends, field: str, value: Any, status: int, kind: str
) -> None:
    asked = Asked.create(here, staff(here))
    before = dump(backs)
    body = {"envelope": asked.sealed(), "consents": []} | {field: value}
    is_problem(asked.answer(here, body), status, kind, field)
    assert dump(backs) == before


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("answer_token", "x", 400),
        ("token", "x", 400),
        ("id", "x", 400),
        ("form", "Root Access", 422),
        ("form", "", 422),
    ],
)
def test_a_refused_field_of_a_request_is_named(here: InProcess, field: str, value: str, status: int) -> None:
    kind = {400: "damaged", 422: "invalid"}[status]
    is_problem(
        here.post("/api/v1/requests", Asked.make(**{field: value}).body, staff(here)), status, kind, field
    )


@pytest.mark.parametrize("body", [{}, {"link": "x", "key": "y"}, {"link": None}])
def test_open_takes_exactly_one_of_link_and_key(here: InProcess, body: dict[str, Any]) -> None:
    is_problem(here.post("/api/v1/open", body), 422, "invalid", "link")


@pytest.mark.parametrize(
    ("field", "value"), [("link", "http://h/s#short"), ("link", 5), ("key", "A" * 42), ("key", 1)]
)
def test_open_refuses_a_damaged_link(here: InProcess, field: str, value: Any) -> None:
    is_problem(here.post("/api/v1/open", {field: value}), 400, "damaged", field)


TYPES = [
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonp",
]


@pytest.mark.parametrize("content_type", TYPES)
def test_another_content_type_is_415(here: InProcess, backs: Backends, content_type: str) -> None:
    secret = Secret.create(here)
    head = {"Content-Type": content_type} if content_type else {}
    before = dump(backs)
    for path, auth in (
        (CREATE, {}),
        ("/api/v1/open", {}),
        (f"/api/v1/secrets/{secret.id}/claim", secret.auth()),
        (f"/api/v1/secrets/{secret.id}/revoke", secret.auth(secret.receipt_token)),
    ):
        is_problem(here.send("POST", path, b"{}", head | auth), 415, "unsupported-media-type")
    assert dump(backs) == before


def test_a_claim_needs_no_body_at_all(here: InProcess) -> None:
    secret = Secret.create(here)
    assert here.send("POST", f"/api/v1/secrets/{secret.id}/claim", None, secret.auth()).status == 200


# --- sizes ---------------------------------------------------------------------------------------------


def test_more_than_the_configured_size_is_413(here: InProcess, backs: Backends) -> None:
    limit = here.service.settings.max_secret_bytes
    before = dump(backs)
    is_problem(here.post(CREATE, server_sealed(secret="x" * (limit + 1))), 413, "too-large")
    big = b"\x01" + bytes(28 + 256 * (limit // 256 + 8))
    answer = here.post(CREATE, Secret.make().body | {"envelope": b64(big)})
    is_problem(answer, 413, "too-large", "envelope")
    assert dump(backs) == before
    assert here.post(CREATE, server_sealed(secret="x" * limit)).status == 201
    assert Secret.create(here, os.urandom(limit)).claim(here).status == 200


def test_a_secret_of_the_full_size_fits_however_it_is_escaped(here: InProcess) -> None:
    limit = here.service.settings.max_secret_bytes
    answer = here.post(CREATE, server_sealed(secret="\x01" * limit))
    assert answer.status == 201, answer.text
    assert here.post("/api/v1/open", {"link": answer.json["link"]}).json["secret"] == "\x01" * limit


def raw(port: int, data: bytes) -> bytes:
    """Bytes in, bytes out, over a real connection."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(data)
        found = bytearray()
        while chunk := connection.recv(65536):
            found += chunk
    return bytes(found)


def test_a_body_over_the_limit_is_413_by_its_announced_length(live: Live) -> None:
    before = dump(live.backs)
    head = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    answer = raw(live.web.port, f"{head}Content-Length: 99999999\r\n\r\n{{".encode())
    assert answer.startswith(b"HTTP/1.1 413"), answer
    assert b'"too-large"' in answer
    assert dump(live.backs) == before


def test_a_body_over_the_limit_is_413_in_chunks(live: Live) -> None:
    before = dump(live.backs)
    with socket.create_connection(("127.0.0.1", live.web.port), 10) as connection:
        head = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        sent = 0
        try:
            while sent < 64 * 2**20:
                connection.sendall(chunk)
                sent += 65536
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            pytest.fail("the server read it all")
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:  # lost in the reset; that it stopped reading is seen below
            answer = b"HTTP/1.1 413"
    assert answer.startswith(b"HTTP/1.1 413"), answer
    assert sent < 32 * 2**20
    assert dump(live.backs) == before


@pytest.mark.parametrize("over", [0, 1, 100_000])
def test_chunks_beyond_the_limit_are_413_and_not_taken_for_the_whole(live: Live, over: int) -> None:
    """So little too much that the server can read it: what it read is no body."""
    size = 6 * 2**20 + 65_536 + over
    body = b"secret=" + b"%41" * (size // 3)
    body += b"&" * (size - len(body))
    head = (
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"
    )
    data = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    assert raw(live.web.port, data).startswith(b"HTTP/1.1 413")


def test_a_body_that_breaks_off_stores_nothing(live: Live) -> None:
    """Neither a part of the secret, nor a key that would refuse the whole when it comes again."""
    key, form = new_idempotency_key(), b"secret=first-half-second-half"
    head = (
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"
        f"Idempotency-Key: {key}\r\nContent-Length: {len(form)}\r\n\r\n"
    ).encode()
    before = dump(live.backs)
    with socket.create_connection(("127.0.0.1", live.web.port), 10) as connection:
        connection.sendall(head + form[:17])
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")
    assert dump(live.backs) == before
    answer = raw(live.web.port, head + form)
    assert answer.startswith(b"HTTP/1.1 201"), answer


def test_chunks_below_the_limit_are_read(live: Live) -> None:
    body = json.dumps(server_sealed()).encode()
    head = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
    data = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    assert raw(live.web.port, data).startswith(b"HTTP/1.1 201")


# --- methods and addresses -----------------------------------------------------------------------------


def routes(here: InProcess) -> list[tuple[str, set[str]]]:
    """Every route with its methods."""
    return [(rule.rule, set(rule.methods or ())) for rule in here.app.url_map.iter_rules()]


def test_a_method_that_does_not_fit_is_405_with_allow(here: InProcess, backs: Backends) -> None:
    secret = Secret.create(here)
    before = dump(backs)
    methods: dict[str, set[str]] = {}
    for rule, allowed in routes(here):
        path = (
            rule.replace("<id>", secret.id).replace("<path:filename>", "icon.svg").replace("<path:rest>", "x")
        ).replace("<any(revoke, unlock):what>", "revoke")
        methods.setdefault(path.replace("#", "%23"), set()).update(allowed)
    assert len(methods) >= 20
    for path, allowed in methods.items():
        if re.fullmatch("/desk/[^/]+/[^/]+", path):
            allowed |= {"GET", "HEAD"}  # a ticket may be called so
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"} - allowed:
            answer = here.send(method, path, None, secret.auth())
            assert answer.status == 405, (method, path)
            assert set(answer.headers["allow"].split(", ")) == allowed
            if path.startswith("/api/") and method != "HEAD":
                is_problem(answer, 405, "method-not-allowed")
    assert dump(backs) == before


def test_an_address_that_is_not_there_is_404(here: InProcess) -> None:
    for path in (
        "/api/v1/",
        "/api/v1/secret",
        "/api/v2/secrets",
        "/api/v1/secrets/",
        "/api/v1/secrets/a/b",
        "/api/v1/%00",
    ):
        is_problem(here.get(path), 404, "not-found")


def test_no_redirect_ever_names_the_claimed_host(live: Live) -> None:
    for target in ("http://evil.example", "//", "///s", "//evil.example/s", "/api/v1//secrets"):
        answer = raw(
            live.web.port, f"GET {target} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode()
        )
        assert b"evil" not in answer, target
        assert b"\r\nlocation" not in answer.lower(), target


# --- who asks ------------------------------------------------------------------------------------------

BY_TOKEN = [
    ("GET", "/api/v1/secrets/{id}"),
    ("POST", "/api/v1/secrets/{id}/claim"),
    ("POST", "/api/v1/secrets/{id}/done"),
    ("POST", "/api/v1/secrets/{id}/report"),
    ("POST", "/api/v1/secrets/{id}/revoke"),
    ("POST", "/api/v1/secrets/{id}/unlock"),
    ("GET", "/api/v1/requests/{id}"),
    ("POST", "/api/v1/requests/{id}/answer"),
]
NO_TOKENS = {
    "absent": {},
    "empty": {"Authorization": ""},
    "no token": {"Authorization": "Bearer"},
    "short": {"Authorization": "Bearer " + "A" * 42},
    "long": {"Authorization": "Bearer " + "A" * 44},
    "stray bits": {"Authorization": "Bearer " + "A" * 42 + "B"},
    "padded": {"Authorization": "Bearer " + "A" * 43 + "="},
    "basic": {"Authorization": "Basic " + "A" * 43},
    "not ASCII": {"Authorization": "Bearer " + "é" * 43},
    "api key": {"X-API-Key": "sst_" + "A" * 43},
}


@pytest.mark.parametrize("what", NO_TOKENS)
@pytest.mark.parametrize(("method", "path"), BY_TOKEN)
def test_a_token_absent_or_malformed_is_401_whether_the_id_is_known_or_not(
    here: InProcess, method: str, path: str, what: str
) -> None:
    secret = Secret.create(here)
    answers = []
    for id in (secret.id, b64(os.urandom(16)), "malformed"):
        answers.append(here.send(method, path.format(id=id), b"not json", NO_TOKENS[what]))
        is_problem(answers[-1], 401, "unauthorized")
    assert answers[0] == answers[1]
    assert secret.claim(here).status == 200


def in_every_state(here: InProcess, backs: Backends) -> dict[str, Secret | Asked]:
    """One secret in each state there is."""
    agent = staff(here)
    found: dict[str, Secret | Asked] = {
        "sealed": Secret.create(here),
        "with password": store(here, with_proof()),
        "locked": (locked := store(here, with_proof())),
        "opened": (opened := Secret.create(here)),
        "within the window": (window := Secret.create(here)),
        "revoked": (revoked := Secret.create(here)),
        "expired": (expired := Secret.create(here)),
        "waiting": Asked.create(here, agent),
        "answered": (answered := Asked.create(here, agent)),
    }
    assert wrong_password(here, locked, 5).json["state"] == "locked"
    assert opened.claim(here).status == 200
    assert window.claim(here, new_idempotency_key()).status == 200
    assert revoked.call(here, "revoke", sender=True).status == 200
    expire(backs, expired)
    assert answered.answer(here).status == 201
    return found


def test_404_is_the_same_for_every_route_state_and_reason(here: InProcess, backs: Backends) -> None:
    """Unknown id, wrong token, another role's token, malformed id: one body, one set of headers."""
    every = in_every_state(here, backs)
    before = dump(backs)
    reference = here.get(f"/api/v1/secrets/{b64(os.urandom(16))}", Authorization="Bearer " + "A" * 43)
    is_problem(reference, 404, "not-found")
    assert set(reference.json) == {"type", "title", "status", "detail"}  # no instance, no request id
    bodies: list[tuple[bytes | None, dict[str, str]]] = [
        (b"{}", JSON),
        (b"not json", JSON),
        (b'{"views": 2}', {"Content-Type": "text/plain"}),
        (None, {}),
        (b"x" * 7_000_000, JSON | {"Idempotency-Key": "1"}),
    ]
    count = 0
    for state, secret in every.items():
        others = [b64(os.urandom(32)), secret.id + "A" * 21]
        for method, path in BY_TOKEN:
            roles = {"link": secret.token, "sender": secret.receipt_token}
            if isinstance(secret, Asked):
                roles["answerer"] = b64(secret.request.answer_token())
            fits = (
                ["answerer"]
                if "requests" in path
                else ["sender"]
                if path.endswith(("revoke", "unlock"))
                else ["link"]
            )
            if method == "GET" and "secrets" in path:
                fits.append("sender")
            tokens = others + [token for role, token in roles.items() if role not in fits]
            for number, token in enumerate(tokens):
                body, head = bodies[(count + number) % len(bodies)]
                answer = here.send(
                    method, path.format(id=secret.id), body, head | {"Authorization": f"Bearer {token}"}
                )
                assert answer == reference, (state, method, path)
                count += 1
            for id in (b64(os.urandom(16)), "x", secret.id + "=", secret.id[:-1], "ss:tokens", "é", "A" * 500):
                answer = here.send(
                    method, path.format(id=id), b"{}", JSON | {"Authorization": f"Bearer {secret.token}"}
                )
                assert answer == reference, (state, method, path, id)
                count += 1
    assert count > 700
    assert here.post("/api/v1/open", {"key": b64(os.urandom(32))}) == reference
    assert dump(backs) == before


def test_a_receipt_token_cannot_claim_and_a_link_token_cannot_revoke(here: InProcess) -> None:
    secret = Secret.create(here)
    receipt = secret.auth(secret.receipt_token)
    for what in ("claim", "done", "report"):
        is_problem(here.post(f"/api/v1/secrets/{secret.id}/{what}", {}, receipt), 404, "not-found")
    for what in ("revoke", "unlock"):
        is_problem(secret.call(here, what), 404, "not-found")
    assert secret.claim(here).status == 200


def test_an_invalid_api_token_is_401_where_one_is_read(here: InProcess, backs: Backends) -> None:
    agent = here.service.tokens.add("anna", "agent")
    secret = Secret.create(here)
    before = dump(backs)
    for token in ("", "x", "sst_" + "A" * 43, agent[:-1], agent + "A", agent.lower(), "é"):
        head = {"X-API-Key": token}
        is_problem(here.post(CREATE, server_sealed(), head), 401, "unauthorized")
        is_problem(here.post("/api/v1/requests", Asked.make().body, head), 401, "unauthorized")
        is_problem(secret.claim(here, None, None, **head), 401, "unauthorized")
        is_problem(here.post("/api/v1/open", {"link": secret.link}, head), 401, "unauthorized")
    assert dump(backs) == before
    here.service.tokens.revoke("anna")
    is_problem(here.post(CREATE, server_sealed(), {"X-API-Key": agent}), 401, "unauthorized")


def test_labels_are_for_staff(here: InProcess, backs: Backends) -> None:
    customer = {"X-API-Key": here.service.tokens.add("kunde", "customer")}
    agent = staff(here)
    before = dump(backs)
    for head in ({}, customer):
        for body in (server_sealed(label="T-1"), Secret.make(label="T-1").body):
            is_problem(here.post(CREATE, body, head), 403, "forbidden", "label")
    assert dump(backs) == before
    answer = here.post(CREATE, server_sealed(label="T-1"), agent)
    assert answer.status == 201
    assert backs.store.client().hget(receipt_key(answer.json["id"]), "v") == b"T-1"


def test_only_staff_create_where_the_setting_says_so(backs: Backends) -> None:
    here = InProcess(backs.app(create="staff"))
    customer = {"X-API-Key": here.service.tokens.add("kunde", "customer")}
    before = dump(backs)
    is_problem(here.post(CREATE, server_sealed()), 401, "unauthorized")
    is_problem(here.post(CREATE, server_sealed(), customer), 403, "forbidden")
    is_problem(here.post(CREATE, server_sealed(), {"X-API-Key": "sst_" + "A" * 43}), 401, "unauthorized")
    assert (
        here.send("POST", "/", b"secret=a", {"Content-Type": "application/x-www-form-urlencoded"}).status == 401
    )
    assert dump(backs) == before
    answer = here.post(CREATE, server_sealed(), staff(here))
    assert answer.status == 201
    assert here.post("/api/v1/open", {"link": answer.json["link"]}).status == 200


def test_nobody_creates_or_opens_where_the_setting_says_so(backs: Backends) -> None:
    everything = InProcess(backs.app())
    agent = staff(everything)
    secret = Secret.create(everything)
    before = dump(backs)
    reading = InProcess(backs.app(create="nobody"))
    for path, body in ((CREATE, server_sealed()), ("/api/v1/requests", Asked.make().body)):
        is_problem(reading.post(path, body, agent), 403, "forbidden")
    sharing = InProcess(backs.app(open="nobody"))
    is_problem(secret.claim(sharing, None, None, **agent), 403, "forbidden")
    is_problem(sharing.post("/api/v1/open", {"link": secret.link}, agent), 403, "forbidden")
    assert dump(backs) == before
    assert secret.state(sharing).json["state"] == "sealed"
    assert secret.claim(reading).status == 200
    assert sharing.post(CREATE, server_sealed()).status == 201


# --- proofs and tries ----------------------------------------------------------------------------------


def test_a_damaged_proof_is_400_a_missing_one_422_a_wrong_one_403_and_a_try(
    here: InProcess, backs: Backends
) -> None:
    secret = store(here, with_proof())
    assert secret.proof
    path, before = f"/api/v1/secrets/{secret.id}/claim", dump(backs)
    for damaged in ("", "x", secret.proof[:-1], secret.proof + "A", 5, {}):
        is_problem(here.post(path, {"proof": damaged}, secret.auth()), 400, "damaged", "proof")
    for missing in ({}, {"proof": None}):
        is_problem(here.post(path, missing, secret.auth()), 422, "invalid", "proof")
    assert dump(backs) == before
    assert secret.state(here, sender=True).json["tries_left"] == 5
    for left in (4, 3, 2, 1):
        found = is_problem(wrong_password(here, secret), 403, "wrong-password")
        assert (found["tries_left"], found["state"]) == (left, "sealed")
        assert secret.state(here, sender=True).json["tries_left"] == left
    found = is_problem(wrong_password(here, secret), 403, "wrong-password")
    assert (found["tries_left"], found["state"]) == (0, "locked")
    for claim in (secret.claim(here), here.post(path, {}, secret.auth()), wrong_password(here, secret)):
        assert is_problem(claim, 423, "locked")["state"] == "locked"
    assert secret.state(here).json["state"] == "locked"


def test_unlock(here: InProcess) -> None:
    secret = store(here, with_proof())
    is_problem(secret.call(here, "unlock", sender=True), 409, "conflict")
    wrong_password(here, secret, 5)
    answer = secret.call(here, "unlock", sender=True)
    assert (answer.status, answer.json["state"], answer.json["tries_left"]) == (200, "sealed", 5)
    is_problem(secret.call(here, "unlock", sender=True), 409, "conflict")
    assert secret.claim(here).status == 200
    is_problem(secret.call(here, "unlock", sender=True), 410, "opened")


def test_a_locked_secret_can_be_revoked(here: InProcess) -> None:
    secret = store(here, with_proof())
    wrong_password(here, secret, 5)
    assert secret.call(here, "revoke", sender=True).json["state"] == "revoked"
    is_problem(secret.claim(here), 410, "revoked")
    is_problem(secret.call(here, "unlock", sender=True), 410, "revoked")


# --- ends ----------------------------------------------------------------------------------------------


def test_done_closes_the_window_and_keeps_its_rulings(here: InProcess) -> None:
    secret, key = Secret.create(here), new_idempotency_key()
    is_problem(secret.call(here, "done"), 400, "damaged", "Idempotency-Key")
    is_problem(secret.call(here, "done", **{"Idempotency-Key": key}), 409, "conflict")
    assert secret.claim(here, key).status == 200
    assert secret.claim(here, key).status == 200
    other = secret.call(here, "done", **{"Idempotency-Key": new_idempotency_key()})
    is_problem(other, 410, "opened")
    assert secret.claim(here, key).status == 200
    for _ in range(3):
        answer = secret.call(here, "done", **{"Idempotency-Key": key})
        assert (answer.status, answer.body) == (204, b"")
    is_problem(secret.claim(here, key), 410, "opened")
    revoked = Secret.create(here)
    revoked.call(here, "revoke", sender=True)
    is_problem(revoked.call(here, "done", **{"Idempotency-Key": key}), 410, "revoked")


def test_revoke_is_final_may_be_repeated_and_comes_too_late_after_an_opening(here: InProcess) -> None:
    secret = Secret.create(here)
    first = secret.call(here, "revoke", sender=True)
    assert (first.status, first.json["state"]) == (200, "revoked")
    again = secret.call(here, "revoke", sender=True)
    assert (again.status, again.json["ended_at"]) == (200, first.json["ended_at"])
    found = is_problem(secret.claim(here), 410, "revoked")
    assert (found["state"], found["ended_at"]) == ("revoked", first.json["ended_at"])
    opened = Secret.create(here)
    assert opened.claim(here).status == 200
    is_problem(opened.call(here, "revoke", sender=True), 410, "opened")


def test_report_is_once_and_only_for_what_was_opened(here: InProcess, backs: Backends) -> None:
    secret = Secret.create(here)
    is_problem(secret.call(here, "report"), 409, "conflict")
    assert secret.claim(here).status == 200
    answer = secret.call(here, "report")
    assert (answer.status, answer.json["state"]) == (200, "opened")
    assert answer.json["reported_at"]
    is_problem(secret.call(here, "report"), 409, "conflict")
    assert secret.state(here, sender=True).json["reported_at"] == answer.json["reported_at"]
    revoked, expired = Secret.create(here), Secret.create(here)
    revoked.call(here, "revoke", sender=True)
    expire(backs, expired)
    for other in (revoked, expired):
        is_problem(other.call(here, "report"), 409, "conflict")
        assert "reported_at" not in other.state(here).json


def test_every_end_is_told_with_its_time_to_whoever_holds_the_link(here: InProcess, backs: Backends) -> None:
    expired = Secret.create(here)
    expire(backs, expired)
    found = is_problem(expired.claim(here), 410, "expired")
    assert found["state"] == "expired"
    assert expired.state(here).json["ended_at"] == found["ended_at"] == expired.state(here).json["expires_at"]
    is_problem(expired.call(here, "revoke", sender=True), 410, "expired")
    is_problem(expired.call(here, "unlock", sender=True), 410, "expired")
    unread = Secret.create(here)
    here.service.ledger.new_epoch()
    found = is_problem(unread.claim(here), 410, "ended-by-operator")
    assert found["state"] == unread.state(here).json["state"] == "revoked"
    assert found["ended_at"]


# --- requests ------------------------------------------------------------------------------------------


def test_requests_are_for_staff(here: InProcess, backs: Backends) -> None:
    customer = {"X-API-Key": here.service.tokens.add("kunde", "customer")}
    before = dump(backs)
    is_problem(here.post("/api/v1/requests", Asked.make().body), 401, "unauthorized")
    is_problem(here.post("/api/v1/requests", Asked.make().body, customer), 403, "forbidden")
    is_problem(here.send("POST", "/api/v1/requests", b"not json", JSON), 401, "unauthorized")
    assert dump(backs) == before


def test_a_request_from_asking_to_collecting(here: InProcess, backs: Backends) -> None:
    agent = staff(here)
    body = Asked.make(language="de", label="T-7").body
    created = here.post("/api/v1/requests", body, agent)
    assert (created.status, created.json["state"]) == (201, "waiting")
    assert "link" not in created.json
    asked = Asked.create(here, agent, form="server-order", language="de", label="T-7")

    found = here.get(f"/api/v1/requests/{asked.id}", **asked.answerer)
    assert found.status == 200
    assert set(found.json) == {"form", "language", "expires_at", "label", "state"}
    assert (found.json["form"], found.json["language"]) == ("server-order", "de")
    assert (found.json["label"], found.json["state"]) == ("T-7", "waiting")

    state = here.get(f"/api/v1/secrets/{asked.id}", **asked.holder).json
    assert (state["kind"], state["state"], state["size"]) == ("request", "waiting", 0)
    claim = f"/api/v1/secrets/{asked.id}/claim"
    is_problem(here.post(claim, {}, asked.holder | agent), 409, "not-answered")
    customer = {"X-API-Key": here.service.tokens.add("kunde", "customer")}

    # As if it had been asked half an hour ago: answering starts its time anew.
    store = backs.store.client()
    store.hincrby(receipt_key(asked.id), "x", -1800)
    answer = {
        "envelope": asked.sealed(b"geheim"),
        "consents": ["standard", "update", "access", "backup"],
        "cost_accepted": True,
        "inquiry": "root",
        "product": "Server 1",
        "package": "managed",
    }
    given = asked.answer(here, answer)
    assert (given.status, given.json["state"], given.json["kind"]) == (201, "sealed", "request")
    assert given.json["size"] == len(unb64(answer["envelope"]))
    now = int(store.time()[0])
    assert abs(int(store.hget(receipt_key(asked.id), "x") or 0) - now - 3600) <= 2
    assert abs(store.ttl(receipt_key(asked.id) + ":r") - 3600) <= 2
    assert asked.answer(here, answer).status == 201  # the very same again
    is_problem(asked.answer(here, answer | {"cost_accepted": False}), 409, "conflict")
    is_problem(asked.answer(here, answer | {"envelope": asked.sealed(b"other")}), 409, "conflict")
    assert here.get(f"/api/v1/requests/{asked.id}", **asked.answerer).json["state"] == "sealed"

    before = dump(backs)
    is_problem(here.post(claim, {}, asked.holder), 403, "forbidden")
    is_problem(here.post(claim, {}, asked.holder | customer), 403, "forbidden")
    key = b64(asked.key)
    is_problem(here.post("/api/v1/open", {"key": key}), 403, "forbidden")
    assert dump(backs) == before
    collected = here.post(claim, {}, asked.holder | agent)
    assert asked.unseal(collected) == b"geheim"
    is_problem(here.post(claim, {}, asked.holder | agent), 410, "opened")
    is_problem(asked.answer(here, {"envelope": asked.sealed(), "consents": []}), 410, "opened")


def test_of_two_answers_at_once_one_is_kept(here: InProcess) -> None:
    """Both saw the request waiting; the store decides."""
    asked, vault = Asked.create(here, staff(here)), here.service.vault
    token = asked.request.answer_token()
    first, second = (vault.look(unb64(asked.id), token, "answerer") for _ in range(2))
    one, two = unb64(asked.sealed(b"one")), unb64(asked.sealed(b"two"))
    assert vault.answer(first, one, "{}").state == "sealed"
    with pytest.raises(Conflict):
        vault.answer(second, two, "{}")
    link = vault.look(unb64(asked.id), unb64(asked.token), "link", record=True)
    assert vault.claim(link, collector="eve") == one


def test_an_agent_may_have_the_server_open_an_answer(here: InProcess) -> None:
    agent = staff(here)
    asked = Asked.create(here, agent)
    is_problem(here.post("/api/v1/open", {"key": b64(asked.key)}, agent), 409, "not-answered")
    assert asked.answer(here).status == 201
    opened = here.post("/api/v1/open", {"key": b64(asked.key)}, agent)
    assert opened.json == {"secret": "hunter2", "encoding": "utf-8"}


def test_an_answer_token_reads_nothing(here: InProcess) -> None:
    agent = staff(here)
    asked = Asked.create(here, agent)
    assert asked.answer(here).status == 201
    is_problem(here.get(f"/api/v1/secrets/{asked.id}", **asked.answerer), 404, "not-found")
    for what in ("claim", "done", "report", "revoke", "unlock"):
        is_problem(
            here.post(f"/api/v1/secrets/{asked.id}/{what}", {}, asked.answerer | agent), 404, "not-found"
        )
    for role in (asked.holder, asked.sender):
        is_problem(here.get(f"/api/v1/requests/{asked.id}", **role), 404, "not-found")


def test_a_request_that_has_ended_takes_no_answer(here: InProcess, backs: Backends) -> None:
    agent = staff(here)
    revoked, expired = Asked.create(here, agent), Asked.create(here, agent)
    assert here.post(f"/api/v1/secrets/{revoked.id}/revoke", {}, revoked.sender).status == 200
    expire(backs, expired)
    is_problem(revoked.answer(here), 410, "revoked")
    is_problem(expired.answer(here), 410, "expired")
    for asked in (revoked, expired):
        assert not backs.store.client().exists(receipt_key(asked.id) + ":r")


def test_a_request_made_again_is_the_same(here: InProcess) -> None:
    agent = staff(here)
    body = Asked.make().body
    first, second = here.post("/api/v1/requests", body, agent), here.post("/api/v1/requests", body, agent)
    assert (first.status, second.status) == (201, 201)
    assert first.json == second.json
    is_problem(here.post("/api/v1/requests", body | {"form": "file"}, agent), 409, "conflict")


# --- Idempotency-Key -----------------------------------------------------------------------------------

BAD_KEYS = [
    "",
    " ",
    "1",
    "short",
    "A" * 21,
    "A" * 65,
    "A" * 22 + " ",
    "A" * 21 + "=",
    "A" * 21 + "é",
    "A" * 30 + "," + "A" * 30,
]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_an_idempotency_key_outside_the_rule_is_400_and_nothing_happens(
    here: InProcess, backs: Backends, key: str
) -> None:
    agent = staff(here)
    secret = Secret.create(here)
    before = dump(backs)
    head = {"Idempotency-Key": key}
    answers = [
        here.post(CREATE, server_sealed(), head),
        here.post(CREATE, Secret.make().body, head),
        here.post("/api/v1/requests", Asked.make().body, agent | head),
        here.post("/api/v1/open", {"link": secret.link}, head),
        here.post(f"/api/v1/secrets/{secret.id}/claim", {}, secret.auth() | head),
        here.post(f"/api/v1/secrets/{secret.id}/done", {}, secret.auth() | head),
    ]
    for answer in answers:
        is_problem(answer, 400, "damaged", "Idempotency-Key")
    assert dump(backs) == before


@pytest.mark.parametrize("key", ["A" * 22, "-_" * 32, str(uuid.uuid4())])
def test_an_idempotency_key_within_the_rule_is_taken(here: InProcess, key: str) -> None:
    secret = Secret.create(here)
    assert secret.claim(here, key).status == 200
    assert secret.unseal(secret.claim(here, key)) == b"hunter2"
    is_problem(secret.claim(here, new_idempotency_key()), 410, "opened")


@pytest.mark.parametrize(
    "lines", ["A: {k}\r\nIdempotency-Key: {k}", "Idempotency-Key: {k}\rX: y", "Idempotency-Key: {k}\x00"]
)
def test_two_keys_or_a_carriage_return_are_400_on_the_wire(live: Live, lines: str) -> None:
    secret = Secret.create(live.client())
    extra = lines.replace("A: {k}", "Idempotency-Key: {k}").format(k="A" * 32)
    head = (
        f"POST /api/v1/secrets/{secret.id}/claim HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {secret.token}\r\n"
        f"{extra}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    answer = raw(live.web.port, head.encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 400"), answer
    assert secret.state(live.client()).json["state"] == "sealed"


def test_creating_the_same_again_is_answered_alike(here: InProcess, backs: Backends) -> None:
    secret = Secret.make(language="de")
    first = here.post(CREATE, secret.body)
    before = dump(backs)
    for _ in range(3):
        again = here.post(CREATE, secret.body)
        assert (again.status, again.json) == (201, first.json)
    for field, value in (
        ("expires_in", 3601),
        ("language", "en"),
        ("envelope", Secret.make().body["envelope"]),
        ("token", b64(os.urandom(32))),
    ):
        is_problem(here.post(CREATE, secret.body | {field: value}), 409, "conflict")
    assert dump(backs) == before
    assert secret.claim(here).status == 200
    again = here.post(CREATE, secret.body)
    assert (again.status, again.json["state"]) == (201, "opened")
    assert again.json["receipt_token"] == first.json["receipt_token"]


def test_creating_the_same_again_with_a_password(here: InProcess) -> None:
    secret = with_proof()
    first = here.post(CREATE, secret.body)
    assert here.post(CREATE, secret.body).json == first.json
    is_problem(here.post(CREATE, secret.body | {"proof": b64(os.urandom(32))}), 409, "conflict")


def test_the_server_seals_once_for_one_key_body_and_caller(here: InProcess, backs: Backends) -> None:
    anna, bert = staff(here), staff(here, "bert")
    head = {"Idempotency-Key": new_idempotency_key()}
    first = here.post(CREATE, server_sealed(name="a"), head)
    again = here.post(CREATE, server_sealed(name="a"), head)
    assert (first.status, again.status) == (201, 201)
    assert first.json == again.json
    for other in (
        {"secret": "hunter3"},
        {"name": "b"},
        {"type": "x"},
        {"expires_in": 3601},
        {"password": "p"},
        {"language": "de"},
    ):
        answer = here.post(CREATE, server_sealed(**{"name": "a", **other}), head)
        is_problem(answer, 422, "invalid", "Idempotency-Key")
    links = {first.json["link"]}
    for caller in (anna, bert):
        links.add(here.post(CREATE, server_sealed(name="a"), head | caller).json["link"])
    assert len(links) == 3
    assert here.post("/api/v1/open", {"link": first.json["link"]}).status == 200
    again = here.post(CREATE, server_sealed(name="a"), head)
    assert (again.status, again.json["state"], again.json["link"]) == (201, "opened", first.json["link"])
    key = next(iter(backs.store.client().keys("ss:i:*")))
    assert 86_300 < backs.store.client().ttl(key) <= 86_400


def test_a_link_holder_cannot_make_the_receipt_token(here: InProcess) -> None:
    """Knowing the Idempotency-Key and the link is not being the sender."""
    head = {"Idempotency-Key": new_idempotency_key()}
    answer = here.post(CREATE, server_sealed(), head).json
    key = envelope.read_link(answer["link"])
    candidates = [atrest.hkdf(key, label) for label in (b"receipt", b"receipt/", b"token", b"link")]
    candidates += [key, sha256(key), sha256(head["Idempotency-Key"].encode())]
    assert unb64(answer["receipt_token"]) not in candidates
    for candidate in candidates:
        here_ = here.post(
            f"/api/v1/secrets/{answer['id']}/revoke", {}, {"Authorization": f"Bearer {b64(candidate)}"}
        )
        is_problem(here_, 404, "not-found")


def other_keyring(path: Path, *names: str, old: Path | None = None) -> str:
    keys = {name: secrets.token_bytes(32) for name in names}
    if old is not None:
        kid, _, key = old.read_text().strip().partition(":")
        keys[kid] = unb64(key)
    atrest.save_keyring(path, keys)
    return str(path)


def test_a_rotated_master_key_still_answers_the_repeat_and_a_dropped_one_is_409(
    backs: Backends, folder: Path
) -> None:
    here = InProcess(backs.app())
    rotated = InProcess(backs.app(keyring_file=other_keyring(folder / "rotated", "new", old=backs.keyring)))
    dropped = InProcess(backs.app(keyring_file=other_keyring(folder / "dropped", "new")))
    head = {"Idempotency-Key": new_idempotency_key()}
    body = Secret.make().body
    for wish, more in (
        (server_sealed(), head),
        (server_sealed(password="p"), {"Idempotency-Key": new_idempotency_key()}),
        (body, {}),
    ):
        first = here.post(CREATE, wish, more)
        assert rotated.post(CREATE, wish, more).json == first.json
        before = dump(backs)
        is_problem(dropped.post(CREATE, wish, more), 409, "conflict")
        assert dump(backs) == before
    is_problem(rotated.post(CREATE, server_sealed(secret="x"), head), 422, "invalid", "Idempotency-Key")


def test_nothing_in_the_store_lets_the_body_be_guessed(backs: Backends, folder: Path) -> None:
    key, body = new_idempotency_key(), server_sealed()
    entries = []
    for number, keyring in enumerate((str(backs.keyring), other_keyring(folder / "other", "test"))):
        backs.clear()
        here = InProcess(backs.app(keyring_file=keyring))
        link = here.post(CREATE, body, {"Idempotency-Key": key}).json["link"]
        client = backs.store.client()
        (name,) = client.keys("ss:i:*")
        entries.append((name, client.get(name)))
        everything = b"".join(repr(value).encode() for value in dump(backs).items())
        for guess in (b"hunter2", json.dumps(body).encode(), key.encode(), envelope.read_link(link)):
            for form in (guess, sha256(guess), sha256(guess).hex().encode(), b64(sha256(guess)).encode()):
                assert repr(form)[2:-1].encode() not in everything, (number, guess)
    (name, one), (same_name, two) = entries
    assert name == same_name
    assert one is not None
    assert two is not None
    assert one.startswith(b"\0\0\0\x04test")
    assert two.startswith(b"\0\0\0\x04test")
    assert one[8:44] != two[8:44]  # the fingerprint of one body under two master keys


def test_the_entry_without_a_key_is_not_written(here: InProcess, backs: Backends) -> None:
    here.post(CREATE, server_sealed())
    assert not backs.store.client().keys("ss:i:*")


# --- looking never opens -------------------------------------------------------------------------------

USER_AGENTS = {
    "Slack": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Teams": "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
    "WhatsApp": "WhatsApp/2.23.20.0 A",
    "Telegram": "TelegramBot (like TwitterBot)",
    "Facebook": "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Discord": "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "LinkedIn": "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "Bing": "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Google": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "nobody": "",
}


@pytest.mark.parametrize("agent", USER_AGENTS)
def test_no_looking_changes_or_opens_anything(here: InProcess, backs: Backends, agent: str) -> None:
    secret = Secret.create(here)
    key = b64(secret.key)
    paths = {"/s", f"/s?{key}", f"/s%23{key}", f"/open?link={key}", f"/receipt?{secret.receipt_token}"}
    for rule, _ in routes(here):
        path = (
            rule.replace("<id>", secret.id).replace("<path:filename>", "icon.svg").replace("<path:rest>", key)
        )
        paths.add(path.replace("#", "%23"))
    assert len(paths) >= 24
    before = dump(backs)
    for path in sorted(paths):
        for method in ("GET", "HEAD", "OPTIONS", "TRACE"):
            for head in (
                {},
                BROWSER,
                secret.auth(),
                secret.auth(secret.receipt_token),
                {"Purpose": "prefetch"},
            ):
                answer = here.send(method, path, None, {"User-Agent": USER_AGENTS[agent], **head})
                assert answer.status < 500, (method, path)
                assert b"hunter2" not in answer.body
                assert secret.body["envelope"][:40] not in answer.text
    assert dump(backs) == before
    assert secret.unseal(secret.claim(here)) == b"hunter2"


# --- where links lead ----------------------------------------------------------------------------------

FORGED = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Server": "evil.example",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Port": "6666",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-For": "evil.example",
    "X-Original-URL": "/evil",
    "X-Rewrite-URL": "/evil",
    "Forwarded": "host=evil.example;proto=gopher",
    "Origin": "https://evil.example",
    "Referer": "https://evil.example/",
}


@pytest.mark.parametrize("proxies", ["0", "1"])
def test_links_come_from_the_public_url_whatever_the_request_claims(backs: Backends, proxies: str) -> None:
    here = InProcess(backs.app(public_url="https://secrets.example", trusted_proxies=proxies))
    created = here.post(CREATE, server_sealed(), FORGED)
    assert created.json["link"].startswith("https://secrets.example/s#")
    assert created.json["receipt_url"].startswith("https://secrets.example/receipt#")
    client = Secret.make()
    assert (
        here.post(CREATE, client.body, FORGED)
        .json["receipt_url"]
        .startswith("https://secrets.example/receipt#")
    )
    form = {"Content-Type": "application/x-www-form-urlencoded", **FORGED}
    assert here.send("POST", "/", b"secret=a", form).text.startswith("https://secrets.example/s#")
    page = here.send("POST", "/", b"secret=a", form | BROWSER)
    assert "https://secrets.example/s#" in page.text
    for answer in (
        created,
        page,
        *(here.get(rule, **FORGED, **more) for rule, _ in routes(here) for more in ({}, BROWSER)),
    ):
        assert "evil" not in answer.text
        assert "gopher" not in answer.text
        assert not any("evil" in value or "gopher" in value for value in answer.headers.values())


# --- time tells nothing --------------------------------------------------------------------------------


def welch(one: list[float], two: list[float]) -> float:
    """Welch's t of two samples, without the slowest tenth of each: the machine's own hiccups."""
    one, two = (sorted(sample)[: len(sample) * 9 // 10] for sample in (one, two))
    spread = statistics.variance(one) / len(one) + statistics.variance(two) / len(two)
    return (statistics.fmean(one) - statistics.fmean(two)) / spread**0.5


def compared(
    one: Callable[[], object], two: Callable[[], object], *, pairs: int = 3000, seconds: float
) -> float:
    """|t| of two calls in turns, so many or as long as the time allows; never the best of several runs."""
    calls = (one, two)
    times: tuple[list[float], list[float]] = ([], [])
    until = time.perf_counter() + seconds
    number = 0
    while number < 2 * pairs and (number % 4 or number < 1000 or time.perf_counter() < until):
        which = (number + number // 2) % 2  # 0 1 1 0: neither always follows the other
        began = time.perf_counter()
        calls[which]()
        times[which].append(time.perf_counter() - began)
        number += 1
    return abs(welch(*times))


def test_an_unknown_id_takes_as_long_as_a_wrong_token_in_every_state(
    here: InProcess, backs: Backends, full: bool, say: Callable[[str], None]
) -> None:
    every = in_every_state(here, backs)
    vault, wrong = here.service.vault, os.urandom(32)

    def look(id: bytes) -> Callable[[], None]:
        def call() -> None:
            with contextlib.suppress(NotFound):
                vault.look(id, wrong, "link", record=True)
                raise AssertionError("a wrong token was taken")

        return call

    def against_unknown(id: bytes) -> float:
        return compared(look(id), look(os.urandom(16)), seconds=30 if full else 2)

    # What two unknown ids differ by is the machine's own; where that is too much, nothing can be said.
    control = against_unknown(os.urandom(16))
    found = {state: against_unknown(unb64(secret.id)) for state, secret in every.items()}
    said = ", ".join(f"{state} {t:.1f}" for state, t in {"nothing": control, **found}.items())
    say(said)
    assert control < 4.5, f"this machine is too busy to measure: {said}"
    assert max(found.values()) < 4.5, said


def test_the_same_through_the_api(here: InProcess, full: bool, say: Callable[[str], None]) -> None:
    secret = Secret.create(here, os.urandom(900_000))
    wrong = {"Authorization": "Bearer " + b64(os.urandom(32))}

    def call(id: str) -> Callable[[], Answer]:
        return lambda: here.send("POST", f"/api/v1/secrets/{id}/claim", None, wrong)

    t = compared(call(secret.id), call(b64(os.urandom(16))), seconds=30 if full else 3)
    say(f"{t:.1f}")
    assert t < 4.5


def test_a_client_of_the_real_process_sees_the_same(live: Live) -> None:
    """The rules above hold over a real connection, too."""
    client: Client = live.client()
    secret = Secret.create(client)
    is_problem(client.get(f"/api/v1/secrets/{secret.id}"), 401, "unauthorized")
    wrong = client.get(f"/api/v1/secrets/{secret.id}", Authorization="Bearer " + "A" * 43)
    unknown = client.get("/api/v1/secrets/" + b64(os.urandom(16)), Authorization="Bearer " + "A" * 43)
    is_problem(wrong, 404, "not-found")
    for answer in (wrong, unknown):
        answer.headers.pop("date")
    assert wrong == unknown
    assert secret.unseal(secret.claim(client)) == b"hunter2"
    is_problem(secret.claim(client), 410, "opened")


def test_an_envelope_made_elsewhere_is_kept_byte_for_byte(here: InProcess) -> None:
    key = envelope.new_key()
    handles = envelope.derive_handles(key)
    sealed = envelope.seal(key, Payload(os.urandom(1000), "a", "b"))
    body = {"id": b64(handles.id), "token": b64(handles.token), "envelope": b64(sealed), "expires_in": 60}
    assert here.post(CREATE, body).status == 201
    head = {"Authorization": f"Bearer {b64(handles.token)}"}
    assert here.post(f"/api/v1/secrets/{b64(handles.id)}/claim", {}, head).json == {"envelope": b64(sealed)}


# --- what a review found -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["label", "form"])
def test_no_word_ends_in_a_newline(here: InProcess, field: str) -> None:
    answer = here.post("/api/v1/requests", Asked.make(**{field: "server\n"}).body, staff(here))
    is_problem(answer, 422, "invalid", field)


def test_another_agent_who_rebuilds_a_request_is_not_given_its_receipt(here: InProcess) -> None:
    anna, bert = staff(here, "anna"), staff(here, "bert")
    asked = Asked.create(here, anna)
    again = here.post("/api/v1/requests", asked.body, anna)
    assert (again.status, again.json["receipt_token"]) == (201, asked.receipt_token)
    theirs = here.post("/api/v1/requests", asked.body, bert)
    is_problem(theirs, 409, "conflict")
    assert asked.receipt_token not in theirs.text


def test_a_huge_password_is_refused_at_once(here: InProcess) -> None:
    began = time.thread_time()
    password = "a" + "\u0323\u0301" * 500_000
    is_problem(here.post("/api/v1/secrets", server_sealed(password=password)), 422, "invalid", "password")
    assert time.thread_time() - began < 5


def test_a_huge_part_header_is_refused_at_once(here: InProcess) -> None:
    head = {"Content-Type": "multipart/form-data; boundary=b"}
    body = (
        b"--b\r\nContent-Disposition: form-data; name="
        + b'"secret";\r\n a' * 400_000
        + b"\r\n\r\nx\r\n--b--\r\n"
    )
    began = time.thread_time()
    assert here.send("POST", "/", body, head).status == 400
    assert time.thread_time() - began < 1


def test_what_is_expected_is_said_in_words(here: InProcess) -> None:
    said = {
        ("expires_in", 59): "Expected a whole number of at least 60.",
        ("expires_in", "1h"): "Expected a whole number.",
        ("secret", ""): "Expected a text of at least 1 characters.",
        ("secret", 5): "Expected a text.",
    }
    for (field, value), message in said.items():
        answer = here.post("/api/v1/secrets", server_sealed(**{field: value}))
        assert answer.json["errors"] == [{"field": field, "message": message}]
