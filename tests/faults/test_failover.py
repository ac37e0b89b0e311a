"""A store under Sentinels that fails over, in good order and not: nothing opens twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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
from tests.faults.topology import Member, Replicated, replicated
from tests.harness import Backends, InProcess, Secret, backends, wait_until
from tests.servers import ENGINES, client

Say = Callable[[str], None]
SEED = 11


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both makes in the full size."""
    if "engine" in metafunc.fixturenames:
        both = metafunc.config.getoption("--full")
        metafunc.parametrize("engine", ENGINES if both else ENGINES[:1], scope="module")


@dataclass
class Stage:
    """A replicated store with a ledger and a keyring; one stage for all scenes of this file."""

    store: Replicated
    backs: Backends
    folder: Path

    def app(self, **settings: str) -> InProcess:
        return InProcess(self.backs.app(redis_url=self.store.url, **settings))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("failover")
    with backends(folder) as backs, replicated(folder / "replicated", engine) as store:  # type: ignore[arg-type]
        yield Stage(store, backs, folder)


@pytest.fixture(scope="module")
def two(stage: Stage) -> Iterator[Scene]:
    with scene(stage.backs, stage.folder / "guarded", redis_url=stage.store.url) as found:
        yield found


@pytest.fixture(scope="module")
def unguarded(stage: Stage) -> Iterator[Scene]:
    folder = stage.folder / "unguarded"
    with scene(stage.backs, folder, target=UNGUARDED, redis_url=stage.store.url) as found:
        yield found


def come_back(store: Replicated, old: Member) -> None:
    old.proxy.heal()
    store.rejoin(old)


def test_a_failover_in_good_order_opens_nothing_twice(
    stage: Stage, two: Scene, say: Say, *, full: bool
) -> None:
    rounds = 10 if full else 1
    with two.traffic(SEED) as traffic:
        for _ in range(rounds):
            traffic.calls(30)
            since = time.monotonic()
            stage.store.failover()
            stage.store.wait_in_sync()
            # What the old primary still took, until it was told, is gone.
            traffic.history.operator(ROLLED_BACK, since, time.monotonic())
        traffic.calls(30)
        found = judged(traffic, say, f"{rounds} failovers; ")
    assert_kept(found)
    assert found.counts["opened once"] > 0


def test_a_failed_over_store_that_lags_opens_nothing_twice(
    stage: Stage, two: Scene, unguarded: Scene, say: Say, *, full: bool
) -> None:
    """Replication passes nothing any more, much happens, the primary dies, and its replica takes over."""
    store = stage.store

    def fail_over(meanwhile: Callable[[], None]) -> None:
        primary = store.lag()
        meanwhile()
        store.kill_primary()
        store.new_primary(primary)

    for n in range(5 if full else 1):
        old = store.primary
        rolled_back(two, unguarded, fail_over, SEED + n, say)
        come_back(store, old)


def test_a_primary_that_is_one_to_us_alone_opens_nothing_twice(
    stage: Stage, two: Scene, unguarded: Scene, say: Say
) -> None:
    """Sentinels and replica are cut off from it and go on without it; it goes on too, until they meet again."""
    store = stage.store

    def part(meanwhile: Callable[[], None]) -> None:
        old = store.caught_up()
        old.proxy.partition(b"PSYNC", b"sentinel-")
        meanwhile()
        store.new_primary(old)
        old.proxy.heal()
        wait_until(lambda: not old.is_primary)
        store.wait_in_sync()

    rolled_back(two, unguarded, part, SEED, say)


def test_what_a_replica_has_confirmed_outlives_the_primary(stage: Stage, say: Say, *, full: bool) -> None:
    """With a replica to confirm: a lagging one means 503, and no secret that was acknowledged is lost."""
    folder = stage.folder / "confirmed"
    with scene(stage.backs, folder, redis_url=stage.store.url, wait_replicas="1") as confirmed:
        for n in range(5 if full else 1):
            with confirmed.traffic(SEED + n, pause=0.05) as traffic:
                traffic.calls(30)
                primary = stage.store.lag()
                since = time.monotonic()
                traffic.calls(25)
                stage.store.kill_primary()
                died = time.monotonic()
                stage.store.new_primary(primary)
                come_back(stage.store, primary)
                traffic.calls(20)
                found = judged(traffic, say)
            meanwhile = [
                event
                for event in traffic.history
                if event.call == "create" and since <= event.began and event.ended <= died
            ]
            assert {event.outcome for event in meanwhile} == {"503 store-unavailable"}
            assert_kept(found)
            assert found.counts["lost"] == found.counts["rolled back"] == 0
            assert found.counts["opened once"] > 0


def test_a_primary_that_hangs_is_replaced_and_its_return_changes_nothing(
    stage: Stage, two: Scene, say: Say
) -> None:
    with two.traffic(SEED) as traffic:
        traffic.calls(30)
        since, primary = time.monotonic(), stage.store.caught_up()
        primary.server.pause()
        try:
            stage.store.new_primary(primary)
            traffic.calls(30)
        finally:
            primary.server.resume()
        wait_until(lambda: not primary.is_primary)
        traffic.history.operator(ROLLED_BACK, since, time.monotonic())
        traffic.calls(30)
        found = judged(traffic, say, f"slowest answer {slowest(traffic):.1f} s; ")
    stage.store.wait_in_sync()
    assert_kept(found)
    assert found.counts["503 store-unavailable"] > 0
    assert slowest(traffic) <= 3.0, patience(traffic)


