"""How long a server is waited for, how often it is asked again, and how many connections it is given."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from secretsvc.connections import open_node
from secretsvc.errors import StoreUnavailable
from secretsvc.node import BACK_OFF, IN_ALL, TIMEOUT, Node
from tests.faults.proxy import Proxy
from tests.harness import Backends, wait_until
from tests.servers import start_server


@pytest.fixture
def proxy(backs: Backends) -> Iterator[Proxy]:
    with Proxy(backs.store.url) as found:
        yield found


@pytest.fixture
def node(proxy: Proxy) -> Iterator[Node]:
    found = open_node(proxy.url, connections=8, unavailable=StoreUnavailable)
    yield found
    found.close()


def took(node: Node) -> float:
    """Seconds until it was told that the server does not answer."""
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        node.command("PING")
    return time.monotonic() - started


def test_a_silent_server_is_waited_for_twice_and_then_left_alone(node: Node, proxy: Proxy) -> None:
    proxy.hang()
    assert [2 * TIMEOUT <= took(node) < IN_ALL for _ in range(2)] == [True, True]
    with ThreadPoolExecutor(8) as pool:  # nobody stands still for it any more
        assert max(pool.map(took, [node] * 8)) < TIMEOUT
    proxy.heal()
    wait_until(node.is_up, BACK_OFF + 1)
    assert node.command("PING")


def test_only_one_call_finds_out_whether_it_is_back(node: Node, proxy: Proxy) -> None:
    proxy.hang()
    for _ in range(2):
        took(node)
    time.sleep(BACK_OFF)  # time is what this is about
    with ThreadPoolExecutor(8) as pool:
        slow = [seconds for seconds in pool.map(took, [node] * 8) if seconds > TIMEOUT]
    assert len(slow) == 1


def test_one_lost_answer_leaves_nobody_alone(node: Node, proxy: Proxy) -> None:
    proxy.swallow(b"ECHO", times=2)
    with pytest.raises(StoreUnavailable):
        node.command("ECHO", "x")
    assert node.command("PING")


def test_a_server_that_refuses_is_asked_again_at_once(node: Node, proxy: Proxy) -> None:
    proxy.refuse()
    for _ in range(5):
        assert took(node) < TIMEOUT
    proxy.heal()
    assert node.command("PING")


def test_a_process_has_no_more_connections_than_it_was_given(backs: Backends) -> None:
    """And a call for which there is none is refused, not kept waiting."""
    node = open_node(backs.store.url, connections=2, unavailable=StoreUnavailable)
    there = backs.store.client()
    others = len(there.client_list())
    together = threading.Barrier(6)

    def block() -> bool:
        together.wait()
        try:
            node.command("BLPOP", "ss:nothing", "0.5")
        except StoreUnavailable:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        answered = list(pool.map(lambda _: block(), range(6)))
    assert (answered.count(True), answered.count(False)) == (2, 4)
    assert len(there.client_list()) <= others + 2
    node.close()


def test_a_server_without_a_place_for_us_is_unavailable_until_it_has_one(folder: Path) -> None:
    with start_server(dir=folder / "small", extra=["maxclients 1"]) as server:
        taken = server.client()
        assert taken.ping()
        node = open_node(server.url, connections=2, unavailable=StoreUnavailable)
        assert took(node) < TIMEOUT
        taken.close()
        wait_until(node.is_up)
        node.close()
