"""A Redis Cluster as the store: slots that move under load, primaries that die; nothing opens twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.clusters import Cluster, cluster
from tests.faults.events import ROLLED_BACK
from tests.faults.proxy import calls
from tests.faults.scene import (
    UNGUARDED,
    Scene,
    assert_kept,
    crowd,
    judged,
    patience,
    rolled_back,
    scene,
    slowest,
    until_it_works,
)
from tests.faults.test_lost import told, within
from tests.faults.topology import Member, ask
from tests.harness import Backends, InProcess, Secret, backends, new_idempotency_key, wait_until
from tests.servers import ENGINES

Say = Callable[[str], None]
SEED = 13


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both makes in the full size."""
    if "engine" in metafunc.fixturenames:
        both = metafunc.config.getoption("--full")
        metafunc.parametrize("engine", ENGINES if both else ENGINES[1:], scope="module")


@dataclass
class Stage:
    """A Cluster with a ledger and a keyring; one stage for all scenes of this file."""

    store: Cluster
    backs: Backends
    folder: Path

    def app(self, **settings: str) -> InProcess:
        return InProcess(self.backs.app(redis_url=self.store.url, **settings))

    def of(self, secret: Secret) -> tuple[int, Member]:
        """A secret's slot, and the primary that serves it."""
        slot = int(ask(self.store.members[0].server, "CLUSTER", "KEYSLOT", f"ss:{{{secret.id}}}"))
        [found] = [one for one in self.store.primaries if slot in self.store.slots_of(one)]
        return slot, found

    def other(self, member: Member) -> Member:
        return next(one for one in self.store.primaries if one is not member)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("cluster")
    with (
        backends(folder) as backs,
        cluster(folder / "cluster", engine, replicas=True) as store,  # type: ignore[arg-type]
    ):
        yield Stage(store, backs, folder)


@pytest.fixture(scope="module")
def two(stage: Stage) -> Iterator[Scene]:
    with scene(stage.backs, stage.folder / "guarded", redis_url=stage.store.url) as found:
        yield found


# --- slots that move -----------------------------------------------------------------------------------


def test_slots_that_move_under_load_are_no_error_and_open_nothing_twice(
    stage: Stage, two: Scene, say: Say, *, full: bool
) -> None:
    slots, moved, keys = 300 if full else 16, 0, 0
    with two.traffic(SEED, threads=6, passwords=0.0) as traffic, ThreadPoolExecutor(2) as pool:
        traffic.calls(30)
        deadline = time.monotonic() + slots
        while moved < slots:
            assert time.monotonic() < deadline, f"{moved} slots moved only"
            young = [dealt for dealt in traffic.dealt[-8:] if dealt.created and not dealt.ended]
            if not young:
                traffic.calls(1)
                continue
            one, url = young[-1], two.urls[moved % 2]
            slot, source = stage.of(one.secret)
            # All the while its own secret is asked for.
            asked = pool.submit(traffic.state, one, url)
            opened = pool.submit(traffic.claim, one, url, new_idempotency_key()) if moved % 2 else asked
            keys += stage.store.move(slot, source, stage.other(source))
            wait([asked, opened])
            moved += 1
        traffic.calls(30)
        found = judged(traffic, say, f"{moved} slots and {keys} keys moved; ")
    stage.store.wait_well()
    assert_kept(found)
    assert keys > moved  # each with a receipt and a record at least
    assert found.counts["opened once"] > moved
    assert [name for name in found.counts if name[:1] == "5"] == []


def test_a_secret_between_two_nodes_is_not_used_up(stage: Stage) -> None:
    """Its receipt is on one node and its record on another, for as long as somebody looks."""
    here = stage.app()
    found: Counter[object] = Counter()
    for _ in range(3):
        secret = Secret.create(here)
        slot, source = stage.of(secret)

        def halfway(secret: Secret = secret) -> None:
            for call in (lambda: secret.state(here), lambda: secret.claim(here)):
                with within(3.0):
                    found[told(call())] += 1

        stage.store.move(slot, source, stage.other(source), halfway=halfway)
        if secret.state(here).json["state"] == "sealed":
            assert secret.unseal(secret.claim(here)) == b"hunter2"
        assert told(secret.claim(here)) == (410, "opened")
    assert set(found) <= {(200, ""), (503, "store-unavailable")}


# --- primaries that die --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unguarded(stage: Stage) -> Iterator[Scene]:
    folder = stage.folder / "unguarded"
    with scene(stage.backs, folder, target=UNGUARDED, redis_url=stage.store.url) as found:
        yield found


def come_back(store: Cluster, dead: Member) -> None:
    """It finds its heir by itself, and follows."""
    dead.server.restart()
    wait_until(lambda: dead.in_sync, 30)
    store.wait_well()


