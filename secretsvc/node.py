"""A Redis-compatible server, or several in one, as we use them: short timeouts, one repeat, rules as Lua files.

redis-py repeats a failed call ten times by itself.  Here that is switched off: a repeat is ours, happens
once, and what we call may be repeated.

A server that let one call after another run out of time is left alone for a second: whoever calls meanwhile is
refused at once, so that no thread stands still for it, and then one call tries whether it is back.  In a
Cluster each primary is left alone by itself.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import redis
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisClusterException, RedisError
from redis.exceptions import TimeoutError as TimedOut

from .errors import Misconfigured, Unavailable
from .rules import Argument, Command, Evaluation, rule
from .wire import PerThread, pooled

TIMEOUT = 1.0  # seconds for connecting and for each answer
IN_ALL = 2.5  # seconds for a call with its repeat
SILENCE = 0.7  # seconds of a failed call that count as silence
SILENT = 2  # such calls in a row
BACK_OFF = 1.0  # seconds a server is left alone after that
# What the connections to a replica have in common with those to its primary.
_SHARED = {
    "username",
    "password",
    "socket_timeout",
    "socket_connect_timeout",
    "retry",
    "protocol",
    "driver_info",
}

T = TypeVar("T")
log = logging.getLogger(__name__)


class Timed(Protocol):
    """Whoever keeps count of the calls."""

    def __call__(self, seconds: float | None, failed: bool = False) -> None:
        """A call took so long, with its repeat; None: it was not made, since the server is left alone."""


def _untimed(seconds: float | None, failed: bool = False) -> None:
    """Nobody does."""


class Silence:
    """How often in a row a server let a call run out of time, and until when it is left alone for that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._until = 0.0

    def refuses(self, now: float) -> bool:
        """Whether a call is not to be made; one of those that come when the time is over finds out."""
        if self._calls < SILENT:
            return False
        with self._lock:
            if now < self._until:
                return True
            self._until = now + IN_ALL
            return False

    def answered(self) -> None:
        """It is back."""
        self._calls = 0

    def failed(self, now: float, *, silent: bool) -> None:
        """A call failed; silent: no answer came in time."""
        with self._lock:
            self._calls = self._calls + 1 if silent else 0
            self._until = now + BACK_OFF


