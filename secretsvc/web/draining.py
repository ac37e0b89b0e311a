"""The web server's worker, which answers before it ends whoever has reached it.

gunicorn's own stops taking connections when it is asked to end, and goes on listening until its last request is
answered: the kernel lets callers in meanwhile, to be reset in the end.  Each was a call with no answer.
"""

from __future__ import annotations

import contextlib
import select
from typing import Any

from gunicorn.workers.gthread import ThreadWorker


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's worker with threads, but for its end."""

    sockets: list[Any]

    def set_accept_enabled(self, enabled: bool) -> None:
        """Take connections or not; at the end take all that are there, and listen no more."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            waiting = select.poll()
            waiting.register(listener, select.POLLIN)
            with contextlib.suppress(OSError):  # no descriptor is left: nobody more can be answered
                for _ in range(self.cfg.backlog):  # a flood must not keep it from ending
                    if not waiting.poll(0):
                        break
                    self.accept(listener)
            listener.close()
        self.sockets = []
