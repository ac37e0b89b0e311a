"""The bench at its smallest: it starts what it compares, prints each row with its figures, and counts right."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import processes
from bench.generator import WrongAnswerError, request, send
from secretsvc import envelope
from secretsvc.envelope import unb64
from tests.harness import ROOT, Backends, Secret, web

ROWS = (
    "Flask + SET",
    "SnapPass stand-in: create",
    "create",
    "create, no limit counted",
    "create, sealed by the server",
    "create, password, cheap Argon2",
    "create, password",
    "Flask + GET",
    "SnapPass stand-in: read",
    "state",
    "claim",
    "done",
    "open, by the server",
    "claim, password, cheap Argon2",
    "claim, password",
    "Flask, constant",
    "bare WSGI, constant",
    "page /",
    "page /s",
)
# Two threads that each use 0.2 seconds of CPU and then stay; an argument makes a child do the same.
BURN = """
import subprocess, sys, threading, time
child = subprocess.Popen([sys.executable, *sys.orig_argv[1:-1]], stdin=0) if sys.argv[1:] else None
def burn():
    while time.thread_time() < 0.2:
        pass
    burnt.release()
    sys.stdin.read()
burnt = threading.Semaphore(0)
for _ in range(2):
    threading.Thread(target=burn, daemon=True).start()
for _ in range(2):
    burnt.acquire()
print("burnt", flush=True)
if child:
    child.wait()
time.sleep(60)
"""


def bench(module: str, *options: str) -> str:
    argv = [sys.executable, "-m", module, *options]
    ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout


def test_every_row_is_printed_with_its_figures() -> None:
    small = ("--rounds", "1", "--requests", "8", "--concurrency", "2", "--stored", "100", "--stand-in")
    printed = bench("bench", *small)
    for name in ROWS:
        [line] = re.findall(rf"^{re.escape(name)}  +(\d.*)$", printed, re.MULTILINE)
        rate, middle, late, cpu, *_ = line.split()
        assert int(rate) > 0
        assert 0 < float(middle) <= float(late)
        assert float(cpu) > 0
    for name in ("ours", "trip", "SnapPass stand-in"):
        [line] = re.findall(rf"^{name}  +([\d.]+) +([\d.]+)$", printed, re.MULTILINE)
        assert all(float(figure) > 10 for figure in line)
    for name in ("  its record (MEMORY USAGE)", "  its entry (MEMORY USAGE)", "append-only file: create"):
        [line] = re.findall(rf"^{re.escape(name)}  +(\d+) +(\d+)$", printed, re.MULTILINE)
        assert all(int(figure) > 50 for figure in line)


def test_answers_come_in_the_order_of_their_requests_and_a_wrong_one_is_never_timed(
    backs: Backends, folder: Path
) -> None:
    with web(backs, folder) as running:
        secrets = [Secret.create(running.client(), str(n).encode()) for n in range(20)]
        claims = [request("POST", f"/api/v1/secrets/{one.id}/claim", {}, one.auth()) for one in secrets]
        run = send([running.port], claims, connections=4, keep=True)
        with pytest.raises(WrongAnswerError, match="410"):
            send([running.port], claims[:1], connections=1)
    opened = [
        envelope.unseal(one.key, unb64(json.loads(body)["envelope"])).content
        for one, body in zip(secrets, run.bodies, strict=True)
    ]
    assert opened == [str(n).encode() for n in range(20)]
    assert all(0 < seconds <= run.seconds for seconds in run.each)


def test_cpu_is_counted_in_all_threads_and_children() -> None:
    argv = [sys.executable, "-c", BURN, "child"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, **pipes, start_new_session=True) as process:
        try:
            assert process.stdout
            assert [process.stdout.readline() for _ in range(2)] == [b"burnt\n"] * 2
            assert len(processes.tree(process.pid)) == 2
            assert 0.8 <= processes.cpu(process.pid) < 1.6
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.full
@pytest.mark.parametrize(
    ("module", "options", "expected"),
    [
        (
            "bench.million",
            ("--steps", "0,500", "--rounds", "2", "--requests", "10"),
            (r"^ +500 +\d\.\d\d \(.*$", r"^500 stored: \d+ MB in use", r"^read in, .*: \d+\.\d s$"),
        ),
        (
            "bench.scale",
            ("--rounds", "1", "--requests", "16"),
            (r"^claim, 2 web, Cluster of 3 +\d+ .*$", r"^ledger_end +64 connections +\d+ a second .*$"),
        ),
        ("bench.shapes", ("--secrets", "200"), (r"^as it is +\d+ +\d+$", r"^one key: .* +\d+ +\d+$")),
    ],
)
def test_the_other_benches_print_their_figures(
    module: str, options: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    printed = bench(module, *options)
    for line in expected:
        assert re.search(line, printed, re.MULTILINE), printed
