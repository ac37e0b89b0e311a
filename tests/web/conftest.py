"""Fixtures of the HTTP side: a real web process on servers of its own, once a module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.harness import Backends, Client, Web, backends, web


@dataclass
class Live:
    """A running service and what it stands on; nobody empties its servers."""

    backs: Backends
    web: Web

    @property
    def url(self) -> str:
        return self.web.url

    def client(self) -> Client:
        return self.web.client()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A real gunicorn with our configuration, shared by a module's tests."""
    folder = tmp_path_factory.mktemp("live")
    with backends(folder) as backs, web(backs, folder) as running:
        yield Live(backs, running)
