"""What the tests build a running service from: real servers, real keyrings, real web processes."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask

import app as composition
from secretsvc import atrest, envelope, settings
from secretsvc.connections import open_node
from secretsvc.envelope import Payload, b64, unb64
from secretsvc.errors import LedgerUnavailable
from secretsvc.ledger import RedisLedger
from secretsvc.settings import Settings
from secretsvc.shard import Shard
from secretsvc.store import RedisStore
from secretsvc.web import logs
from secretsvc.web.service import Service
from tests.servers import Server, free_port, start_server

ROOT = Path(__file__).resolve().parent.parent
# The cheapest Argon2 a real service accepts; the tests run hundreds.
CHEAP = {"argon2_memory_kib": "7168", "argon2_passes": "1"}


@dataclass
class Backends:
    """A store, a ledger and a keyring: what one service stands on."""

    store: Server
    ledger: Server
    keyring: Path

    def environment(self, **settings: str) -> dict[str, str]:
        """The variables of a service on these servers; settings by their field names."""
        values = {
            "redis_url": self.store.url,
            "ledger_urls": self.ledger.url,
            "keyring_file": str(self.keyring),
            "create_limit": "0",
            "create_bytes_limit": "0",
            "password_limit": "0",
            "sign_in_limit": "0",
            **CHEAP,
            **settings,
        }
        return {settings_variable(name): value for name, value in values.items()}

    def settings(self, **more: str) -> Settings:
        """The same as checked settings."""
        return settings.from_env(self.environment(**more))

    def app(self, **more: str) -> Flask:
        """The application in this process, on the real servers."""
        found = composition.create_app(self.settings(**more))
        service: Service = found.extensions["secretsvc"]
        for each in (service.store.node, service.ledger):
            weakref.finalize(found, each.close)
        return found

    def clear(self) -> None:
        """Forget everything, on both."""
        for server in (self.store, self.ledger):
            server.client().flushall()


def ledger_at(urls: list[str], store: RedisStore) -> RedisLedger:
    """The ledger on these servers as a process knows it that has just begun, with its marks in this store."""

    def shard(number: int, url: str) -> Shard:
        return Shard(
            lambda prove: open_node(url, connections=4, unavailable=LedgerUnavailable, prove=prove),
            name=f"Node {number} of the ledger",
            marks=store,
        )

    return RedisLedger([shard(number, url) for number, url in enumerate(urls, 1)], store)


def settings_variable(name: str) -> str:
    return settings.variable(name)


@contextmanager
def backends(folder: Path, engine: str = "valkey", transport: str = "unix") -> Iterator[Backends]:
    """A fresh store, ledger and keyring."""
    for name in ("store", "ledger"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    keyring = folder / "keyring"
    atrest.save_keyring(keyring, {"test": secrets.token_bytes(32)})
    with (
        start_server(engine, transport=transport, dir=folder / "store") as store,  # type: ignore[arg-type]
        start_server(engine, transport=transport, dir=folder / "ledger") as ledger,  # type: ignore[arg-type]
    ):
        yield Backends(store, ledger, keyring)


@dataclass
class Web:
    """A real gunicorn with our configuration, on a port of its own; ``log`` is what it wrote."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    claims: list[Any] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Client:
        return Client(self.url)

    def stop(self, sign: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(30)


@contextmanager
def web(
    backs: Backends,
    folder: Path,
    *,
    target: str = "app:create_app()",
    workers: int = 1,
    threads: int = 8,
    **more: str,
) -> Iterator[Web]:
    """Start a web server process and wait until it answers.

    ``target`` is what gunicorn loads, so that a test can bring an application with a trap in it.
    """
    port = free_port()
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith("SECRETSVC_")},
        **backs.environment(bind=f"127.0.0.1:{port}", workers=str(workers), threads=str(threads), **more),
        "PYTHONPATH": str(ROOT),
    }
    log = folder / f"web-{port}.log"
    argv = [sys.executable, "-m", "gunicorn", "-c", "python:secretsvc.web.gunicorn_conf", target]
    with log.open("wb") as file:
        process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=file, stderr=file)
    running = Web(port, process, log)
    try:
        wait_until(lambda: process.poll() is not None or running.client().get("/healthz").status == 200)
        if process.poll() is not None:
            raise AssertionError(log.read_text()[-3000:])
        yield running
    finally:
        running.stop()


