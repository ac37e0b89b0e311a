"""The rows of the table: what is sent to whom, and what one row leaves for another to use up."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from bench.generator import Run, request, send
from bench.servers import Target
from tests.harness import Secret, new_idempotency_key

Group = Literal["create", "open", "page"]
SECRET_BYTES = 32
SLOTS = 2  # of the service, by default
KEPT = 32  # secrets whose state is asked for again and again


@dataclass(frozen=True)
class Sample:
    """One row in one round; CPU in seconds and the bytes of requests and answers, for each request."""

    rate: float
    each: list[float]
    web: float
    store: float
    ledger: float
    generator: float
    asked: float = 0.0
    answered: float = 0.0


@dataclass(frozen=True)
class Row:
    """A kind of request to a target.

    Attributes:
        prepare: makes that many requests, before the clock runs.
        expected: the status of every answer.
        after: takes the bodies of the answers.
        share: of the number of requests; less where each takes long.
        most: how many connections at most; more Argon2 runs than the service has slots are turned away.
    """

    name: str
    group: Group
    target: Target
    prepare: Callable[[int], Sequence[bytes]]
    expected: int = 200
    after: Callable[[list[bytes]], None] | None = None
    share: float = 1.0
    most: int = 64

    def run(self, count: int, connections: int) -> Sample:
        """Send them, and count what they cost."""
        connections = min(connections, self.most)
        count = max(connections, round(count * self.share))
        requests = self.prepare(count)
        before = self.target.cpu()
        run = self._send(requests, connections)
        web, store, ledger = ((now - then) / count for now, then in zip(self.target.cpu(), before, strict=True))
        if self.after:
            self.after(run.bodies)
        asked = sum(map(len, requests)) / count
        return Sample(run.rate, run.each, web, store, ledger, run.cpu / count, asked, run.received / count)

    def _send(self, requests: Sequence[bytes], connections: int) -> Run:
        keep = self.after is not None
        return send(self.target.ports, requests, connections=connections, expected=self.expected, keep=keep)


def content() -> str:
    """A secret of 32 bytes."""
    return secrets.token_hex(SECRET_BYTES // 2)


@dataclass
class Deck:
    """What was created at one target and is still to be opened."""

    ports: Sequence[int]
    sealed: list[Secret] = field(default_factory=list)
    guarded: list[Secret] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    claimed: list[tuple[Secret, str]] = field(default_factory=list)
    kept: list[Secret] = field(default_factory=list)

    def create(self, count: int) -> list[bytes]:
        """Secrets sealed here."""
        made = [Secret.make(content().encode()) for _ in range(count)]
        self.sealed += made
        return [creating(secret) for secret in made]

    def create_guarded(self, count: int) -> list[bytes]:
        """The same with a password, whose stretching is the client's."""
        made = [Secret.make(content().encode(), stretched=secrets.token_bytes(32)) for _ in range(count)]
        self.guarded += made
        return [creating(secret) for secret in made]

    def create_there(self, count: int) -> list[bytes]:
        """Secrets for the server to seal."""
        return [
            request("POST", "/api/v1/secrets", {"secret": content(), "expires_in": 3600}) for _ in range(count)
        ]

    def created_there(self, bodies: list[bytes]) -> None:
        """Keep their links."""
        self.links += [json.loads(body)["link"] for body in bodies]

    def claim(self, count: int) -> list[bytes]:
        """Claims as a browser makes them, each with a key of its own."""
        self._make_up(count - len(self.sealed), self.create)
        return [self._claim(self.sealed.pop()) for _ in range(count)]

    def claim_guarded(self, count: int) -> list[bytes]:
        """Claims with the right password."""
        self._make_up(count - len(self.guarded), self.create_guarded)
        return [self._claim(self.guarded.pop()) for _ in range(count)]

    def done(self, count: int) -> list[bytes]:
        """What a browser sends when it has unsealed."""
        if count > len(self.claimed):
            send(self.ports, self.claim(count), connections=1)
        found = [self.claimed.pop() for _ in range(count)]
        return [
            request("POST", f"/api/v1/secrets/{one.id}/done", None, {**one.auth(), "Idempotency-Key": key})
            for one, key in found
        ]

    def open_there(self, count: int) -> list[bytes]:
        """Links for the server to open."""
        if count > len(self.links):
            requests = self.create_there(count)
            self.created_there(send(self.ports, requests, connections=1, expected=201, keep=True).bodies)
        key = {"Idempotency-Key": new_idempotency_key()}
        return [request("POST", "/api/v1/open", {"link": self.links.pop()}, key) for _ in range(count)]

    def state(self, count: int) -> list[bytes]:
        """How some stand that nobody opens."""
        if not self.kept:
            self.kept = [Secret.make(content().encode()) for _ in range(KEPT)]
            send(self.ports, [creating(secret) for secret in self.kept], connections=1, expected=201)
        asked = (self.kept[n % len(self.kept)] for n in range(count))
        return [request("GET", f"/api/v1/secrets/{one.id}", None, one.auth()) for one in asked]

    def _make_up(self, missing: int, create: Callable[[int], list[bytes]]) -> None:
        """Create what is still missing, where the row that creates it is not run."""
        if missing > 0:
            send(self.ports, create(missing), connections=1, expected=201)

    def _claim(self, secret: Secret) -> bytes:
        key = new_idempotency_key()
        self.claimed.append((secret, key))
        return claiming(secret, key)


