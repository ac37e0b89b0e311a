"""Fixtures: a provider of its own, and a service where people sign in there or by one-time links."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from secretsvc.connections import open_node
from secretsvc.errors import StoreUnavailable
from secretsvc.tickets.sessions import Sessions
from tests.harness import Backends, Web, backends, web
from tests.tickets.people.steps import Browser, Provider, running_provider, settings_file

TARGET = "tests.tickets.people.steps:create_app()"


@pytest.fixture(scope="package")
def running() -> Iterator[Provider]:
    with running_provider() as found:
        yield found


@pytest.fixture
def provider(running: Provider) -> Iterator[Provider]:
    """The provider, behaving well until it is told otherwise."""
    running.tell(key="rsa")
    yield running
    running.tell()


@dataclass
class Site:
    """A running service, what it stands on, and its sessions seen from here."""

    backs: Backends
    web: Web
    sessions: Sessions

    def browser(self) -> Browser:
        return Browser(self.web.url)


@pytest.fixture(scope="package")
def site(running: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("people")
    path = settings_file(folder, running.url)
    with (
        backends(folder) as backs,
        web(
            backs, folder, target=TARGET, sign_in_limit="0", tickets_file=str(path), log_level="debug"
        ) as found,
    ):
        node = open_node(backs.store.url, connections=40, unavailable=StoreUnavailable)
        yield Site(backs, found, Sessions(node))
        node.close()


@pytest.fixture
def browser(site: Site) -> Browser:
    """A browser that has not been here before."""
    return site.browser()
