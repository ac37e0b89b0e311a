"""From an address to what is there: one server, the primary that Sentinels name, or a Cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import ConnectionError as NoConnection
from redis.retry import Retry
from redis.sentinel import Sentinel

from .cluster import Cluster
from .errors import SecretsvcError, Unavailable
from .location import parse
from .node import TIMEOUT, Node
from .rules import Argument

SENTINEL_TIMEOUT = 0.3  # seconds; a Sentinel that hangs is passed over for the next
CLUSTER_TIMEOUT = 0.7  # seconds; after a failed call a Cluster's client also asks for the map of slots

Ask = Callable[..., Any]  # words of a command → its answer, over one connection
# redis-py leaves them without types.
_Sentinel: Any = Sentinel
_ClusterNode: Any = ClusterNode


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
        connections: how many at most to one server, besides one of each thread's own; as many as threads are
            enough.
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
    if not url.startswith("rediss"):
        # Or each new connection would begin with two more questions.  By TLS they are wanted: a server's first
        # bytes are session tickets, which redis-py takes for an answer left over where it has not read any.
        settings["driver_info"] = None
    if where.kind == "server":
        if prove:
            settings["redis_connect_func"] = lambda connection: _proved(connection, prove)
        return Node(redis.Redis.from_url(url, **settings), unavailable=unavailable, own=True)
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


def _proved(connection: Any, prove: Callable[[Ask], None]) -> None:
    """Connect, and let somebody see who is there before anything else is said.

    Whatever goes wrong, the connection is closed: redis-py takes one that stands for one that was proved.
    """

    def ask(*words: Argument) -> Any:
        connection.send_command(*words)
        return connection.read_response()

    try:
        connection.on_connect()
        prove(ask)
    except (SecretsvcError, ValueError, TypeError):  # or it answers what no such server would
        connection.disconnect()
        raise NoConnection("not the server it was") from None
    except BaseException:
        connection.disconnect()
        raise
