"""A Redis-compatible server, or several in one, as we use them: short timeouts, one repeat, rules as Lua files.

redis-py repeats a failed call ten times by itself.  Here that is switched off: a repeat is ours, happens
once, and every rule in ``lua/`` is written so that running it twice with the same arguments changes nothing
the second time.

A server that let one call after another run out of time is left alone for a second: whoever calls meanwhile is
refused at once, so that no thread stands still for it, and then one call tries whether it is back.  In a
Cluster each primary is left alone by itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    MovedError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as TimedOut
from redis.retry import Retry
from redis.sentinel import Sentinel

from .errors import Misconfigured, SecretsvcError, Unavailable
from .location import parse

TIMEOUT = 1.0  # seconds for connecting and for each answer
IN_ALL = 2.5  # seconds for a call with its repeat
SENTINEL_TIMEOUT = 0.3  # one that hangs is passed over for the next
CLUSTER_TIMEOUT = 0.7  # after a failed call its client also asks for the map of slots
WAIT_MS = 700  # for replicas to confirm; less than TIMEOUT
SILENT = 2  # calls in a row that ran out of time
BACK_OFF = 1.0  # seconds a server is left alone after that
# What the connections to a replica have in common with those to its primary.
_SHARED = {"username", "password", "socket_timeout", "socket_connect_timeout", "retry", "protocol"}

Argument = bytes | str | int
Command = tuple[Argument, ...]
Ask = Callable[..., Any]  # words of a command → its answer, over one connection
T = TypeVar("T")
# redis-py leaves them without types.
_Sentinel: Any = Sentinel
_ClusterNode: Any = ClusterNode
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


def open_node(
    url: str,
    *,
    connections: int,
    unavailable: type[Unavailable],
    prove: Callable[[Ask], None] | None = None,
) -> Node:
    """What is at this address, not connected yet.

    Args:
        url: as ``location`` describes it.
        connections: how many at most to one server; one for each thread is enough.
        unavailable: the error to raise when it does not answer or refuses.
        prove: called with every new connection before its first use; what it raises ends the connection.
            For single servers only.

    Raises:
        ValueError: this is no address.
    """
    where = parse(url)
    settings: dict[str, Any] = {
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "max_connections": connections,
    }
    if where.kind == "server":
        if prove:
            settings["redis_connect_func"] = lambda connection: _proved(connection, prove)
        return Node(redis.Redis.from_url(url, **settings), unavailable=unavailable)
    if where.kind == "sentinel":
        # The Sentinels' own connections: short-lived, few, and passed over quickly.
        quick = {
            **settings,
            "socket_timeout": SENTINEL_TIMEOUT,
            "socket_connect_timeout": SENTINEL_TIMEOUT,
            **where.sentinel_options,
        }
        sentinels = _Sentinel(where.hosts, sentinel_kwargs=quick)
        return Node(sentinels.master_for(where.name, **settings, **where.options), unavailable=unavailable)
    settings |= {"socket_timeout": CLUSTER_TIMEOUT, "socket_connect_timeout": CLUSTER_TIMEOUT}
    hosts = [_ClusterNode(*host) for host in where.hosts]
    return Cluster(
        lambda: RedisCluster(startup_nodes=hosts, dynamic_startup_nodes=False, **{**settings, **where.options}),
        unavailable=unavailable,
    )


class Silence:
    """How often in a row a server let a call run out of time, and until when it is left alone for that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._until = 0.0

    def refuses(self, now: float) -> bool:
        """Whether a call is not to be made; one of those that come when the time is over finds out."""
        with self._lock:
            if self._calls < SILENT:
                return False
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
    """One server, or the primary that Sentinels name: a pool of connections.

    Args:
        client: how to reach it; repeats nothing by itself.
        unavailable: the error to raise when the server does not answer or refuses.
        replica: whether it is one of another server.
    """

    def __init__(self, client: Any, *, unavailable: type[Unavailable], replica: bool = False) -> None:
        self.replica = replica
        self._redis = client
        self._unavailable = unavailable
        self._silence = Silence()

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
        script = rule(name)
        confirm: Command = ("WAIT", replicas, WAIT_MS) if replicas else ()
        answer, confirmed = self.guarded(lambda: self._evaluate(script, keys, arguments, before, confirm), keys)
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

    def info(self, section: str) -> dict[str, str]:
        """A section of the server's INFO."""
        found = self.guarded(lambda: self._redis.info(section))
        return {key: str(value) for key, value in found.items()}

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
            found = {name: self.command("CONFIG GET", name) for name in wanted}
        except Unavailable:
            if not self.is_up():
                raise
            raise Misconfigured(
                f"{setting}: the {what} does not tell its settings. Allow this user '+info +config|get'."
            ) from None
        if int(version.partition(".")[0]) < 7:
            raise Misconfigured(f"{setting}: the {what} is older than Redis 7.0.")
        for name, allowed in wanted.items():
            value = found[name].get(name, "unknown")
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
            silence.failed(now, silent=now - started >= CLUSTER_TIMEOUT)
            raise self._unavailable from None
        silence.answered()
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

    def _evaluate(
        self,
        script: Rule,
        keys: list[str],
        arguments: Command,
        before: Command,
        confirm: Command,
    ) -> tuple[Any, int]:
        """The rule's answer, and how many replicas have confirmed."""
        try:
            return _send(self._redis, "EVALSHA", script.sha, keys, arguments, before, confirm)
        except NoScriptError:
            return _send(self._redis, "EVAL", script.text, keys, arguments, before, confirm)


