"""A ledger of several nodes: which of them are believed, which decides what, and what a lost one costs."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from secretsvc.connections import open_node
from secretsvc.envelope import b64
from secretsvc.epochs import RETIRED, epoch_number
from secretsvc.errors import LedgerUnavailable, Misconfigured, StoreUnavailable
from secretsvc.ledger import RedisLedger
from secretsvc.shard import Older
from secretsvc.store import RedisStore
from tests.harness import Backends, InProcess, Secret, ledger_at, new_idempotency_key, wait_until
from tests.servers import Server, start_server

ME, OTHER = b"m" * 16, b"o" * 16


@dataclass
class Three:
    """Three nodes of a ledger, and the store that keeps their marks."""

    nodes: list[Server]
    place: Backends
    store: RedisStore

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    def ledger(self, *nodes: int) -> RedisLedger:
        """As a process knows it that has just begun, on all of them or on these."""
        return ledger_at([self.urls[node] for node in nodes or range(3)], self.store)

    def started(self, *nodes: int) -> RedisLedger:
        found = self.ledger(*nodes)
        found.start()
        return found

    def raise_marks(self, ledger: RedisLedger) -> None:
        for shard in ledger.shards:
            self.store.raise_high_water(shard.told.epoch, shard.told.sequence)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, servers: Backends) -> Iterator[Three]:
    folder = tmp_path_factory.mktemp("three")
    with ExitStack() as stack:
        nodes = [stack.enter_context(start_server(dir=folder / name)) for name in "abc"]
        store = RedisStore(
            open_node(servers.store.url, connections=4, unavailable=StoreUnavailable), retention=86_400
        )
        stack.callback(store.node.close)
        yield Three(nodes, servers, store)


@pytest.fixture
def three(built: Three) -> Three:
    built.place.clear()
    for node in built.nodes:
        if node._process is None:
            node.start()
        node.client().flushall()
    return built


def id_for(shard: int) -> bytes:
    """An id that this shard of three decides, if it is there."""
    return bytes([shard]) + os.urandom(15)


def end(ledger: RedisLedger, id: bytes, epoch: bytes, claimant: bytes = ME) -> str:
    soon = int(time.time()) + 600
    return ledger.end(id, epoch, "opened", claimant, expires_at=soon, window=60, keep_until=soon + 600).word


def forget(server: Server) -> None:
    server.client().flushall()


def begin_elsewhere(server: Server) -> bytes:
    """A ledger of somebody else's, in use."""
    epoch = struct.pack(">I", 5) + os.urandom(8)
    server.client().hset("ss:epoch", mapping={"id": epoch, "number": 5})
    server.client().set("ss:sequence", 77)
    return epoch


def test_new_records_are_spread_and_each_is_decided_by_its_own_node(three: Three) -> None:
    ledger, other = three.started(), three.started()
    epochs = [ledger.epoch(id_for(shard)) for shard in range(3)]
    assert len(set(epochs)) == 3
    for shard, epoch in enumerate(epochs):
        id = os.urandom(16)  # the record's epoch decides who decides, not the id
        assert [end(ledger, id, epoch), end(other, id, epoch, OTHER)] == ["won", "ended"]
        entries = [node.client().exists(f"ss:e:{key}") for node in three.nodes for key in [b64(id)]]
        assert entries == [shard == node for node in range(3)]
    assert ledger.up() == (3, 3)


def test_the_order_of_the_addresses_does_not_matter(three: Three) -> None:
    ledger = three.started()
    ids = {os.urandom(16): ledger.epoch(id_for(shard)) for shard in range(3)}
    for id, epoch in ids.items():
        assert end(ledger, id, epoch) == "won"
    three.raise_marks(ledger)
    swapped = three.started(2, 0, 1)
    assert [end(swapped, id, epoch, OTHER) for id, epoch in ids.items()] == ["ended"] * 3


