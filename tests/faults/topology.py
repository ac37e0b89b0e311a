"""A store of several servers, fast to fail over: a primary and replicas under three Sentinels.

Every server is known to all others and to the application by the address of a proxy before it, so that any of
its connections can be cut, slowed or parted alone; ``lag`` parts replication and leaves the rest.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.faults.proxy import Proxy
from tests.harness import wait_until
from tests.servers import DidNotStartError, Engine, Server, binary, client, start_server

NAME = "main"  # what the Sentinels call their primary
DOWN_AFTER_MS = 600
FAILOVER_TIMEOUT_MS = 3000
# Sentinel's own clockwork, in ms; made for tests ("SENTINEL DEBUG").  One that has not heard of a failover
# within four publish periods makes the new primary a replica again, so that must not be too quick.
QUICK = {"ping-period": 250, "ask-period": 100, "info-period": 400, "publish-period": 500}


def quiet_port() -> int:
    """A free port below those that outgoing connections take, so that it is still free after a kill -9."""
    while True:
        port = random.randint(12_000, 21_000)  # a Cluster's second port lies 10,000 higher
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port


def ask(server: Server, *words: str | int | bytes) -> Any:
    """One command on a connection of its own; raises what redis-py raises."""
    with client(server.url) as one:
        return one.execute_command(*words)


def info(server: Server, section: str) -> dict[str, str]:
    """A section of a server's INFO, empty if it does not answer."""
    with contextlib.suppress(redis.RedisError), client(server.url) as one:
        return {key: str(value) for key, value in one.info(section).items()}
    return {}


@dataclass(eq=False)
class Member:
    """A server and the proxy that stands for it; ``port`` is the one everybody uses."""

    server: Server
    proxy: Proxy

    @property
    def port(self) -> int:
        return self.proxy.port

    @property
    def is_primary(self) -> bool:
        return info(self.server, "replication").get("role") == "master"

    @property
    def offset(self) -> int:
        """How much of its primary's writes a replica has."""
        return int(info(self.server, "replication").get("slave_repl_offset", 0))

    @property
    def in_sync(self) -> bool:
        """Whether it is a replica with a link to its primary."""
        found = info(self.server, "replication")
        return found.get("role") == "slave" and found["master_link_status"] == "up"

    def lag(self) -> None:
        """Its replicas hear nothing new from it, and no link breaks; heal with ``proxy.heal()``."""
        self.proxy.partition(b"PSYNC")

    def caught_up(self, *replicas: Member) -> None:
        """Wait until they have all that this primary has acknowledged until now."""
        now = int(info(self.server, "replication")["master_repl_offset"])
        wait_until(lambda: all(one.offset >= now for one in replicas))


def start_member(stack: ExitStack, engine: Engine, folder: Path, *lines: str) -> Member:
    """Start one in the stack; ``{port}`` in its further configuration lines is the one everybody uses."""
    proxy = stack.enter_context(Proxy())
    announced = [line.format(port=proxy.port) for line in lines]
    fast = ["repl-diskless-sync-delay 0", "repl-ping-replica-period 1"]
    server = start_server(engine, transport="tcp", dir=folder, port=quiet_port(), extra=[*fast, *announced])
    stack.enter_context(server)
    proxy.upstream = server.url
    return Member(server, proxy)


# --- Sentinel ------------------------------------------------------------------------------------------