def wait_until(condition: Any, seconds: float = 20.0) -> None:
    """Poll until something is so; fail loudly if it never is."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.02)
    raise AssertionError("it never became so")


def lines_of(patch: pytest.MonkeyPatch) -> io.StringIO:
    """What the application logs from now on, instead of standard error."""
    stream = io.StringIO()
    patch.setattr(logs.LINES, "write", lambda line: stream.write(line.decode() + "\n"))
    return stream


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """A plain HTTP client that repeats nothing by itself."""

    def __init__(self, url: str, *, timeout: float = 15.0) -> None:
        parts = urlsplit(url)
        self.host, self.port, self.timeout = parts.hostname or "", parts.port or 80, timeout

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, None, headers)

    def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        return self.send("POST", path, data, {"Content-Type": "application/json", **(headers or {})})


class InProcess:
    """The same calls on an application in this process."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self._client = app.test_client(use_cookies=False)

    @property
    def service(self) -> Service:
        found: Service = self.app.extensions["secretsvc"]
        return found

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        found = self._client.open(path, method=method, data=body, headers=headers or {})
        with contextlib.closing(found):  # a file, if it is one
            return Answer(found.status_code, {k.lower(): v for k, v in found.headers.items()}, found.data)

    get = Client.get
    post = Client.post


@dataclass
class Secret:
    """A secret sealed on this side, and all its handles."""

    key: bytes
    content: bytes
    id: str
    token: str
    body: dict[str, Any]
    proof: str | None = None
    stretched: bytes | None = None
    receipt_token: str = ""

    @classmethod
    def make(
        cls,
        content: bytes = b"hunter2",
        *,
        password: str = "",
        stretched: bytes | None = None,
        expires_in: int = 3600,
        **more: Any,
    ) -> Secret:
        """``stretched``: 32 bytes instead of a stretched password, where stretching is not the point."""
        key = envelope.new_key()
        handles = envelope.derive_handles(key)
        stretched = stretched or envelope.stretch_password(key, password)
        body = {
            "id": b64(handles.id),
            "token": b64(handles.token),
            "envelope": b64(envelope.seal(key, Payload(content), stretched=stretched)),
            "expires_in": expires_in,
            **more,
        }
        proof = None if stretched is None else b64(envelope.proof(stretched))
        if proof is not None:
            body["proof"] = proof
        return cls(key, content, body["id"], body["token"], body, proof, stretched)

    @classmethod
    def create(cls, client: Client | InProcess, content: bytes = b"hunter2", **more: Any) -> Secret:
        """Made here and stored there."""
        secret = cls.make(content, **more)
        answer = client.post("/api/v1/secrets", secret.body)
        assert answer.status == 201, answer.text
        secret.receipt_token = answer.json["receipt_token"]
        return secret

    @property
    def link(self) -> str:
        return envelope.format_link("http://127.0.0.1", self.key)

    def auth(self, token: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {token or self.token}"}

    def claim(
        self, client: Client | InProcess, key: str | None = None, proof: str | None = None, **headers: str
    ) -> Answer:
        head = {**self.auth(), **headers, **({"Idempotency-Key": key} if key else {})}
        proof = proof or self.proof
        return client.post(f"/api/v1/secrets/{self.id}/claim", {"proof": proof} if proof else {}, head)

    def call(self, client: Client | InProcess, what: str, *, sender: bool = False, **headers: str) -> Answer:
        """done, report, revoke or unlock."""
        head = {**self.auth(self.receipt_token if sender else None), **headers}
        return client.post(f"/api/v1/secrets/{self.id}/{what}", None, head)

    def state(self, client: Client | InProcess, *, sender: bool = False) -> Answer:
        return client.get(f"/api/v1/secrets/{self.id}", **self.auth(self.receipt_token if sender else None))

    def unseal(self, answer: Answer) -> bytes:
        """The secret out of a claim's answer."""
        return envelope.unseal(self.key, unb64(answer.json["envelope"]), stretched=self.stretched).content


def new_idempotency_key() -> str:
    return secrets.token_urlsafe(32)