def test_a_node_that_is_down_makes_only_its_share_wait(three: Three) -> None:
    ledger = three.started()
    epochs = [ledger.epoch(id_for(shard)) for shard in range(3)]
    three.nodes[1].kill()
    for shard, epoch in enumerate(epochs):
        if shard == 1:
            with pytest.raises(LedgerUnavailable):
                end(ledger, os.urandom(16), epoch)
        else:
            assert end(ledger, os.urandom(16), epoch) == "won"
    ledger.shards[1]._asked = 0.0  # a second later
    assert ledger.epoch(id_for(1)) == epochs[2]  # a new record goes to the next one
    assert ledger.up() == (2, 3)
    three.nodes[1].start()
    assert end(ledger, os.urandom(16), epochs[1]) == "won"
    assert ledger.epoch(id_for(1)) == epochs[1]


def test_a_process_starts_without_a_node_and_takes_it_in_when_it_is_back(three: Three) -> None:
    epochs = [three.started().epoch(id_for(shard)) for shard in range(3)]
    three.nodes[1].kill()
    late = three.started()
    assert late.up() == (2, 3)
    assert late.epoch(id_for(1)) == epochs[2]
    with pytest.raises(LedgerUnavailable):
        end(late, os.urandom(16), epochs[1])
    three.nodes[1].start()
    wait_until(lambda: late.up() == (3, 3))
    assert end(late, os.urandom(16), epochs[1]) == "won"


def test_no_node_at_all_is_no_start(three: Three) -> None:
    three.started()
    for node in three.nodes:
        node.kill()
    with pytest.raises(LedgerUnavailable):
        three.ledger().start()


def test_a_new_node_is_taken_in_beside_those_that_are_known(three: Three) -> None:
    first = three.started(0)
    epoch = first.epoch(b"id")
    assert end(first, b"i" * 16, epoch) == "won"
    grown = three.started()
    assert len({grown.epoch(id_for(shard)) for shard in range(3)}) == 3
    assert end(grown, b"i" * 16, epoch, OTHER) == "ended"
    # A process of the old settings does not know the new epochs: their share is unclear there, not decided.
    with pytest.raises(LedgerUnavailable):
        end(first, os.urandom(16), grown.epoch(id_for(1)))


def test_a_new_node_waits_until_the_known_ones_can_tell_that_nothing_is_missing(three: Three) -> None:
    three.started(0, 1)
    three.nodes[1].kill()
    late = three.started()
    assert late.up() == (1, 3)  # the third may be the second, emptied and moved
    three.nodes[1].start()
    wait_until(lambda: late.up() == (3, 3))


@pytest.mark.parametrize("case", ["emptied", "rolled back", "swapped", "left out", "put in place of another"])
def test_a_start_without_what_was_known_is_refused(three: Three, case: str) -> None:
    ledger = three.started()
    for shard in range(3):
        assert end(ledger, os.urandom(16), ledger.epoch(id_for(shard))) == "won"
    three.raise_marks(ledger)
    fresh = three.ledger()
    if case == "emptied":
        forget(three.nodes[1])
    elif case == "rolled back":
        three.nodes[1].client().set("ss:sequence", 0)
    elif case == "swapped":
        forget(three.nodes[1])
        begin_elsewhere(three.nodes[1])
    elif case == "left out":
        fresh = three.ledger(0, 2)
    else:
        forget(three.nodes[1])
        copy = three.nodes[0].client().hgetall("ss:epoch")
        three.nodes[1].client().hset("ss:epoch", mapping=copy)
    with pytest.raises(Misconfigured, match=r"--lost|not one that this service has used|have the same data"):
        fresh.start()


@pytest.mark.parametrize("case", ["emptied", "rolled back", "swapped", "left out"])
def test_the_share_of_a_lost_node_is_ended_and_nothing_else(three: Three, case: str) -> None:
    running = three.started()
    unread = [(os.urandom(16), running.epoch(id_for(shard))) for shard in range(3)]
    opened = [(os.urandom(16), running.epoch(id_for(shard))) for shard in range(3)]
    assert [end(running, *each) for each in opened] == ["won"] * 3
    three.raise_marks(running)
    left = (0, 2) if case == "left out" else (0, 1, 2)
    if case == "rolled back":
        three.nodes[1].client().set("ss:sequence", 0)
        three.nodes[1].client().delete(f"ss:e:{b64(opened[1][0])}")
    elif case != "left out":
        forget(three.nodes[1])
    if case == "swapped":
        begin_elsewhere(three.nodes[1])
    operator = three.ledger(*left)
    assert operator.new_epoch(lost=True) == (6 if case == "swapped" else 2)
    assert operator.new_epoch(lost=True) == 0  # nothing is lost any more
    # A process that still has the one left out goes on asking it, as long as its connections last.
    knows = [running] if case in ("emptied", "rolled back") else []
    for ledger in (three.started(*left), *knows):
        wait_until(lambda ledger=ledger: settled(ledger, *unread[1]))
        assert ledger.peek(*unread[1]).word == ledger.peek(*opened[1]).word == "epoch"
        assert [ledger.peek(*unread[shard]).word for shard in (0, 2)] == ["open", "open"]
        assert [ledger.peek(*opened[shard]).word for shard in (0, 2)] == ["ended", "ended"]
    fresh = three.started(*left)
    assert [end(fresh, *unread[shard]) for shard in range(3)] == ["won", "epoch", "won"]
    assert end(fresh, os.urandom(16), fresh.epoch(id_for(1))) == "won"


