"""Requests made to be read in two ways, at the web server itself and through a real nginx.

Whatever one of them takes for a body, the other must not take for a request: each request hides another one,
for a route of its own, and the service's own log tells which it saw.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.nginx import Nginx, nginx
from tests.harness import Backends, Client, Secret, Web, new_idempotency_key, wait_until, web

Say = Callable[[str], None]
CANARY = "canary-9f27"
# The hidden request: a page that nothing else here asks for.
HIDDEN = b"GET /help?" + CANARY.encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
START = b"POST / HTTP/1.1\r\nHost: localhost\r\n" + FORM
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def length(of: bytes, more: int = 0) -> bytes:
    return b"Content-Length: %d\r\n" % (len(of) + more)


ENDED = b"0\r\n\r\n" + HIDDEN
# Each is one request to whoever reads it rightly, or none; the hidden one is, or may be, its body.
AMBIGUOUS = {
    "length and chunked": START + length(ENDED) + CHUNKED + b"\r\n" + ENDED,
    "chunked and length": START + CHUNKED + length(ENDED) + b"\r\n" + ENDED,
    "two lengths": START + length(HIDDEN) + b"Content-Length: 0\r\n\r\n" + HIDDEN,
    "two lengths in one": START + b"Content-Length: 0, %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "two lengths alike": START + length(HIDDEN) * 2 + b"\r\n" + HIDDEN,
    "length with a sign": START + b"Content-Length: +%d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "length in octal": START + b"Content-Length: 0x%x\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "negative length": START + b"Content-Length: -1\r\n\r\n" + HIDDEN,
    "length with a space inside": START + b"Content-Length: 1 0\r\n\r\n" + HIDDEN,
    "endless length": START + b"Content-Length: 99999999999999999999999\r\n\r\n" + HIDDEN,
    "space before the colon": START + b"Content-Length : %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "folded chunked": START + length(ENDED) + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + ENDED,
    "folded length": START + b"X-A: b\r\n Content-Length: 0\r\n" + length(HIDDEN) + b"\r\n" + HIDDEN,
    "xchunked": START + length(ENDED) + b"Transfer-Encoding: xchunked\r\n\r\n" + ENDED,
    "xchunked alone": START + b"Transfer-Encoding: xchunked\r\n\r\n" + ENDED,
    "identity": START + length(ENDED) + b"Transfer-Encoding: identity\r\n\r\n" + ENDED,
    "chunked, identity": START + b"Transfer-Encoding: chunked, identity\r\n\r\n" + ENDED,
    "chunked twice": START + CHUNKED + CHUNKED + b"\r\n" + ENDED,
    "chunked in quotes": START + length(ENDED) + b'Transfer-Encoding: "chunked"\r\n\r\n' + ENDED,
    "tab before chunked": START + length(ENDED) + b"Transfer-Encoding:\x0bchunked\r\n\r\n" + ENDED,
    "NUL after chunked": START + length(ENDED) + b"Transfer-Encoding: chunked\x00\r\n\r\n" + ENDED,
    "underscore": START + length(ENDED) + b"Transfer_Encoding: chunked\r\n\r\n" + ENDED,
    "underscored length": START + b"Content_Length: 0\r\n" + length(HIDDEN) + b"\r\n" + HIDDEN,
    "NUL in a name": START + b"Content-\x00Length: 0\r\n" + length(HIDDEN) + b"\r\n" + HIDDEN,
    "lone LF": (START + CHUNKED + length(ENDED)).replace(b"\r\n", b"\n") + b"\n" + ENDED,
    "lone CR": START + b"X-A: b\rContent-Length: 0\r\n" + length(HIDDEN) + b"\r\n" + HIDDEN,
    "chunk size ends in LF": START + CHUNKED + b"\r\n2\nab\r\n0\n\n" + HIDDEN,
    "chunk with a sign": START + CHUNKED + b"\r\n+2\r\nab\r\n" + ENDED,
    "chunk of 0x2": START + CHUNKED + b"\r\n0x2\r\nab\r\n" + ENDED,
    "chunk size of 20 digits": START + CHUNKED + b"\r\n1" + b"0" * 19 + b"\r\nab\r\n" + ENDED,
    "chunk longer than said": START + CHUNKED + b"\r\n2\r\nabc\r\n" + ENDED,
    "negative chunk": START + CHUNKED + b"\r\n-2\r\nab\r\n" + ENDED,
    "extension with LF": START + CHUNKED + b"\r\n2;a\n\r\nab\r\n0;\nx\r\n" + HIDDEN,
    "chunked in HTTP/1.0": START.replace(b"1.1", b"1.0") + CHUNKED + length(ENDED) + b"\r\n" + ENDED,
    "connect": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + HIDDEN,
    "upgrade to h2c": b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" + length(HIDDEN) + b"\r\n" + HIDDEN,
    "body of a GET": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + length(HIDDEN) + b"\r\n" + HIDDEN,
    "body of a HEAD": b"HEAD / HTTP/1.1\r\nHost: localhost\r\n" + length(HIDDEN) + b"\r\n" + HIDDEN,
    "body with Expect": START + b"Expect: 100-continue\r\n" + length(HIDDEN) + b"\r\n" + HIDDEN,
    "HTTP/0.9": b"GET /\r\n" + HIDDEN,
    "HTTP/2 in words": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
    "no name": START + b": x\r\n" + length(HIDDEN) + b"\r\n" + HIDDEN,
    "two hosts": START + b"Host: other.example\r\n" + length(HIDDEN) + b"\r\n" + HIDDEN,
}
SAID = {100, 200, 400, 404, 413, 422, 501}  # 501: a transfer coding that nobody knows, in RFC 9112's own word


@dataclass
class Door:
    """A way in, and the log of what came through it."""

    name: str
    connect: Callable[[], socket.socket]
    log: Path

    def seen(self) -> list[str]:
        """Methods and routes that the service answered so far."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [f"{line.get('method')} {line.get('route')}" for line in lines if line.get("route")]

    def send(self, request: bytes, *, patience: float = 1.0) -> bytes:
        """Everything that is answered until the other side hangs up or says no more for so many seconds."""
        got = b""
        with self.connect() as wire, contextlib.suppress(OSError):
            wire.settimeout(patience)
            wire.sendall(request)
            while more := wire.recv(65_536):
                got += more
        return got


