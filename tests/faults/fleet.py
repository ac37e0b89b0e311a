"""Several web processes of one service, which die and come back while traffic runs on them."""

from __future__ import annotations

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.faults.traffic import Traffic
from tests.harness import Backends, Web, web

REAL = "app:create_app()"


class DidNotStart(AssertionError):
    """The process ended; the message is the end of its log."""


class Fleet:
    """Web processes with one worker each.

    Args:
        settings: by field names; those of a process that is started later are those of then.

    Attributes:
        urls: where they are just now; give it to ``Traffic`` as it is.
    """

    def __init__(self, backs: Backends, folder: Path, *, target: str = REAL, **settings: Any) -> None:
        self.backs, self.folder, self.target, self.settings = backs, folder, target, settings
        self.urls: list[str] = []
        self._running: list[tuple[Any, Web]] = []

    def start(self, count: int = 2) -> None:
        """Start so many more at the same time; all or none.

        Raises:
            DidNotStart: with the log.
        """
        with ThreadPoolExecutor(count) as pool:
            begun = [pool.submit(self._start) for _ in range(count)]
        started = [task.result() for task in begun if not task.exception()]
        self._running += started
        self.urls += [one.url for _, one in started]
        for task in begun:
            task.result()

    def restart(self, number: int) -> None:
        """Put a new process, with the settings of now, in the place of one; that is stopped afterwards.

        Raises:
            DidNotStart: with the log; the old one is still there.
        """
        fresh = self._start()
        old, self._running[number] = self._running[number], fresh
        self.urls[number] = fresh[1].url
        old[0].__exit__(None, None, None)

    def revive(self) -> None:
        """Start anew whichever has ended, as a supervisor would."""
        for number, (_, one) in enumerate(self._running):
            if one.process.poll() is not None:
                self.restart(number)

    def kill_worker(self, number: int) -> None:
        """kill -9 of the process that answers; another one takes its place if it can start."""
        process = self._running[number][1].process
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                os.kill(int(child), signal.SIGKILL)

    def traffic(self, seed: int, *, threads: int = 4, **more: Any) -> Traffic:
        """Traffic on all of them."""
        return Traffic(self.urls, threads=threads, seed=seed, **more)

    def stop(self) -> None:
        """Stop all."""
        for _, one in self._running:
            one.process.terminate()
        while self._running:
            self._running.pop()[0].__exit__(None, None, None)
        self.urls.clear()

    def _start(self) -> tuple[Any, Web]:
        starting = web(self.backs, self.folder, target=self.target, **self.settings)
        try:
            return starting, starting.__enter__()
        except AssertionError as error:
            raise DidNotStart(str(error)) from None
