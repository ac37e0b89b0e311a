"""Where the workers of one gunicorn keep their counts, so that whichever is asked can tell those of all.

A folder of the master's, and in it files by the worker's number: the lowest that no living worker has.  Whoever
takes a dead worker's place goes on counting in its files, so that no count goes back and there are never more
files than workers.  What a dead worker had at hand at that moment (gauges) is deleted.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ..processes import try_lock
from ..settings import share_metrics

# Bytes, enough for all that is usually counted.
FILES = {"counter": 2**15, "histogram": 2**19, "gauge_livesum": 2**12, "gauge_livemin": 2**12}
PREFIX, LOCK = "secretsvc-metrics-", "lock"


@dataclass
class Place:
    """Where this process keeps its counts: a folder, and its number among its siblings; alone, none and 0."""

    folder: Path | None = None
    number: int = 0


here = Place()


def make_folder(parent: str | None) -> Path:
    """A new, empty folder for the workers of this process; call it before there are any.

    Folders that a killed gunicorn has left behind are removed: the lock in each lives as long as its processes.

    Args:
        parent: where; None for the system's temporary folder.
    """
    parent = parent or tempfile.gettempdir()
    for left in Path(parent).glob(f"{PREFIX}*"):
        _remove_if_left(left)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = os.open(folder / "new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)  # open for as long as we live
    try_lock(lock)
    (folder / "new").rename(folder / LOCK)  # whoever looks for folders that were left behind finds it taken
    return folder


def remove_folder(folder: Path) -> None:
    """The last worker has ended."""
    shutil.rmtree(folder, ignore_errors=True)


def number_for(taken: Collection[int]) -> int:
    """The lowest number that no living worker has."""
    return next(number for number in count(1) if number not in taken)


def begin(folder: Path, number: int) -> None:
    """In a new worker, before anything that counts is imported."""
    for name, size in FILES.items():
        with (folder / f"{name}_{number}.db").open("ab") as file:
            if not file.tell():
                # Taken now: memory that is not there when something is counted would end the process, perhaps
                # between a claim and its answer.
                file.write(bytes(size))
    here.folder, here.number = folder, number
    share_metrics(folder)


def ended(folder: Path, number: int) -> None:
    """Forget what a worker had at hand when it died."""
    for file in folder.glob(f"gauge_live*_{number}.db"):
        file.unlink(missing_ok=True)


def _remove_if_left(folder: Path) -> None:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # another user's, or being made just now
    try:
        if try_lock(lock):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
