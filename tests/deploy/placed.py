"""A web server that keeps its address while it is stopped, started anew and reloaded, as behind a proxy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.faults.caller import Dealt
from tests.faults.events import Event
from tests.faults.traffic import Traffic
from tests.harness import ROOT, Answer, Backends, Client, wait_until
from tests.servers import free_port

ARGV = ("-m", "gunicorn", "-c", "python:secretsvc.web.gunicorn_conf", "app:create_app()")


class Placed:
    """One gunicorn at a port of its own.

    Args:
        tree: where its code is; by default this tree.
    """

    def __init__(self, backs: Backends, folder: Path, *, tree: Path = ROOT, **settings: str) -> None:
        self.backs, self.tree, self.settings = backs, tree, settings
        self.port = free_port()
        self.log = folder / f"placed-{self.port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.port}")

    def start(self) -> None:
        """Start, and return when it answers."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("SECRETSVC_")}
        env |= self.backs.environment(bind=f"127.0.0.1:{self.port}", **self.settings)
        env["PYTHONPATH"] = str(self.tree)
        with self.log.open("ab") as file:
            argv = [sys.executable, *ARGV]
            process = self.process = subprocess.Popen(argv, cwd=self.tree, env=env, stdout=file, stderr=file)
        wait_until(lambda: process.poll() is not None or self.client.get("/healthz").status == 200)
        assert process.poll() is None, self.log.read_text()[-3000:]

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def workers(self) -> set[int]:
        """The processes that answer."""
        assert self.process
        pid = self.process.pid
        return {int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def reload(self) -> None:
        """SIGHUP; returns when no worker of before is left."""
        assert self.process
        before = self.workers()
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.workers() and not self.workers() & before, 40)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(40)


class Through(Traffic):
    """Traffic through a proxy: that nobody could be reached behind it says as little as no answer at all.

    ``away`` is how often that was said.
    """

    def __init__(self, url: str, **more: Any) -> None:
        super().__init__([url], **more)
        self.away = 0

    def _call(self, one: Dealt, name: str, url: str, call: Any, **more: Any) -> tuple[Event, Answer | None]:
        def through(client: Client) -> Answer:
            answer: Answer = call(client)
            if answer.status == 503 and answer.headers["content-type"].startswith("text/plain"):
                self.away += 1
                raise ConnectionError
            return answer

        return super()._call(one, name, url, through, **more)


@contextmanager
def placed(backs: Backends, folder: Path, count: int, **settings: str) -> Iterator[list[Placed]]:
    """Several of them."""
    with ExitStack() as stack:
        yield [stack.enter_context(Placed(backs, folder, **settings)) for _ in range(count)]
