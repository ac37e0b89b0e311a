"""Fixtures for tests that change their servers for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commandline import Cli
from tests.harness import Backends, backends


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Backends]:
    """Servers and a keyring of one's own."""
    with backends(tmp_path / "servers") as found:
        yield found


@pytest.fixture
def cli(own: Backends, tmp_path: Path) -> Cli:
    """The operator's command line there."""
    return Cli(tmp_path, own.environment())
