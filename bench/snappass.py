"""SnapPass itself, from its source package on PyPI; where that cannot be had, ``baselines.snappass_alike``."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

VERSION = "1.6.2"
# What it shares with this service comes in the same version.
SHARED = ("cryptography", "flask", "gunicorn", "hiredis", "redis", "werkzeug")


def install(folder: Path) -> Path | None:
    """The Python of a fresh environment with SnapPass in it, or None where it cannot be built."""
    python = folder / "bin" / "python"
    pins = [f"{name}=={version(name)}" for name in SHARED]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = (
        [sys.executable, "-m", "venv", str(folder)],
        [*pip, "setuptools<80", "wheel", *pins],
        [*pip, "--no-build-isolation", "--no-binary", "snappass", f"snappass=={VERSION}"],
        [str(python), "-W", "ignore", "-c", "import snappass.main"],
    )
    for step in steps:
        if subprocess.run(step, capture_output=True, timeout=180).returncode:
            return None
    return python
