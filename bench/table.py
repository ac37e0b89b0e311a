"""Rounds in turn, and what they say: medians, percentiles, and ratios taken inside a round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from bench.rows import Row, Sample

Samples = dict[str, list[Sample]]
HEAD = ("", "req/s", "p50", "p99", "CPU", "store", "ledger", "bytes in", "out", "rate ratio", "CPU ratio")
WIDTHS = (33, 6, 7, 7, 7, 6, 6, 8, 6, 18, 18)
BASES = {"create": "Flask + SET", "open": "Flask + GET", "page": "Flask, constant"}


def rounds(
    rows: Sequence[Row], *, count: int, number: int, connections: int, progress: Callable[[str], None]
) -> Samples:
    """Run all rows in turn, group after group; each round begins a group with another row.

    ``done`` comes after the claims it belongs to, wherever the round begins.
    """
    found: Samples = {row.name: [] for row in rows}
    for n in range(-1, number):
        for group in BASES:
            mine = [row for row in rows if row.group == group]
            at = n % max(1, len(mine))
            for row in sorted(mine[at:] + mine[:at], key=lambda row: row.name == "done"):
                sample = row.run(count if n >= 0 else max(connections, count // 4), connections)
                if n >= 0:  # the first round is for warmth
                    found[row.name].append(sample)
        progress("warm" if n < 0 else f"round {n + 1} of {number}")
    return found


def ratios(mine: Sequence[Sample], base: Sequence[Sample], *, cpu: bool) -> list[float]:
    """How well a row does against another, round by round; 1 is as well, less is worse."""
    pairs = zip(mine, base, strict=True)
    return [other.web / one.web if cpu else one.rate / other.rate for one, other in pairs]


def spread(values: Sequence[float]) -> str:
    """The median and the range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def lines(rows: Sequence[Row], samples: Samples) -> list[str]:
    """The table."""
    found = []
    for group, base in BASES.items():
        mine = [row for row in rows if row.group == group]
        if mine:
            found += [
                "",
                _line([f"[{group}]", *HEAD[1:]]),
                *(_line(_cells(row, samples, base)) for row in mine),
            ]
    return found


def percentile(values: Sequence[float], part: float) -> float:
    """The value that this part of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def _cells(row: Row, samples: Samples, base: str) -> list[str]:
    mine = samples[row.name]
    each = [seconds for sample in mine for seconds in sample.each]
    web, store, ledger = (
        1000 * statistics.median(getattr(one, part) for one in mine) for part in ("web", "store", "ledger")
    )
    return [
        row.name,
        f"{statistics.median(one.rate for one in mine):.0f}",
        f"{1000 * statistics.median(each):.2f}",
        f"{1000 * percentile(each, 0.99):.2f}",
        f"{web:.3f}",
        f"{store:.3f}" if row.target.stores else "-",
        f"{ledger:.3f}" if row.target.ledgers else "-",
        f"{statistics.median(one.asked for one in mine):.0f}",
        f"{statistics.median(one.answered for one in mine):.0f}",
        spread(ratios(mine, samples[base], cpu=False)),
        spread(ratios(mine, samples[base], cpu=True)),
    ]


def _line(cells: Sequence[str]) -> str:
    _, *others = (f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))
    return "  ".join([cells[0].ljust(WIDTHS[0]), *others])
