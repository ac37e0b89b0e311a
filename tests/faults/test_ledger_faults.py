"""The ledger broken in every way under traffic: nothing opens twice, nothing is lost but what was ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from secretsvc.shard import FRESH
from tests.faults import register as names
from tests.faults.fleet import DidNotStart
from tests.faults.history import Judgement, judge, kept
from tests.faults.ledgers import Node, Site, site
from tests.faults.proxy import calls
from tests.faults.traffic import Traffic
from tests.harness import Answer, Client, Secret, new_idempotency_key

Say = Callable[[str], None]
Fault = Callable[[Node], AbstractContextManager[None]]
UNAVAILABLE = (503, "ledger-unavailable")
FORGETFUL = "tests.faults.forgetful:create_app()"


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Site]]:
    """Services on a ledger of one node and of three, for all tests that leave them as they were."""
    with ExitStack() as stack:
        yield {n: stack.enter_context(site(tmp_path_factory.mktemp("site"), n)) for n in (1, 3)}


@pytest.fixture
def one(sites: dict[int, Site]) -> Site:
    return well(sites[1])


@pytest.fixture
def three(sites: dict[int, Site]) -> Site:
    return well(sites[3])


def well(here: Site) -> Site:
    """The site, if the test before has left every process and every node of it well."""
    here.use(here.nodes)
    for client in map(Client, here.fleet.urls):
        found = {Secret.create(client).claim(client).status for _ in range(12)}
        assert found == {200}, "a test has left this broken"
    return here


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The same in every run of a test, another one in each test."""
    return sum(request.node.name.encode())


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, "" if answer.status < 400 else answer.json["type"]


def settled(traffic: Traffic, folder: Path, say: Say) -> Judgement:
    """Stop, settle, judge: every promise was kept, and something was opened at all."""
    traffic.stop()
    traffic.settle()
    found = kept(traffic.history, folder)
    assert found.counts["opened once"] > 0
    say(f"{len(traffic.history)} calls: {str(found).splitlines()[0]}")
    return found


# --- faults that pass ----------------------------------------------------------------------------------


@contextlib.contextmanager
def down(node: Node) -> Iterator[None]:
    node.server.kill()
    try:
        yield
    finally:
        node.server.start()


@contextlib.contextmanager
def hung(node: Node) -> Iterator[None]:
    node.server.pause()
    try:
        yield
    finally:
        node.server.resume()


@contextlib.contextmanager
def replies_dropped(node: Node) -> Iterator[None]:
    node.proxy.drop(calls("ledger_end"), times=1_000)
    try:
        yield
    finally:
        node.proxy.heal()


@contextlib.contextmanager
def replies_swallowed(node: Node) -> Iterator[None]:
    node.proxy.swallow(calls("ledger_end"), times=1_000)
    try:
        yield
    finally:
        node.proxy.heal()


@contextlib.contextmanager
def full_memory(node: Node) -> Iterator[None]:
    node.server.client().config_set("maxmemory", "1mb")
    try:
        yield
    finally:
        node.server.client().config_set("maxmemory", "0")


@contextlib.contextmanager
def emptied(node: Node) -> Iterator[None]:
    own = node.put_back(None)
    try:
        yield
    finally:
        node.put_back(own)


QUICK = (down, replies_dropped, full_memory, emptied)
SLOW = (hung, replies_swallowed)  # each call takes both its tries, of a second each


@pytest.mark.parametrize("fault", [*QUICK, *SLOW], ids=lambda fault: fault.__name__)
def test_a_fault_that_passes_costs_nothing(
    one: Site, folder: Path, say: Say, seed: int, fault: Fault, *, full: bool
) -> None:
    passes(one, fault, folder, say, seed, rounds=4 if full else 1)


@pytest.mark.parametrize("fault", [emptied, hung], ids=lambda fault: fault.__name__)
def test_a_fault_of_one_of_three_that_passes_costs_nothing(
    three: Site, folder: Path, say: Say, seed: int, fault: Fault, *, full: bool
) -> None:
    passes(three, fault, folder, say, seed, rounds=6 if full else 1)


