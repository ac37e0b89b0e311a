"""Random traffic from many clients at once, whose every call goes into a history.

with Traffic([first.url, second.url], threads=4, seed=7) as traffic:
    store.kill()
    store.restart()
    traffic.stop()
    traffic.settle()
found = judge(traffic.history)
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from typing import Self

from tests.faults.caller import Caller, Dealt
from tests.faults.history import Event, History
from tests.harness import Secret, new_idempotency_key

GUESSES = 2  # wrong passwords for one secret: never as many as lock it
Pick = Callable[[], str]


class Traffic(Caller):
    """Clients that create, claim, repeat, finish, revoke and ask, at random, until ``stop``.

    Args:
        urls: app processes; the list may be changed while traffic runs.
        threads: how many clients.
        seed: of all that is random here, but for keys and secrets.
        pause: seconds that each client waits between two calls, on average.
        revokes: the share of calls that revoke.
        unkeyed: the share of claims without an Idempotency-Key.
        passwords: the share of secrets that have one.
        timeout: seconds a client waits for an answer.
        retry_window: what the service has been set to.
    """

    def __init__(
        self,
        urls: list[str],
        *,
        threads: int,
        seed: int,
        pause: float = 0.02,
        revokes: float = 0.05,
        unkeyed: float = 0.25,
        passwords: float = 0.05,
        timeout: float = 10.0,
        retry_window: float = 60.0,
    ) -> None:
        super().__init__(History(window=retry_window), timeout=timeout)
        self.urls = urls
        self.threads, self.seed, self.pause = threads, seed, pause
        self.revokes, self.unkeyed, self.passwords = revokes, unkeyed, passwords
        self.dealt: list[Dealt] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._clients: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self._racers = ThreadPoolExecutor(3 * threads)

    def __enter__(self) -> Self:
        for number in range(self.threads):
            thread = threading.Thread(target=self._client, args=(number,), name=f"client-{number}")
            self._clients.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def stop(self) -> None:
        """No new calls from now on; returns when the last one is answered."""
        self._end()
        if self._errors:
            raise self._errors[0]

    def settle(self, seconds: float = 60.0) -> None:
        """Repeat what was unclear, then claim every secret with a key, opened ones too, until all is clear.

        What is not clear by then stays ``unsettled``.
        """
        deadline = time.monotonic() + seconds
        with ThreadPoolExecutor(max(2, self.threads), thread_name_prefix="settle") as pool:
            list(pool.map(lambda n: self._settle(self.dealt[n], n, deadline), range(len(self.dealt))))

    def running_for(self, seconds: float) -> None:
        """Let traffic run; what its clients stumble over is raised here."""
        self._stopped.wait(seconds)
        if self._errors:
            raise self._errors[0]

    def calls(self, at_least: int, seconds: float = 30.0) -> None:
        """Let traffic run until so many more calls are answered."""
        wanted, deadline = len(self.history) + at_least, time.monotonic() + seconds
        while len(self.history) < wanted and time.monotonic() < deadline:
            self.running_for(0.02)

    # --- clients -----------------------------------------------------------------------------------

    def _end(self) -> None:
        self._stopped.set()
        for thread in self._clients:
            thread.join()
        self._racers.shutdown()

    def _client(self, number: int) -> None:
        random = Random(f"{self.seed} {number}")
        try:
            while not self._stopped.is_set():
                self._act(random)
                self._stopped.wait(random.expovariate(1 / self.pause))
        except BaseException as error:
            self._errors.append(error)
            self._stopped.set()

    def _act(self, random: Random) -> None:
        dice = random.random()
        pick: Pick = partial(random.choice, self.urls)
        with self._lock:
            alive = [dealt for dealt in self.dealt[-200:] if not dealt.ended]
            dead = [dealt for dealt in self.dealt[-200:] if dealt.ended]
        # The youngest are asked for most, so that several want the same.
        one = random.choice(alive[-6:] if random.random() < 0.7 else alive) if alive else None
        if one is None or dice < 0.3 or len(alive) < 10:
            self._deal(random, pick())
        elif not one.created:
            self.create(one, pick())
        elif dice < 0.75:
            self._open(one, random, pick)
        elif dice < 0.75 + self.revokes or one.revoking:
            self.revoke(one, pick())
        elif dice < 0.9:
            self.state(one, pick(), sender=random.random() < 0.5)
        elif dice < 0.93:
            self.stranger(one, pick(), random.choice(["claim", "state"]))
        elif dice < 0.95 and one.secret.proof and one.guesses < GUESSES:
            self.guess(one, pick())
        elif dead:
            self._disturb(random.choice(dead), random, pick())

    def _deal(self, random: Random, url: str) -> None:
        stretched = os.urandom(32) if random.random() < self.passwords else None
        dealt = Dealt(Secret.make(os.urandom(random.randint(1, 300)), stretched=stretched))
        with self._lock:
            self.dealt.append(dealt)
        self.create(dealt, url)

    def _open(self, one: Dealt, random: Random, pick: Pick) -> None:
        """One holder or several at once; the one who gets it may ask again, finish, or both."""
        holders = random.choice([1, 1, 2, 3])
        keys = [None if random.random() < self.unkeyed else new_idempotency_key() for _ in range(holders)]
        urls = [pick() for _ in keys]
        started = threading.Barrier(holders)

        def holder(key: str | None, url: str) -> Event:
            with contextlib.suppress(threading.BrokenBarrierError):
                started.wait(1.0)
            return self.claim(one, url, key)

        if holders == 1:
            holder(keys[0], urls[0])
        else:
            list(self._racers.map(holder, keys, urls))
        for key in [key for key in list(one.unclear) if random.random() < 0.6]:
            self.claim(one, pick(), key)
        for key in list(one.won & {key for key in keys if key}):
            if random.random() < 0.3:
                self.claim(one, pick(), key)
            if random.random() < 0.4:
                self.done(one, pick(), key)
            if random.random() < 0.3:
                self.claim(one, pick(), key)

    def _disturb(self, one: Dealt, random: Random, url: str) -> None:
        """Whatever is asked of an ended one, the answer is how it ended."""
        dice = random.random()
        if dice < 0.4:
            self.claim(one, url, new_idempotency_key() if dice < 0.3 else None)
        elif dice < 0.6:
            self.state(one, url, sender=dice < 0.5)
        elif dice < 0.8:
            self.revoke(one, url)
        else:
            self.done(one, url, next(iter(one.won), new_idempotency_key()))

    # --- after it ----------------------------------------------------------------------------------

    def _settle(self, one: Dealt, number: int, deadline: float) -> None:
        url = self.urls[number % len(self.urls)]
        other = self.urls[(number + 1) % len(self.urls)]
        self._until_clear(lambda: self.create(one, url) if not one.created else None, deadline)
        if not one.created:
            return
        if one.revoking:
            self._until_clear(lambda: self.revoke(one, url), deadline)
        for key in list(one.unclear):
            self._until_clear(lambda key=key: self.claim(one, url, key), deadline)  # type: ignore[misc]
        key = new_idempotency_key()
        self._until_clear(lambda: self.claim(one, other, key), deadline)
        self._until_clear(lambda: self.state(one, url, sender=True), deadline)

    def _until_clear(self, call: Callable[[], Event | None], deadline: float) -> None:
        pause = 0.05
        while (event := call()) and (event.status in (None, 429) or event.status >= 500):
            if event.status == 500 or time.monotonic() > deadline:
                return
            time.sleep(pause)
            pause = min(1.0, pause * 1.5)
