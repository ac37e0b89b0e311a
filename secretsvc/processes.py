"""What the embedded default needs of the operating system: children, their ends, signals, locks, folders."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Self

from secretsvc import errors

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: the child of a fork should do as little as possible.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """A child process to be: its arguments and its whole environment."""

    argv: Sequence[str]
    env: Mapping[str, str]


def spawn(
    command: Command,
    handed_down: Sequence[int],
    *,
    stdin: int = subprocess.DEVNULL,
    output: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own that keeps the descriptors in ``handed_down`` open.

    On Linux it gets SIGTERM when the thread that called this ends: call it from the main thread, with no
    others running.  ``output`` takes both its streams; without it they are ours.
    """
    return subprocess.Popen(  # noqa: S603
        list(command.argv),
        env=dict(command.env),
        stdin=stdin,
        stdout=output,
        stderr=output,
        start_new_session=True,  # Ctrl-C is for the supervisor alone: it knows the order
        pass_fds=handed_down,
        preexec_fn=partial(_follow, os.getpid()),
    )


def _follow(parent: int) -> None:
    """In a new child: be told when the parent dies, and do not begin if it has died already."""
    if _LIBC is not None:
        failed = _LIBC.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM), 0, 0, 0)
        if failed or os.getppid() != parent:
            os._exit(1)


def end_session(child: subprocess.Popen[bytes], signals: Signals, grace_seconds: float) -> None:
    """Ask a child of :func:`spawn` to end (SIGTERM) and return when it has, with all it left in its session.

    After ``grace_seconds``, or at a further signal to stop, it is killed.
    """
    signals.asked_to_stop = False
    deadline = time.monotonic() + grace_seconds
    child.terminate()
    while child.poll() is None and not signals.asked_to_stop and time.monotonic() < deadline:
        signals.wait(max(0.0, deadline - time.monotonic()))
    if child.poll() is None:
        log.error("the web server did not finish its last requests in time and was killed")
    # It leads its own group: whatever it left behind ends with it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


class Signals:
    """Signals as events: the ones that ask us to stop, and the death of a child, end :meth:`wait`.

    A wake-up pipe, because a signal between looking and waiting must not be slept through.
    """

    def __enter__(self) -> Self:
        self.asked_to_stop = False
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(write, False)
        self._pipe = [self._read, write]
        self._wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self._before = {signal.SIGCHLD: signal.signal(signal.SIGCHLD, self._note)}
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        for end in self._pipe:
            os.close(end)

    def _note(self, number: int, _: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self.asked_to_stop = True

    def wait(self, seconds: float | None = None) -> None:
        """Return when a signal has come since the last call, or after so many seconds."""
        select.select([self._read], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)


def private_folder(folder: Path) -> None:
    """Make it, or refuse one that others made, linked or can enter: whoever can, could be our store.

    Raises :class:`errors.Misconfigured`.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise errors.Misconfigured(
            f"The folder {str(folder)!r} must be a real folder, owned by the user that runs secretsvc and "
            "closed to all others (mode 0700)."
        )


def open_lock(path: Path, opened: list[int]) -> int:
    """Open a lock file, made if missing; the descriptor is noted in ``opened`` and closes on exec."""
    opened.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return opened[-1]


def try_lock(lock: int) -> bool:
    """Take the lock for as long as any copy of this descriptor is open; False if another has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
