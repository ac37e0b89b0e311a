"""Two real web processes on one store, traffic on both, and what came of it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.events import ROLLED_BACK, Event
from tests.faults.history import Judgement, judge
from tests.faults.proxy import Proxy, calls
from tests.faults.test_lost import told, within
from tests.faults.traffic import Dealt, Traffic
from tests.harness import Answer, Backends, InProcess, Secret, Web, new_idempotency_key, wait_until, web

REAL = "app:create_app()"
UNGUARDED = "tests.faults.unguarded:create_app()"
PREPARED = 12  # secrets that are there before the fault, and opened in its course


@dataclass
class Scene:
    """The processes of one service."""

    backs: Backends
    folder: Path
    webs: list[Web]
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def urls(self) -> list[str]:
        return [one.url for one in self.webs]

    def traffic(self, seed: int, *, threads: int = 4, **more: float) -> Traffic:
        """Traffic on all of them."""
        return Traffic(self.urls, threads=threads, seed=seed, **more)


@contextmanager
def scene(backs: Backends, folder: Path, *, target: str = REAL, **settings: str) -> Iterator[Scene]:
    """Two web processes, started at the same time."""
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        starting = [web(backs, folder, target=target, **settings) for _ in range(2)]
        begun = [pool.submit(one.__enter__) for one in starting]
        for one, task in zip(starting, begun, strict=True):
            task.exception()  # wait for both before any error is raised
            if not task.exception():
                stack.push(one)
        yield Scene(backs, folder, [task.result() for task in begun], settings)


Fault = Callable[[Callable[[], None]], None]


def rolled_back(two: Scene, bare: Scene, fault: Fault, seed: int, say: Callable[[str], None]) -> Judgement:
    """The store goes back in time under the service; nothing that it promises may break.

    Beside it on the same store stands the same service without its guard, which must open secrets twice: else
    the fault was none, or these tests are blind.

    Args:
        two: the service.
        bare: the one without a guard.
        fault: calls what it is given to let time pass, and undoes in the store what happens meanwhile.
    """
    with two.traffic(seed) as traffic, bare.traffic(seed) as control:
        every = (traffic, control)
        for one in every:
            one.calls(30)
        ready = [[_deal(one) for _ in range(PREPARED)] for one in every]
        since = time.monotonic()

        def meanwhile() -> None:
            for one, mine in zip(every, ready, strict=True):
                for dealt in mine:
                    one.claim(dealt, random.choice(one.urls), new_idempotency_key())
                one.calls(30)

        fault(meanwhile)
        for one in every:
            one.history.operator(ROLLED_BACK, since, time.monotonic())
            one.calls(30)
        found = judged(traffic, say)
        without = judged(control, say, "without the ledger: ")
    assert without.counts["opened twice"] > 0
    assert found.counts["rolled back"] > 0
    assert_kept(found)
    return found


def _deal(traffic: Traffic) -> Dealt:
    """A secret of its own in the traffic, which is there before the fault."""
    dealt = Dealt(Secret.make())
    assert traffic.create(dealt, random.choice(traffic.urls)).status == 201
    traffic.dealt.append(dealt)
    return dealt


def judged(traffic: Traffic, say: Callable[[str], None], what: str = "") -> Judgement:
    """Stop, repeat what was unclear, claim what is left, judge, and say the counts."""
    traffic.stop()
    traffic.settle()
    found = judge(traffic.history)
    told = ", ".join(f"{count} {name}" for name, count in sorted(found.counts.items()) if count)
    say(f"{what}{len(traffic.history)} calls: {told}")
    return found


def assert_kept(found: Judgement) -> None:
    """No promise was broken, and in the end every call got a clear answer; else what did not is shown."""
    assert not found.broken, f"{len(found.broken)} breaches; {found}"[:4000]
    assert found.counts["unsettled"] == found.counts["unacknowledged"] == 0, str(found)


# --- what callers are told, and how soon ----------------------------------------------------------------


def together(
    here: InProcess, ask: Callable[[InProcess, Secret], Answer], many: list[Secret]
) -> Counter[object]:
    """Ask about all of them at once; each is answered within three seconds."""

    def one(secret: Secret) -> tuple[int, str]:
        with within(3.0):
            answer = ask(InProcess(here.app), secret)
        return told(answer)

    with ThreadPoolExecutor(len(many)) as pool:
        return Counter(pool.map(one, many))


def crowd(here: InProcess, proxies: list[Proxy], say: Callable[[str], None]) -> None:
    """More claims at once of a slow store than there are connections: told or served, nothing used up."""
    secrets_ = [Secret.create(here) for _ in range(20)]
    for proxy in proxies:
        proxy.delay(calls("look"), 0.6, times=len(secrets_))
    found = together(here, lambda here, secret: secret.claim(here), secrets_)
    say(f"20 callers, a slow store, few connections: {dict(found)}")
    for proxy in proxies:
        proxy.heal()
    served, told_so = found[200, ""], found[503, "store-unavailable"] + found[503, "ledger-unavailable"]
    assert served
    assert told_so
    assert served + told_so == len(secrets_)
    wait_until(lambda: secrets_[0].state(here).status == 200)
    states = Counter(secret.state(here).json["state"] for secret in secrets_)
    assert states == {"opened": served, "sealed": told_so}
    for secret in secrets_:
        expected = (200, "") if secret.state(here).json["state"] == "sealed" else (410, "opened")
        assert told(secret.claim(here)) == expected


def slowest(traffic: Traffic) -> float:
    """Seconds that a client waited at most."""
    return max(event.ended - event.began for event in asked(traffic))


def asked(traffic: Traffic) -> list[Event]:
    """What clients did, not the operator."""
    return [event for event in traffic.history if event.client != "operator"]


def patience(traffic: Traffic) -> str:
    """The calls that took longest."""
    slow = sorted(asked(traffic), key=lambda event: event.began - event.ended)
    return "\n".join(f"{event.ended - event.began:.2f} s: {event}" for event in slow[:9])


def until_it_works(call: Callable[[], Answer], seconds: float = 5.0) -> Answer:
    """Each answer comes within three seconds, and before long it is no 503 any more."""
    deadline = time.monotonic() + seconds
    while True:
        with within(3.0):
            answer = call()
        if answer.status != 503:
            return answer
        assert answer.json["type"] == "store-unavailable"
        assert time.monotonic() < deadline, "it stays unavailable"
