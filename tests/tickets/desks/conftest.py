"""A strict server for each test, and files with secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tickets.desks.strict import Strict, serving


@pytest.fixture
def server() -> Iterator[Strict]:
    with serving() as found:
        yield found


@pytest.fixture
def kept(tmp_path: Path) -> Callable[[str, str], str]:
    """Keep a secret in a file; its path."""

    def keep(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return keep
