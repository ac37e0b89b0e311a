"""What MDN's HTTP Observatory thinks of the service behind the nginx of docs/deploy, over TLS.

It comes from npm; where that cannot be reached, the run says that it did not take place.  That every answer of
every address has the headers is tested without it, in ``tests/web/test_pages.py``.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.nginx import Nginx, nginx
from tests.harness import Backends, wait_until, web

PACKAGE = "@mdn/mdn-http-observatory@1.4.8"
PORTS = Path(__file__).with_name("ports.mjs")


@pytest.fixture
def observatory(tmp_path: Path, say: Callable[[str], None]) -> Path:
    """The program, installed into a folder of the test's own."""
    folder = tmp_path / "observatory"
    folder.mkdir()
    reason = "npm is not here"
    if npm := shutil.which("npm"):
        # Its scripts fetch lists of preloaded names, which do not concern a name of ours.
        argv = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", PACKAGE]
        installed = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300)
        if installed.returncode == 0:
            found = folder / "node_modules" / "@mdn" / "mdn-http-observatory"
            (found / "conf" / "hsts-preload.json").write_text("{}")
            return found
        assert "ENOTFOUND" in installed.stderr or "ECONN" in installed.stderr, installed.stderr
        reason = "npm's registry was not reached"
    say(f"the Observatory did not run: {reason}")
    pytest.skip(reason)


def redirect_to(front: Nginx, host: str) -> None:
    """Have the address without TLS lead to this host, which is the one that is looked at."""
    site = front.folder / "site.conf"
    site.write_text(site.read_text().replace("https://secrets.example.org$", f"https://{host}$"))
    os.kill(int((front.folder / "nginx.pid").read_text()), signal.SIGHUP)

    def leads_there() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", front.plain_port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().getheader("Location") == f"https://{host}/"
        finally:
            connection.close()

    wait_until(leads_there)


@pytest.mark.full
def test_the_observatory_gives_an_a_plus(
    observatory: Path, backs: Backends, tmp_path: Path, say: Callable[[str], None]
) -> None:
    with (
        web(backs, tmp_path, public_url="https://localhost", trusted_proxies="1") as running,
        nginx(tmp_path / "nginx", running.port) as front,
    ):
        redirect_to(front, "localhost")
        scanned = subprocess.run(
            ["node", "--import", str(PORTS), str(observatory / "src" / "scan.js"), "localhost"],
            env={
                **os.environ,
                "NODE_EXTRA_CA_CERTS": str(front.folder / "tls" / "ca.pem"),
                "TLS_PORT": str(front.port),
                "PLAIN_PORT": str(front.plain_port),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert scanned.returncode == 0, scanned.stdout + scanned.stderr
    found: dict[str, Any] = json.loads(scanned.stdout)
    scan, tests = found["scan"], found["tests"]
    say(
        f"{scan['grade']}, score {scan['score']}, {scan['testsPassed']} of {scan['testsQuantity']} tests passed"
    )
    for name, test in tests.items():
        say(f"{test['scoreModifier']:+4d} {name}: {test['result']}")
    assert scan["grade"] == "A+"
    assert [name for name, test in tests.items() if not test["pass"]] == []
    assert scan["testsPassed"] == scan["testsQuantity"]
    assert tests["redirection"]["result"] == "redirection-to-https"
    assert tests["content-security-policy"]["result"] == "csp-implemented-with-no-unsafe-default-src-none"