def test_a_promoted_replica_that_lags_opens_nothing_twice(
    stage: Stage, two: Scene, unguarded: Scene, say: Say, *, full: bool
) -> None:
    """Replication passes nothing any more, much happens, and primaries die, one after another."""
    store = stage.store

    def die(meanwhile: Callable[[], None]) -> None:
        old = store.primaries
        heirs = [store.replica_of(primary) for primary in old]
        store.lag()
        meanwhile()
        for primary, heir in list(zip(old, heirs, strict=True))[: 3 if full else 2]:
            primary.server.kill()
            wait_until(lambda heir=heir: heir.is_primary, 30)
            primary.proxy.heal()
            come_back(store, primary)
        for primary in old:
            primary.proxy.heal()

    for n in range(5 if full else 1):
        rolled_back(two, unguarded, die, SEED + n, say)


def test_a_failover_in_good_order_loses_and_doubles_nothing(stage: Stage, two: Scene, say: Say) -> None:
    """Asked of the replica, which first waits until it has everything."""
    with two.traffic(SEED) as traffic:
        traffic.calls(20)
        primary = stage.store.primaries[0]
        heir = stage.store.replica_of(primary)
        ask(heir.server, "CLUSTER", "FAILOVER")
        wait_until(lambda: heir.is_primary and primary.in_sync, 30)
        traffic.calls(20)
        found = judged(traffic, say)
    stage.store.wait_well()
    assert_kept(found)
    assert found.counts["opened once"] > 0


def test_a_primary_that_hangs_costs_its_share_until_its_replica_serves(
    stage: Stage, two: Scene, say: Say
) -> None:
    with two.traffic(SEED) as traffic:
        traffic.calls(30)
        since, primary = time.monotonic(), stage.store.primaries[0]
        heir = stage.store.replica_of(primary)
        stage.store.caught_up()
        primary.server.pause()
        try:
            wait_until(lambda: heir.is_primary, 30)
            traffic.calls(20)
        finally:
            primary.server.resume()
        wait_until(lambda: primary.in_sync, 30)
        traffic.history.operator(ROLLED_BACK, since, time.monotonic())
        traffic.calls(20)
        found = judged(traffic, say, f"slowest answer {slowest(traffic):.1f} s; ")
    stage.store.wait_well()
    assert_kept(found)
    assert found.counts["503 store-unavailable"] > 0
    assert slowest(traffic) <= 3.0, patience(traffic)


def test_what_no_replica_confirms_is_not_acknowledged_and_keeps_nobody_from_opening(stage: Stage) -> None:
    here = stage.app(wait_replicas="1")
    present, moved, fresh = [Secret.create(here) for _ in range(6)], Secret.make(), Secret.make()
    slot, source = stage.of(moved)
    stage.store.move(slot, source, stage.other(source))
    assert here.post("/api/v1/secrets", moved.body).status == 201  # the way there was learnt anew
    stage.store.lag()
    for secret in (fresh, fresh):  # a repeat finds it stored, and yet it is not confirmed
        with within(3.0):
            assert told(here.post("/api/v1/secrets", secret.body)) == (503, "store-unavailable")
        with within(3.0):
            assert present.pop().claim(here).status == 200
    for one in stage.store.primaries:
        one.proxy.heal()
    assert until_it_works(lambda: here.post("/api/v1/secrets", fresh.body)).status == 201
    assert fresh.unseal(fresh.claim(here)) == b"hunter2"
    wait_until(lambda: sum(one.in_sync for one in stage.store.members) == 3, 30)


def test_more_callers_than_connections_use_nothing_up(stage: Stage, say: Say) -> None:
    here = stage.app(threads="1")  # three connections to each node
    crowd(here, [one.proxy for one in stage.store.primaries], say)


def test_a_slow_node_is_waited_for_and_a_too_slow_one_is_told(stage: Stage) -> None:
    here = stage.app()
    secret = Secret.create(here)
    proxy = stage.of(secret)[1].proxy
    proxy.delay(calls("look"), 0.6)
    with within(3.0):
        assert secret.state(here).status == 200
    proxy.delay(calls("look"), 1.5, times=9)
    with within(3.0):
        assert told(secret.claim(here)) == (503, "store-unavailable")
    proxy.heal()
    assert until_it_works(lambda: secret.claim(here)).status == 200


def test_an_answer_of_a_node_that_is_lost_or_reset_costs_nothing(stage: Stage) -> None:
    here = stage.app()
    fired = 0
    for verb in ("drop", "reset"):
        for name in ("look", "mark"):
            secret = Secret.create(here)
            proxy = stage.of(secret)[1].proxy
            before = proxy.fired
            getattr(proxy, verb)(calls(name))
            with within(3.0):
                assert secret.claim(here).status == 200
            fired += proxy.fired - before
            assert told(secret.claim(here)) == (410, "opened")
    assert fired == 4


def test_a_node_cut_off_from_us_alone_costs_its_share_and_uses_nothing_up(stage: Stage) -> None:
    here = stage.app()
    mine = Secret.create(here)
    cut = stage.of(mine)[1]
    others = [Secret.create(here) for _ in range(12)]
    others = [secret for secret in others if stage.of(secret)[1] is not cut]
    assert others
    cut.proxy.partition(b"EVALSHA")
    with within(3.0):
        assert told(mine.claim(here)) == (503, "store-unavailable")
    for secret in others:
        with within(3.0):
            assert secret.claim(here).status == 200
    cut.proxy.heal()
    assert until_it_works(lambda: mine.claim(here)).status == 200
