"""What clients saw: one event a call, in a history that can be saved and read after a failed run.

A history holds no secret, token or key: bytes and keys are hashed before they come in here.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

# The operator's own acts, which allow what nothing else does; ``id`` is one secret's, or EVERY.
EVERY = "*"
ROLLED_BACK = "store rolled back"  # began: when the copy was begun; ended: when it was back in its place
ENDED_BY_OPERATOR = "ended by operator"  # began and ended: of the command


@dataclass(frozen=True)
class Event:
    """One call and what came of it.

    Attributes:
        client: who called.
        id: the secret's.
        call: create, claim, guess (with a wrong password), done, revoke, state, stranger (anything with a wrong
            token); or one of the operator's acts.
        began, ended: ``time.monotonic()`` around the call.
        status: HTTP status, or None: no answer.
        type: problem type, or empty.
        claimant: hash of the Idempotency-Key that a claim or a done was sent with, or that a 503 named.
        digest: hash of the envelope that was sent (create) or received (claim).
        state: what was told about the secret: a state, or how it ended.
        ended_at, expires_at: as told, seconds since 1970.
    """

    client: str
    id: str
    call: str
    began: float
    ended: float
    status: int | None = None
    type: str = ""
    claimant: str = ""
    digest: str = ""
    state: str = ""
    ended_at: int | None = None
    expires_at: int | None = None

    @property
    def outcome(self) -> str:
        """``no answer``, ``200``, ``503 store-unavailable``."""
        return "no answer" if self.status is None else f"{self.status} {self.type}".rstrip()

    def __str__(self) -> str:
        said = [self.state, f"key {self.claimant[:6]}" if self.claimant else "", self.digest[:6]]
        said += [f"ended at {self.ended_at}" if self.ended_at else ""]
        times = f"{self.began:.3f}-{self.ended:.3f}"
        return " ".join([times, self.client, self.call, "->", self.outcome, *filter(None, said)])


def hashed(value: str | bytes) -> str:
    """What a history keeps of a key or an envelope."""
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).hexdigest()[:24]


class History:
    """Events of many clients at once.

    Args:
        window: the service's retry window, in seconds.
        offset: what ``time.time()`` is ahead of ``time.monotonic()``; by default as it is now.
    """

    def __init__(
        self, events: Iterable[Event] = (), *, window: float = 60.0, offset: float | None = None
    ) -> None:
        self.window = window
        self.offset = time.time() - time.monotonic() if offset is None else offset
        self._events = list(events)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Event]:
        with self._lock:
            return iter(list(self._events))

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Event) -> Event:
        """Add an event, from any thread, and return it."""
        with self._lock:
            self._events.append(event)
        return event

    def operator(self, act: str, began: float, ended: float, *ids: str) -> None:
        """Note an act of the operator's, on these secrets or on every one."""
        for id in ids or (EVERY,):
            self.add(Event("operator", id, act, began, ended))

    def wall(self, moment: float) -> float:
        """Seconds since 1970 at a moment of the monotonic clock."""
        return moment + self.offset

    def save(self, path: Path) -> Path:
        """Write it as JSON lines."""
        lines = [{"window": self.window, "offset": self.offset}, *(asdict(event) for event in self)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        head, *lines = (json.loads(line) for line in path.read_text().splitlines())
        return cls((Event(**line) for line in lines), **head)


@dataclass(frozen=True)
class Breach:
    """A promise that was broken, on which secret, and the events that show it."""

    promise: str
    id: str
    events: tuple[Event, ...]
    sentence: str

    def __str__(self) -> str:
        return "\n    ".join([f"{self.promise}: {self.sentence} ({self.id})", *map(str, self.events)])


@dataclass
class Judgement:
    """What a history shows.

    Attributes:
        counts: secrets by how they ended, under the names that ``history.judge`` gives; and the answers that
            were no success, by ``status type``.
        broken: what must not be.
    """

    counts: Counter[str] = field(default_factory=Counter)
    broken: list[Breach] = field(default_factory=list)

    @property
    def promises(self) -> set[str]:
        """The names of the promises that were broken."""
        return {breach.promise for breach in self.broken}

    def __str__(self) -> str:
        told = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()) if count)
        return "\n".join([told, *map(str, self.broken)])