@dataclass
class Replicated:
    """A primary, its replicas, and three Sentinels; who is primary changes."""

    members: list[Member]
    sentinels: list[Server]

    @property
    def url(self) -> str:
        """As the settings name it."""
        return f"redis+sentinel://{','.join(s.url.split('/')[2] for s in self.sentinels)}/{NAME}"

    @property
    def primary(self) -> Member:
        """Whom all Sentinels name; waits until they agree and it says so itself."""
        return self._primary(None)

    @property
    def replicas(self) -> list[Member]:
        """All the others that run."""
        primary = self.primary
        return [one for one in self.members if one is not primary and info(one.server, "server")]

    def lag(self) -> Member:
        """From now on the replicas, which have what it has now, hear nothing new from the primary; it."""
        primary = self.caught_up()
        primary.lag()
        return primary

    def caught_up(self) -> Member:
        """The primary, once its replicas have all that it has acknowledged until now."""
        primary = self.primary
        primary.caught_up(*self.replicas)
        return primary

    def kill_primary(self) -> Member:
        """kill -9 of the primary; returns it.  ``new_primary`` waits for the next one."""
        found = self.primary
        found.server.kill()
        return found

    def new_primary(self, old: Member) -> Member:
        """Wait until another one is primary to all Sentinels and to itself."""
        return self._primary(old)

    def failover(self) -> Member:
        """A failover in good order, as an operator asks for it; returns the new primary."""
        old = self.caught_up()
        wait_until(lambda: self._failed_over(old), 30)
        return self.new_primary(old)

    def rejoin(self, member: Member) -> None:
        """Start a killed one, or take back a former primary, and wait until all replicas are in sync."""
        primary = self.primary
        if not info(member.server, "server"):
            member.server.restart()
        ask(member.server, "REPLICAOF", "127.0.0.1", primary.port)
        self.wait_in_sync()

    def wait_in_sync(self) -> None:
        """Wait until each Sentinel sees all the others and all replicas, in sync."""
        wait_until(lambda: all(one.in_sync for one in self.members if one is not self.primary), 30)
        wait_until(lambda: all(self._sees_all(sentinel) for sentinel in self.sentinels), 30)

    def _failed_over(self, old: Member) -> bool:
        """Ask the first Sentinel once more, and give it a second; it may find no replica good enough."""
        with contextlib.suppress(redis.ResponseError):
            ask(self.sentinels[0], "SENTINEL", "FAILOVER", NAME)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self._named() is not old, 1.0)
        return self._named() is not old

    def _primary(self, old: Member | None) -> Member:
        found: list[Member] = []

        def agreed() -> bool:
            named = self._named()
            if named and named is not old and named.is_primary:
                found.append(named)
            return bool(found)

        wait_until(agreed, 30)
        return found[0]

    def _named(self) -> Member | None:
        named = set()
        for sentinel in self.sentinels:
            named.add(int(ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1]))
        return next((one for one in self.members if {one.port} == named), None)

    def _sees_all(self, sentinel: Server) -> bool:
        with client(sentinel.url) as one:
            found = one.sentinel_master(NAME)
            replicas = one.sentinel_slaves(NAME)
        well = [replica for replica in replicas if replica["flags"] == "slave"]
        return (
            found["flags"] == "master"
            and found["num-other-sentinels"] == len(self.sentinels) - 1
            and len(well) >= len(self.members) - 1
        )


@contextmanager
def replicated(folder: Path, engine: Engine = "valkey", *, replicas: int = 1) -> Iterator[Replicated]:
    """A primary, its replicas and three Sentinels, all well and knowing each other."""
    own = ("replica-announce-ip 127.0.0.1", "replica-announce-port {port}")
    with ExitStack() as stack:
        members = [start_member(stack, engine, folder / "0", *own)]
        follow = f"replicaof 127.0.0.1 {members[0].port}"
        for n in range(replicas):
            members.append(start_member(stack, engine, folder / str(n + 1), *own, follow))
        sentinels = [
            stack.enter_context(_sentinel(folder / f"sentinel-{n}", engine, members[0].port)) for n in range(3)
        ]
        found = Replicated(members, sentinels)
        found.wait_in_sync()
        yield found


def _sentinel(folder: Path, engine: Engine, primary: int) -> Server:
    folder.mkdir(parents=True)
    for attempt in (1, 2, 3):
        port = quiet_port()
        lines = [
            f"port {port}",
            "bind 127.0.0.1",
            f'dir "{folder}"',
            f"sentinel monitor {NAME} 127.0.0.1 {primary} 2",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {NAME} {FAILOVER_TIMEOUT_MS}",
            f"sentinel parallel-syncs {NAME} 9",
        ]
        file = folder / "sentinel.conf"
        file.write_text("\n".join(lines) + "\n")
        url = f"redis://127.0.0.1:{port}"
        server = Server(url, folder, binary(engine), "", arguments=(str(file), "--sentinel"))
        try:
            server.start()
        except DidNotStartError:
            if attempt == 3:
                raise
            continue
        ask(server, "SENTINEL", "DEBUG", *(word for pair in QUICK.items() for word in pair))
        return server
    raise AssertionError
