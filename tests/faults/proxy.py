"""A proxy between two processes that talk to each other, with faults on request; unix sockets and TCP.

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
import struct
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self
from urllib.parse import unquote, urlsplit

from secretsvc.rules import rule

Verb = Literal["drop", "reset", "swallow", "delay"]
OPENING = 4096  # bytes of what a connection says first, by which ``partition`` can pick it
RST = struct.pack("ii", 1, 0)


def calls(name: str) -> bytes:
    """What a call of the rule ``lua/<name>.lua`` looks like on the wire."""
    return rule(name).sha.encode()


@dataclass
class Fault:
    """What befalls the answer to a request with ``pattern`` in it, the next ``times`` times.

    ``drop`` and ``reset`` forward the request and close the connection before any of the answer, in good
    manners (FIN) or without (RST); ``swallow`` keeps it open and says nothing; ``delay`` answers later.
    """

    verb: Verb
    pattern: bytes
    times: int
    seconds: float = 0.0


@dataclass(eq=False)
class Link:
    """One connection: both ends, and what the client said first."""

    client: socket.socket
    server: socket.socket
    opening: bytes = b""


@dataclass
class Proxy:
    """Listens where ``url`` says and forwards to ``upstream``, a ``unix://`` or ``redis://`` URL, both alike.

    Attributes:
        upstream: may be another one later, of the same kind; read for each new connection.
        url: where to connect to.
        port: the same for TCP, else 0.
        requests: what came through, as it was sent; one entry is one round trip.
        fired: how many faults have happened.
    """

    upstream: str = "redis://127.0.0.1:0"
    requests: list[bytes] = field(default_factory=list)
    fired: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._state: Literal["well", "hung", "refusing", "closed"] = "well"
        self._parted: tuple[bytes, ...] = ()  # parted are connections whose opening holds one of these
        self._healed = threading.Event()  # of the partition at hand
        self._links: set[Link] = set()
        self._threads: list[threading.Thread] = []
        self._folder = Path(tempfile.mkdtemp(prefix="secretsvc-proxy-"))
        if self.upstream.startswith("unix:"):
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(self._folder / "s"))
            self.url = f"unix://{self._folder / 's'}"
        else:
            self._listener = socket.socket()
            self._listener.bind(("127.0.0.1", 0))
            self.port = int(self._listener.getsockname()[1])
            self.url = f"redis://127.0.0.1:{self.port}/0"
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
        self._healed.set()
        for thread in self._threads:
            thread.join(5)
        shutil.rmtree(self._folder)

    # --- faults of single answers ----------------------------------------------------------------------

    def drop(self, pattern: bytes, times: int = 1) -> None:
        """Forward the next requests with this pattern, and close the connection instead of answering."""
        self._arm(Fault("drop", pattern, times))

    def reset(self, pattern: bytes, times: int = 1) -> None:
        """Forward them, and reset the connection instead of answering."""
        self._arm(Fault("reset", pattern, times))

    def swallow(self, pattern: bytes, times: int = 1) -> None:
        """Forward them and never answer."""
        self._arm(Fault("swallow", pattern, times))

    def delay(self, pattern: bytes, seconds: float, times: int = 1) -> None:
        """Forward them and answer later."""
        self._arm(Fault("delay", pattern, times, seconds))

    # --- faults of everything, until healed ------------------------------------------------------------

    def hang(self) -> None:
        """From now on take everything, forward nothing, answer nothing."""
        self._state = "hung"

    def refuse(self) -> None:
        """From now on close every connection."""
        self._state = "refusing"
        self._cut()

    def partition(self, *only: bytes) -> None:
        """From now on nothing passes in either direction; connections stay, and nobody is told.

        ``only``: those connections alone whose first words hold one of these, as ``PSYNC`` for replication.
        """
        self._healed.clear()
        self._parted = only or (b"",)

    def heal(self) -> None:
        """Forward again; connections of the bad time are closed, faults not yet fired are forgotten.

        What a partition held back is never delivered.
        """
        with self._lock:
            self._faults.clear()
        self._cut(*self._parted)
        self._state = "well"
        self._parted = ()
        self._healed.set()

    # --- inside ----------------------------------------------------------------------------------------

    def _arm(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _cut(self, *only: bytes) -> None:
        for link in list(self._links):
            if not only or any(words in link.opening for words in only):
                for end in (link.client, link.server):
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while self._state != "closed":
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        address = urlsplit(self.upstream)
        family = socket.AF_UNIX if address.scheme == "unix" else socket.AF_INET
        with client, socket.socket(family) as server, contextlib.suppress(OSError):
            if self._state in ("refusing", "closed"):
                return
            link = Link(client, server)
            self._links.add(link)
            try:
                if family == socket.AF_UNIX:
                    server.connect(unquote(address.path))
                else:
                    server.connect((address.hostname, address.port))
                    for end in (client, server):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._pump(link)
            finally:
                self._links.discard(link)

    def _pump(self, link: Link) -> None:
        with selectors.DefaultSelector() as selector:  # select() itself knows no descriptor over 1,023
            for end in (link.client, link.server):
                selector.register(end, selectors.EVENT_READ)
            self._forward(link, selector)

    def _forward(self, link: Link, selector: selectors.BaseSelector) -> None:
        client, server = link.client, link.server
        fault: Fault | None = None
        while True:
            readable = {key.fileobj for key, _ in selector.select()}
            if self._is_parted(link):
                self._healed.wait()
                return
            if client in readable:
                data = client.recv(1 << 20)
                if not data:
                    return
                if len(link.opening) < OPENING:
                    link.opening += data[:OPENING]
                    if self._is_parted(link):
                        self._healed.wait()
                        return
                if self._state == "hung":
                    continue
                fault = self._fault(data) or fault
                server.sendall(data)
            elif data := server.recv(1 << 20):
                verb, seconds = (fault.verb, fault.seconds) if fault else (None, 0.0)
                if verb == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
                if verb in ("drop", "reset"):
                    return
                if verb == "swallow":
                    continue
                fault = None
                time.sleep(seconds)
                client.sendall(data)
            else:
                return

    def _is_parted(self, link: Link) -> bool:
        return any(words in link.opening for words in self._parted)

    def _fault(self, data: bytes) -> Fault | None:
        with self._lock:
            self.requests.append(data)
            for fault in self._faults:
                if fault.pattern in data and fault.times:
                    fault.times -= 1
                    self.fired += 1
                    return fault
        return None