def settled(ledger: RedisLedger, id: bytes, epoch: bytes) -> bool:
    try:
        return ledger.peek(id, epoch).word == "epoch"
    except LedgerUnavailable:
        return False


def test_a_lost_node_that_comes_back_after_all_decides_nothing(three: Three) -> None:
    first = three.started(0, 1)
    id, epoch = os.urandom(16), first.epoch(id_for(1))
    assert end(first, id, epoch) == "won"
    three.raise_marks(first)
    three.ledger(0).new_epoch(lost=True)
    assert three.store.high_water()[epoch] == RETIRED
    with pytest.raises(Older):
        three.ledger(0, 1).start()
    first.shards[1].node.close()
    with pytest.raises(LedgerUnavailable):  # nor where it was known before, with the next connection
        end(first, os.urandom(16), epoch)


def test_a_new_epoch_of_all_ends_everything_unread_on_every_node(three: Three) -> None:
    running = three.started()
    unread = [(os.urandom(16), running.epoch(id_for(shard))) for shard in range(3)]
    number = three.ledger().new_epoch()
    assert [running.peek(*each).word for each in unread] == ["epoch"] * 3
    fresh = [running.epoch(id_for(shard)) for shard in range(3)]
    assert {epoch_number(epoch) for epoch in fresh} == {number}
    assert len(set(fresh)) == 3
    assert [end(running, os.urandom(16), epoch) for epoch in fresh] == ["won"] * 3


def test_a_new_epoch_needs_every_node_and_names_the_one_that_is_down(three: Three) -> None:
    three.started()
    three.nodes[2].kill()
    for lost in (False, True):
        with pytest.raises(Misconfigured, match="Node 3 of the ledger does not answer"):
            three.ledger().new_epoch(lost=lost)


def test_a_node_put_back_under_a_running_process_is_found_out_by_the_next_connection(three: Three) -> None:
    """One process has seen the newest end, another has not: the mark in the store tells it too."""
    busy, idle = three.started(0), three.started(0)
    epoch = busy.epoch(b"id")
    three.nodes[0].client().bgrewriteaof()
    id = os.urandom(16)
    verdict = busy.end(id, epoch, "opened", ME, expires_at=2**32, window=60, keep_until=2**32)
    three.store.raise_high_water(*verdict.seen or (b"", 0))
    three.nodes[0].client().delete(f"ss:e:{b64(id)}")
    three.nodes[0].client().set("ss:sequence", 0)
    three.nodes[0].restart()
    for ledger in (idle, busy):
        with pytest.raises(LedgerUnavailable):
            end(ledger, id, epoch, OTHER)
    assert not three.nodes[0].client().exists(f"ss:e:{b64(id)}")


def test_without_the_stores_marks_nothing_new_is_believed(three: Three) -> None:
    """The store is down while the ledger comes back: what it says cannot be checked."""
    ledger = three.started(0)
    epoch = ledger.epoch(b"id")
    ledger.shards[0].node.close()
    three.place.store.kill()
    try:
        with pytest.raises(LedgerUnavailable):
            end(ledger, os.urandom(16), epoch)
    finally:
        three.place.store.start()
    assert end(ledger, os.urandom(16), epoch) == "won"