class Cluster(Node):
    """A Redis Cluster: the same calls, each on the server that has the key's slot."""

    def __init__(self, connect: Callable[[], Any], *, unavailable: type[Unavailable]) -> None:
        super().__init__(None, unavailable=unavailable)
        self._connect = connect
        self._connecting = threading.Lock()
        self._silences: dict[str, Silence] = {}

    @property
    def client(self) -> Any:
        """See ``Node.client``: the map of slots is asked for with the first call."""
        return self.guarded(self._cluster)

    def command(self, *words: Argument, **options: Any) -> Any:
        """See ``Node.command``; a command with a key."""
        return self.guarded(lambda: self._cluster().execute_command(*words, **options), words[1:2])

    def run(
        self,
        name: str,
        keys: list[str],
        *arguments: Argument,
        before: Command = (),
        replicas: int = 0,
    ) -> Any:
        """See ``Node.run``; the command before it has a key elsewhere, and its failure keeps nothing back."""
        if before:
            with contextlib.suppress(self._unavailable):
                self.command(*before)
        return super().run(name, keys, *arguments, replicas=replicas)

    def time(self) -> float:
        """The time of one of the servers, seconds since 1970."""
        seconds, microseconds = self.guarded(lambda: self._cluster().get_default_node().redis_connection.time())
        return int(seconds) + int(microseconds) / 1_000_000

    def close(self) -> None:
        """Close all connections."""
        if self._redis:
            self._redis.close()

    def each_server(self) -> Iterator[Node]:
        """See ``Node.each_server``."""
        for each in self.guarded(lambda: self._cluster().get_primaries()):
            here = self._cluster().get_redis_connection(each)  # one met on the way has none yet
            yield from Node(here, unavailable=self._unavailable).each_server()

    def _silence_of(self, keys: Sequence[Argument]) -> Silence:
        """That of the primary which has the key: the others go on while it hangs."""
        if keys and self._redis:
            with contextlib.suppress(RedisClusterException):  # nobody has it
                return self._silences.setdefault(_owner(self._redis, keys[0]).name, Silence())
        return self._silence

    def _cluster(self) -> Any:
        with self._connecting:
            if self._redis is None:
                self._redis = self._connect()
            return self._redis

    def _evaluate(
        self,
        script: Rule,
        keys: list[str],
        arguments: Command,
        before: Command,
        confirm: Command,
    ) -> tuple[Any, int]:
        cluster = self._cluster()
        if confirm:
            answer = self._confirmed(cluster, script, keys, arguments, confirm)
            if answer:
                return answer
        try:
            return cluster.execute_command("EVALSHA", script.sha, len(keys), *keys, *arguments), 0
        except NoScriptError:
            return cluster.execute_command("EVAL", script.text, len(keys), *keys, *arguments), 0

    def _confirmed(
        self,
        cluster: Any,
        script: Rule,
        keys: list[str],
        arguments: Command,
        confirm: Command,
    ) -> tuple[Any, int] | None:
        """WAIT counts what its own connection has written, so both go to the slot's owner together.

        Where the slot has moved, the cluster's client runs the rule and learns the way; then it is run again.
        """
        for _ in range(2):
            owner = _owner(cluster, keys[0])
            here = Node(cluster.get_redis_connection(owner), unavailable=self._unavailable)
            with contextlib.suppress(MovedError, AskError, TryAgainError):
                return here._evaluate(script, keys, arguments, (), confirm)
            self._evaluate(script, keys, arguments, (), ())
        return None


def _owner(cluster: Any, key: Argument) -> Any:
    slot = key_slot(key if isinstance(key, bytes) else str(key).encode())
    return cluster.nodes_manager.get_node_from_slot(slot)


def _send(
    client: Any,
    word: str,
    text: str,
    keys: list[str],
    arguments: Command,
    before: Command,
    confirm: Command,
) -> tuple[Any, int]:
    """Evaluate on one connection, in one round trip with what goes along."""
    evaluate = (word, text, len(keys), *keys, *arguments)
    if not before and not confirm:
        return client.execute_command(*evaluate), 0
    pipe = client.pipeline(transaction=False)
    for command in filter(None, (before, evaluate, confirm)):
        pipe.execute_command(*command)
    answers = pipe.execute(raise_on_error=False)[1 if before else 0 :]
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers[0], int(answers[1]) if confirm else 0


def _proved(connection: Any, prove: Callable[[Ask], None]) -> None:
    """Connect, and let somebody see who is there before anything else is said."""
    connection.on_connect()

    def ask(*words: Argument) -> Any:
        connection.send_command(*words)
        return connection.read_response()

    try:
        prove(ask)
    except SecretsvcError:
        raise NoConnection("not the server it was") from None
