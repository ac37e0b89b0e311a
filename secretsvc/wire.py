"""Commands over redis-py's connections, without what its client does for each besides.

The client takes a connection from a pool, asks the socket whether something is left over, counts, and repeats:
that costs as much as the rest of a call, and each step hands Python's lock to another thread.  Here a thread
keeps a connection to a server for itself, and only looks whether it still stands.
"""

from __future__ import annotations

import os
import select
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

from hiredis import pack_command
from redis.exceptions import ResponseError

from .rules import Command, Converse


def pooled(client: Any) -> Converse:
    """Over a connection that redis-py's pool of this client hands out."""

    def converse(commands: Sequence[Command]) -> list[Any]:
        pool = client.connection_pool
        connection = pool.get_connection()
        try:
            return _over(connection, commands)
        finally:
            pool.release(connection)

    return converse


class PerThread:
    """Over a connection of the calling thread's own, to the one server that this client knows."""

    def __init__(self, client: Any) -> None:
        self._pool = client.connection_pool
        self._mine = threading.local()
        self._all: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Lock()

    def __call__(self, commands: Sequence[Command]) -> list[Any]:
        """See ``rules.Converse``.

        Raises:
            redis.exceptions.ConnectionError, TimeoutError: no answer, to the last of them at least.
        """
        return _over(self._standing(), commands)

    def close(self) -> None:
        """Close the connections of all threads; whoever calls again connects again."""
        with self._lock:
            found = list(self._all)
        for connection in found:
            connection.disconnect()

    def _standing(self) -> Any:
        """This thread's connection; one that was closed, or on which something is left over, begins anew."""
        mine = self._mine
        if getattr(mine, "process", None) != os.getpid():  # a connection is not for two, nor for a fork
            mine.process, mine.socket = os.getpid(), None
            mine.connection = self._pool.connection_class(**self._pool.connection_kwargs)
            with self._lock:
                self._all.add(mine.connection)
        connected = mine.connection._sock  # redis-py's own look makes a poll object each time
        if connected is not None:
            if connected is not mine.socket:
                mine.socket, mine.look = connected, select.poll()
                mine.look.register(connected, select.POLLIN)
            if mine.look.poll(0):
                mine.connection.disconnect()
        return mine.connection


def _over(connection: Any, commands: Sequence[Command]) -> list[Any]:
    try:
        connection.send_packed_command([b"".join(map(_pack, commands))])
        answers = [_read(connection) for _ in commands]
    except BaseException:
        connection.disconnect()  # an answer left unread would be taken for that to the next command
        raise
    if _has_more(connection):
        connection.disconnect()  # and so would one too many
    return answers


_pack = cast("Callable[[Command], bytes]", pack_command)  # redis-py's way there takes twice as long


def _has_more(connection: Any) -> bool:
    """Whether more was read than the last answer; what arrives later is noticed before the next command."""
    reader = getattr(connection._parser, "_reader", None)  # hiredis's
    return bool(connection.can_read() if reader is None else reader.has_data())


def _read(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
