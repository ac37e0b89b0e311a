"""A proxy between the application and one of its servers, with faults on request.

with Proxy(backs.store.url) as proxy:
    proxy.drop(calls("mark"))      # forward the next mark, lose its answer
    proxy.hang()                   # take everything, answer nothing
    proxy.heal()
"""

from __future__ import annotations

import contextlib
import selectors
import shutil
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self
from urllib.parse import unquote, urlsplit

from secretsvc.node import rule

Verb = Literal["drop", "swallow", "delay"]


def calls(name: str) -> bytes:
    """What a call of the rule ``lua/<name>.lua`` looks like on the wire."""
    return rule(name).sha.encode()


@dataclass
class Fault:
    """``drop`` closes the connection instead of the answer, ``swallow`` keeps it open and says nothing."""

    verb: Verb
    pattern: bytes
    times: int
    seconds: float = 0.0


@dataclass
class Proxy:
    """Listens on a unix socket and forwards to another one.

    Attributes:
        url: where to connect to.
        requests: what came through, as it was sent; one entry is one round trip.
        fired: how many faults have happened.
    """

    upstream: str
    requests: list[bytes] = field(default_factory=list)
    fired: int = 0

    def __post_init__(self) -> None:
        self._path = unquote(urlsplit(self.upstream).path)
        self._folder = Path(tempfile.mkdtemp(prefix="secretsvc-proxy-"))
        self.url = f"unix://{self._folder / 's'}"
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._state: Literal["well", "hung", "refusing", "closed"] = "well"
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / "s"))
        self._listener.listen(128)
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._state = "closed"
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()
        for thread in self._threads:
            thread.join(5)
        shutil.rmtree(self._folder)

    def drop(self, pattern: bytes, times: int = 1) -> None:
        """Forward the next requests with this pattern, and close the connection instead of answering."""
        self._arm(Fault("drop", pattern, times))

    def swallow(self, pattern: bytes, times: int = 1) -> None:
        """Forward them and never answer."""
        self._arm(Fault("swallow", pattern, times))

    def delay(self, pattern: bytes, seconds: float, times: int = 1) -> None:
        """Forward them and answer later."""
        self._arm(Fault("delay", pattern, times, seconds))

    def hang(self) -> None:
        """From now on take everything, forward nothing, answer nothing."""
        self._state = "hung"

    def refuse(self) -> None:
        """From now on close every connection."""
        self._state = "refusing"
        self._cut()

    def heal(self) -> None:
        """Forward again; connections of the bad time are closed, faults not yet fired are forgotten."""
        with self._lock:
            self._faults.clear()
        self._cut()
        self._state = "well"

    def _arm(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _cut(self) -> None:
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while self._state != "closed":
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            if self._state in ("refusing", "closed"):
                return
            self._open.add(client)
            try:
                server.connect(self._path)
                self._pump(client, server)
            finally:
                self._open.discard(client)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:  # select() itself knows no descriptor over 1,023
            for end in (client, server):
                selector.register(end, selectors.EVENT_READ)
            self._forward(client, server, selector)

    def _forward(self, client: socket.socket, server: socket.socket, selector: selectors.BaseSelector) -> None:
        fault: Fault | None = None
        while True:
            readable = {key.fileobj for key, _ in selector.select()}
            if client in readable:
                data = client.recv(1 << 20)
                if not data:
                    return
                if self._state == "hung":
                    continue
                fault = self._fault(data) or fault
                server.sendall(data)
            elif data := server.recv(1 << 20):
                verb, seconds = (fault.verb, fault.seconds) if fault else (None, 0.0)
                if verb == "drop":
                    return
                if verb == "swallow":
                    continue
                fault = None
                time.sleep(seconds)
                client.sendall(data)
            else:
                return

    def _fault(self, data: bytes) -> Fault | None:
        with self._lock:
            self.requests.append(data)
            for fault in self._faults:
                if fault.pattern in data and fault.times:
                    fault.times -= 1
                    self.fired += 1
                    return fault
        return None
