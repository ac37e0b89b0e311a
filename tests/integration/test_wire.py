"""A thread's own connection: no answer is taken for that to another command, and a new one proves itself."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as TimedOut

from secretsvc import wire
from secretsvc.connections import Ask, open_node
from secretsvc.errors import LedgerUnavailable
from secretsvc.rules import Converse
from secretsvc.wire import PerThread, pooled
from tests.harness import ROOT, wait_until
from tests.servers import Server, client, start_server

FORKED = """
import os, sys
from secretsvc.wire import PerThread
from tests.servers import client
mine = PerThread(client(sys.argv[1]))
before = mine([("CLIENT", "ID")])
child = os.fork()
if not child:
    os._exit(0 if mine([("CLIENT", "ID")]) != before and mine([("ECHO", "c")]) == [b"c"] else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert mine([("CLIENT", "ID"), ("ECHO", "p")]) == [*before, b"p"]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start_server("valkey", dir=tmp_path_factory.mktemp("wire")) as found:
        yield found


@pytest.fixture(params=["own", "pooled"])
def converse(server: Server, request: pytest.FixtureRequest) -> Iterator[Converse]:
    with client(server.url) as found:
        own = PerThread(found)
        yield own if request.param == "own" else pooled(found)
        own.close()


def number(converse: Converse) -> int:
    """The server's number of the connection at hand."""
    [found] = converse([("CLIENT", "ID")])
    return int(found)


def test_a_refusal_stands_in_the_place_of_its_answer(converse: Converse) -> None:
    converse([("SET", "word", "a")])
    refused, *rest = converse([("INCR", "word"), ("ECHO", "x"), ("GET", "word")])
    assert isinstance(refused, ResponseError)
    assert rest == [b"x", b"a"]
    assert converse([("ECHO", "y")]) == [b"y"]


def test_a_late_answer_is_not_taken_for_the_next(converse: Converse, server: Server) -> None:
    before = number(converse)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(TimedOut):
            converse([("ECHO", "late"), ("ECHO", "later")])
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert converse([("ECHO", "mine")]) == [b"mine"]
    assert number(converse) != before


def test_an_interruption_between_two_answers_leaves_none_behind(
    converse: Converse, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = wire._read, []

    def interrupted(connection: object) -> object:
        if seen:
            raise KeyboardInterrupt
        seen.append(read(connection))
        return seen[0]

    with monkeypatch.context() as patched:
        patched.setattr(wire, "_read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            converse([("ECHO", "a"), ("ECHO", "b")])
    assert seen == [b"a"]
    assert converse([("ECHO", "mine")]) == [b"mine"]


@pytest.mark.parametrize("kind", [PerThread, pooled])
@pytest.mark.parametrize("when", ["at once", "later"])
def test_an_answer_too_many_is_not_taken_for_the_next(tmp_path: Path, kind: type, when: str) -> None:
    """By no server that is sound; by something between, at worst."""
    path = str(tmp_path / "s")
    said = threading.Event()

    def answer(caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError):
            stray, asked = b"$5\r\nstray\r\n", 0
            while data := caller.recv(4096):
                found = b"$4\r\nmine\r\n" * data.count(b"ECHO")
                asked += 1
                if when == "at once" and asked == 1:
                    caller.sendall(found + stray)
                    continue
                caller.sendall(found)
                if asked == 1:
                    caller.sendall(stray)
                    said.set()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            for _ in range(8):
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(caller,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        with redis.Redis(unix_socket_path=path, protocol=2, driver_info=None, socket_timeout=5) as found:
            converse: Converse = kind(found)
            for _ in range(4):
                said.clear()
                assert converse([("ECHO", "mine")]) == [b"mine"]
                if when == "later":
                    said.wait(1)
        listener.shutdown(socket.SHUT_RDWR)


def test_each_thread_has_a_connection_and_leaves_none(server: Server) -> None:
    with client(server.url) as found, server.client() as watching:
        converse, before = PerThread(found), len(watching.client_list())
        mine = number(converse)
        assert number(converse) == mine
        together = threading.Barrier(4)

        def other() -> tuple[int, int]:
            together.wait(10)
            return number(converse), number(converse)

        with ThreadPoolExecutor(4) as pool:
            others = [each.result() for each in [pool.submit(other) for _ in range(4)]]
        assert all(first == second for first, second in others)
        assert len({mine, *(first for first, _ in others)}) == 5
        wait_until(lambda: len(watching.client_list()) == before + 1)
        converse.close()
        wait_until(lambda: len(watching.client_list()) == before)
        assert converse([("ECHO", "again")]) == [b"again"]
        converse.close()


def test_a_connection_that_was_closed_is_noticed_before_it_is_used(server: Server) -> None:
    with client(server.url) as found, server.client() as operator:
        converse = PerThread(found)
        for _ in range(20):
            operator.client_kill_filter(_id=str(number(converse)))
            assert converse([("ECHO", "x")]) == [b"x"]
        converse.close()


def test_a_fork_does_not_share_a_connection(server: Server) -> None:
    subprocess.run(
        [sys.executable, "-c", FORKED, server.url],
        check=True,
        timeout=60,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


# --- proofs ----------------------------------------------------------------------------------------------


def test_every_new_connection_proves_itself_first(server: Server) -> None:
    proofs: list[bytes] = []

    def prove(ask: Ask) -> None:
        proofs.append(ask("ECHO", "proof"))

    node = open_node(server.url, connections=2, unavailable=LedgerUnavailable, prove=prove)
    with server.client() as operator:
        for expected in (1, 2, 3):
            [mine] = node._own([("CLIENT", "ID")])
            assert len(proofs) == expected
            operator.client_kill_filter(_id=str(mine))
    node.close()


@pytest.mark.parametrize("wrong", [ValueError, TypeError, LedgerUnavailable])
def test_a_connection_whose_proof_failed_is_never_used(server: Server, wrong: type[Exception]) -> None:
    tried = []

    def prove(ask: Ask) -> None:
        tried.append(ask("ECHO", "proof"))
        raise wrong("no")

    node = open_node(server.url, connections=2, unavailable=LedgerUnavailable, prove=prove)
    for call in (
        lambda: node.command("ECHO", "x"),
        lambda: node.run("ledger_tell", ["ss:epoch", "ss:sequence"]),
    ):
        for _ in range(3):
            before = len(tried)
            with pytest.raises(LedgerUnavailable):
                call()
            assert len(tried) > before
    with pytest.raises(NoConnection):
        node._own([("ECHO", "x")])
    node.close()