def test_a_create_is_acknowledged_though_its_node_has_just_gone_down(three: Three) -> None:
    """It is stored, and waits for the node like all of its share; repeating it could never say more."""
    here = InProcess(three.place.app(ledger_urls=three.urls[0]))
    secret, store = Secret.make(), here.service.store
    real = store.create

    def create(*arguments: Any) -> Any:
        three.nodes[0].kill()
        here.service.ledger.shards[0]._asked = 0.0  # and a second goes by
        return real(*arguments)

    Secret.create(here)
    store.create = create  # type: ignore[method-assign]
    assert here.post("/api/v1/secrets", secret.body).status == 201
    assert secret.claim(here).status == 503
    three.nodes[0].start()
    assert secret.claim(here).status == 200


# --- as the service has it -----------------------------------------------------------------------------


def test_one_server_named_twice_is_refused(three: Three, folder: Path) -> None:
    with pytest.raises(Misconfigured, match="names one server twice"):
        three.place.settings(ledger_urls=f"{three.urls[0]}, {three.urls[0]}")
    with pytest.raises(Misconfigured, match="two of its addresses are one server"):
        three.place.app(ledger_urls=f"{three.urls[0]},{three.urls[0]}?db=1")


def test_an_unsafe_node_is_refused_when_it_comes_late_too(three: Three, folder: Path) -> None:
    urls = ",".join(three.urls[:2])
    InProcess(three.place.app(ledger_urls=urls))
    three.nodes[1].kill()
    here = InProcess(three.place.app(ledger_urls=urls))
    assert here.get("/readyz").text == "store: ok\nledger: 1 of 2\n"
    three.nodes[1].start()
    three.nodes[1].client().config_set("appendfsync", "everysec")
    ledger = here.service.ledger
    ledger._admitted_at = 0.0
    assert ledger.up() == (1, 2)
    three.nodes[1].client().config_set("appendfsync", "always")
    ledger._admitted_at = 0.0
    assert ledger.up() == (2, 2)


def test_the_service_says_which_part_waits_and_is_ready_all_the_same(three: Three) -> None:
    here = InProcess(three.place.app(ledger_urls=",".join(three.urls)))
    secrets = [Secret.create(here) for _ in range(24)]
    three.nodes[0].kill()
    ready = here.get("/readyz")
    assert (ready.status, ready.text) == (200, "store: ok\nledger: 2 of 3\n")
    page = here.get("/status", Accept="text/html", **{"Accept-Language": "en"}).text
    assert "a part of the links has to wait" in page
    assert "works in part" in page
    keys = [new_idempotency_key() for _ in secrets]
    answers = [secret.claim(here, key) for secret, key in zip(secrets, keys, strict=True)]
    waiting = [n for n, answer in enumerate(answers) if answer.status == 503]
    assert {answer.status for answer in answers} == {200, 503}
    assert 0 < len(waiting) < 24
    for n in waiting:
        assert answers[n].json["type"] == "ledger-unavailable"
        assert answers[n].headers["idempotency-key"] == keys[n]
    three.nodes[0].start()
    wait_until(lambda: here.service.ledger.up() == (3, 3))
    assert [secrets[n].claim(here, keys[n]).status for n in waiting] == [200] * len(waiting)
    assert here.get("/readyz").text == "store: ok\nledger: ok\n"


@pytest.mark.parametrize("which", ["redis_url", "ledger_urls"])
def test_an_unsafe_server_is_accepted_by_one_setting_and_complained_of(
    three: Three, folder: Path, which: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with start_server(dir=folder / "unsafe", appendfsync="off") as server:
        with pytest.raises(Misconfigured, match="SECRETSVC_ACCEPT_UNSAFE_SERVERS=true"):
            three.place.app(**{which: server.url})
        here = InProcess(three.place.app(**{which: server.url, "accept_unsafe_servers": "true"}))
        assert Secret.create(here).claim(here).status == 200
        said = capfd.readouterr().err
        assert "accepted by SECRETSVC_ACCEPT_UNSAFE_SERVERS" in said
        assert "'appendonly no'" in said
        here.service.store.node.close()
        here.service.ledger.close()


def test_the_override_does_not_make_one_server_of_two(three: Three) -> None:
    with pytest.raises(Misconfigured, match="must not be the same server"):
        three.place.app(ledger_urls=three.place.store.url + "?db=1", accept_unsafe_servers="true")
