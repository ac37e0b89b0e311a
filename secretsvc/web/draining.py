"""The web server's worker, which answers before it ends whoever has reached it.

gunicorn's own stops taking connections when it is asked to end, and goes on listening until its last request is
answered: the kernel lets callers in meanwhile, to be reset in the end.  Each was a call with no answer.
"""

from __future__ import annotations

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
            before = -1
            while before != self.nr_conns:
                before = self.nr_conns
                self.accept(listener)  # one, or none if nobody is there
            listener.close()
        self.sockets = []
