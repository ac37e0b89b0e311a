"""A relay between a browser and the service: it writes down what passes, and loses answers on request.

with Relay(site.url) as relay:
    relay.on("POST /api/v1/secrets", lost)           # the service takes it, and its answer never arrives
    relay.on(".*", refused, times=ALWAYS)            # the service is down
    relay.calls("POST .*/claim")                     # what was asked, headers and body

Every connection is for one request: on one that it takes for stale a browser repeats a request by itself.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from secretsvc.envelope import b64, unb64
from tests.harness import Answer, Client

ALWAYS = 1_000_000
# Forwards when it is called; a fault that answers None closes the connection without a word.
Forward = Callable[[], Answer]
Fault = Callable[[Forward], Answer | None]


@dataclass(frozen=True)
class Call:
    """One request as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def whole(self) -> str:
        """All of it as one text."""
        head = "".join(f"{name}: {value}\n" for name, value in self.headers.items())
        return f"{self.method} {self.path}\n{head}\n{self.body.decode('utf-8', 'backslashreplace')}"


def lost(forward: Forward) -> Answer | None:
    """The service has done it; nobody hears of it."""
    forward()


def torn(forward: Forward) -> Answer | None:
    """The service has done it; the connection breaks in the middle of the answer."""
    answer = forward()
    return replace(answer, body=answer.body[: len(answer.body) // 2])


def refused(forward: Forward) -> Answer | None:
    """It never gets to the service."""


def instead(status: int, body: dict[str, Any], **headers: str) -> Fault:
    """The service does not get it, and something answers for it; the headers by their names, with ``_``."""
    content = json.dumps({"status": status, **body}).encode()
    head = {"content-type": "application/problem+json", "content-length": str(len(content))}
    head |= {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda forward: Answer(status, head, content)


def portal(forward: Forward) -> Answer | None:
    """The service has done it, and some other machine answers with a page of its own."""
    forward()
    page = b"<!doctype html><title>Welcome</title>Please sign in to this network."
    return Answer(200, {"content-type": "text/html", "content-length": str(len(page))}, page)


def damaged(forward: Forward) -> Answer | None:
    """One bit of the envelope in the answer has turned on the way."""
    answer = forward()
    envelope = bytearray(unb64(answer.json["envelope"]))
    envelope[40] ^= 1
    content = json.dumps({"envelope": b64(bytes(envelope))}).encode()
    return replace(answer, headers=answer.headers | {"content-length": str(len(content))}, body=content)


def storable(forward: Forward) -> Answer | None:
    """Without the word that forbids browsers to keep the page; some keep it all the same."""
    answer = forward()
    return replace(answer, headers={**answer.headers, "cache-control": "private"})


@dataclass
class InParts(Answer):
    """An answer whose body comes in parts."""

    parts: Iterator[bytes]


@dataclass
class Slow:
    """A fault: a slow line.  The answer's body comes in so many parts, one each time that ``go`` is called."""

    parts: int
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def go(self, parts: int = 1) -> None:
        """Let so many more pass; those that are left at the end of a test too."""
        self.gate.release(parts)

    def __call__(self, forward: Forward) -> Answer:
        answer = forward()
        return InParts(answer.status, answer.headers, answer.body, self._one_by_one(answer.body))

    def _one_by_one(self, body: bytes) -> Iterator[bytes]:
        size = -(-len(body) // self.parts)
        for at in range(0, len(body), size):
            self.gate.acquire()
            yield body[at : at + size]


@dataclass
class Relay:
    """Listens on a port of its own; ``url`` is where browsers find the service then."""

    upstream: str
    seen: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._faults: list[tuple[re.Pattern[str], Fault, int]] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def on(self, what: str, fault: Fault, times: int = 1) -> None:
        """Do this to the next requests whose method and path match the pattern ``what``, whole."""
        with self._lock:
            self._faults.append((re.compile(what), fault, times))

    def heal(self) -> None:
        """From now on pass everything."""
        with self._lock:
            self._faults.clear()

    def silent(self, forward: Forward) -> Answer | None:
        """A fault: the service has done it; the connection stays open, and nothing ever comes."""
        forward()
        self._over.wait()
        return None

    def calls(self, what: str) -> list[Call]:
        """What was asked so far, lost or not, in its order."""
        return [call for call in self.seen if re.fullmatch(what, f"{call.method} {call.path}")]

    def answer(self, call: Call) -> Answer | None:
        """Pass it, or do what a test wants to happen to it."""
        with self._lock:
            self.seen.append(call)
            fault = self._fault(f"{call.method} {call.path}")

        def forward() -> Answer:
            return Client(self.upstream).send(call.method, call.path, call.body or None, call.headers)

        return fault(forward) if fault else forward()

    def _fault(self, line: str) -> Fault | None:
        for at, (pattern, fault, times) in enumerate(self._faults):
            if pattern.fullmatch(line):
                self._faults[at] = (pattern, fault, times - 1)
                if times == 1:
                    del self._faults[at]
                return fault
        return None


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A browser may go before its answer comes; all else is a fault of the test."""
        if not isinstance(sys.exception(), OSError):
            raise


def _handler(relay: Relay) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            answer = relay.answer(Call(self.command, self.path, headers, body))
            if answer is None:
                return
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                if name not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                for part in answer.parts if isinstance(answer, InParts) else (answer.body,):
                    self.wfile.write(part)

        do_GET = do_POST = do_HEAD = pass_on  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    return Handler
