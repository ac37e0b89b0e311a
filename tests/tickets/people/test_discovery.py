"""A provider that has not been asked yet, and one that is not what the settings say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from secretsvc.connections import open_node
from secretsvc.errors import Misconfigured, StoreUnavailable
from secretsvc.node import Node
from secretsvc.tickets import config
from secretsvc.tickets.config import SignIn
from secretsvc.tickets.oidc import SignIns
from secretsvc.tickets.provider import ProviderUnavailable
from tests.harness import Backends
from tests.tickets.people.steps import Provider, in_seconds, settings_file


@pytest.fixture
def node(backs: Backends) -> Iterator[Node]:
    found = open_node(backs.store.url, connections=4, unavailable=StoreUnavailable)
    yield found
    found.close()


def sign_in(folder: Path, issuer: str, **more: object) -> SignIn:
    found = config.load(str(settings_file(folder, issuer, **more))).sign_in
    assert found is not None
    return found


def signs(folder: Path, node: Node, issuer: str, **more: object) -> SignIns:
    return SignIns(sign_in(folder, issuer, **more), node, "http://127.0.0.1/desk/sign-in/back")


@pytest.mark.parametrize(
    "mode",
    [
        *("names another issuer", "discovery fails", "discovery is huge", "discovery is nonsense"),
        *("discovery hangs", "discovery drips", "discovery is elsewhere"),
    ],
)
def test_a_provider_that_does_not_tell_sends_nobody_anywhere(
    folder: Path, node: Node, provider: Provider, mode: str
) -> None:
    found = signs(folder, node, provider.url)
    provider.tell(mode)

    def begin() -> None:
        with pytest.raises(ProviderUnavailable):
            found.begin("/desk")

    assert in_seconds(begin) < 12
    assert provider.seen("discovery")
    provider.tell()
    assert found.begin("/desk").url.startswith(provider.url + "/authorize?")


def test_what_the_provider_says_of_itself_is_asked_once(folder: Path, node: Node, provider: Provider) -> None:
    found = signs(folder, node, provider.url)
    for _ in range(3):
        found.begin("/desk")
    assert len(provider.seen("discovery")) == 1


def test_a_provider_that_is_not_there_is_told_at_once(folder: Path, node: Node) -> None:
    found = signs(folder, node, "http://127.0.0.1:9")
    with pytest.raises(ProviderUnavailable):
        found.begin("/desk")


def test_a_provider_elsewhere_must_be_https(folder: Path, node: Node) -> None:
    with pytest.raises(Misconfigured, match=r"^sign_in\.issuer: expected https"):
        signs(folder, node, "http://provider.example")
    signs(folder, node, "https://provider.example")


def test_a_secret_that_cannot_be_read_is_named(folder: Path, node: Node) -> None:
    conf = sign_in(folder, "https://provider.example")
    (folder / "client-secret").unlink()
    with pytest.raises(Misconfigured, match=r"^sign_in\.client_secret_file: "):
        SignIns(conf, node, "http://127.0.0.1/desk/sign-in/back")
