"""A node that is well is never taken for one that was rolled back, however many ends go on meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from secretsvc.connections import open_node
from secretsvc.epochs import Told
from secretsvc.errors import StoreUnavailable
from secretsvc.ledger import RedisLedger
from secretsvc.store import RedisStore
from tests.harness import Backends, ledger_at

HOUR = 3600


@dataclass
class Traffic:
    """Another process, which ends secrets whenever somebody reads the high-water marks."""

    ledger: RedisLedger
    store: RedisStore
    ends: int = 0

    def end(self) -> None:
        """End one secret, and keep the mark as every end does."""
        id = os.urandom(16)
        now = int(self.store.now())
        epoch = self.ledger.epoch(id)
        verdict = self.ledger.end(
            id, epoch, "opened", b"c" * 16, expires_at=now + HOUR, window=60, keep_until=now + HOUR
        )
        assert verdict.word == "won"
        self.store.mark(id, verdict, life_ms=0)
        self.ends += 1


class Marks:
    """The store's marks; an end happens before they are read, and another one afterwards."""

    def __init__(self, store: RedisStore, traffic: Traffic) -> None:
        self.store, self.traffic, self.reading = store, traffic, False

    def high_water(self) -> dict[bytes, int]:
        if self.reading:
            return self.store.high_water()
        self.reading = True  # the traffic's own connections are proved by marks, too
        try:
            self.traffic.end()
            found = self.store.high_water()
            self.traffic.end()
        finally:
            self.reading = False
        return found

    def raise_high_water(self, epoch: bytes, sequence: int) -> None:
        self.store.raise_high_water(epoch, sequence)


@pytest.fixture
def store(backs: Backends) -> RedisStore:
    node = open_node(backs.store.url, connections=4, unavailable=StoreUnavailable)
    return RedisStore(node, retention=86_400)


@pytest.fixture
def process(backs: Backends, store: RedisStore) -> Callable[[], RedisLedger]:
    """Makes the ledger as another process knows it."""

    def start() -> RedisLedger:
        ledger = ledger_at([backs.ledger.url], store)
        ledger.start()
        return ledger

    return start


def test_a_lost_share_is_looked_for_without_ending_that_of_a_busy_node(
    store: RedisStore, process: Callable[[], RedisLedger]
) -> None:
    operator, traffic = process(), Traffic(process(), store)
    operator._marks = Marks(store, traffic)
    traffic.end()
    for _ in range(3):
        assert operator.new_epoch(lost=True) == 0
    assert traffic.ends == 7


def test_a_new_connection_to_a_busy_node_is_believed(
    store: RedisStore, process: Callable[[], RedisLedger]
) -> None:
    ledger, traffic = process(), Traffic(process(), store)
    [shard] = ledger.shards
    shard._marks = Marks(store, traffic)
    for ends in (2, 4, 6):
        ledger.close()
        assert shard.ask().sequence == ends
        assert traffic.ends == ends


def test_what_other_threads_learn_meanwhile_does_not_make_an_answer_a_lie(
    store: RedisStore, process: Callable[[], RedisLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = process()
    traffic = Traffic(ledger, store)
    [shard] = ledger.shards
    ask = shard.ask

    def slow() -> Told:
        told = ask()
        traffic.end()
        return told

    monkeypatch.setattr(shard, "ask", slow)
    shard.refresh()
    assert shard.told.sequence == traffic.ends == 1


def test_a_node_put_back_is_found_out_at_its_next_connection(
    backs: Backends, store: RedisStore, process: Callable[[], RedisLedger]
) -> None:
    """The other side of it: whoever knows of an end does not believe a node that does not."""
    ledger, other = process(), process()
    traffic = Traffic(other, store)
    traffic.end()
    sequence = backs.ledger.client().get("ss:sequence")
    traffic.end()
    backs.ledger.client().set("ss:sequence", sequence or b"")
    for one in (ledger, other):
        one.close()
        assert one.up() == (0, 1)
