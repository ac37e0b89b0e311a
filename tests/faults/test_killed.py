"""A worker killed between any two steps: what every repeat is told, and that nobody gets a secret twice."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest

from secretsvc import envelope
from secretsvc.envelope import Payload, b64
from tests.harness import Answer, Backends, Client, Secret, Web, backends, new_idempotency_key, wait_until, web

# In the order of the claim.  The commit is the ledger's, when the request for it has arrived there.
LOOKED = "store.look after"
PASSWORD_STEPS = ("ledger.peek after", "slots.take after", "store.reserve sent", "store.reserve after")
UNSEALED = "ledger.end before"
COMMITTED = ("ledger.end sent", "ledger.end after", "store.mark before", "store.mark sent", "store.mark after")
STEPS = [(step, False) for step in (LOOKED, UNSEALED, *COMMITTED)] + [
    (step, True) for step in (LOOKED, *PASSWORD_STEPS, UNSEALED, *COMMITTED)
]
A_DEATH = (RemoteDisconnected, ConnectionResetError)


@dataclass
class Trap:
    """A running service whose workers die where the trap is set."""

    running: Web
    backs: Backends
    file: Path

    @property
    def client(self) -> Client:
        """A client, once there is a worker again."""
        client = self.running.client()
        wait_until(lambda: client.get("/healthz").status == 200)
        return client

    def kills(self, where: str, call: Callable[[], Any]) -> None:
        """Set the trap and make the call; its worker must die there."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(where)
        fresh.rename(self.file)
        with pytest.raises(A_DEATH):
            call()
        assert not self.file.exists(), "it died of something else"
        # Until it is wholly gone its listening socket may still be given connections.
        died = Path("/proc") / self.file.with_suffix(".died").read_text()
        wait_until(lambda: not died.exists())


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    folder = tmp_path_factory.mktemp("killed")
    with backends(folder) as backs, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAP", str(folder / "trap"))
        with web(backs, folder, target="tests.faults.trapped:app()", workers=3, threads=2) as running:
            found = Trap(running, backs, folder / "trap")
            know_all_rules(found.client)
            yield found


def know_all_rules(client: Client) -> None:
    """Run every rule once: the servers know them by their hashes from then on."""
    one = make(client, password=True)
    key = new_idempotency_key()
    assert one.claim(client, proof=WRONG).status == 403
    assert one.claim(client, key).status == 200
    assert one.claim(client, key).status == 200
    assert one.call(client, "done", **{"Idempotency-Key": key}).status == 204


WRONG = b64(bytes(32))


def make(client: Client, *, password: bool, **more: Any) -> Secret:
    return Secret.create(client, stretched=os.urandom(32) if password else None, **more)


def told(answer: Answer) -> tuple[int, str]:
    """Status and type."""
    return answer.status, "" if answer.status < 400 else answer.json["type"]


@pytest.mark.parametrize("with_key", [False, True], ids=["no-key", "key"])
@pytest.mark.parametrize(("step", "password"), STEPS, ids=lambda value: str(value).replace(" ", "-"))
def test_a_killed_claim(trap: Trap, step: str, *, password: bool, with_key: bool) -> None:
    client = trap.client
    secret = make(client, password=password)
    key = new_idempotency_key() if with_key else None
    other = new_idempotency_key()

    trap.kills(step, lambda: secret.claim(client, key))
    client = trap.client

    if step in COMMITTED:
        assert told(secret.claim(client)) == (410, "opened")
        assert told(secret.claim(client, other)) == (410, "opened")
        receipt = secret.state(client, sender=True).json
        assert receipt["state"] == "opened"
        assert receipt["ended_at"]
        if not with_key:
            return  # nobody has it, nobody gets it, and the sender is told
    else:
        assert secret.state(client, sender=True).json["state"] == "sealed"
        if password:
            assert secret.state(client, sender=True).json["tries_left"] == 5

    for _ in range(2 if with_key else 1):  # the same caller again; without a key that might be anybody
        again = secret.claim(client, key)
        assert told(again) == (200, "")
        assert again.json["envelope"] == secret.body["envelope"]
    assert told(secret.claim(client, other)) == (410, "opened")
    assert told(secret.claim(client)) == (410, "opened")
    assert secret.state(client, sender=True).json["state"] == "opened"
    if with_key:
        done = secret.call(client, "done", **{"Idempotency-Key": key or ""})
        assert done.status == 204
        assert told(secret.claim(client, key)) == (410, "opened")
    assert not trap.backs.store.client().exists(f"ss:{{{secret.id}}}:r")


