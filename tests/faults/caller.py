"""One call of a client, and the event it leaves in the history."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from secretsvc.envelope import b64, unb64
from tests.faults.history import Event, History, hashed
from tests.harness import Answer, Client, Secret

WRONG = b64(bytes(32))


@dataclass
class Dealt:
    """A secret in the traffic, and what its clients know of it."""

    secret: Secret
    created: bool = False
    ended: bool = False
    guesses: int = 0
    unclear: set[str] = field(default_factory=set)  # keys of claims that were not clearly answered
    won: set[str] = field(default_factory=set)  # keys that were given it
    revoking: bool = False  # a revoke was not clearly answered


class Caller:
    """Makes calls about secrets and records them; from any thread.

    Args:
        history: where the events go.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, history: History, *, timeout: float) -> None:
        self.history = history
        self.timeout = timeout

    def create(self, one: Dealt, url: str) -> Event:
        """Create it, or again."""
        sent = hashed(unb64(one.secret.body["envelope"]))

        def call(client: Client) -> Answer:
            return client.post("/api/v1/secrets", one.secret.body)

        event, answer = self._call(one, "create", url, call, digest=sent)
        if answer and answer.status == 201:
            one.secret.receipt_token = answer.json["receipt_token"]
            one.created = True
        return event

    def claim(self, one: Dealt, url: str, key: str | None) -> Event:
        """Claim it; without a key that names one, its holder uses that from then on."""
        event, answer = self._call(one, "claim", url, lambda client: one.secret.claim(client, key), key=key)
        named = answer.headers.get("idempotency-key") if answer else None
        key = key or named
        if key and event.status == 200:
            one.won.add(key)
        if key and (event.status is None or event.type == "ledger-unavailable"):
            one.unclear.add(key)
        elif key and event.status != 503:
            one.unclear.discard(key)
        return event

    def guess(self, one: Dealt, url: str) -> Event:
        """Claim it with a wrong password."""
        one.guesses += 1
        return self._call(one, "guess", url, lambda client: one.secret.claim(client, proof=WRONG))[0]

    def done(self, one: Dealt, url: str, key: str) -> Event:
        """Say that this key has it."""
        head: Any = {"Idempotency-Key": key}
        return self._call(one, "done", url, lambda client: one.secret.call(client, "done", **head), key=key)[0]

    def revoke(self, one: Dealt, url: str) -> Event:
        """Revoke it as its sender."""
        event, _ = self._call(one, "revoke", url, lambda client: one.secret.call(client, "revoke", sender=True))
        one.revoking = event.status is None or event.status >= 500
        return event

    def state(self, one: Dealt, url: str, *, sender: bool = False) -> Event:
        """Ask how it stands."""
        return self._call(one, "state", url, lambda client: one.secret.state(client, sender=sender))[0]

    def stranger(self, one: Dealt, url: str, what: str) -> Event:
        """Ask with a token that does not belong to it."""
        other = replace(one.secret, token=WRONG)
        call = (lambda client: other.state(client)) if what == "state" else (lambda client: other.claim(client))
        return self._call(one, "stranger", url, call)[0]

    def _call(
        self,
        one: Dealt,
        name: str,
        url: str,
        call: Callable[[Client], Answer],
        *,
        key: str | None = None,
        digest: str = "",
    ) -> tuple[Event, Answer | None]:
        client = Client(url, timeout=self.timeout)
        answer: Answer | None = None
        began = time.monotonic()
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = call(client)
        ended = time.monotonic()
        named = answer.headers.get("idempotency-key") if answer else None
        claimant = hashed(key or named or "") if key or named else ""
        event = Event(
            f"{threading.current_thread().name} at {client.port}",
            one.secret.id,
            name,
            began,
            ended,
            claimant=claimant,
            **{"digest": digest, **(told(name, answer) if answer else {})},
        )
        if event.state in ("opened", "revoked", "expired", "ended-by-operator"):
            one.ended = True
        return self.history.add(event), answer


def told(call: str, answer: Answer) -> dict[str, Any]:
    """What an answer says, as an event keeps it."""
    found: dict[str, Any] = {"status": answer.status}
    problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    body = answer.json if problem or answer.status in (200, 201) else {}
    state = body.get("state", "")
    if body.get("ended_by") == "operator":
        state = "ended-by-operator"
    if problem:
        found["type"] = body["type"]
        if answer.status == 410:
            state = body["type"]
    if answer.status == 204 or (call in ("claim", "guess", "stranger") and answer.status == 200):
        state = "opened"
    if "envelope" in body:
        found["digest"] = hashed(unb64(body["envelope"]))
    for name in ("ended_at", "expires_at"):
        if body.get(name):
            found[name] = int(datetime.fromisoformat(body[name]).timestamp())
    return {**found, "state": state}
