"""Random faults under random traffic: whatever breaks, nothing opens twice and nothing is lost.

A failure prints its plan; ``--hypothesis-seed`` repeats a whole run, as far as threads can be repeated.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.faults.events import ROLLED_BACK
from tests.faults.history import kept
from tests.faults.ledgers import AOF, Node, Site, site
from tests.faults.proxy import Proxy, calls
from tests.faults.register import FITS
from tests.faults.traffic import Traffic
from tests.harness import wait_until
from tests.servers import Server

Say = Callable[[str], None]
STORE, LEDGER = "store", ("ledger 1", "ledger 2", "ledger 3")
SIDES = (STORE, *LEDGER)
STORE_RULES = ("look", "create", "mark", "reserve", "settle")
LEDGER_RULES = ("ledger_end", "ledger_peek", "ledger_done")


@dataclass
class Stage:
    """Two web processes, a proxy before each server, and everything that can befall them."""

    site: Site
    folder: Path
    proxies: dict[str, Proxy]

    def server(self, side: str) -> Server:
        return self.site.backs.store if side == STORE else self.node(side).server

    def node(self, side: str) -> Node:
        return self.site.nodes[LEDGER.index(side)]

    @contextmanager
    def killed(self, traffic: Traffic, side: str, _: str) -> Iterator[None]:
        """kill -9, and back later."""
        self.server(side).kill()
        try:
            yield
        finally:
            self.server(side).start()

    @contextmanager
    def paused(self, traffic: Traffic, side: str, _: str) -> Iterator[None]:
        """Stopped, and then it runs whatever it was sent."""
        self.server(side).pause()
        try:
            yield
        finally:
            self.server(side).resume()

    @contextmanager
    def hung(self, traffic: Traffic, side: str, _: str) -> Iterator[None]:
        """Takes all and answers nothing."""
        self.proxies[side].hang()
        try:
            yield
        finally:
            self.proxies[side].heal()

    @contextmanager
    def refusing(self, traffic: Traffic, side: str, _: str) -> Iterator[None]:
        """Closes every connection."""
        self.proxies[side].refuse()
        try:
            yield
        finally:
            self.proxies[side].heal()

    @contextmanager
    def dropping(self, traffic: Traffic, side: str, rule: str) -> Iterator[None]:
        """Runs what it is asked, and loses the answers."""
        self.proxies[side].drop(calls(rule), times=25)
        try:
            yield
        finally:
            self.proxies[side].heal()

    @contextmanager
    def delaying(self, traffic: Traffic, side: str, rule: str) -> Iterator[None]:
        """Answers some of it too late."""
        self.proxies[side].delay(calls(rule), 1.2, times=4)
        try:
            yield
        finally:
            self.proxies[side].heal()

    @contextmanager
    def forgetting(self, traffic: Traffic, side: str, _: str) -> Iterator[None]:
        """Its scripts are flushed, again and again."""
        over = threading.Event()

        def flush() -> None:
            client = self.server(side).client()
            while not over.wait(0.005):
                with contextlib.suppress(redis.RedisError):
                    client.script_flush()

        thread = threading.Thread(target=flush)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def worker_killed(self, traffic: Traffic, side: str, _: str) -> Iterator[None]:
        """kill -9 of an application process, at the beginning and at the end."""
        number = SIDES.index(side) % 2
        self.site.fleet.kill_worker(number)
        try:
            yield
        finally:
            self.site.fleet.kill_worker(number)

    @contextmanager
    def going_back(self, traffic: Traffic, side: str, _: str) -> Iterator[None]:
        """Put back to the copy that was made when this began; a node of the ledger only for a while."""
        if side == STORE:
            with self._store_going_back(traffic):
                yield
            return
        node = self.node(side)
        before, copy = node.sequence, node.copy()
        yield
        if node.sequence > before:  # or the copy would not be an older one, and may decide
            own = node.put_back(copy)
            traffic.calls(40, 2.0)
            node.put_back(own)

    @contextmanager
    def _store_going_back(self, traffic: Traffic) -> Iterator[None]:
        store, copy = self.site.backs.store, self.folder / "copy"
        since = time.monotonic()
        store.kill()  # what is on its disk then is a copy without a torn end
        shutil.copytree(store.dir / AOF, copy)
        store.start()
        try:
            yield
        finally:
            store.kill()
            shutil.rmtree(store.dir / AOF)
            copy.rename(store.dir / AOF)
            store.start()
            traffic.history.operator(ROLLED_BACK, since, time.monotonic())

    @contextmanager
    def emptied(self, traffic: Traffic, side: str, _: str) -> Iterator[None]:
        """A node of the ledger without its data; the store is rather killed."""
        if side == STORE:
            with self.killed(traffic, side, _):
                yield
            return
        own = self.node(side).put_back(None)
        try:
            yield
        finally:
            self.node(side).put_back(own)


NO_FAULTS = ("server", "node")
FAULTS = tuple(name for name in vars(Stage) if not name.startswith("_") and name not in NO_FAULTS)


@dataclass(frozen=True)
class Fault:
    """What befalls whom; ``rule`` where answers to one rule are meant."""

    name: str
    side: str
    rule: str
    seconds: float

    def __repr__(self) -> str:
        return f"Fault({self.name!r}, {self.side!r}, {self.rule!r}, {self.seconds!r})"

    def on(self, stage: Stage, traffic: Traffic) -> AbstractContextManager[None]:
        """While this lasts, it is broken."""
        found: AbstractContextManager[None] = getattr(stage, self.name)(traffic, self.side, self.rule)
        return found


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    side = draw(st.sampled_from([STORE, STORE, STORE, *LEDGER]))
    seconds = draw(st.sampled_from([0.1, 0.3, 0.6, 1.3]))
    rules = STORE_RULES if side == STORE else LEDGER_RULES
    return Fault(draw(st.sampled_from(FAULTS)), side, draw(st.sampled_from(rules)), seconds)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("random")
    with site(folder, len(LEDGER), count=0) as here, Proxy(here.backs.store.url) as store:
        here.fleet.settings["redis_url"] = store.url
        here.fleet.start(2)
        nodes = {side: node.proxy for side, node in zip(LEDGER, here.nodes, strict=True)}
        yield Stage(here, folder, {STORE: store, **nodes})
        here.fleet.stop()


def test_without_faults_nothing_is_unclear_and_every_call_is_made(stage: Stage, say: Say) -> None:
    with stage.site.fleet.traffic(1, passwords=0.3, revokes=0.1) as traffic:
        wait_until(lambda: {event.call for event in traffic.history} == set(FITS))
        traffic.stop()
        traffic.settle()
    found = kept(traffic.history, stage.folder)
    say(str(found))
    for unclear in ("no answer", "503 store-unavailable", "503 ledger-unavailable"):
        assert found.counts[unclear] == 0
    assert found.counts["created"] == len(traffic.dealt)
    assert found.counts["opened once"] + found.counts["revoked"] == len(traffic.dealt)


def test_random_faults_open_nothing_twice_and_lose_nothing(stage: Stage, say: Say, *, full: bool) -> None:
    examples, longest = (60, 8) if full else (4, 3)
    total: Counter[str] = Counter()
    happened: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32), st.lists(faults(), min_size=2, max_size=longest))
    def run(seed: int, plan: list[Fault]) -> None:
        print(f"traffic of seed {seed}, and {plan}")
        with stage.site.fleet.traffic(seed) as traffic:
            traffic.calls(50)
            for fault in plan:
                with fault.on(stage, traffic):
                    traffic.running_for(fault.seconds)
                stage.site.fleet.revive()
                happened[fault.name] += 1
                traffic.calls(20)
            traffic.stop()
            traffic.settle()
        found = kept(traffic.history, stage.folder)
        assert found.counts["opened once"] > 0
        total.update(found.counts)

    run()
    say(f"{examples} histories with {dict(happened)}: {dict(sorted(total.items()))}")
