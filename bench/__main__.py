"""What requests cost, side by side: this service, Flask with one Redis round trip, and SnapPass.

    .venv/bin/python -m bench [--rounds 15] [--requests 200] [--workers 1] [--only create claim]

Everything is a gunicorn of its own in one configuration, on a Redis of its own that keeps what it is told.
Rounds are run in turn, so that a noisy machine is noisy for all; a ratio is that of two rows in the same round,
and what is printed is the median of the ratios and their range.  Times are in ms; CPU is in ms for each
request, of gunicorn with its workers, of the store and of the ledger.  A ratio of 1 is as good as the base (the
first row of the group), less is worse.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import rows as kinds
from bench import snappass, stored, table
from bench.rows import Row
from bench.servers import UNLIMITED, Machine, Target, plain, service

# As the service comes, but for limits that no client here may reach.
DEPLOYED = {
    "argon2_memory_kib": "19456",
    "argon2_passes": "2",
    "create_limit": UNLIMITED,
    "password_limit": UNLIMITED,
}


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n")[0])
    found.add_argument("--rounds", type=int, default=15)
    found.add_argument("--requests", type=int, default=200, help="of each row in each round")
    found.add_argument("--concurrency", type=int, default=4, help="connections")
    found.add_argument("--workers", type=int, default=1, help="of each gunicorn")
    found.add_argument("--threads", type=int, default=8)
    found.add_argument("--engine", choices=("redis", "valkey"), default="redis")
    found.add_argument("--fsync", choices=("always", "everysec"), default="always", help="of the stores")
    found.add_argument("--ledgers", action="store_true", help="also no ledger, and three nodes")
    found.add_argument("--stored", type=int, default=10_000, help="secrets to measure the store with")
    found.add_argument("--only", nargs="+", default=[], metavar="ROW", help="these rows, and their bases")
    found.add_argument("--stand-in", action="store_true", help="do not install SnapPass, stand in for it")
    return found


def start(stack: ExitStack, machine: Machine, asked: argparse.Namespace) -> tuple[list[Row], list[Target]]:
    """Start everything; the rows, and the targets whose memory is worth a line."""
    python = None if asked.stand_in else snappass.install(machine.folder / "snappass")
    trip = stack.enter_context(plain(machine, "trip", "bench.baselines:flask_trip()"))
    constant = stack.enter_context(plain(machine, "flask", "bench.baselines:flask_constant()", store=False))
    bare = stack.enter_context(plain(machine, "wsgi", "bench.baselines:wsgi_constant()", store=False))
    if python:
        other = plain(machine, "SnapPass", "snappass.main:app", python=python)
    else:
        other = plain(machine, "SnapPass stand-in", "bench.baselines:snappass_alike()")
    passing = stack.enter_context(other)
    ours = stack.enter_context(service(machine, "ours", **DEPLOYED))
    quick = stack.enter_context(service(machine, "quick"))
    rows = kinds.baseline_rows(trip, constant, bare, passing) + kinds.service_rows(ours, quick)
    if asked.ledgers:
        without = service(machine, "no ledger", target="tests.faults.unguarded:create_app()")
        three = service(machine, "3 nodes", ledgers=3)
        rows += kinds.ledger_rows([stack.enter_context(without), stack.enter_context(three)])
    if asked.only:
        wanted = {
            *asked.only,
            *table.BASES.values(),
            passing.name + ": create",
            passing.name + ": read",
        }
        groups = {row.group for row in rows if row.name in asked.only}
        rows = [row for row in rows if row.name in wanted and row.group in groups]
    return rows, [ours, quick, trip, passing, constant, bare]


def verdict(samples: table.Samples, other: str) -> list[str]:
    """The figures that the goals name."""
    found = []
    for mine, base, goal in (
        ("create", "Flask + SET", "0.9"),
        ("claim", "Flask + GET", "0.7"),
        ("create", f"{other}: create", "1.3"),
        ("claim", f"{other}: read", "1"),
    ):
        if not {mine, base} <= samples.keys():
            continue
        rate, cpu = (table.spread(table.ratios(samples[mine], samples[base], cpu=cpu)) for cpu in (False, True))
        found.append(f"{mine} to {base}: rate {rate}, CPU {cpu}; goal {goal}")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    asked = parser().parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        machine = Machine(Path(name), asked.workers, asked.threads, asked.engine, asked.fsync)
        rows, targets = start(stack, machine, asked)
        samples = table.rounds(
            rows,
            count=asked.requests,
            number=asked.rounds,
            connections=asked.concurrency,
            progress=lambda text: print(text, file=sys.stderr, flush=True),
        )
        print(
            f"{asked.workers} worker(s) of {asked.threads} threads, {asked.concurrency} connections, "
            f"{asked.engine}, appendfsync {asked.fsync} (ledger: always), "
            f"{asked.rounds} rounds of {asked.requests}"
        )
        print("\n".join(table.lines(rows, samples)))
        print("", *verdict(samples, targets[3].name), sep="\n")
        generator = statistics.median(one.generator for found in samples.values() for one in found)
        print(f"(the generator: {1000 * generator:.3f} ms of its own CPU a request)")
        print("\nmemory for each worker, MB          at rest   after the load")
        for target in targets:
            print(f"{target.name:33}  {target.at_rest / 1e6:8.1f}  {target.memory() / 1e6:15.1f}")
    if not asked.only:
        print("", *stored.lines(asked.stored), sep="\n")
    print(f"\n{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
