"""What the ledger costs: claims a second without it, with one node, and with three, side by side.

    .venv/bin/python -m bench.claims [--rounds 9] [--secrets 400] [--threads 8]

Each variant is a real web process of its own on real servers (AOF synced at every write). Rounds are run in
turn, one variant after the other, so that a noisy machine is noisy for all of them; the ratio is that of each
round's figures, and what is printed is the median and the range. The times of single claims are the same run's.

Without the ledger, the claim is decided in the store, in the same number of steps but on one server: fast, and
undone by every failover and restore.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.harness import Client, Secret, backends, new_idempotency_key, web
from tests.servers import start_server

VARIANTS = ("no ledger", "1 node", "3 nodes")


def measure(client: Client, count: int, threads: int) -> tuple[float, list[float]]:
    """Claims a second, and the seconds of each."""
    secrets = [Secret.create(client) for _ in range(count)]

    def claim(secret: Secret) -> float:
        started = time.perf_counter()
        answer = secret.claim(client, new_idempotency_key())
        if answer.status != 200:
            raise SystemExit(f"a claim failed: {answer.text}")
        return time.perf_counter() - started

    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        times = list(pool.map(claim, secrets))
    return count / (time.perf_counter() - started), times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--secrets", type=int, default=400)
    parser.add_argument("--threads", type=int, default=8)
    asked = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in VARIANTS}
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        backs = stack.enter_context(backends(Path(folder)))
        more = [stack.enter_context(start_server(dir=Path(folder) / name)) for name in "bcd"]
        clients = {}
        for name in VARIANTS:
            urls = ",".join(node.url for node in more) if name == "3 nodes" else backs.ledger.url
            target = "tests.faults.unguarded:create_app()" if name == "no ledger" else "app:create_app()"
            (Path(folder) / name).mkdir()
            settings = {"redis_url": backs.store.url, "ledger_urls": urls}
            if name == "3 nodes":  # a ledger of its own: so a store of its own
                settings["redis_url"] = stack.enter_context(start_server(dir=Path(folder) / "e")).url
            running = stack.enter_context(web(backs, Path(folder) / name, target=target, **settings))
            clients[name] = running.client()
            measure(clients[name], 50, asked.threads)  # warm
        for _ in range(asked.rounds):
            for name, client in clients.items():
                rate, each = measure(client, asked.secrets, asked.threads)
                rates[name].append(rate)
                times[name] += each
    base = rates[VARIANTS[0]]
    print(f"{'':10}  claims/s  ratio to no ledger     ms each: median  95 %")
    for name in VARIANTS:
        ratios = sorted(mine / other for mine, other in zip(rates[name], base, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        ordered = sorted(times[name])
        middle, late = (1000 * ordered[int(len(ordered) * part)] for part in (0.5, 0.95))
        print(f"{name:10}  {statistics.median(rates[name]):8.0f}  {spread:21}  {middle:15.1f}  {late:4.1f}")


if __name__ == "__main__":
    main()