def passes(here: Site, fault: Fault, folder: Path, say: Say, seed: int, *, rounds: int) -> None:
    with here.fleet.traffic(seed) as traffic:
        for number in range(rounds):
            traffic.calls(60)
            with fault(here.nodes[number % len(here.nodes)]):
                traffic.running_for(2.5 if fault in SLOW else 0.7)
        found = settled(traffic, folder, say)
    assert found.counts["503 ledger-unavailable"] > 0


# --- a node that went back -----------------------------------------------------------------------------


def go_back(node: Node, traffic: Traffic) -> Path:
    """Put this node back to a copy that lacks ends which were decided since; where its own data are."""
    traffic.calls(80)
    copy = node.copy()
    before = node.sequence
    traffic.calls(120)
    assert node.sequence > before
    return node.put_back(copy)


def test_a_node_put_back_to_an_older_copy_decides_nothing(
    sites: dict[int, Site], folder: Path, say: Say, seed: int, *, full: bool
) -> None:
    """Not for the process that has seen it newer, nor for one that has not, nor for those that start then."""
    for here in [well(sites[n]) for n in ((1, 3) if full else (1,))]:
        busy, idle = here.fleet.urls
        with Traffic([busy], threads=4, seed=seed) as traffic:
            old = here.nodes[-1]
            own = go_back(old, traffic)
            before = old.sequence
            traffic.urls[:] = [busy, idle]
            traffic.calls(80)
            assert old.sequence == before
            with pytest.raises(DidNotStart, match="older than what this service has seen"):
                here.fleet.start(1)
            old.put_back(own)
            found = settled(traffic, folder, say)
        assert found.counts["503 ledger-unavailable"] > 0


def test_what_a_node_put_back_would_decide_can_be_ended_and_the_rest_opens(
    sites: dict[int, Site], folder: Path, say: Say, seed: int, *, full: bool
) -> None:
    """A process that runs needs no restart, and one that starts agrees with it."""
    for here in [well(sites[n]) for n in ((1, 3) if full else (3,))]:
        with here.fleet.traffic(seed) as traffic:
            old = here.nodes[-1]
            go_back(old, traffic)
            traffic.calls(40)
            assert "has begun" in here.end_lost(traffic, share=old)
            here.fleet.restart(0)
            traffic.calls(40)
            found = settled(traffic, folder, say)
        assert found.counts["ended by operator"] > 0


def test_without_the_high_water_mark_a_node_put_back_opens_twice(folder: Path, say: Say, seed: int) -> None:
    """The harness sees it, and the mark is what prevents it."""
    with site(folder, 1, target=FORGETFUL, count=1) as here, here.fleet.traffic(seed) as traffic:
        go_back(here.nodes[0], traffic)
        traffic.stop()
        traffic.settle()
    found = judge(traffic.history)
    say(str(found).splitlines()[0])
    assert found.counts["opened twice"] > 0
    assert names.ONCE in found.promises
    assert names.NO_500 not in found.promises


# --- nodes that change places --------------------------------------------------------------------------


def test_two_addresses_exchanged_are_harmless(three: Site, folder: Path, say: Say, seed: int) -> None:
    with three.fleet.traffic(seed) as traffic:
        traffic.calls(80)
        first, second, third = three.nodes
        three.use([second, first, third])
        three.fleet.restart(0)
        traffic.calls(80)
        found = settled(traffic, folder, say)
    assert found.counts["503 ledger-unavailable"] == 0


def test_two_nodes_whose_data_were_exchanged_decide_nothing_until_processes_start_anew(
    three: Site, folder: Path, say: Say, seed: int
) -> None:
    first, second, _ = three.nodes
    with three.fleet.traffic(seed) as traffic:
        traffic.calls(80)
        data = first.put_back(None)
        first.put_back(second.put_back(data))
        before = first.sequence + second.sequence
        traffic.calls(60)
        assert first.sequence + second.sequence == before
        for number in range(2):
            three.fleet.restart(number)
        found = settled(traffic, folder, say)
    assert found.counts["503 ledger-unavailable"] > 0


# --- one of three --------------------------------------------------------------------------------------


