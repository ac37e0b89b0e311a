"""The proxy of the fault tests does what its verbs say, on unix sockets and on TCP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.faults.proxy import Proxy
from tests.servers import Server, Transport, client, start_server


@dataclass
class Wire:
    """A server, a proxy before it, and how to talk through it byte by byte."""

    server: Server
    proxy: Proxy

    def connect(self) -> socket.socket:
        """A connection that has said something and has been answered."""
        where = urlsplit(self.proxy.url)
        if where.scheme == "unix":
            one = socket.socket(socket.AF_UNIX)
            one.connect(unquote(where.path))
        else:
            one = socket.create_connection(("127.0.0.1", self.proxy.port))
        one.settimeout(0.3)
        one.sendall(b"PING\r\n")
        assert one.recv(100) == b"+PONG\r\n"
        return one

    def kept(self, key: str) -> bool:
        with client(self.server.url) as one:
            return bool(one.exists(key))


@pytest.fixture(params=["unix", "tcp"])
def wire(request: pytest.FixtureRequest, folder: Path) -> Iterator[Wire]:
    transport: Transport = request.param
    with start_server(transport=transport, dir=folder / "s") as server, Proxy(server.url) as proxy:
        assert bool(proxy.port) == (transport == "tcp")
        yield Wire(server, proxy)


def test_drop_forwards_and_closes(wire: Wire) -> None:
    wire.proxy.drop(b"SET a")
    with wire.connect() as one:
        one.sendall(b"SET a 1\r\n")
        assert one.recv(100) == b""
    assert wire.kept("a")
    assert wire.proxy.fired == 1


def test_reset_forwards_and_resets(wire: Wire) -> None:
    wire.proxy.reset(b"SET a")
    with wire.connect() as one:
        one.sendall(b"SET a 1\r\n")
        if wire.proxy.port:
            with pytest.raises(ConnectionResetError):
                one.recv(100)
        else:
            assert one.recv(100) == b""  # a unix socket knows no reset
    assert wire.kept("a")


def test_a_partition_lets_nothing_pass_and_nobody_knows(wire: Wire) -> None:
    with wire.connect() as one, client(wire.server.url) as direct:
        one.sendall(b"SUBSCRIBE news\r\n")
        assert one.recv(100)
        wire.proxy.partition()
        assert direct.publish("news", "x") == 1  # the server takes it for connected
        with pytest.raises(TimeoutError):
            one.recv(100)
        wire.proxy.heal()
        assert one.recv(100) == b""
    with wire.connect():
        pass


def test_what_a_partition_held_back_is_never_delivered(wire: Wire) -> None:
    with wire.connect() as one:
        wire.proxy.partition()
        one.sendall(b"SET a 1\r\n")
        with pytest.raises(TimeoutError):
            one.recv(100)
        wire.proxy.heal()
        assert one.recv(100) == b""
    with wire.connect():
        assert not wire.kept("a")


def test_a_partition_can_be_of_some_connections(wire: Wire) -> None:
    with wire.connect() as some, wire.connect() as others:
        some.sendall(b"ECHO marked\r\n")
        assert some.recv(100) == b"$6\r\nmarked\r\n"
        wire.proxy.partition(b"marked", b"unheard of")
        for one in (some, others):
            one.sendall(b"PING\r\n")
        assert others.recv(100) == b"+PONG\r\n"
        with pytest.raises(TimeoutError):
            some.recv(100)
        wire.proxy.heal()
        assert some.recv(100) == b""
        others.sendall(b"PING\r\n")
        assert others.recv(100) == b"+PONG\r\n"


def test_refuse_closes_and_hang_says_nothing(wire: Wire) -> None:
    with wire.connect() as one:
        wire.proxy.hang()
        one.sendall(b"SET a 1\r\n")
        with pytest.raises(TimeoutError):
            one.recv(100)
        wire.proxy.refuse()
        assert one.recv(100) == b""
    assert not wire.kept("a")
    wire.proxy.heal()
    with wire.connect():
        pass
