"""Sends prepared requests over a few connections that stay, in turn, and takes the time of each.

One thread that waits for all its connections, in a process that is none of the servers'.  A connection sends
its next request when it has the whole answer to the last.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class WrongAnswerError(Exception):
    """A request was not answered as it has to be, so its time means nothing."""


@dataclass(frozen=True)
class Run:
    """What came of a batch: its wall time and the time of each request, in seconds; bodies where asked for.

    ``cpu`` is what sending it cost this process, in seconds; ``received`` is the bytes of all answers.
    """

    seconds: float
    each: list[float]
    bodies: list[bytes]
    cpu: float
    received: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.each) / self.seconds


def request(method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a request, as a plain HTTP client sends them; a body that is not bytes goes as JSON."""
    head = {"Host": "127.0.0.1", "Accept": "application/json", **(headers or {})}
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    if body is not None:
        head.setdefault("Content-Type", "application/json")
    if data or method == "POST":
        head["Content-Length"] = str(len(data))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def send(
    ports: Sequence[int],
    requests: Sequence[bytes],
    *,
    connections: int,
    expected: int = 200,
    keep: bool = False,
) -> Run:
    """Send each once and wait for all answers.

    Args:
        ports: of the loopback interface; connections are spread over them evenly.
        requests: what ``request`` has made.
        connections: how many, which is how many requests are under way at most.
        expected: the status of every answer.
        keep: whether the bodies are wanted; in the order of the requests.

    Raises:
        WrongAnswerError: an answer has another status, or none came within 30 seconds.
    """
    sockets = [_connect(ports[n % len(ports)]) for n in range(min(connections, len(requests)))]
    try:
        return _exchange({one.fileno(): one for one in sockets}, requests, expected, keep=keep)
    finally:
        for one in sockets:
            one.close()


def _exchange(
    sockets: dict[int, socket.socket], requests: Sequence[bytes], expected: int, *, keep: bool
) -> Run:
    clock = time.perf_counter
    poll = select.epoll()
    each = [0.0] * len(requests)
    bodies = [b""] * len(requests) if keep else []
    status = f"HTTP/1.1 {expected} ".encode()
    under_way: dict[int, tuple[int, float, bytes]] = {}
    waiting = iter(range(len(requests)))
    received = 0
    cpu = time.process_time()
    began = clock()
    for number in sockets:
        poll.register(number, select.EPOLLIN)
        at = next(waiting)
        under_way[number] = at, clock(), b""
        sockets[number].sendall(requests[at])
    while under_way:
        ready = poll.poll(30)
        if not ready:
            raise WrongAnswerError("no answer within 30 seconds")
        for number, _ in ready:
            at, sent, before = under_way.pop(number)
            got = sockets[number].recv(262_144)
            answer = before + got
            head, length = _measure(answer)
            if not head or len(answer) < head + length:
                if not got:
                    raise WrongAnswerError("the connection was closed before the answer was whole")
                under_way[number] = at, sent, answer
                continue
            now = clock()
            each[at] = now - sent
            received += len(answer)
            if not answer.startswith(status):
                raise WrongAnswerError(answer[:600].decode("latin-1"))
            if keep:
                bodies[at] = answer[head:]
            following = next(waiting, None)
            if following is not None:
                under_way[number] = following, now, b""
                sockets[number].sendall(requests[following])
    seconds = clock() - began
    poll.close()
    return Run(seconds, each, bodies, time.process_time() - cpu, received)


def _measure(answer: bytes) -> tuple[int, int]:
    """Bytes of the head, 0 if it is not whole, and of the body."""
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return 0, 0
    if answer.startswith(b"HTTP/1.1 204 "):
        return head + 4, 0
    at = answer.lower().find(b"\r\ncontent-length:", 0, head + 2)
    if at < 0:
        raise WrongAnswerError("an answer without Content-Length")
    return head + 4, int(answer[at + 17 : answer.index(b"\r\n", at + 2)])


def _connect(port: int) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", port), timeout=30)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found
