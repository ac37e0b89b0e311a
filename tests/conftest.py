"""Fixtures: real servers once a module, emptied before each test."""

from __future__ import annotations

import gc
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Backends, InProcess, backends

FIGURES = pytest.StashKey[list[str]]()
MANY_FILES = 200


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="the long tests in their full size")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: only in the full size, with --full")
    # A shell starts what runs in its background deaf to Ctrl-C, and so would be all that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_runtest_teardown() -> None:
    """Let go of the applications of earlier tests: their connections are closed when they are collected.

    In a cycle a socket may go before the connection that would have closed it.
    """
    if len(os.listdir("/dev/fd")) > MANY_FILES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if figures := config.stash.get(FIGURES, []):
        terminalreporter.section("figures")
        terminalreporter.write("".join(f"{line}\n" for line in figures))


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the long tests run in their full size."""
    found: bool = request.config.getoption("--full")
    return found


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print a figure at the end of the run, whatever becomes of the output."""
    lines = request.config.stash.setdefault(FIGURES, [])
    return lambda line: lines.append(f"{request.node.name}: {line}")


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
