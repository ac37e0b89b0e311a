"""A service on a ledger of one or several nodes, each behind a proxy, and what befalls their data."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.commandline import Cli
from tests.faults.events import ENDED_BY_OPERATOR
from tests.faults.fleet import REAL, Fleet
from tests.faults.proxy import Proxy
from tests.faults.traffic import Traffic
from tests.harness import Backends, Secret, backends
from tests.servers import Server, start_server

AOF = "appendonlydir"


@dataclass
class Node:
    """A node of the ledger, and the proxy that the service knows it by."""

    server: Server
    proxy: Proxy

    @property
    def sequence(self) -> int:
        """How many ends its epoch has seen."""
        return int(self.server.client().get("ss:sequence") or 0)

    def epochs(self) -> set[bytes]:
        """All that it answers for."""
        found: Any = self.server.client().hgetall("ss:epoch")
        return {found[b"id"], *(name[1:] for name in found if name.startswith(b"f"))} if found else set()

    def copy(self) -> Path:
        """A copy of its data as they are now; it is down while that is made."""
        copy = self.server.dir / f"copy-{time.monotonic_ns()}"
        self.server.kill()
        shutil.copytree(self.server.dir / AOF, copy)
        self.server.start()
        return copy

    def put_back(self, copy: Path | None) -> Path:
        """Start it on other data, or on none; where its own are kept meanwhile."""
        own = self.server.dir / f"own-{time.monotonic_ns()}"
        self.server.kill()
        (self.server.dir / AOF).rename(own)
        if copy:
            shutil.copytree(copy, self.server.dir / AOF)
        self.server.start()
        return own


@dataclass
class Site:
    """A service: two web processes, a store, and the nodes of its ledger."""

    backs: Backends
    nodes: list[Node]
    fleet: Fleet
    cli: Cli

    @property
    def store(self) -> Any:
        return self.backs.store.client()

    def use(self, nodes: Iterable[Node]) -> None:
        """From now on, processes and commands that are started are told of these nodes, in this order."""
        urls = ",".join(node.proxy.url for node in nodes)
        self.fleet.settings["ledger_urls"] = urls
        self.cli.settings = self.backs.environment(ledger_urls=urls)

    def share(self, node: Node, secrets: Iterable[Secret]) -> list[Secret]:
        """Those that this node decides."""
        epochs, store = node.epochs(), self.store
        return [secret for secret in secrets if store.hget(f"ss:{{{secret.id}}}", "l") in epochs]

    def end_lost(self, traffic: Traffic, *, share: Node | set[bytes]) -> str:
        """``ledger new-epoch --lost``, noted as what ends this share and no other; what the command said."""
        epochs = share if isinstance(share, set) else share.epochs()
        began = time.monotonic()
        said = self.cli.ok("ledger", "new-epoch", "--lost", "--yes").err
        ended = time.monotonic()
        store = self.store
        ids = [one.secret.id for one in traffic.dealt if store.hget(f"ss:{{{one.secret.id}}}", "l") in epochs]
        traffic.history.operator(ENDED_BY_OPERATOR, began, ended, *ids)
        return said


@contextmanager
def site(
    folder: Path, nodes: int, *, target: str = REAL, started: int | None = None, count: int = 2
) -> Iterator[Site]:
    """A service of ``count`` processes on a new ledger of so many nodes; ``started`` to use only the first."""
    with ExitStack() as stack:
        backs = stack.enter_context(backends(folder))
        found: list[Node] = []
        for number in range(nodes):
            where = folder / f"node-{number}"
            server = backs.ledger if number == 0 else stack.enter_context(start_server(dir=where))
            found.append(Node(server, stack.enter_context(Proxy(server.url))))
        fleet = Fleet(backs, folder, target=target)
        stack.callback(fleet.stop)
        here = Site(backs, found, fleet, Cli(folder))
        here.use(found[:started])
        if count:
            fleet.start(count)
        yield here
