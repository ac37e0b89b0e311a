"""A Redis Cluster as we use it: the calls of a node, each on the server that has the key's slot."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, NoScriptError, RedisClusterException, TryAgainError

from .errors import Unavailable
from .node import Node, Silence
from .rules import Argument, Command, Evaluation
from .wire import pooled


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

    def evaluate(self, evaluation: Evaluation) -> tuple[Any, int]:
        """See ``Evaluation.over``.

        WAIT counts what its own connection has written, so then both go to the slot's owner together.  Where
        the slot has moved, the cluster's client runs the rule and learns the way, and it is run again.
        """
        cluster = self._cluster()
        for _ in range(2 if evaluation.replicas else 0):
            owner = cluster.get_redis_connection(_owner(cluster, evaluation.keys[0]))
            with contextlib.suppress(MovedError, AskError, TryAgainError):
                return evaluation.over(pooled(owner))
            _anywhere(cluster, evaluation)
        return _anywhere(cluster, evaluation), 0


def _anywhere(cluster: Any, evaluation: Evaluation) -> Any:
    try:
        return cluster.execute_command(*evaluation.by_name)
    except NoScriptError:
        return cluster.execute_command(*evaluation.by_text)


def _owner(cluster: Any, key: Argument) -> Any:
    slot = key_slot(key if isinstance(key, bytes) else str(key).encode())
    return cluster.nodes_manager.get_node_from_slot(slot)
