"""What the tests of the HTTP side share: dumps of the servers, requests, secrets with invented proofs."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from secretsvc import envelope
from secretsvc.envelope import Payload, RequestLink, b64, unb64
from tests.harness import Answer, Backends, Client, InProcess, Secret

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PROBLEM_FIELDS = {
    "type",
    "title",
    "status",
    "detail",
    "state",
    "ended_at",
    "tries_left",
    "errors",
    "violated-policies",
}

Dump = dict[tuple[str, bytes], tuple[bytes | None, int]]


def dump(backs: Backends) -> Dump:
    """Every key of both servers, with its bytes and its end."""
    found: Dump = {}
    for name, server in (("store", backs.store), ("ledger", backs.ledger)):
        client = server.client()
        for key in client.keys("*"):
            found[name, key] = client.dump(key), client.pexpiretime(key)
    return found


def is_problem(answer: Answer, status: int, kind: str, field: str | None = None) -> dict[str, Any]:
    """The answer is this problem, whole and nothing else; with ``field`` it names that field first."""
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body: dict[str, Any] = answer.json
    assert body["type"] == kind, body
    assert body["status"] == status
    assert body["title"]
    assert body["detail"].endswith((".", "`", ")")) or field, body
    assert set(body) <= PROBLEM_FIELDS, body
    if field is not None:
        assert body["errors"][0]["field"] == field, body
        assert body["errors"][0]["message"], body
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    assert ("www-authenticate" in answer.headers) == (status == 401)
    return body


def receipt_key(id: str) -> str:
    """Where the store keeps a receipt."""
    return f"ss:{{{id}}}"


def expire(backs: Backends, secret: Secret | Asked) -> None:
    """As if its time had run out a second ago."""
    store = backs.store.client()
    store.hset(receipt_key(secret.id), "x", int(store.time()[0]) - 1)
    store.delete(receipt_key(secret.id) + ":r")


def with_proof(**more: Any) -> Secret:
    """A secret with an invented proof around noise: the server cannot tell, and it costs no PBKDF2."""
    secret = Secret.make(**more)
    secret.proof = b64(os.urandom(32))
    secret.body |= {"envelope": b64(b"\x03" + os.urandom(284)), "proof": secret.proof}
    return secret


def store(client: Client | InProcess, secret: Secret) -> Secret:
    """Hand it in."""
    answer = client.post("/api/v1/secrets", secret.body)
    assert answer.status == 201, answer.text
    secret.receipt_token = answer.json["receipt_token"]
    return secret


def wrong_password(client: Client | InProcess, secret: Secret, times: int = 1) -> Answer:
    """Try a wrong proof, so often."""
    for _ in range(times):
        answer = secret.claim(client, proof=b64(os.urandom(32)))
    return answer


@dataclass
class Asked:
    """A request made on this side, and all its handles."""

    key: bytes
    id: str
    token: str
    request: RequestLink
    body: dict[str, Any]
    receipt_token: str = ""

    @classmethod
    def make(cls, **more: Any) -> Asked:
        key = envelope.new_key()
        handles = envelope.derive_handles(key)
        request = RequestLink(handles.id, envelope.request_public_key(key))
        body = {
            "id": b64(handles.id),
            "token": b64(handles.token),
            "answer_token": b64(request.answer_token()),
            "form": "text",
            "expires_in": 3600,
            **more,
        }
        return cls(key, body["id"], body["token"], request, body)

    @classmethod
    def create(cls, client: Client | InProcess, staff: dict[str, str], **more: Any) -> Asked:
        asked = cls.make(**more)
        answer = client.post("/api/v1/requests", asked.body, staff)
        assert answer.status == 201, answer.text
        asked.receipt_token = answer.json["receipt_token"]
        return asked

    @property
    def answerer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {b64(self.request.answer_token())}"}

    @property
    def holder(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def sender(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.receipt_token}"}

    def sealed(self, content: bytes = b"hunter2") -> str:
        return b64(envelope.seal_answer(self.request, Payload(content)))

    def answer(self, client: Client | InProcess, body: dict[str, Any] | None = None) -> Answer:
        body = {"envelope": self.sealed(), "consents": []} if body is None else body
        return client.post(f"/api/v1/requests/{self.id}/answer", body, self.answerer)

    def unseal(self, answer: Answer) -> bytes:
        return envelope.unseal_answer(self.key, unb64(answer.json["envelope"])).content


def staff(here: InProcess, name: str = "anna") -> dict[str, str]:
    """The header of a new agent."""
    return {"X-API-Key": here.service.tokens.add(name, "agent")}


def unchanged(before: Dump, after: Dump) -> bool:
    """Nothing was added, altered or taken away; what is gone had its time."""
    now = time.time() * 1000
    kept = all(after.get(key) == value or 0 < value[1] <= now for key, value in before.items())
    return kept and after.keys() <= before.keys()