def test_a_primary_that_became_a_replica_is_left(stage: Stage) -> None:
    """A connection to a server that has been demoted hears READONLY; that lasts for no longer than a call."""
    here = stage.app()
    secret, fresh = Secret.create(here), Secret.make()
    stage.store.failover()
    stage.store.wait_in_sync()
    assert until_it_works(lambda: here.post("/api/v1/secrets", fresh.body)).status == 201
    assert until_it_works(lambda: secret.claim(here)).status == 200
    assert told(secret.claim(here)) == (410, "opened")


def test_a_replica_that_cannot_be_reached_keeps_nobody_from_opening(stage: Stage) -> None:
    """What it must confirm cannot be created; what is there can be opened, for that is decided elsewhere."""
    here = stage.app(wait_replicas="1")
    secrets_ = [Secret.create(here) for _ in range(3)]
    [replica] = stage.store.replicas
    replica.server.kill()
    fresh = Secret.make()
    for _ in range(2):  # a repeat finds it stored, and yet it is not confirmed
        with within(3.0):
            assert told(here.post("/api/v1/secrets", fresh.body)) == (503, "store-unavailable")
    for secret in secrets_:
        with within(3.0):
            assert secret.claim(here).status == 200
    stage.store.rejoin(replica)
    assert until_it_works(lambda: here.post("/api/v1/secrets", fresh.body)).status == 201
    assert fresh.unseal(fresh.claim(here)) == b"hunter2"


def test_more_callers_than_connections_use_nothing_up(stage: Stage, say: Say) -> None:
    here = stage.app(threads="1")  # three connections
    crowd(here, [stage.store.primary.proxy], say)


def test_a_create_whose_secret_vanishes_before_the_answer_is_to_be_repeated(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by one server and unknown to the next, between two steps of a repeat: that is no 404."""
    here, secret = stage.app(), Secret.make()
    assert here.post("/api/v1/secrets", secret.body).status == 201
    store = here.service.vault.store
    create = store.create

    def create_and_vanish(*arguments: Any) -> Any:
        found = create(*arguments)
        with client(stage.store.primary.server.url) as one:
            assert one.delete(f"ss:{{{secret.id}}}", f"ss:{{{secret.id}}}:r") == 2
        return found

    with monkeypatch.context() as patch:
        patch.setattr(store, "create", create_and_vanish)
        assert told(here.post("/api/v1/secrets", secret.body)) == (503, "store-unavailable")
    assert here.post("/api/v1/secrets", secret.body).status == 201
    assert secret.unseal(secret.claim(here)) == b"hunter2"


def test_a_slow_primary_is_waited_for_and_a_too_slow_one_is_told(stage: Stage) -> None:
    here, proxy = stage.app(), stage.store.primary.proxy
    secret = Secret.create(here)
    proxy.delay(calls("look"), 0.6)
    with within(3.0):
        assert secret.state(here).status == 200
    proxy.delay(calls("look"), 1.5, times=9)
    with within(3.0):
        assert told(secret.claim(here)) == (503, "store-unavailable")
    proxy.heal()
    assert until_it_works(lambda: secret.claim(here)).status == 200
    stage.store.wait_in_sync()


def test_an_answer_of_the_primary_that_is_lost_or_reset_costs_nothing(stage: Stage) -> None:
    here, proxy = stage.app(), stage.store.primary.proxy
    for lose in (proxy.drop, proxy.reset):
        for name in ("look", "mark"):
            secret = Secret.create(here)
            before = proxy.fired
            lose(calls(name))
            with within(3.0):
                assert secret.claim(here).status == 200
            assert proxy.fired == before + 1
            assert told(secret.claim(here)) == (410, "opened")


def test_a_primary_cut_off_from_us_alone_uses_nothing_up(stage: Stage) -> None:
    """The Sentinels see it well, so nobody takes its place."""
    here, primary = stage.app(), stage.store.primary
    secret = Secret.create(here)
    primary.proxy.partition(b"EVALSHA")
    with within(3.0):
        assert told(secret.claim(here)) == (503, "store-unavailable")
    primary.proxy.heal()
    assert until_it_works(lambda: secret.claim(here)).status == 200
    assert stage.store.primary is primary


def test_without_a_sentinel_to_ask_the_known_primary_goes_on(stage: Stage) -> None:
    here = stage.app()
    Secret.create(here)
    for sentinel in stage.store.sentinels:
        sentinel.pause()
    try:
        with within(3.0):
            secret = Secret.create(here)
        with within(3.0):
            assert secret.claim(here).status == 200
    finally:
        for sentinel in stage.store.sentinels:
            sentinel.resume()
    stage.store.wait_in_sync()
