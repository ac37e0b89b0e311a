"""What a correct service does, as a model in plain Python: the histories its clients would see.

Every call takes effect at one moment, in the order of these moments, between its beginning and its answer;
or, where its answer is lost, at any time after it began, or never.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import count
from random import Random

from tests.faults.history import Event, History, hashed

WINDOW = 60.0
OFFSET = 1000.5


@dataclass
class Kept:
    """A secret as the service knows it.  ``by`` is the claimant, ``at`` the moment of its end."""

    digest: str
    created: bool = False
    state: str = "sealed"
    by: str = ""
    at: float = 0.0
    repeated: float | None = None
    done: bool = False


class Model:
    """The service."""

    def __init__(self) -> None:
        self.secrets: dict[str, Kept] = {}

    def call(self, now: float, id: str, call: str, claimant: str) -> dict[str, object]:
        """Take effect, at this moment; what is answered."""
        kept = self.secrets[id]
        if call == "create":
            kept.created = True
            return {"status": 201, "digest": kept.digest, **self._told(kept)}
        if not kept.created or call == "stranger":
            return {"status": 404, "type": "not-found"}
        if call == "state":
            return {"status": 200, **self._told(kept)}
        if call == "done":
            return self._done(kept, claimant)
        mine = kept.by == claimant
        if kept.state == "sealed":
            kept.state, kept.by, kept.at = {"claim": "opened", "revoke": "revoked"}[call], claimant, now
            mine = True
        if call == "revoke" and kept.state == "revoked":
            return {"status": 200, **self._told(kept)}
        if call == "claim" and kept.state == "opened" and mine and not kept.done:
            over = (kept.at if kept.repeated is None else kept.repeated) + WINDOW
            if now <= over:
                if now > kept.at and kept.repeated is None:
                    kept.repeated = now
                return {"status": 200, "state": "opened", "digest": kept.digest}
        return {"status": 410, "type": kept.state, **self._told(kept)}

    def _done(self, kept: Kept, claimant: str) -> dict[str, object]:
        if kept.state == "sealed":
            return {"status": 409, "type": "conflict"}
        if kept.state != "opened" or kept.by != claimant:
            return {"status": 410, "type": kept.state, **self._told(kept)}
        kept.done = True
        return {"status": 204, "state": "opened"}

    def _told(self, kept: Kept) -> dict[str, object]:
        at = {} if kept.state == "sealed" else {"ended_at": int(kept.at + OFFSET)}
        return {"state": kept.state, **at}


def simulated(random: Random, *, secrets: int = 6, clients: int = 4, calls: int = 60) -> History:
    """What clients see of a correct service whose answers are lost now and then.

    At the end every unclear key is repeated, as rightful holders would, and everything is claimed once more.
    """
    model, history, numbers = Model(), History(window=WINDOW, offset=OFFSET), count()
    for n in range(secrets):
        model.secrets[f"s{n}"] = Kept(hashed(f"envelope {n}"))
    keys = {id: [hashed(f"key {id} {n}") for n in range(3)] for id in model.secrets}
    planned: list[tuple[float, int, str, str, str, bool]] = []  # when it takes effect, …
    for id in model.secrets:
        heapq.heappush(planned, (random.uniform(0, 5), next(numbers), id, "create", "", False))
    for _ in range(calls):
        id = random.choice(sorted(model.secrets))
        call = random.choice(["claim", "claim", "claim", "state", "state", "done", "revoke", "stranger"])
        claimant = random.choice([*keys[id], ""]) if call in ("claim", "done") else ""
        if call == "done":
            claimant = random.choice(keys[id])
        lost = call != "stranger" and random.random() < 0.2
        heapq.heappush(planned, (random.uniform(6, 40), next(numbers), id, call, claimant, lost))
    for id in model.secrets:
        for moment, call, claimant in _settling(random, keys[id]):
            heapq.heappush(planned, (moment, next(numbers), id, call, claimant, False))
    has: set[str] = set()
    while planned:
        moment, number, id, call, claimant, lost = heapq.heappop(planned)
        began = moment - random.expovariate(2.0)
        if call == "done" and claimant not in has:
            claimant = hashed("a key that claimed nothing")  # nobody says done to what is still unclear
        client = f"client {number % clients}"
        nobody = claimant or f"nobody {number}"
        said: dict[str, object] = {"digest": model.secrets[id].digest} if call == "create" else {}
        if not lost:
            said |= model.call(moment, id, call, nobody if call == "claim" else claimant)
        elif random.random() < 0.7:
            model.call(moment, id, call, nobody if call == "claim" else claimant)
        if call == "claim" and said.get("status") == 200:
            has.add(claimant)
        ended = moment + random.expovariate(2.0)
        if lost and random.random() < 0.5:
            ended = max(began, moment - 1.0)  # it took effect when its caller had given up
        if call == "claim" and lost and claimant and random.random() < 0.3:
            said |= {"status": 503, "type": "ledger-unavailable"}
        history.add(Event(client, id, call, began, ended, claimant=claimant, **said))  # type: ignore[arg-type]
    return history


def _settling(random: Random, keys: list[str]) -> list[tuple[float, str, str]]:
    """Every key again, in any order, then the state: within the window of any opening, after all else."""
    shuffled = random.sample(keys, len(keys))
    return [*((50.0 + n, "claim", key) for n, key in enumerate(shuffled)), (60.0, "state", "")]
