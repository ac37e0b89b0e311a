"""So many seconds for an exchange with another server, and not one more."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Self

# A name may have any number of addresses; whoever owns it shall not have us call them all.
MOST = 4


class Place(NamedTuple):
    """An address to connect to: its family, and what ``socket.connect`` takes."""

    family: int
    address: tuple[Any, ...]

    @property
    def ip(self) -> str:
        """The address as text, without an IPv6 zone."""
        return str(self.address[0]).partition("%")[0]


class Deadline:
    """The time for a whole exchange: name, connection, TLS, question and answer.

    A socket's own timeout starts anew with each byte, so a peer that drips could hold us for ever.  Here the
    connection is cut when the time is up, whatever is being waited for.  Used as a context; leaving it lets go
    of the connections without closing them.

    Args:
        seconds: in all, from now on.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._watched: list[tuple[threading.Timer, socket.socket]] = []

    def left(self) -> float:
        """Seconds that are left.

        Raises:
            TimeoutError: none.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time is up")
        return left

    def resolve(self, host: str, port: int) -> list[Place]:
        """The addresses of a host by name or in any spelling of an address; asked once, in order.

        Raises:
            OSError: there is none, or the answer took too long.
        """
        name = host[1:-1] if host.startswith("[") else host
        return [
            Place(family, address)
            for family, _, _, _, address in _in_time(
                lambda: socket.getaddrinfo(name, port, type=socket.SOCK_STREAM), self.left()
            )
        ]

    def connect(self, places: list[Place]) -> socket.socket:
        """A connection to the first of these that takes one; it is cut at the deadline.

        Raises:
            OSError: none does, or not in time.
        """
        places = places[:MOST]
        failed: OSError = OSError("no address")
        for tried, place in enumerate(places):
            found = socket.socket(place.family, socket.SOCK_STREAM)
            try:
                found.settimeout(self.left() / (len(places) - tried))
                found.connect(place.address)
                found.settimeout(self.left())
                self._watch(found)
            except OSError as error:
                found.close()
                failed = error
            else:
                return found
        raise failed

    def _watch(self, found: socket.socket) -> None:
        # A second descriptor of the same connection, as TLS takes the first one over.
        held = found.dup()
        timer = threading.Timer(self._end - time.monotonic(), _cut, [held])
        timer.daemon = True
        self._watched.append((timer, held))
        timer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for timer, held in self._watched:
            timer.cancel()
            timer.join()
            held.close()
        self._watched.clear()


def _cut(held: socket.socket) -> None:
    with suppress(OSError):
        held.shutdown(socket.SHUT_RDWR)


def _in_time(call: Callable[[], list[Any]], seconds: float) -> list[Any]:
    """What a call returns that knows no timeout of its own."""
    answers: list[Any] = []

    def run() -> None:
        try:
            answers.append(call())
        except (OSError, UnicodeError):
            answers.append(None)

    asking = threading.Thread(target=run, daemon=True)
    asking.start()
    asking.join(seconds)
    if not answers:
        raise TimeoutError("no answer about this name in time")
    if not answers[0]:
        raise OSError("no address has this name")
    found: list[Any] = answers[0]
    return found
