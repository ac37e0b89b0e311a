"""What has ended leaves the disk too: the store's servers write their files anew once in a while.

A record that was deleted or has expired stays in the append-only file until that is rewritten, in the RDB file
until the next one is saved, and so on every replica, which also keeps the RDB file of its full sync.  Whichever
of our processes finds a file due has it written, at most once in an interval for all of them.

Servers write out expired records, too, unless they have come round to dropping them.  A primary drops what it
is asked for, so all its records are asked for first, and its replicas hear of that before it is their turn.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .connections import open_node
from .embedded import urls
from .errors import StoreUnavailable, Unavailable
from .node import Node
from .settings import Settings

PATIENCE = 600  # seconds for a file to be written, or a replica to catch up
RETRY = 60  # seconds until a failure is tried again, and the most between two looks
Info = dict[str, str]
log = logging.getLogger(__name__)


class File(NamedTuple):
    """How to have a file written, and where INFO tells of it."""

    command: tuple[str, ...]
    counter: str
    status: str


AOF = File(("BGREWRITEAOF",), "aof_rewrites", "aof_last_bgrewrite_status")
RDB = File(("BGSAVE", "SCHEDULE"), "rdb_saves", "rdb_last_bgsave_status")


class Housekeeping:
    """A thread that looks which files are due, and has them written.

    Args:
        store: not the connections that requests use, so that a slow answer to us keeps nobody waiting.
        every: seconds between two rewritings of a file.
    """

    def __init__(self, store: Node, *, every: int) -> None:
        self._store = store
        self._every = every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Look every minute, oftener if the interval is short; not at once."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more.  What a server was told to write, it writes."""
        self._stopped.set()
        self._thread.join(3.0)

    def look(self) -> int:
        """Have everything written that is due: how many files.  A failure is logged and tried again."""
        written, reached = 0, dict[str, int]()
        try:
            for server in self._store.each_server():
                written += sum(self._written(server, file, reached) for file in (AOF, RDB))
        except Unavailable:
            log.warning("the store's servers cannot be told to write their files anew")
        return written

    def _run(self) -> None:
        while not self._stopped.wait(min(RETRY, self._every / 12)):
            try:
                self.look()
            except Exception as error:  # nobody would start this thread again
                log.warning("housekeeping failed", extra={"fields": {"exception": type(error).__name__}})

    def _written(self, server: Node, file: File, reached: dict[str, int]) -> bool:
        if self._stopped.is_set():
            return False
        claim = ""
        try:
            due = f"ss:rewritten:{server.info('server')['run_id']}:{file.command[0]}"
            if not (_keeps(server, file) and self._store.command("SET", due, 1, "NX", "EX", PATIENCE)):
                return False
            claim = due
            self._drop_expired(server, reached)
            before = self._until(server, "persistence", _idle)[file.counter]
            server.command(*file.command)
            after = self._until(server, "persistence", lambda now: _idle(now) and now[file.counter] != before)
            if after[file.status] != "ok":
                raise StoreUnavailable
            self._store.command("EXPIRE", claim, self._every)
        except Unavailable:
            fields = {"command": file.command[0], "server": repr(server)}
            log.warning("a file was not written anew: what has ended stays in it", extra={"fields": fields})
            if claim:
                with contextlib.suppress(Unavailable):
                    self._store.command("EXPIRE", claim, RETRY)
            return False
        return True

    def _drop_expired(self, server: Node, reached: dict[str, int]) -> None:
        """Make a primary drop what has expired, once in a look; let a replica hear of it."""
        now = server.info("replication")
        if now["role"] != "master":
            goal = reached.get(now["master_replid"], 0)
            self._until(server, "replication", lambda now: int(now.get("slave_repl_offset", goal)) >= goal)
        elif now["master_replid"] not in reached:
            cursor = -1
            while cursor:
                cursor, _ = server.command("SCAN", max(cursor, 0), "MATCH", "ss:*:r", "COUNT", 1000)
            reached[now["master_replid"]] = int(server.info("replication")["master_repl_offset"])

    def _until(self, server: Node, section: str, ready: Callable[[Info], bool]) -> Info:
        """That section of INFO, once it says so; Unavailable if it does not, or we are to stop."""
        deadline = time.monotonic() + PATIENCE
        while not ready(now := server.info(section)):
            if time.monotonic() > deadline or self._stopped.wait(0.1):
                raise StoreUnavailable
        return now


def housekeeping(conf: Settings) -> Housekeeping:
    """For the store of these settings; not started yet."""
    url = conf.redis_url or urls(Path(conf.data_dir)).store
    return Housekeeping(open_node(url, connections=2, unavailable=StoreUnavailable), every=conf.rewrite_every)


def _idle(now: Info) -> bool:
    busy = ("aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress")
    return all(now[name] == "0" for name in busy)


def _keeps(server: Node, file: File) -> bool:
    """Whether this server has, or may have, such a file."""
    replication, persistence = server.info("replication"), server.info("persistence")
    if file is AOF:
        return persistence["aof_enabled"] == "1"
    if replication["role"] != "master" or replication["connected_slaves"] != "0":
        return True
    return persistence[file.counter] != "0" or bool(server.setting("save"))
