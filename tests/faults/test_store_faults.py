"""The store killed, cut, restored, forgetful or crowded, and workers killed: nothing opens twice."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from random import Random

import pytest
import redis

from tests.faults import disk
from tests.faults.proxy import Proxy
from tests.faults.scene import (
    UNGUARDED,
    Scene,
    assert_kept,
    crowd,
    judged,
    rolled_back,
    scene,
    together,
)
from tests.faults.traffic import Traffic
from tests.harness import Backends, InProcess, Secret, Web, backends, wait_until, web
from tests.servers import Server, start_server

Say = Callable[[str], None]
SEED = 7


@pytest.fixture(scope="module")
def servers_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """A store that starts on a log with its end cut off, as Redis does by itself.

    Nor does anybody write that log anew in the midst of a story about it.
    """
    folder = tmp_path_factory.mktemp("store-faults")
    extra = ["aof-load-truncated yes", 'rename-command BGREWRITEAOF ""']
    with backends(folder) as backs, start_server(dir=folder / "forgiving", extra=extra) as store:
        yield Backends(store, backs.ledger, backs.keyring)


@pytest.fixture(scope="module")
def two(servers_here: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(servers_here, tmp_path_factory.mktemp("guarded")) as found:
        yield found


@pytest.fixture(scope="module")
def unguarded(servers_here: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(servers_here, tmp_path_factory.mktemp("unguarded"), target=UNGUARDED) as found:
        yield found


# --- killed --------------------------------------------------------------------------------------------


def test_a_store_killed_at_random_points_loses_and_doubles_nothing(two: Scene, say: Say, *, full: bool) -> None:
    cycles, random, store = 100 if full else 8, Random(SEED), two.backs.store
    with two.traffic(SEED) as traffic:
        for _ in range(cycles):
            traffic.calls(random.randint(5, 60))
            store.kill()
            traffic.calls(random.randint(1, 10))
            store.restart()
        traffic.calls(20)
        found = judged(traffic, say, f"{cycles} x kill -9; ")
    assert_kept(found)
    assert found.counts["503 store-unavailable"] >= cycles
    assert found.counts["opened once"] > cycles


def test_workers_and_processes_killed_at_random_double_and_lose_nothing(
    two: Scene, folder: Path, say: Say, *, full: bool
) -> None:
    cycles, random = 40 if full else 4, Random(SEED)
    with ExitStack() as stack:
        webs = [stack.enter_context(web(two.backs, folder, workers=2, threads=4)) for _ in range(2)]
        urls = [one.url for one in webs]
        with Traffic(urls, threads=4, seed=SEED) as traffic:
            for n in range(cycles):
                traffic.calls(random.randint(10, 60))
                which = random.randrange(2)
                if n % 3 == 2:
                    kill_whole(webs[which])
                    webs[which] = stack.enter_context(web(two.backs, folder, workers=2, threads=4))
                    urls[which] = webs[which].url
                else:
                    kill(random.choice(workers_of(webs[which])))
            traffic.calls(20)
            found = judged(traffic, say, f"{cycles} x kill -9; ")
    assert_kept(found)
    assert found.counts["no answer"] > 0
    assert found.counts["opened once"] > cycles


def workers_of(running: Web) -> list[int]:
    wait_until(lambda: len(_children(running)) > 0)
    return _children(running)


def _children(running: Web) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(running.process.pid)], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def kill_whole(running: Web) -> None:
    """A web process with all its workers, the one who starts new ones first."""
    children = workers_of(running)
    running.process.kill()
    running.process.wait()
    for pid in children:
        kill(pid)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


# --- put back ------------------------------------------------------------------------------------------


def with_its_tail_cut(store: Server, folder: Path, meanwhile: Callable[[], None]) -> None:
    size = disk.log_size(store)
    meanwhile()
    store.kill()
    disk.cut_log(store, size + 1)  # within a command, as a crash does
    store.start()


def with_an_old_log(store: Server, folder: Path, meanwhile: Callable[[], None]) -> None:
    disk.copy_log(store, folder / "copy")
    meanwhile()
    store.kill()
    disk.put_log_back(store, folder / "copy")
    store.start()


def with_an_old_snapshot(store: Server, folder: Path, meanwhile: Callable[[], None]) -> None:
    disk.copy_snapshot(store, folder / "copy")
    meanwhile()
    store.kill()
    disk.start_from_snapshot(store, folder / "copy")


@pytest.mark.parametrize("back", [with_its_tail_cut, with_an_old_log, with_an_old_snapshot])
def test_what_was_claimed_stays_ended_when_an_older_store_comes_back(
    two: Scene,
    unguarded: Scene,
    folder: Path,
    say: Say,
    back: Callable[[Server, Path, Callable[[], None]], None],
    *,
    full: bool,
) -> None:
    for n in range(5 if full else 1):
        copies = folder / str(n)
        copies.mkdir()
        rolled_back(two, unguarded, partial(back, two.backs.store, copies), SEED + n, say)


# --- forgetful, crowded --------------------------------------------------------------------------------


def test_scripts_forgotten_all_the_time_are_no_error(two: Scene, say: Say, *, full: bool) -> None:
    stop, flushed = threading.Event(), Counter[str]()

    def forget(server: Server) -> None:
        client = server.client()
        while not stop.wait(0.002):
            client.script_flush()
            flushed[server.url] += 1

    with two.traffic(SEED) as traffic, ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(forget, server) for server in (two.backs.store, two.backs.ledger)]
        try:
            traffic.calls(3000 if full else 200)
        finally:
            stop.set()
        for task in tasks:
            task.result()
        found = judged(traffic, say, f"{flushed.total()} x SCRIPT FLUSH; ")
    assert_kept(found)
    assert flushed.total() > 20
    assert [name for name in found.counts if name[:1] == "5"] == []


def test_a_store_that_takes_no_more_connections_uses_nothing_up(two: Scene, say: Say) -> None:
    """At its maxclients it closes each new connection, ours too when others were quicker."""
    store = two.backs.store
    here = InProcess(two.backs.app())
    secrets_ = [Secret.create(here) for _ in range(8)]
    admin = store.client()
    admin.ping()
    before = admin.config_get("maxclients")["maxclients"]
    admin.config_set("maxclients", 5)
    try:
        admin.client_kill_filter(_type="normal", skipme=True)
        with ExitStack() as stack:
            others = [stack.enter_context(store.client()) for _ in range(4)]
            for other in others:
                wait_until(lambda other=other: takes(other))
            found = together(here, lambda here, secret: secret.claim(here), secrets_)
            say(f"at maxclients: {dict(found)}")
            assert found == {(503, "store-unavailable"): len(secrets_)}
    finally:
        admin.config_set("maxclients", str(before))
    assert together(here, lambda here, secret: secret.claim(here), secrets_) == {(200, ""): len(secrets_)}


def takes(client: redis.Redis) -> bool:
    with suppress(redis.RedisError):
        return bool(client.ping())
    return False


def test_more_callers_than_connections_use_nothing_up(two: Scene, say: Say) -> None:
    with Proxy(two.backs.store.url) as proxy:
        here = InProcess(two.backs.app(threads="1", redis_url=proxy.url))  # three connections
        crowd(here, [proxy], say)
