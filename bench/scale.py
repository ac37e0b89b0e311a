"""How throughput grows: one and two web processes against one Redis, then against a Cluster of three.

    .venv/bin/python -m bench.scale [--rounds 7] [--requests 400] [--concurrency 8]

Each web process is a gunicorn of its own with one worker, on a port of its own; the two of a pair stand on the
same store and ledger.  Rounds are run in turn, and growth is the ratio of two rates in the same round.  On a
machine with two cores the web processes, the servers and what sends the requests share those two, so that two
web processes show less than they could do.  What one Redis can bear is measured apart, with redis-benchmark
sending our own rules to it as fast as it takes them.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.rows import Deck, Row, Sample
from bench.servers import Machine, Target, backends, service
from bench.table import ratios, spread
from secretsvc.rules import rule
from tests.faults.clusters import SLOTS
from tests.faults.topology import ask, quiet_port
from tests.harness import wait_until
from tests.servers import Server, start_server

WIDTHS = (26, 9, 9, 9, 9, 9, 18)
BURST = 20_000  # commands to one server, which take a second or two


def start_cluster(stack: ExitStack, machine: Machine, folder: Path) -> list[Server]:
    """Three primaries that share all slots, without replicas."""
    lines = ("cluster-enabled yes", "cluster-announce-ip 127.0.0.1")
    found = []
    for n in range(3):
        server = start_server(
            machine.engine,
            transport="tcp",
            dir=folder / str(n),
            appendfsync=machine.fsync,
            extra=lines,
            port=quiet_port(),
        )
        found.append(stack.enter_context(server))
        ask(server, "CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        ask(server, "CLUSTER", "ADDSLOTSRANGE", SLOTS * n // 3, SLOTS * (n + 1) // 3 - 1)
    for server in found[1:]:
        ask(found[0], "CLUSTER", "MEET", "127.0.0.1", _port(server))
    wait_until(lambda: all(_is_well(server) for server in found), 30)
    return found


def start_pair(stack: ExitStack, machine: Machine, name: str, *, cluster: bool) -> list[Target]:
    """One web process, and the same with a second one, on the same servers."""
    backs = stack.enter_context(backends(machine, machine.folder / name))
    settings, stores = {"redis_url": backs.store.url}, list[Server]()
    if cluster:
        stores = start_cluster(stack, machine, machine.folder / name / "cluster")
        nodes = ",".join(f"127.0.0.1:{_port(server)}" for server in stores)
        settings = {"redis_url": f"redis+cluster://{nodes}"}
    one, other = (
        stack.enter_context(service(machine, f"{name}-{n}", backs=backs, stores=stores, **settings))
        for n in (1, 2)
    )
    both = Target("2", one.ports + other.ports, one.pids + other.pids, one.stores, one.ledgers)
    return [one, both]


def measure(rows: Sequence[Row], *, count: int, number: int, connections: int) -> dict[str, list[Sample]]:
    """All rows in turn, round by round, creates before the claims of what they created."""
    found: dict[str, list[Sample]] = {row.name: [] for row in rows}
    for n in range(-1, number):
        for group in ("create", "open"):
            mine = [row for row in rows if row.group == group]
            at = n % len(mine)
            for row in mine[at:] + mine[:at]:
                sample = row.run(count, connections)
                if n >= 0:
                    found[row.name].append(sample)
    return found


def saturate(machine: Machine, folder: Path) -> list[str]:
    """How many of our own rules one server takes in a second when nothing else holds it up."""
    tool = shutil.which("redis-benchmark")
    if not tool:
        return ["redis-benchmark is not installed: what one server bears was not measured"]
    found = []
    with start_server(
        machine.engine, transport="tcp", dir=folder / "store", appendfsync=machine.fsync
    ) as store:
        text = base64.b64encode(os.urandom(300))
        now = int(time.time())
        fields = ("t", text[:32], "r", text[:32], "s", "sealed", "k", "2026-01-01", "l", text[:12], "c", now)
        more = ("x", now + 604_800, "b", text[:32], "z", 285)
        ends = (now, now + 604_800, now + 3_196_800, text[:380])
        found += _burst(
            tool, store, "create", ("ss:__rand_int__", "ss:__rand_int__:r"), (*ends, *fields, *more)
        )
    with start_server(machine.engine, transport="tcp", dir=folder / "ledger", appendfsync="always") as ledger:
        epoch = "epoch-of-12b"
        ask(ledger, "HSET", "ss:epoch", "id", epoch)
        ms = 1000 * int(time.time())
        keys = ("ss:e:__rand_int__", "ss:epoch", "ss:sequence")
        found += _burst(
            tool, ledger, "ledger_end", keys, (epoch, epoch, 0, "opened", text[:16], 2 * ms, 60_000, 2 * ms)
        )
    return found


def _burst(
    tool: str, server: Server, name: str, keys: Sequence[str], arguments: Sequence[str | bytes | int]
) -> list[str]:
    found = []
    ask(server, "SCRIPT", "LOAD", rule(name).text)
    words: list[str | bytes] = ["EVALSHA", rule(name).sha, str(len(keys)), *keys]
    words += [word if isinstance(word, str | bytes) else str(word) for word in arguments]
    for clients in (1, 16, 64):
        before = ask(server, "DBSIZE")
        count = BURST if clients > 1 else BURST // 5
        size = ("-c", str(clients), "-n", str(count), "-r", "1000000000", "--csv")
        ran = subprocess.run(
            [tool, "-p", str(_port(server)), *size, *words], capture_output=True, check=True, timeout=60
        )
        # Its header line is followed by one of figures: name, requests a second, mean and p50 latency, …
        figures = re.findall(rb'"([0-9.]+)"', ran.stdout.splitlines()[-1])
        added = ask(server, "DBSIZE") - before
        if added < count * 0.99:
            raise SystemExit(f"{name}: {count} were sent, and {added} keys came of them")
        fsync = ask(server, "CONFIG", "GET", "appendfsync")
        found.append(
            f"{name:10}  {clients:3} connections  {float(figures[0]):8.0f} a second"
            f"  appendfsync {fsync[1].decode() if isinstance(fsync, list) else fsync}"
        )
    return found


def lines(rows: Sequence[Row], samples: dict[str, list[Sample]], bases: dict[str, str]) -> list[str]:
    """The table."""
    head = ("", "req/s", "p50 ms", "web CPU", "store", "ledger", "growth")
    found = [_line(head)]
    for row in rows:
        mine = samples[row.name]
        each = [seconds for sample in mine for seconds in sample.each]
        costs = [
            1000 * statistics.median(getattr(one, part) for one in mine) for part in ("web", "store", "ledger")
        ]
        rate = statistics.median(one.rate for one in mine)
        growth = spread(ratios(mine, samples[bases[row.name]], cpu=False))
        found.append(
            _line(
                [
                    row.name,
                    f"{rate:.0f}",
                    f"{1000 * statistics.median(each):.2f}",
                    *map("{:.3f}".format, costs),
                    growth,
                ]
            )
        )
    return found


def bounds(samples: dict[str, list[Sample]]) -> list[str]:
    """What one core does in a second, by the CPU that was counted: of a web process, the store, the ledger.

    In a Cluster the store's CPU is that of all its servers.
    """
    found = []
    for call in ("create", "claim"):
        for kind in ("one store", "Cluster of 3"):
            mine = samples[f"{call}, 1 web, {kind}"]
            web, store, ledger = (
                statistics.median(getattr(one, part) for one in mine) for part in ("web", "store", "ledger")
            )
            found.append(
                f"{call}, {kind}: a core does {1 / web:.0f} a second as web process, {1 / store:.0f} as store"
                + (f", {1 / ledger:.0f} as ledger" if call == "claim" else "")
                + f"; a core of the store keeps {web / store:.0f} cores of web processes busy"
            )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=400, help="of each row in each round")
    parser.add_argument("--concurrency", type=int, default=8, help="connections")
    parser.add_argument("--engine", choices=("redis", "valkey"), default="redis")
    parser.add_argument("--fsync", choices=("always", "everysec"), default="everysec", help="of the stores")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        machine = Machine(Path(name), 1, 8, asked.engine, asked.fsync)
        rows, bases = [], {}
        for kind, cluster in (("one store", False), ("Cluster of 3", True)):
            for number, target in enumerate(start_pair(stack, machine, kind.split()[0], cluster=cluster), 1):
                deck = Deck(target.ports)
                for call, made, status in (("create", deck.create, 201), ("claim", deck.claim, 200)):
                    row = f"{call}, {number} web, {kind}"
                    group = "create" if call == "create" else "open"
                    rows.append(Row(row, group, target, made, status))  # type: ignore[arg-type]
                    bases[row] = f"{call}, 1 web, {kind}"
        samples = measure(rows, count=asked.requests, number=asked.rounds, connections=asked.concurrency)
        print(
            f"{os.cpu_count()} cores for all; {asked.concurrency} connections, {asked.engine}, "
            f"appendfsync {asked.fsync} (ledger: always), {asked.rounds} rounds of {asked.requests}"
        )
        print("\n".join(lines(sorted(rows, key=lambda row: row.group), samples, bases)))
        print("", *bounds(samples), sep="\n")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        print("", "one server and nothing but our rules:", *saturate(machine, Path(name)), sep="\n")


def _port(server: Server) -> int:
    return int(server.url.rpartition(":")[2].partition("/")[0])


def _is_well(server: Server) -> bool:
    found = ask(server, "CLUSTER", "INFO")
    text = found if isinstance(found, dict) else dict(line.split(":", 1) for line in found.decode().split())
    return bool(text["cluster_state"] == "ok") and text["cluster_known_nodes"] == "3"


def _line(found: Sequence[str]) -> str:
    first, *others = found
    return "  ".join([first.ljust(WIDTHS[0]), *(f"{c:>{w}}" for c, w in zip(others, WIDTHS[1:], strict=True))])


if __name__ == "__main__":
    main()
