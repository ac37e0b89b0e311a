"""Starts what is compared, all under gunicorn in the service's own configuration."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import processes
from secretsvc import atrest
from tests.harness import ROOT, Backends, Client, wait_until, web
from tests.servers import Engine, Server, free_port, start_server

# The service's own gunicorn configuration, as far as it has a cost, on the command line.
GUNICORN = (
    *("--worker-class", "gthread", "--reuse-port", "--keep-alive", "5", "--no-control-socket"),
    *("--worker-tmp-dir", "/dev/shm", "--limit-request-fields", "64", "--log-level", "warning"),
)
Fsync = Literal["always", "everysec"]
UNLIMITED = "100000000"  # counted as ever, and never reached


@dataclass(frozen=True)
class Machine:
    """How everything that is compared is run."""

    folder: Path
    workers: int = 1
    threads: int = 8
    engine: Engine = "redis"
    fsync: Fsync = "always"


@dataclass(eq=False)
class Target:
    """One gunicorn or several, and the servers they stand on; ``at_rest`` is ``memory`` before any load."""

    name: str
    ports: tuple[int, ...]
    pids: tuple[int, ...]
    stores: Sequence[Server] = ()
    ledgers: Sequence[Server] = ()
    at_rest: float = 0.0

    def cpu(self) -> tuple[float, float, float]:
        """Seconds used until now: by gunicorn with its workers, by the store, by the ledger."""
        groups = (self.pids, [one.pid for one in self.stores], [one.pid for one in self.ledgers])
        web, store, ledger = (sum(map(processes.cpu, group)) for group in groups)
        return web, store, ledger

    def memory(self) -> float:
        """Bytes for each worker of the first gunicorn."""
        return processes.worker_memory(self.pids[0])


@contextmanager
def service(
    machine: Machine,
    name: str,
    *,
    ledgers: int = 1,
    target: str = "app:create_app()",
    backs: Backends | None = None,
    stores: Sequence[Server] = (),
    **settings: str,
) -> Iterator[Target]:
    """This service on a store and a ledger of its own, or on those given; settings by their field names.

    ``stores`` are the servers whose CPU is the store's, where they are others than the settings' one.
    """
    folder = machine.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if backs is None:
            backs = stack.enter_context(backends(machine, folder))
        nodes = [backs.ledger, *(_server(stack, machine, folder / f"ledger{n}") for n in range(1, ledgers))]
        settings = {"ledger_urls": ",".join(node.url for node in nodes), **settings}
        running = stack.enter_context(
            web(backs, folder, target=target, workers=machine.workers, threads=machine.threads, **settings)
        )
        yield _rested(Target(name, (running.port,), (running.process.pid,), stores or [backs.store], nodes))


@contextmanager
def backends(machine: Machine, folder: Path) -> Iterator[Backends]:
    """A store, a ledger that syncs every decision, and a keyring."""
    with ExitStack() as stack:
        store = _server(stack, machine, folder / "store", fsync=machine.fsync)
        ledger = _server(stack, machine, folder / "ledger")
        atrest.save_keyring(folder / "keyring", {"bench": secrets.token_bytes(32)})
        yield Backends(store, ledger, folder / "keyring")


@contextmanager
def plain(
    machine: Machine, name: str, target: str, *, python: Path = Path(sys.executable), store: bool = True
) -> Iterator[Target]:
    """Any other application, on a store of its own or none."""
    folder = machine.folder / name
    folder.mkdir(parents=True)
    port = free_port()
    with ExitStack() as stack:
        servers = [_server(stack, machine, folder / "store", fsync=machine.fsync)] if store else []
        env = {k: v for k, v in os.environ.items() if not k.startswith("SECRETSVC_")}
        for variable in ("BENCH_REDIS_URL", "REDIS_URL"):
            env[variable] = servers[0].url if servers else ""
        env |= {"PYTHONPATH": str(ROOT), "NO_SSL": "True", "PYTHONWARNINGS": "ignore"}
        size = ("--workers", str(machine.workers), "--threads", str(machine.threads))
        argv = [str(python), "-m", "gunicorn", *GUNICORN, *size, "--bind", f"127.0.0.1:{port}", target]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=log, stderr=log)
        stack.callback(process.wait, 30)
        stack.callback(process.terminate)
        wait_until(lambda: process.poll() is not None or Client(f"http://127.0.0.1:{port}").get("/x").status)
        if process.poll() is not None:
            raise SystemExit((folder / "log").read_text()[-3000:])
        yield _rested(Target(name, (port,), (process.pid,), servers))


def _server(stack: ExitStack, machine: Machine, folder: Path, *, fsync: Fsync = "always") -> Server:
    return stack.enter_context(start_server(machine.engine, transport="tcp", dir=folder, appendfsync=fsync))


def _rested(target: Target) -> Target:
    wait_until(lambda: len(processes.tree(target.pids[0])) > 1)
    target.at_rest = target.memory()
    return target
