"""Running the command line as a person would, and a wire to the service that can be listened to and cut."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.harness import ROOT

SECONDS = 40.0


@dataclass
class Ended:
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    @property
    def line(self) -> str:
        """Standard output as one line."""
        return self.out.decode().removesuffix("\n")


@dataclass
class Cli:
    """``python -m secretsvc`` in a folder of its own and with nothing but these settings; no terminal."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith(("SECRETSVC_", "SSL_"))}
        return {**own, "PYTHONPATH": str(ROOT), **self.settings}

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        return subprocess.Popen(
            [sys.executable, "-m", "secretsvc", *arguments],
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,  # away from whatever terminal runs the tests
            **streams,
        )

    def run(self, *arguments: str, given: bytes | str = b"", **more: Any) -> Ended:
        """Run it to its end; whatever happens there is no traceback, and an error is one line."""
        data = given.encode() if isinstance(given, str) else given
        with self.start(*arguments, **more) as process:
            out, err = process.communicate(data, SECONDS)
        said = err.decode()
        assert "Traceback" not in said, said
        assert "Exception ignored" not in said, said
        lines = [line for line in said.splitlines() if not line.startswith("secretsvc: warning")]
        assert process.returncode == 0 or len(lines) <= 1, said
        return Ended(process.returncode, out or b"", said)

    def ok(self, *arguments: str, given: bytes | str = b"", **more: Any) -> Ended:
        ended = self.run(*arguments, given=given, **more)
        assert ended.code == 0, ended
        return ended


class Terminal:
    """A command at a terminal of its own: what is shown there, and typing."""

    def __init__(self, cli: Cli, *arguments: str, stdin: bytes | None = None) -> None:
        self._own, theirs = pty.openpty()
        self.shown = ""
        reading, writing = os.pipe()

        def enter() -> None:
            os.setsid()
            os.close(os.open(os.ttyname(theirs), os.O_RDWR))  # now it is the controlling terminal

        self.process = subprocess.Popen(
            [sys.executable, "-m", "secretsvc", *arguments],
            cwd=cli.folder,
            env=cli.environment,
            stdin=theirs if stdin is None else reading,
            stdout=theirs,
            stderr=theirs,
            preexec_fn=enter,
        )
        if stdin is not None:
            os.write(writing, stdin)
        for end in (theirs, reading, writing):
            os.close(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._own)

    def _read(self, deadline: float) -> bool:
        ready = readable(self._own, max(0.0, deadline - time.monotonic()))
        assert ready, f"it goes on: {self.shown}"
        with contextlib.suppress(OSError):  # Linux says EIO where nobody has the other side open
            if chunk := os.read(self._own, 65536):
                self.shown += chunk.decode().replace("\r\n", "\n")
                return True
        return False

    def expect(self, text: str) -> None:
        """Wait until this is shown, and forget what stands up to it."""
        deadline = time.monotonic() + SECONDS
        while text not in self.shown:
            assert self._read(deadline), f"no {text!r} in: {self.shown}"
        self.shown = self.shown.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    def ended(self) -> tuple[int, str]:
        """Wait for the end: exit code, and all that was shown and not yet expected."""
        deadline = time.monotonic() + SECONDS
        while self._read(deadline):
            pass
        return self.process.wait(SECONDS), self.shown


Reply = bytes | threading.Event | None


class Wire:
    """A TCP proxy in front of the service.  It records what is said and can lose, replace or hold back answers.

    Attributes:
        requests: every request as it was sent.
        reached: set when a request that is held back has come.
    """

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.reached = threading.Event()
        self._upstream = port
        self._tls = tls
        self._rules: list[tuple[bytes, Reply, int]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(SECONDS)

    def lose(self, what: bytes, times: int = 1) -> None:
        """Let the next such requests through and lose their answers."""
        self._rules.append((what, None, times))

    def answer(self, what: bytes, reply: bytes, times: int = 1) -> None:
        """Answer the next such requests in the service's place."""
        self._rules.append((what, reply, times))

    def hold(self, what: bytes) -> threading.Event:
        """Keep the next such request until the event is set."""
        event = threading.Event()
        self._rules.append((what, event, 1))
        return event

    def said(self, what: bytes) -> list[bytes]:
        """The requests with this in their first line."""
        return [request for request in self.requests if what in request.partition(b"\r\n")[0]]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(client,)))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(SECONDS)
        with contextlib.suppress(OSError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            self._relay(client)
        client.close()

    def _relay(self, client: socket.socket) -> None:
        request = _message(client)
        if not request:
            return
        self.requests.append(request)
        reply, matched = self._rule(request)
        if isinstance(reply, bytes):
            client.sendall(reply)
            return
        if isinstance(reply, threading.Event):
            self.reached.set()
            reply.wait(SECONDS)
        with socket.create_connection(("127.0.0.1", self._upstream), SECONDS) as server:
            server.sendall(request)
            answer = _message(server)
        if reply is not None or not matched:
            client.sendall(answer)

    def _rule(self, request: bytes) -> tuple[Reply, bool]:
        first = request.partition(b"\r\n")[0]
        for index, (what, reply, times) in enumerate(self._rules):
            if what in first and times:
                self._rules[index] = (what, reply, times - 1)
                return reply, True
        return None, False


def _message(connection: socket.socket) -> bytes:
    """One HTTP message with a Content-Length, or without a body."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return data
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [
        line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    ]
    left = int(lengths[0]) - len(body) if lengths else 0
    while left > 0 and (chunk := connection.recv(65536)):
        data += chunk
        left -= len(chunk)
    return data


def reply(status: int, body: str = "", type: str = "application/problem+json", **headers: str) -> bytes:
    """An HTTP answer of somebody else's."""
    lines = {"Content-Type": type, "Content-Length": str(len(body.encode())), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n{body}".encode()


def command_lines(pid: int) -> bytes:
    """What the process list shows of it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def readable(file: int, seconds: float) -> bool:
    """Whether there is something to read within so many seconds; whatever the descriptor's number."""
    poll = select.poll()
    poll.register(file, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(seconds * 1000))
