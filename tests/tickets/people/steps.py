"""What the tests of signing in share: the provider as a process, the application, and what a browser does."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, render_template_string

import app as composition
from secretsvc.tickets import config
from secretsvc.tickets.oidc import SignIns
from secretsvc.tickets.sessions import Sessions
from secretsvc.tickets.web.session import EXTENSION, People
from secretsvc.tickets.web.signin import BACK, install
from secretsvc.tokens import Person
from secretsvc.web.limits import Limits
from secretsvc.web.service import Service
from tests.browser import scriptless
from tests.harness import ROOT, Client, wait_until
from tests.servers import free_port
from tests.tickets.people import provider

SESSION, BROWSER = "__Host-secretsvc", "__Host-secretsvc-sign-in"
PAGES = {"Accept": "text/html"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin", **PAGES}
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
DESK = '{% extends "desk.html" %}{% block title %}Desk{% endblock %}{% block desk %}<h1>Desk</h1>{% endblock %}'
ANNA = Person("Anna", "agent", id="anna-id")


@dataclass
class Provider:
    """The running provider."""

    port: int
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def tell(self, mode: str = "", **more: Any) -> None:
        """Behave like this from now on, with everything that was asked so far forgotten."""
        assert Client(self.url).post("/control", {"mode": mode, **more}).status == 200

    def seen(self, path: str) -> list[dict[str, Any]]:
        found = Client(self.url).get("/control").json["seen"]
        return [each for each in found if each["path"] == path]


@contextmanager
def running_provider() -> Iterator[Provider]:
    port = free_port()
    argv = [sys.executable, "-m", "tests.tickets.people.provider", str(port)]
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found = Provider(port, process)
    try:
        wait_until(lambda: Client(found.url).get("/control").status == 200)
        yield found
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def settings_file(folder: Path, issuer: str = "", **more: Any) -> Path:
    """The ticket module's file, with a provider like Keycloak where an issuer is given."""
    lines = []
    if issuer:
        (folder / "client-secret").write_text(provider.CLIENT_SECRET)
        values = {
            "issuer": issuer,
            "client_id": provider.CLIENT_ID,
            "client_secret_file": str(folder / "client-secret"),
            "role_claim": "realm_access.roles",
            "agents": ["desk-agent"],
            "customers": ["desk-customer"],
            **more,
        }
        lines = ["[sign_in]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
    path = folder / "tickets.toml"
    path.write_text("\n".join([*lines, ""]))
    return path


def with_people(app: Flask) -> Flask:
    """The application with people, if it is not put together like that already, and with a desk to go to."""
    here: Service = app.extensions["secretsvc"]
    conf = here.settings
    limits = Limits(here.store.node, here.vault.keyring, create=0, password=0, sign_in=conf.sign_in_limit)
    app.extensions["secretsvc"] = here = replace(here, limits=limits)
    if EXTENSION not in app.extensions:
        found = config.load(here.settings.tickets_file)
        signs = found.sign_in and SignIns(found.sign_in, here.store.node, here.settings.base_url + BACK)
        sessions = Sessions(here.store.node, found.sign_in.hours if found.sign_in else 10)
        install(app, People(sessions, signs))
    if not any(rule.rule == "/desk" for rule in app.url_map.iter_rules()):
        for path in ("/desk", "/desk/organisations"):
            app.add_url_rule(path, f"test_{path}", lambda: render_template_string(DESK))
    return app


def create_app() -> Flask:
    """What gunicorn loads."""
    return with_people(composition.create_app())


def create_scriptless_app() -> Flask:
    """The same, for a browser that runs no scripts."""
    found = create_app()
    found.wsgi_app = scriptless.with_sandbox(found.wsgi_app)  # type: ignore[method-assign]
    return found


@dataclass
class Browser:
    """What a browser keeps and sends of cookies, and nothing else; it follows no redirect by itself."""

    url: str
    cookies: dict[str, str] = field(default_factory=dict)
    set: list[str] = field(default_factory=list)

    def send(self, method: str, path: str, body: str | None = None, **headers: str) -> Reply:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=40)
        head = {name.replace("_", "-"): value for name, value in headers.items()} or (
            FORM if method == "POST" else PAGES
        )
        if self.cookies:
            head = {**head, "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        try:
            connection.request(method, path, body, head)
            answer = connection.getresponse()
            self.set = [value for name, value in answer.getheaders() if name.lower() == "set-cookie"]
            for each in self.set:
                name, _, value = each.partition(";")[0].partition("=")
                self.cookies.pop(name, None)
                if value and "Max-Age=0" not in each:
                    self.cookies[name] = value
            headers_ = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, headers_, answer.read().decode())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: str = "", **headers: str) -> Reply:
        return self.send("POST", path, body, **headers)

    def start(self, next: str = "") -> str:
        """Press the button; where the provider is to be asked."""
        answer = self.get("/desk/sign-in/start" + (f"?next={next}" if next else ""))
        assert answer.status == 303, answer.body
        return answer.location

    def sign_in(self, next: str = "") -> Reply:
        """All of it: the button, the provider's page, and the way back."""
        return self.get(come_back(self.start(next)))

    @property
    def signed_in(self) -> str:
        """Who our page says is signed in; empty for nobody."""
        found = re.search(r"You are signed in as (.*?)\.<", self.get("/desk/sign-in").body)
        return unescape(found[1]) if found else ""


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: str

    @property
    def location(self) -> str:
        return self.headers["location"]

    @property
    def alert(self) -> str:
        """What the page complains of."""
        found = re.search(r'role="alert">([^<]*)<', self.body)
        assert found, self.body
        return unescape(found[1])


def come_back(url: str) -> str:
    """Log in on the provider's page; the path of ours that it sends the browser back to."""
    parts = urlsplit(url)
    client = Client(f"http://{parts.netloc}")
    found = re.search(r"action='([^']*)'", client.get(f"{parts.path}?{parts.query}").text)
    assert found is not None
    answer = client.send("POST", unescape(found[1]))
    assert answer.status == 302, answer.text
    back = urlsplit(answer.headers["location"])
    return f"{back.path}?{back.query}"


def in_seconds(call: Any) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began