def statuses(answer: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answer)]


@pytest.fixture(scope="module")
def behind(servers: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    servers.clear()
    more = {"public_url": "https://secrets.example.org", "trusted_proxies": "1", "metrics": "anyone"}
    with web(servers, tmp_path_factory.mktemp("behind"), workers=1, threads=4, **more) as running:
        yield running


@pytest.fixture(scope="module")
def front(behind: Web, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with nginx(tmp_path_factory.mktemp("front") / "nginx", behind.port) as running:
        yield running


@pytest.fixture(params=["nginx", "itself"])
def door(behind: Web, front: Nginx, request: pytest.FixtureRequest) -> Door:
    if request.param == "nginx":
        return Door("nginx", front.connect, behind.log)
    return Door("itself", lambda: socket.create_connection(("127.0.0.1", behind.port), 5), behind.log)


def healthy(door: Door) -> None:
    """Somebody else, over the same connections behind, gets the answer to what was asked."""
    answer = door.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", patience=5)
    assert (statuses(answer), answer[-3:]) == ([200], b"ok\n")


def test_no_body_is_ever_taken_for_a_request(door: Door, say: Say) -> None:
    """The web server never sees the hidden one; behind nginx only where nginx took it for a second one, too."""
    refused = 0
    for name, request in AMBIGUOUS.items():
        before = len(door.seen())
        answer = door.send(request, patience=0.4)
        healthy(door)
        told = [status for status in statuses(answer) if status != 100]
        seen = [route for route in door.seen()[before:] if "healthz" not in route]
        assert set(told) <= SAID, (name, told)
        assert answer or door.name == "itself", name  # it does not wait long for who still sends
        assert len(seen) <= max(1, len(told)), (name, seen, told)
        if any("/help" in route for route in seen):
            assert (door.name, len(told)) == ("nginx", 2), (name, seen, told)
        refused += told in ([400], [501])
    say(f"{len(AMBIGUOUS)} by way of {door.name}: {refused} refused, none read in two ways")
    assert refused >= 30


def test_two_requests_sent_at_once_are_answered_in_their_order(door: Door) -> None:
    before = len(door.seen())
    one = START + b"Content-Length: 3\r\n\r\na=b" + HIDDEN
    assert statuses(door.send(one, patience=2)) == [422, 200]
    wait_until(lambda: len(door.seen()) == before + 2)
    assert door.seen()[before:] == ["POST /", "GET /help"]


@pytest.mark.parametrize(
    "path",
    ["/metrics", "//metrics", "/./metrics", "/x/../metrics", "/%6detrics", "/metrics?a", "/metrics#",
     "/METRICS", "/metrics/", "/metrics;a", "/metrics%00", "/metrics%2f", "/metrics%20", "/metrics/.",
     "/s/..%2fmetrics", "http://localhost/metrics", "http://other.example/metrics",
     "http://other.example//metrics", "\\metrics"],
)  # fmt: skip
def test_what_is_for_the_inside_stays_there_however_it_is_written(behind: Web, front: Nginx, path: str) -> None:
    """Even where the service itself would tell anyone."""
    assert b"secretsvc_info" in Client(behind.url).get("/metrics").body
    for target in (path, path.replace("metrics", "readyz")):
        request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        answer = Door("nginx", front.connect, behind.log).send(request, patience=5)
        assert statuses(answer) in ([404], [400]), answer[:200]
        assert b"secretsvc_" not in answer
        assert b"ledger:" not in answer


def test_a_name_in_the_request_line_changes_no_link(door: Door) -> None:
    body = b"secret=x"
    head = b"POST http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\n"
    answer = door.send(head + FORM + length(body) + b"Connection: close\r\n\r\n" + body, patience=5)
    assert statuses(answer) == [201]
    assert b"https://secrets.example.org/s#" in answer
    assert b"evil.example" not in answer


@pytest.mark.parametrize(
    "flood",
    [b"X-A: b\r\n" * 20_000, b"X-A: " + b"b" * 1_000_000 + b"\r\n", b"X-" + b"a" * 1_000_000 + b": b\r\n"],
    ids=["many", "long", "long name"],
)
def test_a_flood_of_headers_is_refused_and_nobody_waits_for_it(door: Door, flood: bytes) -> None:
    before = len(door.seen())
    answer = door.send(b"GET /help HTTP/1.1\r\nHost: localhost\r\n" + flood + b"\r\n", patience=5)
    assert set(statuses(answer)) <= {400, 431}
    healthy(door)
    assert [route for route in door.seen()[before:] if "healthz" not in route] == []


def test_slow_readers_hold_no_thread_of_the_service(behind: Web, front: Nginx, say: Say) -> None:
    """Five times as many as it has threads let a megabyte each wait for them, and go on to get all of it."""
    client, readers, times = Client(front.clear_url), 20, []
    made = [Secret.create(client, b"x" * 2**20) for _ in range(readers)]
    with ExitStack() as held:
        wires = []
        for one in made:
            wire = held.enter_context(socket.socket())
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.connect(("127.0.0.1", front.clear_port))
            wire.sendall(
                f"POST /api/v1/secrets/{one.id}/claim HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
                f"Content-Type: application/json\r\nAuthorization: Bearer {one.token}\r\n"
                f"Idempotency-Key: {new_idempotency_key()}\r\nConnection: close\r\n\r\n{{}}".encode()
            )
            wires.append(wire)
        for _ in range(20):
            started = time.monotonic()
            assert Secret.create(client).claim(client).status == 200
            times.append((time.monotonic() - started) / 2)
        got = []
        for wire in wires:
            wire.settimeout(20)
            got.append(sum(len(part) for part in iter(lambda wire=wire: wire.recv(262_144), b"")))  # type: ignore[misc]
    times.sort()
    slowest = f"of {len(times)} others the slowest took {times[-1] * 1000:.0f} ms"
    say(f"{readers} slow readers on 4 threads; {slowest}")
    assert min(got) > 2**20
    assert times[len(times) // 2] < 0.2


def test_no_log_of_the_proxy_holds_what_people_paste(front: Nginx) -> None:
    """Not a link that a mail program has spoilt, nor what is refused, nor what nginx itself fails at."""
    wire = Door("nginx", front.connect, front.folder)
    host = b"Host: localhost\r\n"
    for line in (
        b"GET /s%%23%s",
        b"GET /s?%s",
        b"GET /s#%s",
        b"GET /%s\x00",
        b"GET /%%zz%s",
        b"BAD%s /",
        b"CONNECT %s:1",
    ):
        wire.send(line % CANARY.encode() + b" HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n", patience=0.3)
    for head in (b"Authorization: Bearer %s", b"Cookie: a=%s", b"Idempotency-Key: %s\x00", b"%s", b"Host: %s"):
        wire.send(b"GET /s HTTP/1.1\r\n" + host + head % CANARY.encode() + b"\r\n\r\n", patience=0.3)
    bodies = front.folder / "bodies"
    bodies.rename(front.folder / "elsewhere")  # as a full disk: nginx cannot keep what it is sent
    try:
        body = b"secret=" + b"x" * 500_000
        answer = wire.send(
            b"POST /?%s HTTP/1.1\r\n" % CANARY.encode() + host + FORM + length(body) + b"\r\n" + body
        )
    finally:
        (front.folder / "elsewhere").rename(bodies)
    assert statuses(answer) == [503]
    kept = [path for path in front.folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    assert kept == []
