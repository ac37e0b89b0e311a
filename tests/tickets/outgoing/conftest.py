"""A resolver for the tests' own names, webhook settings, and nothing from this machine's environment."""

from __future__ import annotations

import base64
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secretsvc.tickets import config
from secretsvc.tickets.outgoing import Webhooks

real_getaddrinfo = socket.getaddrinfo


class Names:
    """Answers for names under ``.test``: one list of addresses after another, the last one for good."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def __setitem__(self, name: str, answers: list[list[str]]) -> None:
        self.answers[name] = list(answers)

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if not str(host).rstrip(".").endswith(".test"):
            return real_getaddrinfo(host, port, *args, **more)
        self.asked.append(host)
        rows = self.answers.get(host.rstrip("."))
        if rows is None:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        found = rows.pop(0) if len(rows) > 1 else rows[0]
        return [row for address in found for row in real_getaddrinfo(address, port, type=socket.SOCK_STREAM)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found.getaddrinfo)
    return found


def new_secret(size: int = 32) -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(size)).decode()


@pytest.fixture
def hooks(tmp_path: Path) -> Callable[..., Webhooks]:
    """Webhooks with one target ``t``."""

    def make(
        url: str, *allow: str, keys: tuple[str, ...] = (), seconds: float = 15.0, ca: Any = None
    ) -> Webhooks:
        file = tmp_path / "webhook-secret"
        file.write_text("".join(f"{key}\n" for key in keys or (new_secret(),)))
        hook = config.Webhook(name="t", url=url, secret_file=str(file))
        return Webhooks([hook], allow, ca_file=ca and str(ca), seconds=seconds)

    return make
