"""Does the millionth secret cost what the first one did?  And how does the store behave when it is that full?

    .venv/bin/python -m bench.million [--steps 0,100000,1000000] [--rounds 15] [--requests 60]

Two services stand side by side, each on servers of its own.  One store is filled step by step, through the
service's own rules (``Vault.create`` of sealed secrets, in two processes); the other one stays next to empty.
At each step both are measured in turn over HTTP, one request at a time, and what is printed is the median and
the range of the ratios of both p50, full to empty, round by round.  At the end the append-only file is written
anew while secrets are created, and read in as a restart reads it.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import redis

import app as composition
from bench.rows import Deck, Row, Sample
from bench.servers import Machine, Target, backends, service
from bench.stored import news
from bench.table import spread
from secretsvc import settings
from tests.harness import Backends, wait_until

WIDTHS = (10, 20, 20, 18, 18, 14, 14)


def fill(environment: dict[str, str], count: int) -> float:
    """Store that many secrets, in this process; the seconds of CPU it took."""
    began = time.process_time()
    made = composition.make_service(settings.from_env(environment))
    try:
        for new in news(count):
            made.vault.create(new)
    finally:
        made.ledger.close()
        made.store.node.close()
    return time.process_time() - began


def fill_by_several(backs: Backends, count: int, processes: int) -> None:
    """The same in several processes."""
    shares = [count // processes + (n < count % processes) for n in range(processes)]
    environment = backs.environment()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        list(pool.map(fill, itertools.repeat(environment), shares))


def compare(full: Target, empty: Target, rounds: int, count: int) -> dict[str, list[tuple[Sample, Sample]]]:
    """Create and claim at both in turn; pairs of full and empty."""
    rows = {}
    for target in (full, empty):
        deck = Deck(target.ports)
        rows[target] = {
            "create": Row("create", "create", target, deck.create, 201),
            "claim": Row("claim", "open", target, deck.claim),
        }
    found: dict[str, list[tuple[Sample, Sample]]] = {"create": [], "claim": []}
    for n in range(-2, rounds):
        for kind, pairs in found.items():
            order = (full, empty) if n % 2 else (empty, full)
            got = {target.name: rows[target][kind].run(count, 1) for target in order}
            if n >= 0:
                pairs.append((got[full.name], got[empty.name]))
    return found


def settled(client: redis.Redis) -> None:
    """Wait until no file is being written anew."""
    wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"], 300)


def cells(stored: int, found: dict[str, list[tuple[Sample, Sample]]]) -> list[str]:
    """A line of the table."""
    line = [f"{stored:,}"]
    for pairs in found.values():
        halves = [(1000 * statistics.median(a.each), 1000 * statistics.median(b.each)) for a, b in pairs]
        line.append(spread([a / b for a, b in halves]))
    for pairs in found.values():
        line.append(" / ".join(f"{1000 * statistics.median(s.each):.2f}" for s in _flat(pairs)))
    for pairs in found.values():
        line.append(" / ".join(f"{1000 * statistics.median(values):.3f}" for values in _store(pairs)))
    return line


def _flat(pairs: Sequence[tuple[Sample, Sample]]) -> Iterator[Sample]:
    """One sample of each side, with the times of all its rounds."""
    for side in (0, 1):
        each = [seconds for pair in pairs for seconds in pair[side].each]
        yield Sample(0, each, 0, 0, 0, 0)


def _store(pairs: Sequence[tuple[Sample, Sample]]) -> list[list[float]]:
    return [[pair[side].store for pair in pairs] for side in (0, 1)]


def rewriting(client: redis.Redis, full: Target, count: int) -> list[str]:
    """Write the file anew while secrets are created; then read it in."""
    deck = Deck(full.ports)
    row = Row("create", "create", full, deck.create, 201)
    calm = row.run(count, 1)
    before = client.info("persistence")["aof_current_size"]
    settled(client)
    client.bgrewriteaof()
    began, each = time.monotonic(), list[float]()
    while not each or client.info("persistence")["aof_rewrite_in_progress"]:
        each += row.run(50, 1).each
    took = time.monotonic() - began
    persistence, stats = client.info("persistence"), client.info("stats")
    began = time.monotonic()
    client.execute_command("DEBUG", "LOADAOF")
    loading = time.monotonic() - began
    middle, worst = statistics.median(each), max(each)
    return [
        f"the file written anew: {took:.1f} s; {before / 1e6:.0f} MB before, "
        f"{persistence['aof_current_size'] / 1e6:.0f} MB after; "
        f"fork {stats['latest_fork_usec'] / 1000:.0f} ms, "
        f"{persistence['aof_last_cow_size'] / 1e6:.0f} MB of copied pages",
        f"creates meanwhile: p50 {1000 * middle:.2f} ms ({1000 * statistics.median(calm.each):.2f} before), "
        f"slowest of {len(each)}: {1000 * worst:.0f} ms",
        f"read in, as a restart does: {loading:.1f} s",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.million", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--steps", default="0,100000,1000000", help="how many secrets to measure with")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=60, help="of each kind at each service in each round")
    parser.add_argument("--processes", type=int, default=2, help="that fill the store")
    parser.add_argument("--engine", choices=("redis", "valkey"), default="redis")
    asked = parser.parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        machine = Machine(Path(name), engine=asked.engine, fsync="everysec")
        sides = {
            side: stack.enter_context(backends(machine, machine.folder / side)) for side in ("full", "empty")
        }
        full, empty = (
            stack.enter_context(service(machine, side, backs=backs)) for side, backs in sides.items()
        )
        client = stack.enter_context(redis.Redis.from_url(sides["full"].store.url, socket_timeout=300))
        print(f"{asked.engine}, appendfsync everysec (ledger: always); full / empty")
        head = ("stored", "create, p50 ratio", "claim, p50 ratio", "create, p50 ms", "claim, p50 ms")
        print(_line([*head, "create, CPU", "claim, CPU"]), flush=True)
        stored, memory = 0, list[str]()
        for step in map(int, asked.steps.split(",")):
            since, before = time.monotonic(), client.info("memory")["used_memory"]
            fill_by_several(sides["full"], step - stored, asked.processes)
            took = time.monotonic() - since
            settled(client)
            used, file = client.info("memory"), client.info("persistence")["aof_current_size"]
            grown = used["used_memory"] - before
            if step > stored:
                memory.append(
                    f"{step:,} stored: {used['used_memory'] / 1e6:.0f} MB in use "
                    f"({grown / (step - stored):.0f} bytes more for each that was added), "
                    f"{used['used_memory_rss'] / 1e6:.0f} MB resident, "
                    f"append-only file {file / 1e6:.0f} MB; {(step - stored) / took:.0f} stored a second"
                )
            stored = step
            print(_line(cells(step, compare(full, empty, asked.rounds, asked.requests))), flush=True)
        print("(CPU: of the store, ms a request)", "", *memory, sep="\n")
        print(*rewriting(client, full, 100), f"\n{time.monotonic() - began:.0f} s in all", sep="\n")


def _line(found: Sequence[str]) -> str:
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(found, WIDTHS, strict=True))


if __name__ == "__main__":
    main()