@pytest.mark.parametrize(
    ("step", "left"),
    [
        ("store.reserve after", 4),
        ("store.settle before", 4),
        ("store.settle sent", 3),
        ("store.settle after", 3),
    ],
)
def test_a_killed_wrong_password(trap: Trap, step: str, left: int) -> None:
    """It counts once its verdict is stored; until then the try is held for 30 s, so that it is not free."""
    client = trap.client
    secret = make(client, password=True)
    trap.kills(step, lambda: secret.claim(client, proof=WRONG))
    client = trap.client
    again = secret.claim(client, proof=WRONG)
    assert told(again) == (403, "wrong-password")
    assert again.json["tries_left"] == left
    assert secret.claim(client).status == 200


def test_five_killed_tries_hold_the_password_until_they_run_out(trap: Trap) -> None:
    secret = make(trap.client, password=True)
    for _ in range(5):
        client = trap.client
        trap.kills("store.reserve after", lambda client=client: secret.claim(client))  # type: ignore[misc]
    answer = secret.claim(trap.client)
    assert told(answer) == (429, "rate-limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert secret.state(trap.client, sender=True).json["state"] == "sealed"


@pytest.mark.parametrize("password", [False, True], ids=["plain", "password"])
@pytest.mark.parametrize(
    "step", ["ledger.epoch after", "store.create before", "store.create sent", "store.create after"]
)
def test_a_killed_create_repeated_is_one_secret(trap: Trap, step: str, *, password: bool) -> None:
    client = trap.client
    store = trap.backs.store.client()
    before = set(store.keys())
    secret = Secret.make(stretched=os.urandom(32) if password else None)

    trap.kills(step, lambda: client.post("/api/v1/secrets", secret.body))
    client = trap.client
    first = client.post("/api/v1/secrets", secret.body)
    second = client.post("/api/v1/secrets", secret.body)
    assert (first.status, first.json["state"]) == (201, "sealed")
    assert first.body == second.body
    assert len(set(store.keys()) - before) == 2

    other = client.post("/api/v1/secrets", {**secret.body, "expires_in": 7200})
    assert told(other) == (409, "conflict")
    secret.receipt_token = first.json["receipt_token"]
    assert secret.state(client, sender=True).status == 200
    assert secret.unseal(secret.claim(client)) == b"hunter2"
    assert told(secret.claim(client)) == (410, "opened")


@pytest.mark.parametrize("password", ["", "sesam"], ids=["plain", "password"])
@pytest.mark.parametrize(
    "step",
    [
        "store.remember before",
        "store.remember sent",
        "store.remember after",
        "store.create before",
        "store.create sent",
        "store.create after",
    ],
)
def test_a_killed_create_by_the_server_repeated_is_one_link(trap: Trap, step: str, password: str) -> None:
    client = trap.client
    store = trap.backs.store.client()
    before = set(store.keys())
    body = {"secret": "täst", "expires_in": 3600, **({"password": password} if password else {})}
    head = {"Idempotency-Key": new_idempotency_key()}

    trap.kills(step, lambda: client.post("/api/v1/secrets", body, head))
    client = trap.client
    first = client.post("/api/v1/secrets", body, head)
    second = client.post("/api/v1/secrets", body, head)
    assert first.status == 201, first.text
    assert first.json["state"] == "sealed"
    assert first.body == second.body
    assert len(set(store.keys()) - before) == 3  # receipt, record, and what the key made

    assert told(client.post("/api/v1/secrets", {**body, "secret": "x"}, head)) == (422, "invalid")
    wish = {"link": first.json["link"], **({"password": password} if password else {})}
    assert client.post("/api/v1/open", wish).json["secret"] == "täst"
    assert told(client.post("/api/v1/open", wish)) == (410, "opened")


@pytest.mark.parametrize("step", [LOOKED, UNSEALED, *COMMITTED])
def test_a_killed_revoke(trap: Trap, step: str) -> None:
    client = trap.client
    secret = make(client, password=False)
    trap.kills(step, lambda: secret.call(client, "revoke", sender=True))
    client = trap.client
    if step in COMMITTED:
        assert told(secret.claim(client, new_idempotency_key())) == (410, "revoked")
    again = secret.call(client, "revoke", sender=True)
    assert (again.status, again.json["state"]) == (200, "revoked")
    assert again.json["ended_at"]
    assert told(secret.claim(client)) == (410, "revoked")
    assert secret.state(client).json["state"] == "revoked"
    assert not trap.backs.store.client().exists(f"ss:{{{secret.id}}}:r")


def test_a_revoke_killed_before_its_commit_leaves_the_secret_to_its_reader(trap: Trap) -> None:
    client = trap.client
    secret = make(client, password=False)
    trap.kills(UNSEALED, lambda: secret.call(client, "revoke", sender=True))
    client = trap.client
    assert secret.claim(client).status == 200
    assert told(secret.call(client, "revoke", sender=True)) == (410, "opened")


@pytest.mark.parametrize(
    "step", ["ledger.done before", "ledger.done sent", "ledger.done after", *COMMITTED[2:]]
)
def test_a_killed_done(trap: Trap, step: str) -> None:
    client = trap.client
    secret = make(client, password=False)
    key = new_idempotency_key()
    assert secret.claim(client, key).status == 200
    trap.kills(step, lambda: secret.call(client, "done", **{"Idempotency-Key": key}))
    client = trap.client
    assert told(secret.claim(client, new_idempotency_key())) == (410, "opened")
    if step != "ledger.done before":
        assert told(secret.claim(client, key)) == (410, "opened")
    assert secret.call(client, "done", **{"Idempotency-Key": key}).status == 204
    assert told(secret.claim(client, key)) == (410, "opened")
    assert not trap.backs.store.client().exists(f"ss:{{{secret.id}}}:r")


@pytest.fixture(scope="module")
def agent(trap: Trap) -> dict[str, str]:
    return {"X-API-Key": trap.backs.app().extensions["secretsvc"].tokens.add("agent", "agent")}


@pytest.mark.parametrize(
    "step",
    [
        "ledger.peek after",
        "store.answer before",
        "store.answer sent",
        "store.answer after",
    ],
)
def test_a_killed_answer_repeated_is_one_answer(trap: Trap, agent: dict[str, str], step: str) -> None:
    client = trap.client
    key = envelope.new_key()
    handles = envelope.derive_handles(key)
    link = envelope.format_request_link("http://x", handles.id, envelope.request_public_key(key))
    asked = envelope.read_request_link(link)
    id, token, answer_token = b64(handles.id), b64(handles.token), b64(secrets.token_bytes(32))
    request = {"id": id, "token": token, "answer_token": answer_token, "form": "text", "expires_in": 3600}
    assert client.post("/api/v1/requests", request, agent).status == 201
    answerer = {"Authorization": f"Bearer {answer_token}"}
    path = f"/api/v1/requests/{id}/answer"
    body = {"envelope": b64(envelope.seal_answer(asked, Payload(b"root"))), "consents": []}
    other = {**body, "envelope": b64(envelope.seal_answer(asked, Payload(b"toor")))}

    trap.kills(step, lambda: client.post(path, body, answerer))
    client = trap.client
    reader = {"Authorization": f"Bearer {token}", **agent}
    if step in ("store.answer sent", "store.answer after"):
        assert told(client.post(path, other, answerer)) == (409, "conflict")
    else:
        claim = client.post(f"/api/v1/secrets/{id}/claim", {}, reader)
        assert told(claim) == (409, "not-answered")
    for _ in range(2):
        again = client.post(path, body, answerer)
        assert (again.status, again.json["state"]) == (201, "sealed"), again.text
    assert told(client.post(path, other, answerer)) == (409, "conflict")
    claim = client.post(f"/api/v1/secrets/{id}/claim", {}, reader)
    assert claim.json["envelope"] == body["envelope"]
    assert told(client.post(f"/api/v1/secrets/{id}/claim", {}, reader)) == (410, "opened")
    assert told(client.post(path, body, answerer)) == (201, "")
