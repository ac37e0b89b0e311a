"""A server that expects certain calls, word for word, and answers as told; anything else fails the test."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

How = Literal["whole", "hang", "drip", "drip-head", "cut", "hang-up", "endless"]


@dataclass
class Expected:
    """A call, and what is answered to it."""

    method: str
    target: str
    authorization: str | None
    body: Any
    status: int
    answer: str
    headers: dict[str, str]
    how: How


@dataclass
class Strict:
    """The calls that are still expected, in order, and what went wrong."""

    url: str = ""
    calls: list[Expected] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def expect(
        self,
        call: str,
        body: Any = None,
        *,
        status: int = 200,
        answer: Any = "",
        authorization: str | None = None,
        how: How = "whole",
        **headers: str,
    ) -> None:
        """``call`` is method and target; ``answer`` is text, or anything else as JSON."""
        method, target = call.split(" ", 1)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.calls.append(Expected(method, target, authorization, body, status, text, named, how))

    def judge(self, handler: BaseHTTPRequestHandler) -> Expected | None:
        """The call that this is, or None with what is wrong about it noted."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        with self.lock:
            if not self.calls:
                self.wrong.append(f"one call too many: {handler.command} {handler.path}")
                return None
            want = self.calls.pop(0)
            said = {
                "call": (f"{handler.command} {handler.path}", f"{want.method} {want.target}"),
                "authorization": (handler.headers.get("Authorization"), want.authorization),
                "body": (json.loads(body) if body else None, want.body),
                "content type": (
                    handler.headers.get("Content-Type"),
                    None if want.body is None else "application/json",
                ),
                "accept": (handler.headers.get("Accept"), "application/json"),
            }
            wrong = [
                f"{what}: {is_} instead of {should}" for what, (is_, should) in said.items() if is_ != should
            ]
            self.wrong += wrong
            return None if wrong else want


def _handler(strict: Strict) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            self.close_connection = True
            want = strict.judge(self)
            if want is None:
                self.send_error(500)
                return
            with contextlib.suppress(OSError):
                self._answer(want)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - http.server's names

        def _answer(self, want: Expected) -> None:
            content = want.answer.encode()
            if want.how == "hang":
                strict.closing.wait(30)
                return
            if want.how == "hang-up":
                return
            length = len(content) + 100 if want.how == "cut" else len(content)
            lines = [f"HTTP/1.1 {want.status} Said", "Content-Type: application/json", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in want.headers.items()]
            if want.how not in ("endless", "drip"):
                lines.append(f"Content-Length: {length}")
            head = ("\r\n".join(lines) + "\r\n\r\n").encode()
            if want.how == "drip-head":
                self._drip(head)
            self.wfile.write(head)
            if want.how == "drip":
                self._drip(content + b" " * 1000)
            while want.how == "endless":
                self.wfile.write(b" " * 65_536)
            self.wfile.write(content)

        def _drip(self, content: bytes) -> None:
            for at in range(len(content)):
                self.wfile.write(content[at : at + 1])
                self.wfile.flush()
                if strict.closing.wait(0.05):
                    return

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def serving(certificate: tuple[Path, Path] | None = None) -> Iterator[Strict]:
    """A running server; leaving fails if a call was wrong or is missing.

    Args:
        certificate: with its key, for https.
    """
    strict = Strict()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(strict))
    strict.url = f"http://127.0.0.1:{server.server_address[1]}"
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        strict.url = strict.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield strict
        assert not strict.wrong, strict.wrong
        assert not strict.calls, f"never called: {strict.calls}"
    finally:
        strict.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