def test_one_node_down_is_the_wait_of_its_share_alone(three: Site, folder: Path, say: Say, seed: int) -> None:
    client = Client(three.fleet.urls[0])
    secrets = [Secret.create(client) for _ in range(24)]
    ended = [Secret.create(client) for _ in range(36)]  # of so many, each node has some
    assert {secret.claim(client).status for secret in ended} == {200}
    gone = three.nodes[1]
    waiting = three.share(gone, secrets)
    others = [secret for secret in secrets if secret not in waiting]
    assert min(len(waiting), len(others), len(three.share(gone, ended))) > 0
    with three.fleet.traffic(seed) as traffic:
        traffic.calls(60)
        with down(gone):
            since = time.monotonic() + FRESH + 0.5  # so long its epoch may still be used for new records
            for secret in waiting:
                assert told(secret.claim(client, new_idempotency_key())) == UNAVAILABLE
                assert told(secret.call(client, "revoke", sender=True)) == UNAVAILABLE
                assert told(secret.state(client)) == UNAVAILABLE
            assert {secret.state(client).json["state"] for secret in ended} == {"opened"}
            assert {told(secret.claim(client)) for secret in ended} == {(410, "opened")}
            assert {secret.state(client).json["state"] for secret in others} == {"sealed"}
            assert {secret.claim(client).status for secret in others} == {200}
            traffic.running_for(FRESH + 1.0)
        found = settled(traffic, folder, say)
    assert [secret.claim(client).status for secret in waiting] == [200] * len(waiting)
    assert found.counts["503 ledger-unavailable"] > 0
    creates = [event for event in traffic.history if event.call == "create" and event.began > since]
    assert {event.outcome for event in creates} == {"201"}


def test_a_process_started_while_one_node_is_down_takes_it_up_when_it_comes(
    three: Site, folder: Path, say: Say, seed: int
) -> None:
    with three.fleet.traffic(seed) as traffic:
        traffic.calls(60)
        with down(three.nodes[1]):
            three.fleet.restart(0)
            client = Client(three.fleet.urls[0])
            made = [Secret.create(client) for _ in range(10)]
            assert {secret.claim(client).status for secret in made} == {200}
            traffic.calls(40)
        found = settled(traffic, folder, say)
    assert found.counts["503 ledger-unavailable"] > 0


def test_a_node_can_be_added(folder: Path, say: Say, seed: int) -> None:
    with site(folder, 3, started=2) as here, here.fleet.traffic(seed) as traffic:
        traffic.calls(60)
        here.use(here.nodes)
        here.fleet.restart(0)
        traffic.calls(60)  # on one process that knows it, and one that does not
        here.fleet.restart(1)
        traffic.calls(60)
        settled(traffic, folder, say)
        assert here.share(here.nodes[2], [dealt.secret for dealt in traffic.dealt])
        assert here.nodes[2].sequence > 0


# --- a node lost for good ------------------------------------------------------------------------------


def test_the_share_of_a_lost_node_can_be_ended_and_the_others_open(
    three: Site, folder: Path, say: Say, seed: int
) -> None:
    """A new server stands in its place, which begins nothing by itself; no process is restarted."""
    gone = three.nodes[1]
    with three.fleet.traffic(seed) as traffic:
        traffic.calls(100)
        epochs = gone.epochs()
        gone.put_back(None)
        with pytest.raises(DidNotStart, match="older than what this service has seen"):
            three.fleet.start(1)
        assert "has begun" in three.end_lost(traffic, share=epochs)
        traffic.calls(60)
        found = settled(traffic, folder, say)
    assert gone.sequence > 0  # it decides again
    assert found.counts["ended by operator"] > 0


def test_a_lost_node_can_be_left_out_of_the_settings(folder: Path, say: Say, seed: int) -> None:
    with site(folder, 3, count=1) as here, here.fleet.traffic(seed) as traffic:
        traffic.calls(100)
        gone = here.nodes[1]
        epochs = gone.epochs()
        gone.server.kill()
        here.use([here.nodes[0], here.nodes[2]])
        with pytest.raises(DidNotStart, match="A node of the ledger is missing"):
            here.fleet.start(1)
        here.end_lost(traffic, share=epochs)
        here.fleet.restart(0)
        found = settled(traffic, folder, say)
    assert found.counts["ended by operator"] > 0
