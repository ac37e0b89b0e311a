"""A Redis Cluster as the store: three primaries, each with a replica if asked for, and slots that move.

Every node is known to the others and to the application by the address of a proxy before it; see ``topology``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tests.faults.topology import Member, ask, info, start_member
from tests.harness import wait_until
from tests.servers import Engine, client

NODE_TIMEOUT_MS = 1000
SLOTS = 16_384


@dataclass
class Cluster:
    """Three primaries and perhaps a replica of each."""

    members: list[Member]
    ids: dict[Member, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """As the settings name it: any three of its members lead to the others."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{one.port}" for one in self.members[:3])

    @property
    def primaries(self) -> list[Member]:
        return [one for one in self.members if one.is_primary]

    def replica_of(self, primary: Member) -> Member:
        """The one that follows this primary."""
        [found] = [
            one
            for one in self.members
            if info(one.server, "replication").get("master_port") == str(primary.port)
        ]
        return found

    def lag(self) -> None:
        """From now on no replica, which all have what there is now, hears anything new."""
        self.caught_up()
        for primary in self.primaries:
            primary.lag()

    def caught_up(self) -> None:
        """Wait until all replicas have what has been acknowledged until now."""
        for primary in self.primaries:
            primary.caught_up(self.replica_of(primary))

    def is_well(self) -> bool:
        """Whether every member that runs takes all slots for served, and no node for down."""
        return all(
            found.get("cluster_state") == "ok" and found.get("cluster_slots_ok") == str(SLOTS)
            for found in map(self._info, self.members)
            if found
        )

    def wait_well(self) -> None:
        wait_until(self.is_well, 30)

    def slots_of(self, member: Member) -> list[int]:
        """The slots a primary serves."""
        own = self.ids[member]
        found: list[int] = []
        for line in self._nodes(member):
            if line[0] == own:
                for part in line[8:]:
                    if not part.startswith("["):
                        first, _, last = part.partition("-")
                        found.extend(range(int(first), int(last or first) + 1))
        return found

    def used_slots(self, member: Member) -> list[int]:
        """Those of its slots that have keys in them."""
        with client(member.server.url) as one:
            return sorted(
                {int(one.execute_command("CLUSTER", "KEYSLOT", key)) for key in one.scan_iter(count=500)}
            )

    def move(
        self, slot: int, source: Member, target: Member, *, halfway: Callable[[], None] = lambda: None
    ) -> int:
        """Move a slot with its keys, one at a time, as ``redis-cli --cluster reshard`` does; how many keys.

        ``halfway`` is called after each key but the last.
        """
        moved = 0
        ask(target.server, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.ids[source])
        ask(source.server, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.ids[target])
        while keys := ask(source.server, "CLUSTER", "GETKEYSINSLOT", slot, 1):
            # Past the proxy: it only stands for a server to those that may be cut from it.
            port = target.server.url.rpartition(":")[2].partition("/")[0]
            if ask(source.server, "MIGRATE", "127.0.0.1", port, keys[0], 0, 5000) == b"OK":
                moved += 1
            if ask(source.server, "CLUSTER", "COUNTKEYSINSLOT", slot):
                halfway()
        for member in (target, source, *(one for one in self.primaries if one not in (source, target))):
            ask(member.server, "CLUSTER", "SETSLOT", slot, "NODE", self.ids[target])
        return moved

    def _info(self, member: Member) -> dict[str, str]:
        with contextlib.suppress(redis.RedisError):
            text = ask(member.server, "CLUSTER", "INFO")
            if isinstance(text, dict):
                return {str(key): str(value) for key, value in text.items()}
            return dict(line.split(":", 1) for line in text.decode().split())
        return {}

    def _nodes(self, member: Member) -> list[list[str]]:
        with client(member.server.url) as one:
            one.response_callbacks.clear()
            return [line.split() for line in one.execute_command("CLUSTER", "NODES").decode().splitlines()]


@contextmanager
def cluster(folder: Path, engine: Engine = "valkey", *, replicas: bool = False) -> Iterator[Cluster]:
    """Three primaries that share all slots, each with a replica if asked for."""
    own = (
        "cluster-enabled yes",
        f"cluster-node-timeout {NODE_TIMEOUT_MS}",
        "cluster-announce-ip 127.0.0.1",
        "cluster-announce-port {port}",
        "cluster-require-full-coverage no",
    )
    with ExitStack() as stack:
        members = [start_member(stack, engine, folder / str(n), *own) for n in range(6 if replicas else 3)]
        found = Cluster(members)
        for n, member in enumerate(members):
            found.ids[member] = ask(member.server, "CLUSTER", "MYID").decode()
            ask(member.server, "CLUSTER", "SET-CONFIG-EPOCH", n + 1)
            if n < 3:
                first, last = SLOTS * n // 3, SLOTS * (n + 1) // 3 - 1
                ask(member.server, "CLUSTER", "ADDSLOTSRANGE", first, last)
            port = int(member.server.url.rpartition(":")[2].partition("/")[0])
            if n:
                ask(members[0].server, "CLUSTER", "MEET", "127.0.0.1", port, port + 10_000)
        wait_until(lambda: all(len(found._nodes(one)) == len(members) for one in members), 30)
        for n, member in enumerate(members[3:]):
            primary = found.ids[members[n]]
            wait_until(lambda member=member, primary=primary: _follows(member, primary), 10)
        wait_until(lambda: all(one.in_sync for one in members[3:]), 30)
        found.wait_well()
        yield found


def _follows(member: Member, primary: str) -> bool:
    with contextlib.suppress(redis.ResponseError):  # it has not heard of that node yet
        return bool(ask(member.server, "CLUSTER", "REPLICATE", primary))
    return False
