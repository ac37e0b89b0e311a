"""One Redis-compatible server as we use it: short timeouts, one repeat, rules as Lua files.

redis-py repeats a failed call ten times by itself.  Here that is switched off: a repeat is ours, happens
once, and every rule in ``lua/`` is written so that running it twice with the same arguments changes nothing
the second time.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as TimedOut
from redis.retry import Retry

from .errors import Misconfigured, Unavailable

TIMEOUT = 1.0  # seconds for connecting and for each answer
IN_ALL = 2.5  # seconds for a call with its repeat

Argument = bytes | str | int
T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rule:
    """One Lua file of ours, named by its SHA-1 once the server knows it."""

    name: str
    text: str
    sha: str


@cache
def rule(name: str) -> Rule:
    """The rule in ``lua/<name>.lua``."""
    text = (files("secretsvc") / "lua" / f"{name}.lua").read_text("utf-8")
    return Rule(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class Node:
    """A connection pool to one server.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        connections: how many at most; one for each thread is enough.
        unavailable: the error to raise when the server does not answer or refuses.
    """

    def __init__(self, url: str, *, connections: int, unavailable: type[Unavailable]) -> None:
        self._redis: Any = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            max_connections=connections,
        )
        # Answers come raw: redis-py makes a mere bool of what SET with GET returns.
        callbacks: Any = self._redis.response_callbacks
        for name in set(callbacks) - {"INFO"}:
            del callbacks[name]
        self._unavailable = unavailable

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # never the URL: it may hold a password

    @property
    def pool(self) -> redis.ConnectionPool:
        """The connections, for a library that brings rules of its own."""
        pool: redis.ConnectionPool = self._redis.connection_pool
        return pool

    def command(self, *words: Argument) -> Any:
        """One command; its raw answer.

        Raises:
            Unavailable: of the class given at construction.
        """
        return self._guarded(lambda: self._redis.execute_command(*words))

    def run(self, name: str, keys: list[str], *arguments: Argument) -> Any:
        """Run a rule; its raw answer.

        Raises:
            Unavailable: of the class given at construction.
        """
        return self._guarded(lambda: self._evaluate(rule(name), keys, arguments))

    def run_with(self, command: tuple[Argument, ...], name: str, keys: list[str], *arguments: Argument) -> Any:
        """Send a command and run a rule in one round trip; the rule's raw answer.

        Raises:
            Unavailable: of the class given at construction.
        """

        def both() -> Any:
            script = rule(name)
            pipe = self._redis.pipeline(transaction=False)
            pipe.execute_command(*command)
            pipe.execute_command("EVALSHA", script.sha, len(keys), *keys, *arguments)
            _, answer = pipe.execute(raise_on_error=False)
            if isinstance(answer, NoScriptError):
                return self._evaluate(script, keys, arguments)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return self._guarded(both)

    def time(self) -> float:
        """The server's time, seconds since 1970."""
        seconds, microseconds = self.command("TIME")
        return int(seconds) + int(microseconds) / 1_000_000

    def is_up(self) -> bool:
        """Whether the server answers a PING just now."""
        try:
            self.command("PING")
        except Unavailable:
            return False
        return True

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()

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
            found = {name: self.command("CONFIG", "GET", name) for name in wanted}
        except Unavailable:
            if not self.is_up():
                raise
            raise Misconfigured(
                f"{setting}: the {what} does not tell its settings. Allow this user '+info +config|get'."
            ) from None
        if int(version.partition(".")[0]) < 7:
            raise Misconfigured(f"{setting}: the {what} is older than Redis 7.0.")
        for name, allowed in wanted.items():
            pairs = found[name]
            value = pairs[1].decode() if pairs else "unknown"
            if value not in allowed:
                raise Misconfigured(
                    f"{setting}: the {what} runs with '{name} {value}', which can lose or revive secrets. "
                    f"Set '{name} {allowed[0]}'."
                )

    def info(self, section: str) -> dict[str, str]:
        """A section of the server's INFO."""
        found = self._guarded(lambda: self._redis.info(section))
        return {key: str(value) for key, value in found.items()}

    def _evaluate(self, script: Rule, keys: list[str], arguments: tuple[Argument, ...]) -> Any:
        try:
            return self._redis.execute_command("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return self._redis.execute_command("EVAL", script.text, len(keys), *keys, *arguments)

    def _guarded(self, call: Callable[[], T]) -> T:
        started = time.monotonic()
        try:
            try:
                return call()
            except (NoConnection, TimedOut):
                if time.monotonic() - started > IN_ALL - TIMEOUT:
                    raise
                return call()
        except RedisError as error:
            # The class says enough; the message may quote arguments.
            log.warning("%s: %s", self._unavailable.kind, type(error).__name__)
            raise self._unavailable from None
