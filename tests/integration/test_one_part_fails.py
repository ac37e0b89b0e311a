"""What a part that fails must not take along, and copies of a ledger node that must not both decide."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis.crc import key_slot

from secretsvc.backends import connect
from secretsvc.connections import open_node
from secretsvc.errors import Misconfigured, StoreUnavailable
from secretsvc.location import parse
from secretsvc.model import Verdict
from secretsvc.node import Node
from secretsvc.settings import from_env
from secretsvc.store import RedisStore
from tests.faults.clusters import Cluster, cluster
from tests.faults.topology import Member
from tests.harness import Backends, ledger_at, wait_until, web
from tests.servers import Server, start_server


@pytest.fixture
def store(servers: Backends) -> Iterator[RedisStore]:
    servers.clear()
    node = open_node(servers.store.url, connections=4, unavailable=StoreUnavailable)
    yield RedisStore(node, retention=86_400)
    node.close()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("marked", [True, False])
def test_two_nodes_with_the_same_data_do_not_both_decide(
    folder: Path, store: RedisStore, marked: bool, order: tuple[int, int]
) -> None:
    with ExitStack() as stack:
        nodes = [stack.enter_context(start_server(dir=folder / "a"))]
        first = ledger_at([nodes[0].url], store)
        first.start()
        first.close()
        nodes[0].stop()
        (folder / "b").mkdir()
        shutil.copytree(folder / "a" / "appendonlydir", folder / "b" / "appendonlydir")
        nodes[0].start()
        nodes.append(stack.enter_context(start_server(dir=folder / "b")))
        if not marked:
            store.node.command("DEL", "ss:seen")
        both = ledger_at([nodes[each].url for each in order], store)
        stack.callback(both.close)
        with pytest.raises(Misconfigured, match="one is a copy of the other"):
            both.start()
        nodes[1].client().flushall()  # as the message says
        mended = ledger_at([node.url for node in nodes], store)
        stack.callback(mended.close)
        mended.start()
        assert mended.up() == (2, 2)


def test_a_copy_that_comes_late_is_not_believed(folder: Path, store: RedisStore) -> None:
    with start_server(dir=folder / "a") as one, start_server(dir=folder / "b") as two:
        ledger = ledger_at([one.url, two.url], store)
        alone = ledger_at([one.url], store)
        alone.start()
        epochs = one.client().hgetall("ss:epoch")
        two.kill()
        ledger.start()
        two.start()
        two.client().hset("ss:epoch", mapping=epochs)
        assert ledger.up() == (1, 2)
        ledger.close()
        alone.close()


def test_a_node_emptied_under_its_connections_is_not_told_to_be_well(folder: Path, store: RedisStore) -> None:
    with start_server(dir=folder / "a") as one, start_server(dir=folder / "b") as two:
        ledger = ledger_at([one.url, two.url], store)
        ledger.start()
        assert ledger.up() == (2, 2)
        two.client().flushall()
        assert ledger.up() == (1, 2)
        ledger.close()


@pytest.mark.parametrize("listed", [0, 1])
def test_a_ledger_with_a_replica_is_refused(servers: Backends, folder: Path, listed: int) -> None:
    with ExitStack() as stack:
        pair = [
            stack.enter_context(_ledger_server(folder / name, transport="tcp")) for name in ("main", "copy")
        ]
        host, port = pair[0].url.partition("://")[2].partition("/")[0].split(":")
        pair[1].client().execute_command("REPLICAOF", host, port)
        wait_until(lambda: pair[0].client().info("replication")["connected_slaves"] == 1)
        with pytest.raises(Misconfigured, match="replica"):
            connect(servers.settings(ledger_urls=pair[listed].url))


@contextlib.contextmanager
def _ledger_server(folder: Path, transport: str) -> Iterator[Server]:
    with start_server(dir=folder, transport=transport) as server:  # type: ignore[arg-type]
        wanted = {"appendfsync": "always", "aof-load-truncated": "no", "maxmemory-policy": "noeviction"}
        server.client().config_set(*[word for pair in wanted.items() for word in pair])
        yield server


# --- what is set -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:pa\N{ACCOUNT OF}hunter2@host",
        "redis://user:[hunter2]x@host",
        "redis+sentinel://user:\N{FULLWIDTH SOLIDUS}hunter2@host/main",
    ],
)
def test_no_address_is_quoted_when_it_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        from_env({"SECRETSVC_REDIS_URL": url, "SECRETSVC_LEDGER_URLS": "redis://ledger"})
    assert "hunter2" not in refused.value.detail
    assert "SECRETSVC_REDIS_URL" in refused.value.detail


@pytest.mark.parametrize(
    "url",
    [
        "rediss://host?ssl_cert_reqs=maybe",
        "rediss+cluster://host?ssl_check_hostname=perhaps",
        "unix:///socket?db=first",
        "redis://a..b",
        "redis://" + 64 * "a",
    ],
)
def test_what_could_never_work_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"option|HOST"):
        parse(url)


@pytest.mark.parametrize("word", ["true", "false"])
@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_checking_host_names_can_be_switched_off(kind: str, word: str) -> None:
    name = "/main" if kind == "sentinel" else ""
    found = parse(f"rediss+{kind}://host{name}?ssl_check_hostname={word}")
    assert found.options["ssl_check_hostname"] is (word == "true")


# --- what a part that fails takes along ------------------------------------------------------------------


def test_a_worker_that_cannot_start_anew_does_not_end_those_that_serve(servers: Backends, folder: Path) -> None:
    servers.clear()
    with web(servers, folder, workers=2) as service:
        children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
        wait_until(lambda: service.log.read_text().count("Booting worker") == 2)
        wait_until(lambda: len(_threads(children)) == 2)
        servers.store.pause()
        try:
            os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
            wait_until(lambda: "exited with code 1" in service.log.read_text())
            assert service.process.poll() is None
            # Those that cannot serve yet are given no connections, which would be reset.
            assert [service.client().get("/healthz").status for _ in range(30)] == [200] * 30
        finally:
            servers.store.resume()
        wait_until(lambda: len(_threads(children)) == 2)
        wait_until(lambda: service.client().get("/readyz").status == 200)


def _threads(children: Path) -> list[str]:
    """Those workers that have come so far as to look after the store's files."""
    found = []
    for pid in children.read_text().split():
        with contextlib.suppress(OSError):
            if len(list(Path(f"/proc/{pid}/task").iterdir())) > 1:
                found.append(pid)
    return found