@dataclass
class SnapPass:
    """The same for SnapPass: a form in, a link out, and its page to read it from."""

    ports: Sequence[int]
    paths: list[str] = field(default_factory=list)

    def create(self, count: int) -> list[bytes]:
        head = {"Content-Type": "application/x-www-form-urlencoded"}
        return [request("POST", "/", f"password={content()}&ttl=hour".encode(), head) for _ in range(count)]

    def created(self, bodies: list[bytes]) -> None:
        self.paths += [urlsplit(json.loads(body)["link"]).path for body in bodies]

    def read(self, count: int) -> list[bytes]:
        if count > len(self.paths):
            self.created(send(self.ports, self.create(count), connections=1, keep=True).bodies)
        head = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
        return [request("POST", self.paths.pop(), b"", head) for _ in range(count)]


def creating(secret: Secret) -> bytes:
    """The create of a secret that is sealed."""
    return request("POST", "/api/v1/secrets", secret.body)


def claiming(secret: Secret, key: str) -> bytes:
    """Its claim."""
    body = {"proof": secret.proof} if secret.proof else {}
    head = {**secret.auth(), "Idempotency-Key": key}
    return request("POST", f"/api/v1/secrets/{secret.id}/claim", body, head)


def page(path: str) -> Callable[[int], list[bytes]]:
    """The same page, as a browser asks for it."""
    head = {"Accept": "text/html,application/xhtml+xml", "Accept-Language": "de,en;q=0.7"}
    return lambda count: [request("GET", path, None, head)] * count


def baseline_rows(trip: Target, constant: Target, bare: Target, snappass: Target) -> list[Row]:
    """What ours is measured against; the one that the ratios are taken to is first."""
    deck, others = Deck(trip.ports), SnapPass(snappass.ports)
    return [
        Row("Flask + SET", "create", trip, deck.create, 201),
        Row(f"{snappass.name}: create", "create", snappass, others.create, 200, others.created),
        Row("Flask + GET", "open", trip, deck.claim),
        Row(f"{snappass.name}: read", "open", snappass, others.read),
        Row("Flask, constant", "page", constant, page("/")),
        Row("bare WSGI, constant", "page", bare, page("/")),
    ]


def service_rows(ours: Target, quick: Target) -> list[Row]:
    """This service: as it is deployed, and with the cheapest Argon2 and no limits."""
    deck, cheap = Deck(ours.ports), Deck(quick.ports)
    return [
        Row("create", "create", ours, deck.create, 201),
        Row("create, no limit counted", "create", quick, cheap.create, 201),
        Row("create, sealed by the server", "create", ours, deck.create_there, 201, deck.created_there),
        Row(
            "create, password, cheap Argon2", "create", quick, cheap.create_guarded, 201, share=0.25, most=SLOTS
        ),
        Row("create, password", "create", ours, deck.create_guarded, 201, share=0.1, most=SLOTS),
        Row("state", "open", ours, deck.state),
        Row("claim", "open", ours, deck.claim),
        Row("done", "open", ours, deck.done, 204),
        Row("open, by the server", "open", ours, deck.open_there),
        Row("claim, password, cheap Argon2", "open", quick, cheap.claim_guarded, share=0.25, most=SLOTS),
        Row("claim, password", "open", ours, deck.claim_guarded, share=0.1, most=SLOTS),
        Row("page /", "page", ours, page("/")),
        Row("page /s", "page", ours, page("/s")),
    ]


def ledger_rows(targets: Sequence[Target]) -> list[Row]:
    """What the ledger costs: the same service without it, and with more nodes."""
    found = []
    for target in targets:
        deck = Deck(target.ports)
        found.append(Row(f"create, {target.name}", "create", target, deck.create, 201))
        found.append(Row(f"claim, {target.name}", "open", target, deck.claim))
    return found
