"""What is counted: how often, and how long it took.  Prometheus reads it at ``/metrics`` (docs/metrics.md).

No label ever holds what a caller sent: routes are their templates, kinds and outcomes are words of ours, and
desks have the names that the operator gave them.

Whoever has something to count leaves a note and goes on, which costs next to nothing and cannot fail; four
times a second, and when Prometheus asks, the notes are counted.  A worker that is killed takes its last along.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, values
from prometheus_client.multiprocess import MultiProcessCollector

from ..model import Receipt, Verdict
from . import workers

MINUTE, HOUR, DAY = 60, 3600, 86_400
QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)  # seconds; of a request
QUICKER = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1, 2.5)  # seconds; of a call
LONG = (  # seconds; of a link's life
    *(10, MINUTE, 5 * MINUTE, 15 * MINUTE),
    *(HOUR, 4 * HOUR, 12 * HOUR),
    *(DAY, 2 * DAY, 3 * DAY, 7 * DAY, 14 * DAY, 31 * DAY),
)
EVERY = 0.25  # seconds
LIMITS = ("create", "create-bytes", "password", "sign-in", "tries")

log = logging.getLogger(__name__)

disable_created_metrics()  # type: ignore[no-untyped-call]
if workers.here.folder:
    # Before the first count is made: its file goes by the worker's number instead of its process id.
    values.ValueClass = values.MultiProcessValue(lambda: workers.here.number)  # type: ignore[no-untyped-call]

OURS = CollectorRegistry()  # those of this process
_notes: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque(maxlen=100_000)  # if nobody counts them
_note = _notes.append
_counting = threading.Lock()


def _counter(name: str, says: str, *labels: str) -> Counter:
    return Counter(f"secretsvc_{name}", says, labels, registry=OURS)


def _histogram(name: str, says: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"secretsvc_{name}", says, labels, buckets=buckets, registry=OURS)


def _gauge(name: str, says: str, mode: Any = "livesum") -> Gauge:
    return Gauge(f"secretsvc_{name}", says, multiprocess_mode=mode, registry=OURS)


REQUESTS = _histogram(
    "request_seconds", "Requests and how long they took", "method", "route", "status", buckets=QUICK
)
REFUSALS = _counter("refusals", "Requests that were refused, by problem type", "type")
LIMITED = _counter("rate_limited", "Requests over a limit, by which", "limit")
CREATED = _counter("created", "Secrets and requests stored", "kind", "sealed_by", "password")
ENDED = _counter("ended", "Secrets and requests ended by somebody", "kind", "end")
REPEATS = _counter("repeats", "Openings that were fetched again within the retry window")
TIME_TO_OPEN = _histogram("time_to_open_seconds", "From creating to opening", "kind", buckets=LONG)
ANSWERED = _counter("answered", "Requests that were answered")
REPORTED = _counter("reported", "Openings of which a reader says: that was not me")
LOCKED = _counter("locked", "Secrets that wrong passwords have locked")
SLOTS = _gauge("argon2_slots", "Password computations that may run at once, in all workers")
SLOTS_USED = _gauge("argon2_slots_used", "Password computations that run just now")
SLOT_WAITS = _histogram("argon2_wait_seconds", "Waiting for a slot", buckets=QUICK)
SLOTS_REFUSED = _counter("argon2_refused", "Password computations refused because all slots were taken")
CALLS = _histogram("server_call_seconds", "Calls to store and ledger", "server", buckets=QUICKER)
FAILURES = _counter("server_failures", "Calls to them that failed or were not even made", "server")
WORKERS = _gauge("workers", "Web processes that serve")
STARTS = _counter("worker_starts", "Web processes that have begun to serve")
STARTED = _gauge("start_time_seconds", "When the oldest of them began, seconds since 1970", "livemin")


def count() -> None:
    """Count what was noted."""
    with _counting:
        while _notes:
            note, found = _notes.popleft()
            try:
                note(*found)
            except Exception:
                log.exception("a note was not counted")


def all_workers() -> CollectorRegistry:
    """What all workers have counted together; this process alone where it has no siblings."""
    count()
    if workers.here.folder is None:
        return OURS
    found = CollectorRegistry()
    MultiProcessCollector(found, str(workers.here.folder))  # type: ignore[no-untyped-call]
    return found


def begin(slots: int, problems: Iterable[str]) -> None:
    """This process begins to serve.

    Args:
        slots: how many password computations may run at once in it.
        problems: the types of all problems there are; each has a count from the beginning.
    """
    for kind in problems:
        _refused(kind)
    for limit in LIMITS:
        LIMITED.labels(limit)
    WORKERS.set(1)
    STARTS.inc()
    STARTED.set(time.time())
    SLOTS.set(slots)
    SLOTS_USED.set(0)
    if not _counter_thread.is_alive():
        _counter_thread.start()
        atexit.register(count)


def request(method: str, route: str, status: int, seconds: float, problem: str = "", limit: str = "") -> None:
    """A request was answered.

    Args:
        method, route: as the application knows them, never as they were sent.
        problem: the type of the problem, if it was one.
        limit: which limit it was over, if that was the problem.
    """
    _note((_request, (method, route, status // 100, seconds, problem, limit)))


def _request(method: str, route: str, hundreds: int, seconds: float, problem: str, limit: str) -> None:
    _answered(method, route, hundreds).observe(seconds)
    if problem:
        _refused(problem).inc()
    if limit:
        LIMITED.labels(limit).inc()


@cache
def _answered(method: str, route: str, hundreds: int) -> Histogram:
    return REQUESTS.labels(method, route, f"{hundreds}xx")


@cache
def _refused(kind: str) -> Counter:
    return REFUSALS.labels(kind)


class Calls:
    """Counts the calls to one kind of server: ``store`` or ``ledger``."""

    def __init__(self, server: str) -> None:
        self._took = CALLS.labels(server).observe
        self._failed = FAILURES.labels(server).inc

    def __call__(self, seconds: float | None, failed: bool = False) -> None:
        """See ``node.Timed``."""
        if seconds is not None:
            _note((self._took, (seconds,)))
        if failed:
            _note((self._failed, ()))


class Tally:
    """Counts what becomes of secrets: see ``vault.Tally``."""

    def __init__(self) -> None:
        for sealed_by in ("client", "server"):
            for password in (False, True):
                _created("secret", sealed_by, password)
        _created("request", "client", False)
        kinds = ("secret", "request")
        ends = ("opened", "revoked")
        for kind in kinds:
            TIME_TO_OPEN.labels(kind)
            for end in ends:
                ENDED.labels(kind, end)

    def created(self, receipt: Receipt) -> None:
        """Something new was stored."""
        _note((_store, (receipt.kind, receipt.sealed_by, receipt.password)))

    def ended(self, receipt: Receipt, verdict: Verdict) -> None:
        """The ledger has ended something, or has said so once more to whoever ended it."""
        _note((_end, (receipt.kind, verdict.word, verdict.state, verdict.ended_at - receipt.created_at)))

    def answered(self) -> None:
        """A request was answered."""
        _note((ANSWERED.inc, ()))

    def reported(self) -> None:
        """A reader says of an opening: that was not me."""
        _note((REPORTED.inc, ()))

    def locked(self) -> None:
        """Wrong passwords have locked a secret."""
        _note((LOCKED.inc, ()))


def _store(kind: str, sealed_by: str, password: bool) -> None:
    _created(kind, sealed_by, password).inc()


def _end(kind: str, word: str, state: str, lived: int) -> None:
    if word == "won":
        ENDED.labels(kind, state).inc()
    if word == "won" and state == "opened":
        TIME_TO_OPEN.labels(kind).observe(max(0, lived))
    elif state == "opened":
        REPEATS.inc()


@cache
def _created(kind: str, sealed_by: str, password: bool) -> Counter:
    return CREATED.labels(kind, sealed_by, "yes" if password else "no")


class Slots:
    """Counts what becomes of those who need a slot: see ``atrest.SlotWatch``."""

    def took(self, waited: float) -> None:
        """Somebody has one after so many seconds."""
        _note((SLOTS_USED.inc, ()))
        _note((SLOT_WAITS.observe, (waited,)))

    def left(self) -> None:
        """It is free again."""
        _note((SLOTS_USED.dec, ()))

    def refused(self) -> None:
        """Somebody was turned away."""
        _note((SLOTS_REFUSED.inc, ()))


def _count_for_ever() -> None:
    while True:
        time.sleep(EVERY)
        try:
            count()
        except Exception as error:  # nobody would start this thread again
            log.warning("something was not counted", extra={"fields": {"exception": type(error).__name__}})


_counter_thread = threading.Thread(target=_count_for_ever, name="counting", daemon=True)
