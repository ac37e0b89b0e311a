"""Node, in which the tests run the pages' JavaScript."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
OLDEST = 18  # Debian 12


def node() -> str:
    """The path of Node; a missing or too old one fails the test run, it never skips a test."""
    found = shutil.which("node")
    if found is None:
        raise RuntimeError("node is missing; on Debian and Ubuntu: apt install nodejs")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.match(r"v(\d+)\.", said)
    if version is None or int(version[1]) < OLDEST:
        raise RuntimeError(f"{found} is {said.strip()}; the tests need Node {OLDEST} or newer")
    return found
