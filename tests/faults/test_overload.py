"""Bad clients before a real nginx: they cost a descriptor, not a thread, and what they send is not kept."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.nginx import Nginx, nginx
from tests.harness import Answer, Backends, Client, Secret, Web, web

Say = Callable[[str], None]
HALVES = (
    b"POST /api/v1/secrets HTTP/1.1\r\nHost: localhost\r\nContent-Ty",
    b"POST /api/v1/secrets HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 100000\r\n\r\n{"secret": "hal',
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n7\r\nsecret=\r\n",
)


class Tls(Client):
    """The tests' plain client, through nginx."""

    def __init__(self, front: Nginx) -> None:
        super().__init__(f"http://localhost:{front.port}")
        self.front = front

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=10, context=self.front.trust)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def behind(servers: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    servers.clear()
    folder = tmp_path_factory.mktemp("behind")
    more = {"public_url": "https://secrets.example.org", "trusted_proxies": "1"}
    with web(servers, folder, workers=2, threads=4, **more) as running:
        yield running


@pytest.fixture(scope="module")
def front(behind: Web, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with nginx(tmp_path_factory.mktemp("front") / "nginx", behind.port) as running:
        yield running


def test_two_hundred_half_sent_requests_slow_nobody_down(front: Nginx, say: Say) -> None:
    client, times = Tls(front), []
    with ExitStack() as held:
        for n in range(200):
            half = held.enter_context(front.connect())
            half.sendall(HALVES[n % 3])
        for _ in range(20):
            for call in (
                lambda: client.get("/healthz").status == 200,
                lambda: Secret.create(client).claim(client).status == 200,
            ):
                started = time.monotonic()
                assert call()
                times.append(time.monotonic() - started)
    times.sort()
    say(f"200 half-sent requests held; of {len(times)} others the slowest took {times[-1] * 1000:.0f} ms")
    assert times[int(len(times) * 0.95)] < 0.2


def test_large_secrets_pass_and_larger_ones_are_refused_in_words(front: Nginx) -> None:
    client = Tls(front)
    content = os.urandom(2**20 - 200)
    secret = Secret.create(client, content)
    assert secret.unseal(secret.claim(client)) == content
    escaped = json.dumps({"secret": "\x01" * (2**20 - 200), "expires_in": 60}).encode()
    assert len(escaped) > 6_000_000
    head = {"Content-Type": "application/json"}
    assert client.send("POST", "/api/v1/secrets", escaped, head).status == 201
    refused = client.send("POST", "/api/v1/secrets", b"[" * 7_000_000, head)
    assert (refused.status, refused.json["type"]) == (413, "too-large")


def test_nothing_that_was_sent_is_kept_by_the_proxy(front: Nginx) -> None:
    """Neither in a log nor, once it is answered, in a file."""
    client, canary = Tls(front), "canary-" + os.urandom(8).hex()
    body = f"secret={canary * 20_000}".encode()
    head = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.send("POST", "/", body, head).status == 201  # too large for nginx's memory
    assert client.send("POST", f"/?{canary}", b"secret=x", head).status == 422
    assert client.get(f"/{canary}").status == 404
    assert client.get("/metrics").status == client.get("/readyz").status == 404
    kept = [path for path in front.folder.rglob("*") if path.is_file() and canary.encode() in path.read_bytes()]
    assert kept == []


def test_a_service_that_is_away_is_told_so_and_the_request_is_in_no_log(
    servers: Backends, folder: Path
) -> None:
    canary = "canary-" + os.urandom(8).hex()
    with web(servers, folder) as running, nginx(folder / "nginx", running.port) as front:
        running.stop()
        answer = Tls(front).get(f"/s?{canary}")
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert "cannot be reached" in answer.text
        assert canary.encode() not in b"".join(path.read_bytes() for path in front.folder.glob("*.log"))


def test_links_come_from_the_public_url_whatever_a_caller_says(front: Nginx) -> None:
    links = Tls(front).send(
        "POST",
        "/",
        b"secret=x",
        {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Forwarded-For": "10.9.8.7",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Proto": "http",
        },
    )
    assert links.text.startswith("https://secrets.example.org/s#")


def test_what_comes_in_the_clear_is_told_so(front: Nginx) -> None:
    plain = Client(f"http://localhost:{front.plain_port}")
    moved = plain.get("/s")
    assert (moved.status, moved.headers["location"]) == (301, "https://secrets.example.org/s")
    refused = plain.send("POST", "/", b"secret=x", {"Content-Type": "application/x-www-form-urlencoded"})
    assert (refused.status, "readable on its way" in refused.text) == (403, True)
