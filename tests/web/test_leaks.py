"""Nothing secret in a log, a command to the servers, a stored value, or an answer it does not belong in."""

from __future__ import annotations

import base64
import contextlib
import errno
import http.client
import importlib
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest

from secretsvc import envelope
from secretsvc.atrest import sha256
from secretsvc.envelope import b64, unb64
from secretsvc.web import logs
from tests.harness import (
    ROOT,
    Answer,
    Backends,
    Client,
    InProcess,
    Secret,
    backends,
    lines_of,
    new_idempotency_key,
    wait_until,
    web,
)
from tests.servers import Server
from tests.web.common import BROWSER, FORM, Asked, staff, store, with_proof, wrong_password

JSON = {"Content-Type": "application/json"}
FORM_LINE = "Content-Type: application/x-www-form-urlencoded\r\n"


class Canaries:
    """Values that must not be found, by what they are; each in every form it might take."""

    def __init__(self) -> None:
        self._values: dict[str, set[bytes]] = {}

    def add(self, what: str, *values: bytes | str) -> None:
        for value in values:
            raw = value.encode() if isinstance(value, str) else value
            assert len(raw) >= 8, (what, "too short to be sure of")
            self._values.setdefault(what, set()).add(raw)

    def link(self, link: str) -> None:
        """A link of the service: its key, and the token that follows from it."""
        self.key(envelope.read_link(link))

    def key(self, key: bytes) -> None:
        self.add("link key", key)
        self.add("token", envelope.derive_handles(key).token)

    def secret(self, secret: Secret) -> Secret:
        self.key(secret.key)
        self.add("secret", secret.content)
        self.add("envelope", unb64(secret.body["envelope"])[1:])
        if secret.proof:
            self.add("proof", unb64(secret.proof))
        if secret.receipt_token:
            self.add("receipt token", unb64(secret.receipt_token))
        return secret

    @property
    def kinds(self) -> set[str]:
        return set(self._values)

    def found_in(self, text: bytes) -> list[str]:
        """Which are there, and in what form."""
        lower = text.lower()
        found = []
        for what, values in self._values.items():
            for value in values:
                for form, needle in forms(value).items():
                    if (
                        (needle.lower() in lower)
                        if form in ("hex", "percent", "percent all")
                        else needle in text
                    ):
                        found.append(f"{what} as {form}")
        return found


def forms(value: bytes) -> dict[str, bytes]:
    """A value as it might be written down."""
    found = {
        "raw": value,
        "base64url": b64(value).encode(),
        "base64": base64.b64encode(value).rstrip(b"="),
        "hex": value.hex().encode(),
        "percent": quote(value, safe="").encode(),
        "percent all": "".join(f"%{byte:02x}" for byte in value).encode(),
        "repr": repr(value)[2:-1].encode(),
    }
    with contextlib.suppress(UnicodeDecodeError):
        found["json"] = json.dumps(value.decode())[1:-1].encode()
        decoded = b""
        with contextlib.suppress(Exception):  # what is base64url itself might be written down as its bytes
            decoded = unb64(value.decode())
        if len(decoded) >= 16:
            found["decoded"] = decoded
    return found


ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}


def unescaped(text: bytes) -> bytes:
    """What MONITOR writes, as the bytes it means."""

    def one(match: re.Match[bytes]) -> bytes:
        found = match[1]
        return bytes([int(found[1:], 16)]) if found[:1] == b"x" else ESCAPES.get(found, found)

    return re.sub(rb"\\(x[0-9a-f]{2}|.)", one, text)


class Monitor:
    """MONITOR on a server, from now on until it ends."""

    def __init__(self, server: Server) -> None:
        self.text = b""
        self._client = server.client()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(unquote(urlsplit(server.url).path))
        self._socket.sendall(b"MONITOR\r\n")
        assert self._socket.recv(5) == b"+OK\r\n"
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while chunk := self._socket.recv(1 << 16):
            self.text += chunk

    def stop(self) -> bytes:
        """All of it: what the server still had to say as well, up to a word of our own."""
        self._client.echo("the last word")
        wait_until(lambda: b"the last word" in self.text)
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        return self.text