def test_a_service_that_never_served_still_refuses_to_start(servers: Backends, folder: Path) -> None:
    with (
        pytest.raises(AssertionError, match="the server does not answer"),
        web(servers, folder, workers=2, redis_url="redis://127.0.0.1:1"),
    ):
        pass


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def node(three: Cluster) -> Iterator[Node]:
    found = open_node(three.url, connections=10, unavailable=StoreUnavailable)
    found.command("EXISTS", "any")
    yield found
    found.close()


def _serves(cluster: Cluster, key: str) -> Member:
    [found] = [one for one in cluster.primaries if key_slot(key.encode()) in cluster.slots_of(one)]
    return found


def test_a_primary_that_hangs_keeps_nobody_from_the_others(three: Cluster, node: Node) -> None:
    hung = three.primaries[0]
    slots = set(three.slots_of(hung))
    found: Counter[tuple[bool, bool]] = Counter()
    until = time.monotonic() + 4

    def call() -> None:
        while time.monotonic() < until:
            key = os.urandom(8).hex()
            there = key_slot(key.encode()) in slots
            try:
                node.command("EXISTS", key)
                found[there, True] += 1
            except StoreUnavailable:
                found[there, False] += 1
            time.sleep(0.05)

    hung.server.pause()
    try:
        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        hung.server.resume()
    three.wait_well()
    assert found[False, False] == 0
    assert found[False, True] > 50
    assert found[True, False] > 20


def test_an_end_is_marked_where_it_is_though_the_marks_of_the_ledger_are_elsewhere(
    three: Cluster, node: Node
) -> None:
    marks, id = _serves(three, "ss:seen"), os.urandom(16)
    store = RedisStore(node, retention=86_400)
    from secretsvc.store import _keys

    while _serves(three, _keys(id)[0]) is marks:
        id = os.urandom(16)
    receipt, record = _keys(id)
    node.command("HSET", receipt, "s", "sealed")
    node.command("SET", record, "sealed")
    marks.server.pause()
    try:
        store.mark(id, Verdict("won", "opened", 5, seen=(b"e" * 12, 7)), life_ms=0)
    finally:
        marks.server.resume()
    three.wait_well()
    assert node.command("EXISTS", record) == 0
    assert node.command("HGETALL", receipt)[b"s"] == b"opened"
