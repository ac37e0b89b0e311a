"""What befalls a server's data on disk: copies put back, tails cut off."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.harness import wait_until
from tests.servers import Server

AOF = "appendonlydir"
RDB = "dump.rdb"


def log_size(server: Server) -> int:
    """Bytes in the newest part of its AOF."""
    return _newest(server).stat().st_size


def cut_log(server: Server, size: int) -> int:
    """Cut the newest part of a dead server's AOF down to ``size`` bytes; how many were cut."""
    path = _newest(server)
    cut = path.stat().st_size - size
    assert cut > 0, "there is nothing to cut"
    with path.open("r+b") as file:
        file.truncate(size)
    return cut


def copy_log(server: Server, to: Path) -> None:
    """Copy its AOF as a backup does: while it runs."""
    shutil.copytree(server.dir / AOF, to)


def put_log_back(server: Server, copy: Path) -> None:
    """In a dead server's folder, put an older AOF in the place of its own."""
    shutil.rmtree(server.dir / AOF)
    shutil.copytree(copy, server.dir / AOF)


def copy_snapshot(server: Server, to: Path) -> None:
    """Let it write an RDB file now, and copy that."""
    server.client().save()
    shutil.copy(server.dir / RDB, to)


def start_from_snapshot(server: Server, copy: Path) -> None:
    """Start a dead server on an RDB file, as its manual says: without the AOF first, then with a new one."""
    shutil.rmtree(server.dir / AOF)
    shutil.copy(copy, server.dir / RDB)
    config = server.config
    server.config += "appendonly no\n"
    try:
        server.start()
    finally:
        server.config = config
    one = server.client()
    one.config_set("appendonly", "yes")
    wait_until(lambda: not one.info("persistence")["aof_rewrite_in_progress"])


def _newest(server: Server) -> Path:
    """The part of the AOF that is being written to."""
    return max((server.dir / AOF).glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))
