"""Fixtures: real servers once a module, emptied before each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Backends, InProcess, backends


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    """A store, a ledger and a keyring for the whole run; use ``backs``, which empties them first."""
    with backends(tmp_path_factory.mktemp("servers")) as found:
        yield found


@pytest.fixture
def backs(servers: Backends) -> Backends:
    """Empty servers."""
    servers.clear()
    return servers


@pytest.fixture
def here(backs: Backends) -> InProcess:
    """The application in this process."""
    return InProcess(backs.app())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for logs."""
    return tmp_path