def everything_stored(server: Server) -> bytes:
    """All keys and values, raw."""
    client = server.client()
    found = []
    for key in client.keys("*"):
        kind = client.type(key)
        if kind == b"string":
            values: object = [client.get(key)]
        elif kind == b"hash":
            values = [part for pair in client.hgetall(key).items() for part in pair]
        else:
            assert kind == b"zset", kind
            values = client.zrange(key, 0, -1)
        found += [key, *values]  # type: ignore[misc]
    return b"\n".join(found)


def slow_log(server: Server) -> bytes:
    entries = server.client().slowlog_get(100_000)
    return b"\n".join(entry["command"] for entry in entries)


def on_the_wire(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(data)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        found = b""
        with contextlib.suppress(OSError):
            while chunk := connection.recv(1 << 16):
                found += chunk
    return found


def quoted(text: str) -> str:
    return quote(text, safe="")


class Flows:
    """Everything people do, and much that goes wrong, each with canaries."""

    def __init__(self, client: Client | InProcess, canaries: Canaries, agent: str) -> None:
        self.client, self.canaries = client, canaries
        self.agent = {"X-API-Key": agent}
        self.answers: list[Answer] = []

    def send(
        self, method: str, path: str, body: bytes | None = None, head: dict[str, str] | None = None
    ) -> Answer:
        self.answers.append(self.client.send(method, path, body, head))
        return self.answers[-1]

    def post(self, path: str, body: object, head: dict[str, str] | None = None) -> Answer:
        return self.send("POST", path, json.dumps(body).encode(), {**JSON, **(head or {})})

    def key(self) -> str:
        key = new_idempotency_key()
        self.canaries.add("Idempotency-Key", key)
        return key

    def word(self, what: str) -> str:
        word = f"kanarie-{os.urandom(9).hex()}-ä/ +"
        self.canaries.add(what, word)
        return word

    def client_sealed(self) -> None:
        client, canaries = self.client, self.canaries
        plain = canaries.secret(Secret.create(client, self.word("secret").encode()))
        key = self.key()
        assert plain.claim(client, key).status == 200
        plain.claim(client, key)
        plain.claim(client, self.key())
        plain.call(client, "done", **{"Idempotency-Key": key})
        plain.call(client, "report")
        plain.call(client, "revoke", sender=True)
        plain.state(client)
        plain.state(client, sender=True)
        locked = canaries.secret(store(client, with_proof(content=self.word("secret").encode())))
        for _ in range(5):
            proof = os.urandom(32)
            canaries.add("proof", proof)
            assert locked.claim(client, self.key(), b64(proof)).status == 403
        locked.claim(client)
        locked.call(client, "unlock", sender=True)
        assert locked.claim(client, self.key()).status == 200
        revoked = canaries.secret(Secret.create(client, self.word("secret").encode()))
        revoked.call(client, "revoke", sender=True)
        again = canaries.secret(Secret.make(self.word("secret").encode()))
        for _ in range(2):
            self.post("/api/v1/secrets", again.body, {"Idempotency-Key": self.key()})
        self.post("/api/v1/secrets", again.body | {"expires_in": 99})
        unread = canaries.secret(Secret.create(client, self.word("secret").encode()))
        unread.state(client)

    def server_sealed(self) -> None:
        body = {
            "secret": self.word("secret"),
            "expires_in": 60,
            "name": "name",
            "password": self.word("password"),
        }
        head = {"Idempotency-Key": self.key()}
        made = self.post("/api/v1/secrets", body, head)
        assert made.status == 201, made.text
        again = self.post("/api/v1/secrets", body, head)
        assert again.json["link"] == made.json["link"]
        self.canaries.link(made.json["link"])
        self.canaries.add("receipt token", unb64(made.json["receipt_token"]))
        self.post("/api/v1/secrets", body | {"secret": self.word("secret")}, head)
        self.post("/api/v1/open", {"link": made.json["link"]})
        self.post("/api/v1/open", {"link": made.json["link"], "password": self.word("password")})
        opened = self.post("/api/v1/open", {"link": made.json["link"], "password": body["password"]})
        assert opened.json["secret"]
        self.post("/api/v1/open", {"link": made.json["link"]})
        self.answers.remove(opened)  # the one answer that holds a secret

    def by_form(self) -> None:
        word, key = self.word("secret"), self.key()
        form = f"secret={quoted(word)}&idempotency_key={key}".encode()
        link = self.send("POST", "/", form, FORM).text.strip()
        self.canaries.link(link)
        page = self.send("POST", "/", form, {**FORM, **BROWSER})
        self.canaries.add("receipt token", unb64(re.findall(r"/receipt#([\w-]{64})", page.text)[0])[16:])
        receipt = re.findall(r"http\S+/receipt#[\w-]{64}", page.text)[0]
        self.send("POST", "/receipt", f"receipt={quoted(receipt)}".encode(), {**FORM, **BROWSER})
        self.send("POST", "/open", f"link={quoted(link[:-1])}".encode(), FORM)
        self.send(
            "POST", "/open", f"link={quoted(link)}&password={quoted(self.word('password'))}x=".encode(), FORM
        )
        opened = self.send("POST", "/open", f"link={quoted(link)}&idempotency_key={self.key()}".encode(), FORM)
        assert opened.status in (200, 410)

    def requests(self) -> None:
        asked = Asked.make()
        self.canaries.key(asked.key)
        self.canaries.add("token", asked.request.answer_token())
        made = self.post("/api/v1/requests", asked.body, self.agent)
        assert made.status == 201
        self.canaries.add("receipt token", unb64(made.json["receipt_token"]))
        self.post(f"/api/v1/secrets/{asked.id}/claim", {}, asked.holder | self.agent)
        word = self.word("secret")
        body = {"envelope": asked.sealed(word.encode()), "consents": []}
        self.canaries.add("envelope", unb64(body["envelope"])[1:])
        assert self.post(f"/api/v1/requests/{asked.id}/answer", body, asked.answerer).status == 201
        self.post(f"/api/v1/requests/{asked.id}/answer", body | {"product": "x"}, asked.answerer)
        self.post(f"/api/v1/secrets/{asked.id}/claim", {}, asked.holder)
        self.post(f"/api/v1/secrets/{asked.id}/claim", {}, asked.holder | self.agent)
        self.answers.pop()  # the envelope itself

    def damage(self) -> None:
        """Everything where it does not belong."""
        secret = self.canaries.secret(Secret.create(self.client, self.word("secret").encode()))
        key, word, password = b64(secret.key), self.word("secret"), self.word("password")
        for path in (
            f"/s%23{key}",
            f"/s%2523{key}",
            f"/s/{key}",
            f"/{key}",
            f"/open?link=%23{key}",
            f"/open%23{key}",
            f"/r%23{key}",
            f"/receipt%23{secret.receipt_token}",
            f"/?secret={quoted(word)}",
            f"/api/v1/secrets/{key}",
            f"/api/v1/secrets/{secret.token}/claim",
            f"/api/v1/{key}",
            f"/static/{key}",
            f"/static/%23{key}",
            f"//{key}",
        ):
            for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS"):
                self.send(method, path, None, BROWSER if method == "GET" else {})
        for head in (
            {"Authorization": f"Basic {secret.token}"},
            {"Authorization": secret.token},
            {"Authorization": f"Bearer {secret.token}x"},
            {"Authorization": f"Bearer {key}"},
            {"X-API-Key": secret.token},
            {"X-API-Key": self.agent["X-API-Key"] + "x"},
            {"Idempotency-Key": secret.token + "!"},
            {"Cookie": f"token={secret.token}"},
            {"Host": f"{key}.example"},
            {"User-Agent": key, "Referer": f"http://h/s%23{key}"},
            {"Content-Type": f"multipart/form-data; boundary={key}"},
        ):
            self.send("GET", f"/api/v1/secrets/{secret.id}", None, head)
            self.send("POST", f"/api/v1/secrets/{secret.id}/claim", b"{}", {**JSON, **head})
            self.send(
                "POST", "/api/v1/secrets", json.dumps({"secret": word, "views": 1}).encode(), {**JSON, **head}
            )
            self.send("POST", "/", f"secret={quoted(word)}&views=1".encode(), {**FORM, **head})
        for data in (
            f'{{"secret": "{word}"',
            f'{{"secret": "{word}", "expires_in": "{password}"}}',
            f'{{"secret": ["{word}"], "expires_in": 60}}',
            f'{{"secret": "{word}", "expires_in": 60, "encoding": "{word}"}}',
            f'{{"secret": "{word}", "expires_in": 60, "encoding": "base64"}}',
            f'{{"secret": "{word}", "expires_in": 60, "password": "{password * 100}"}}',
            f'{{"secret": "{word}", "expires_in": 60, "name": "{word}"}}',
            f'{{"secret": "{word}", "expires_in": 60, "language": "{word}"}}',
            f'{{"id": "{key}", "token": "{word}", "envelope": "{word}", "expires_in": 60}}',
            f'{{"id": "{secret.id}", "token": "{secret.token}", "envelope": "{key}", "expires_in": 60}}',
            f'{{"link": "{word}"}}',
            f'{{"key": "{word}"}}',
            f'{{"link": "#{key}", "key": "{key}"}}',
            f'{{"link": "#{key}", "password": ["{password}"]}}',
            word,
        ):
            for path in ("/api/v1/secrets", "/api/v1/open"):
                self.send("POST", path, data.encode(), JSON)
        for form in (
            f"secret={quoted(word)}&secret={quoted(word)}",
            f"secret={quoted(word)}&password=%ff{quoted(password)}",
            f"secret={quoted(word)}&password={quoted(password * 50)}",
            f"secret={quoted(word)}&expires={quoted(word)}",
            f"secret={quoted(word)}&idempotency_key={quoted(word)}",
            f"link={quoted(word)}",
            f"link=%23{key[:-1]}",
            f"receipt={secret.receipt_token}",
            f"receipt={key}&action={quoted(word)}",
        ):
            for path in ("/", "/open", "/receipt", "/s"):
                self.send("POST", path, form.encode(), FORM)
                self.send("POST", path, form.encode(), {**FORM, **BROWSER})
        # What stands in a field's name is said back to whoever sent it, and not logged.
        echoed = len(self.answers)
        for path in (f"/s?{key}", f"/receipt?{secret.receipt_token}", f"/?{key}"):
            for method in ("GET", "POST"):
                self.send(method, path, b"", FORM)
        self.send(
            "POST", "/", f"{quoted(word)}=x".encode(), FORM
        )  # a field's name is said back, and not logged
        self.send(
            "POST", "/api/v1/secrets", json.dumps({word: 1, "secret": "x", "expires_in": 60}).encode(), JSON
        )
        del self.answers[echoed:]
        assert secret.state(self.client).json["state"] == "sealed"

    def all(self) -> None:
        self.client_sealed()
        self.server_sealed()
        self.by_form()
        self.requests()
        self.damage()


def spoil_the_wire(port: int, canaries: Canaries) -> list[bytes]:
    """Requests that never reach the application: what refuses them may not write them down."""
    secret = canaries.secret(Secret.make(b"kanarie-on-the-wire"))
    key, token = b64(secret.key), secret.token
    return [
        on_the_wire(port, data.encode("latin-1"))
        for data in (
            f"GET /s#{key} HTTP/1.1\r\nHost: x\r\n\r\n",
            f"http://h/s#{key}\r\n\r\n",
            f"{key}\r\n\r\n",
            f"{token} / HTTP/1.1\r\nHost: x\r\n\r\n",
            f"GET / {token}\r\nHost: x\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization Bearer {token}\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer\r {token}\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: x\r\nA\x00: {token}\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {token}\x00\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: {key}@x y\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: x\r\nX: {token * 400}\r\n\r\n",
            f"GET /{key * 200} HTTP/1.1\r\nHost: x\r\n\r\n",
            f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {token}\r\n\r\n",
            f"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {token}\r\n\r\n",
            f"POST / HTTP/1.1\r\nHost: x\r\n{FORM_LINE}Transfer-Encoding: chunked\r\n\r\n{key}\r\n",
            f"POST / HTTP/1.1\r\nHost: x\r\n{FORM_LINE}Content-Length: 999\r\n\r\nsecret={key}",
            f"GET / HTTP/1.1\r\nHost: x\r\nExpect: {token}\r\n\r\n",
            f"\x16\x03\x01{key}",
            f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{key}",
        )
    ]


def servers_down(live: Client, backs: Backends, canaries: Canaries) -> list[Answer]:
    """Opening and creating while the ledger, then the store, is gone."""
    flows = Flows(live, canaries, "sst_" + "A" * 43)
    answers = []
    secret = canaries.secret(Secret.create(live, flows.word("secret").encode()))
    guarded = canaries.secret(store(live, with_proof(content=flows.word("secret").encode())))
    for server in (backs.ledger, backs.store):
        server.kill()
        answers += [
            secret.claim(live, flows.key()),
            secret.claim(live),
            guarded.claim(live, flows.key()),
            secret.state(live),
            secret.call(live, "revoke", sender=True),
            secret.call(live, "done", **{"Idempotency-Key": flows.key()}),
            flows.post(
                "/api/v1/secrets",
                {"secret": flows.word("secret"), "expires_in": 60},
                {"Idempotency-Key": flows.key()},
            ),
            flows.post("/api/v1/open", {"link": secret.link}, {"Idempotency-Key": flows.key()}),
            flows.send("POST", "/open", f"link=%23{b64(secret.key)}".encode(), {**FORM, **BROWSER}),
            flows.send("POST", "/", f"secret={quoted(flows.word('secret'))}".encode(), FORM),
            flows.send("GET", "/readyz"),
        ]
        assert any(answer.status == 503 for answer in answers)
        server.start()
    return answers


@pytest.mark.parametrize("level", ["debug"])
def test_nothing_secret_is_logged_sent_or_stored(tmp_path: Path, level: str) -> None:
    canaries = Canaries()
    with backends(tmp_path) as backs, web(backs, tmp_path, log_level=level, retry_window="600") as running:
        for server in (backs.store, backs.ledger):
            server.client().config_set("slowlog-max-len", 100_000)
            server.client().config_set("slowlog-log-slower-than", 0)
        service = backs.app().extensions["secretsvc"]
        agent = service.tokens.add("anna", "agent")
        canaries.add("API token", agent, unb64(agent.removeprefix("sst_")))
        monitors = [Monitor(backs.store), Monitor(backs.ledger)]
        client = running.client()
        flows = Flows(client, canaries, agent)
        flows.all()
        refused = spoil_the_wire(running.port, canaries)
        known = canaries.secret(Secret.create(client, b"kanarie-that-is-known"))
        said = {f"MONITOR {number}": monitor.stop() for number, monitor in enumerate(monitors)}
        said |= {
            f"MONITOR {number} unescaped": unescaped(text) for number, text in enumerate(list(said.values()))
        }
        for name, server in (("store", backs.store), ("ledger", backs.ledger)):
            said[f"SLOWLOG of the {name}"] = slow_log(server)
            said[f"the {name}"] = everything_stored(server)
        stopped = servers_down(client, backs, canaries)
        said["readyz"] = client.get("/readyz").body + client.get("/healthz").body
        for name, server in (("store", backs.store), ("ledger", backs.ledger)):
            files = [path for path in server.dir.rglob("*") if path.is_file()]
            assert any("appendonly" in str(path) for path in files)
            said[f"the files of the {name}"] = b"\n".join(path.read_bytes() for path in files)
        service.store.node.close()
        service.ledger.close()
    said["log"] = running.log.read_bytes()

    assert canaries.kinds == {
        "secret",
        "link key",
        "token",
        "password",
        "proof",
        "Idempotency-Key",
        "receipt token",
        "API token",
        "envelope",
    }
    # The net is fine enough: it does catch the hashes that may be there.
    hashed = Canaries()
    hashed.add("hash", sha256(unb64(known.token)))
    for where in ("MONITOR 0 unescaped", "the store", "the files of the store"):
        assert hashed.found_in(said[where]), where
    assert said["MONITOR 1"].count(b"EVALSHA") > 20
    assert len(said["SLOWLOG of the store"]) > 10_000
    lines = [json.loads(line) for line in said["log"].splitlines()]
    assert sum(line["message"] == "request" for line in lines) > 300
    assert [line["at"][-1] for line in lines if "exception" in line and line["level"] == "error"] == []
    assert {answer.status for answer in flows.answers} >= {
        200,
        201,
        400,
        401,
        403,
        404,
        405,
        409,
        410,
        415,
        422,
    }
    assert all(answer.status != 500 for answer in flows.answers + stopped)

    for where, text in said.items():
        assert canaries.found_in(text) == [], where
    for answer in flows.answers + stopped:
        if answer.status >= 400:
            words = b"\n".join([answer.body, *(value.encode("latin-1") for value in answer.headers.values())])
            # The key to repeat an unclear claim with is named to whoever sent it.
            expected = {"Idempotency-Key"} if answer.status == 503 else set()
            leaked = {found.partition(" as ")[0] for found in canaries.found_in(words)}
            assert leaked <= expected, (answer.status, answer.text)
    assert all(b"Traceback" not in text for text in refused)


# --- exceptions at many places -------------------------------------------------------------------------

PLACES = [
    "store.look",
    "store.create",
    "store.answer",
    "store.mark",
    "store.reserve",
    "store.settle",
    "store.unlock",
    "store.report",
    "store.remember",
    "store.now",
    "store.node.command",
    "store.node.run",
    "ledger.epoch",
    "ledger.end",
    "ledger.peek",
    "ledger.done",
    "secretsvc.shard.Shard.end",
    "secretsvc.shard.Shard.peek",
    "vault.create",
    "vault.look",
    "vault.state",
    "vault.claim",
    "vault.done",
    "vault.revoke",
    "vault.unlock",
    "vault.report",
    "vault.answer",
    "vault.slots.take",
    "vault.keyring.derive",
    "vault.keyring.get",
    "vault.ends.truth",
    "vault.ends.end",
    "vault.tries.one",
    "tokens.find",
    "limits.create",
    "limits.password",
    "secretsvc.serverside.create",
    "secretsvc.serverside.look",
    "secretsvc.serverside.open",
    "secretsvc.envelope.seal",
    "secretsvc.envelope.unseal",
    "secretsvc.envelope.derive_handles",
    "secretsvc.vault.seal_record",
    "secretsvc.vault.unseal_record",
    "secretsvc.vault.sha256",
    "secretsvc.web.api.decode_json",
    "secretsvc.web.api.bearer",
    "secretsvc.web.api.link_key",
    "secretsvc.web.api.unb64",
    "secretsvc.web.pages.read_form",
    "secretsvc.web.pages.text_of",
    "secretsvc.web.pages.render_template",
    "secretsvc.web.bodies.read_link",
    "secretsvc.web.problems.render_template",
    "secretsvc.web.problems.rfc3339",
    "secretsvc.web.logs.route_of",
]


def broken_at(here: InProcess, monkeypatch: pytest.MonkeyPatch, place: str, canary: str) -> None:
    """From now on this place raises something with the canary in its message and in its variables."""

    def broken(*_: object, **__: object) -> None:
        holding = {"canary": canary}
        raise RuntimeError(f"{canary} {holding}") from ValueError(canary)

    path = place.split(".")
    if path[0] == "secretsvc":
        for length in range(len(path) - 1, 0, -1):
            with contextlib.suppress(ModuleNotFoundError):
                owner = importlib.import_module(".".join(path[:length]))
                break
        rest = path[length:]
    else:
        owner, rest = here.service, path  # type: ignore[assignment]
    for name in rest[:-1]:
        owner = getattr(owner, name)
    assert hasattr(owner, rest[-1]), place
    if place.startswith(("tokens", "limits", "store", "ledger", "vault")) and hasattr(
        type(owner), "__dataclass_fields__"
    ):
        monkeypatch.setattr(type(owner), rest[-1], broken)
    else:
        monkeypatch.setattr(owner, rest[-1], broken)


Stage = tuple[InProcess, Callable[[], Callable[[], list[Answer]]]]


@pytest.fixture
def stage(backs: Backends) -> Iterator[Stage]:
    """An application, and a round of all calls on secrets made while it was whole."""
    here = InProcess(backs.app(log_level="debug", create_limit="100000", password_limit="100000"))
    agent = staff(here)
    plain, guarded, opened, window, api, unlocked, revoked, reported = (
        Secret.create(here) if number != 1 else store(here, with_proof()) for number in range(8)
    )
    asked, unanswered = Asked.create(here, agent), Asked.create(here, agent)
    key = new_idempotency_key()
    assert opened.claim(here).status == 200
    assert reported.claim(here).status == 200
    assert window.claim(here, key).status == 200
    assert asked.answer(here).status == 201
    locked = store(here, with_proof())
    wrong_password(here, locked, 5)
    receipt = b64(unb64(plain.id) + unb64(plain.receipt_token))

    def prepared() -> Callable[[], list[Answer]]:
        # Made on this side now, while nothing is broken.
        fresh = [Secret.make().body, with_proof().body, Asked.make().body]
        answer = {"envelope": unanswered.sealed(), "consents": []}
        return lambda: round(*fresh, answer)

    def round(
        plain_body: dict[str, Any],
        guarded_body: dict[str, Any],
        request: dict[str, Any],
        answer: dict[str, Any],
    ) -> list[Answer]:
        return [
            here.post("/api/v1/secrets", plain_body),
            here.post("/api/v1/secrets", guarded_body),
            here.post(
                "/api/v1/secrets", {"secret": "x", "expires_in": 60}, {"Idempotency-Key": new_idempotency_key()}
            ),
            here.post("/api/v1/requests", request, agent),
            here.get(f"/api/v1/requests/{asked.id}", **asked.answerer),
            unanswered.answer(here, answer),
            plain.state(here),
            wrong_password(here, guarded),
            opened.claim(here),
            opened.state(here),
            window.claim(here, key),
            window.call(here, "done", **{"Idempotency-Key": key}),
            locked.call(here, "unlock", sender=True),
            reported.call(here, "report"),
            revoked.call(here, "revoke", sender=True),
            here.post("/api/v1/open", {"link": api.link}),
            here.send("POST", "/", b"secret=a", FORM),
            here.send("POST", "/", b"secret=a", FORM | BROWSER),
            here.send("POST", "/open", f"link={quoted(unlocked.link)}".encode(), FORM),
            here.send("POST", "/open", f"link={quoted(opened.link)}".encode(), FORM | BROWSER),
            here.send("POST", "/receipt", f"receipt=%23{receipt}".encode(), FORM),
            here.get("/", **BROWSER),
            here.get("/nope", **BROWSER),
            here.get("/readyz"),
        ]

    yield here, prepared
    here.service.store.node.close()
    here.service.ledger.close()


def test_the_round_is_fine_when_nothing_is_broken(stage: Stage) -> None:
    _, prepared = stage
    assert len(PLACES) >= 30
    assert {answer.status for answer in prepared()()} <= {200, 201, 204, 403, 404, 409, 410}


@pytest.mark.parametrize("place", PLACES)
def test_an_exception_anywhere_is_told_and_logged_without_its_message(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    here, prepared = stage
    round, after = prepared(), prepared()
    canary = "kanarie-" + os.urandom(9).hex()
    with monkeypatch.context() as patch:
        stream = lines_of(patch)
        broken_at(here, patch, place, canary)
        answers = round()
    log = stream.getvalue()
    failed = [answer for answer in answers if answer.status >= 500]
    assert failed, "nothing broke"
    for answer in answers:
        assert canary not in answer.text
        assert canary not in str(answer.headers)
        assert "Traceback" not in answer.text
        assert "RuntimeError" not in answer.text
        assert str(ROOT) not in answer.text
        assert ".py" not in answer.text
    for answer in failed:
        kind = answer.headers["content-type"]
        if kind == "application/problem+json":
            assert (answer.json["type"], answer.json["status"]) == ("internal-error", 500)
            assert set(answer.json) == {"type", "title", "status", "detail"}
        elif kind.startswith("text/plain"):
            assert answer.text.count("\n") == 1
        else:
            assert kind.startswith("text/html")
            assert "Something went wrong on our side" in answer.text
        if not place.endswith("route_of"):  # nothing runs behind a step of ours that is broken itself
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"
    assert canary not in log
    assert "ValueError" not in log
    assert "RuntimeError" in log  # its class and place are there for the operator
    for line in log.splitlines():
        json.loads(line)
    assert all(answer.status < 500 for answer in after() if answer.status != 409)


def test_a_log_that_cannot_be_written_says_nothing_elsewhere(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python's own report of such a failure holds every exception at hand, messages and all."""
    here, prepared = stage
    round = prepared()
    capfd.readouterr()

    def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(logs, "os", SimpleNamespace(write=broken))
        broken_at(here, patch, "store.look", "kanarie-in-no-log")
        answers = round()
    assert any(answer.status == 500 for answer in answers)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_a_header_flood_does_not_end_up_in_a_log(tmp_path: Path) -> None:
    """The web server's own refusals, at its own level."""
    canaries = Canaries()
    with backends(tmp_path) as backs, web(backs, tmp_path, log_level="debug") as running:
        for data in spoil_the_wire(running.port, canaries):
            assert not data.startswith(b"HTTP/1.1 500"), data
        assert running.client().get("/healthz").status == 200
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
        secret = canaries.secret(Secret.make(b"kanarie-in-a-flood"))
        connection.putrequest("GET", "/")
        for number in range(100):
            connection.putheader(f"X-{number}", secret.token)
        connection.endheaders()
        assert connection.getresponse().status in (400, 431)
        connection.close()
    log = running.log.read_bytes()
    assert b"refused a malformed request" in log
    assert canaries.found_in(log) == []
