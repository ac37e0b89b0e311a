"""What nginx sends again, and what it never does: a call that may have been heard."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.nginx import nginx
from tests.harness import Client
from tests.servers import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Behind:
    """A server that hears requests, and answers them or hangs up."""

    def __init__(self, answer: bytes) -> None:
        self.answer, self.heard = answer, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while True:
            wire, _ = self.listener.accept()
            with wire:
                wire.settimeout(5)
                if not (wire.recv(65_536)):
                    return
                self.heard += 1
                wire.sendall(self.answer)


@contextmanager
def behind(answer: bytes) -> Iterator[Behind]:
    server = Behind(answer)
    server.thread.start()
    try:
        yield server
    finally:
        socket.create_connection(("127.0.0.1", server.port)).close()
        server.thread.join()
        server.listener.close()


@pytest.mark.parametrize(("method", "times"), [("POST", 1), ("GET", 2)])
def test_a_call_that_may_have_been_heard_is_not_sent_again(folder: Path, method: str, times: int) -> None:
    """Two that hang up: only what merely looks is tried at the other as well."""
    with behind(b"") as one, behind(b"") as two, nginx(folder / "nginx", one.port, two.port) as front:
        answer = Client(front.clear_url).send(
            method, "/api/v1/secrets/x/claim", b"{}" if method == "POST" else None
        )
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert one.heard + two.heard == times


def test_a_call_that_reached_nobody_goes_to_the_other(folder: Path) -> None:
    with behind(OK) as there, nginx(folder / "nginx", free_port(), there.port) as front:
        client = Client(front.clear_url)
        assert [client.send("POST", "/", b"{}").status for _ in range(20)] == [200] * 20
        assert there.heard == 20


def test_one_that_hung_up_is_asked_again_at_once(folder: Path) -> None:
    """Two that stop one after the other must not make nginx give up both for a while."""
    with behind(b"") as one, behind(OK) as two, nginx(folder / "nginx", one.port, two.port) as front:
        client = Client(front.clear_url)
        answers = [client.send("POST", "/", b"{}").status for _ in range(10)]
        assert (answers.count(200), answers.count(503)) == (5, 5)
        assert (one.heard, two.heard) == (5, 5)
