"""The real application with a trap in it: a worker that kills itself between two steps.

Loaded by gunicorn (``trapped:app()``) in the place of the real one.  The file named by ``TRAP`` holds one line
such as ``ledger.end after``; the worker that comes there first removes the file and dies by SIGKILL:

``before``  nothing of the call has left this process
``sent``    the request is on its way and its answer is not read
``after``   the answer is here, and nobody has been told
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import redis.connection
from flask import Flask

import app as composition
from secretsvc import settings
from secretsvc.ends import Ends

TRAP = Path(os.environ.get("TRAP", "/nonexistent"))
_here = threading.local()


def spring(where: str) -> None:
    """Die here, if the trap is set here and nobody has died of it yet."""
    try:
        if TRAP.read_text() != where:
            return
        TRAP.with_suffix(".died").write_text(str(os.getpid()))
        TRAP.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


class Trapped:
    """Everything the other object does, and a trap before, in and after each call."""

    def __init__(self, name: str, other: Any) -> None:
        self._name, self._other = name, other

    def __getattr__(self, what: str) -> Any:
        found = getattr(self._other, what)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            where = f"{self._name}.{what}"
            spring(f"{where} before")
            _here.call = where
            try:
                answer = found(*args, **kwargs)
            finally:
                _here.call = None
            spring(f"{where} after")
            return answer

        return call


class TrappedSlots:
    """A trap in the slot, before any try is reserved."""

    def __init__(self, slots: Any) -> None:
        self._slots = slots

    def take(self) -> Any:
        taken = self._slots.take()

        class Taken:
            def __enter__(self) -> None:
                taken.__enter__()
                spring("slots.take after")

            def __exit__(self, *error: Any) -> Any:
                return taken.__exit__(*error)

        return Taken()


def _trap_answers() -> None:
    """``sent``: die at the first read of an answer in a call, when its request has been written."""
    connection: Any = redis.connection.AbstractConnection
    send = connection.send_packed_command

    def sent(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        answer = send(self, command, *args, **kwargs)
        data = b"".join(command) if isinstance(command, list) else bytes(command)
        if getattr(_here, "call", None) and any(word in data for word in (b"EVALSHA", b"SET\r\n")):
            spring(f"{_here.call} sent")
        return answer

    connection.send_packed_command = sent


def app() -> Flask:
    """The application, trapped."""
    conf = settings.load()
    service = composition.make_service(conf)
    vault = service.vault
    vault.store = Trapped("store", vault.store)
    vault.ledger = Trapped("ledger", vault.ledger)
    vault.slots = TrappedSlots(vault.slots)  # type: ignore[assignment]
    ends, tries = vault.ends, vault.tries
    vault.ends = Ends(vault.store, vault.ledger, retry_window=ends.retry_window, retention=ends.retention)
    tries.ends, tries.slots, tries._store = vault.ends, vault.slots, vault.store
    _trap_answers()
    return composition.create_app(conf, service=service)
