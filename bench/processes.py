"""CPU and memory of processes, from /proc."""

from __future__ import annotations

import contextlib
from pathlib import Path

PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for task in _tasks(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found


def cpu(pid: int) -> float:
    """Seconds of CPU that a process and its descendants have used, in all threads they have now.

    To the nanosecond, where /proc/<pid>/stat has hundredths of a second.  A thread that has ended is missing:
    those of gunicorn's pool and of Redis stay.
    """
    used = 0
    for each in tree(pid):
        for task in _tasks(each):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                used += int((task / "schedstat").read_text().split()[0])
    return used / 1e9


def memory(pid: int) -> float:
    """Bytes of a process, what it shares with others divided by how many share it (PSS)."""
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError


def worker_memory(master: int) -> float:
    """Bytes a gunicorn takes for each of its workers: all that its workers take, divided by their number."""
    workers = tree(master)[1:]
    return sum(map(memory, workers)) / len(workers)


def _tasks(pid: int) -> list[Path]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return list((PROC / str(pid) / "task").iterdir())
    return []