class Node:
    """One server, or the primary that Sentinels name.

    Args:
        client: how to reach it; repeats nothing by itself.
        unavailable: the error to raise when the server does not answer or refuses.
        replica: whether it is one of another server.
        own: whether each thread keeps a connection of its own for rules; for one server at a fixed address.

    Attributes:
        timed: told of every call.
    """

    def __init__(
        self, client: Any, *, unavailable: type[Unavailable], replica: bool = False, own: bool = False
    ) -> None:
        self.replica = replica
        self._redis = client
        self._own = PerThread(client) if own else None
        self._unavailable = unavailable
        self._silence = Silence()
        self.timed: Timed = _untimed

    def __repr__(self) -> str:
        """Where it is, without what the address may hold besides."""
        pool = getattr(self._redis, "connection_pool", None)
        where = pool.connection_kwargs if pool else {}
        return f"<{type(self).__name__} {where['host']}:{where['port']}>" if "host" in where else "<Node>"

    @property
    def client(self) -> Any:
        """redis-py's client, for a library that brings rules of its own.

        Raises:
            Unavailable: of the class given at construction; only a Cluster has to be asked first.
        """
        return self._redis

    def command(self, *words: Argument, **options: Any) -> Any:
        """One command; its answer as redis-py gives it, which some ``options`` change.

        Raises:
            Unavailable: of the class given at construction.
        """
        return self.guarded(lambda: self._redis.execute_command(*words, **options), words[1:2])

    def run(
        self,
        name: str,
        keys: list[str],
        *arguments: Argument,
        before: Command = (),
        replicas: int = 0,
    ) -> Any:
        """Run a rule; its raw answer.

        Args:
            name: of the file in ``lua/``.
            before: a command to send along, where possible in the same round trip.
            replicas: how many replicas have to confirm everything written up to and by the rule.

        Raises:
            Unavailable: of the class given at construction; also where too few replicas have confirmed.
        """
        evaluation = Evaluation(rule(name), keys, arguments, before, replicas)
        answer, confirmed = self.guarded(lambda: self.evaluate(evaluation), keys)
        if confirmed < replicas:
            log.warning("%s: %d of %d replicas confirmed", self._unavailable.kind, confirmed, replicas)
            raise self._unavailable
        return answer

    def time(self) -> float:
        """The server's time, seconds since 1970."""
        seconds, microseconds = self.command("TIME")
        return int(seconds) + int(microseconds) / 1_000_000

    def is_up(self) -> bool:
        """Whether the server answers just now."""
        try:
            self.command("EXISTS", "ss:seen")
        except Unavailable:
            return False
        return True

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()
        if self._own:
            self._own.close()

    def info(self, section: str) -> dict[str, str]:
        """A section of the server's INFO."""
        found = self.guarded(lambda: self._redis.info(section))
        return {key: str(value) for key, value in found.items()}

    def setting(self, name: str) -> str:
        """One of the server's own settings; ``unknown`` where it has none of this name.

        Raises:
            Unavailable: of the class given at construction.
        """
        return str(self.command("CONFIG GET", name).get(name, "unknown"))

    def each_server(self) -> Iterator[Node]:
        """Every server of it, primaries before their replicas; a replica may not answer to us."""
        yield self
        yield from self._replicas()

    def check_settings(self, what: str, setting: str, wanted: Mapping[str, tuple[str, ...]]) -> None:
        """Refuse a server that would forget, evict, or is too old.

        Args:
            what: ``store`` or ``ledger``, for the message.
            setting: the environment variable that names the server, for the message.
            wanted: the values allowed of each of the server's own settings, the one to recommend first.

        Raises:
            Misconfigured: naming the server's setting.
            Unavailable: it cannot be asked.
        """
        try:
            version = self.info("server")["redis_version"]
            found = {name: self.setting(name) for name in wanted}
        except Unavailable:
            if not self.is_up():
                raise
            raise Misconfigured(
                f"{setting}: the {what} does not tell its settings. Allow this user '+info +config|get'."
            ) from None
        if int(version.partition(".")[0]) < 7:
            raise Misconfigured(f"{setting}: the {what} is older than Redis 7.0.")
        for name, allowed in wanted.items():
            value = found[name]
            if value not in allowed:
                raise Misconfigured(
                    f"{setting}: the {what} runs with '{name} {value}', which can lose or revive secrets. "
                    f"Set '{name} {allowed[0]}'."
                )

    def guarded(self, call: Callable[[], T], keys: Sequence[Argument] = ()) -> T:
        """Make a call with one repeat where no answer came, and in the time that is given to all of it.

        Args:
            call: made twice at most.
            keys: that it is about; of several servers the one that has the first is asked.

        Raises:
            Unavailable: of the class given at construction.
        """
        started = time.monotonic()
        silence = self._silence_of(keys)
        if silence.refuses(started):
            self.timed(None, True)
            raise self._unavailable
        try:
            try:
                answer = call()
            except (NoConnection, TimedOut):
                if time.monotonic() - started > IN_ALL - TIMEOUT:
                    raise
                answer = call()
        except (RedisError, RedisClusterException) as error:
            # The class says enough; the message may quote arguments.
            log.warning("%s: %s", self._unavailable.kind, type(error).__name__)
            now = time.monotonic()
            silence.failed(now, silent=now - started >= SILENCE)
            self.timed(now - started, True)
            raise self._unavailable from None
        silence.answered()
        self.timed(time.monotonic() - started)
        return answer

    def _silence_of(self, keys: Sequence[Argument]) -> Silence:
        return self._silence

    def _replicas(self) -> Iterator[Node]:
        pool = self._redis.connection_pool
        secure = issubclass(pool.connection_class, redis.SSLConnection)
        shared = {
            name: value
            for name, value in pool.connection_kwargs.items()
            if name in _SHARED or name[:3] == "ssl"
        }
        try:
            found = self.guarded(lambda: self._redis.info("replication"))
        except Unavailable:
            return
        for name, replica in found.items():
            if re.fullmatch("slave[0-9]+", name):
                here = redis.Redis(host=replica["ip"], port=int(replica["port"]), ssl=secure, **shared)
                with contextlib.closing(Node(here, unavailable=self._unavailable, replica=True)) as node:
                    yield node

    def evaluate(self, evaluation: Evaluation) -> tuple[Any, int]:
        """See ``Evaluation.over``; for a call that is ``guarded`` already.

        Raises:
            RedisError: redis-py's own.
        """
        return evaluation.over(self._own or pooled(self._redis))
