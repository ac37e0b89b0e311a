"""Many at once: however many open together, over however many processes, one holder gets the secret."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from secretsvc.envelope import b64
from secretsvc.errors import Expired, Opened, Revoked, SecretsvcError
from secretsvc.vault import New, Vault
from tests.harness import Answer, Backends, Secret, Web, backends, new_idempotency_key, web

Say = Callable[[str], None]
WRONG = b64(bytes(32))


@dataclass
class Two:
    """Two web processes on one store and one ledger."""

    backs: Backends
    webs: tuple[Web, Web]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("parallel")
    with backends(folder) as backs, ExitStack() as stack:
        first, second = (stack.enter_context(web(backs, folder, threads=16)) for _ in range(2))
        yield Two(backs, (first, second))


def claim_request(secret: Secret, key: str | None = None, proof: str | None = None) -> bytes:
    proof = proof or secret.proof
    body = json.dumps({"proof": proof} if proof else {})
    lines = [
        f"POST /api/v1/secrets/{secret.id}/claim HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {secret.token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *([f"Idempotency-Key: {key}"] if key else []),
        "",
        body,
    ]
    return "\r\n".join(lines).encode()


def together(webs: tuple[Web, Web], requests: list[bytes]) -> list[Answer]:
    """Send all requests but their last bytes, by turns to both; then all last bytes; then read."""
    with ExitStack() as stack:
        sockets = []
        for i, request in enumerate(requests):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", webs[i % 2].port), timeout=30))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.sendall(request[:-1])
            sockets.append(one)
        for one, request in zip(sockets, requests, strict=True):
            one.sendall(request[-1:])
        return [read(one) for one in sockets]


def read(one: socket.socket) -> Answer:
    answer = http.client.HTTPResponse(one)
    try:
        answer.begin()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        answer.close()


def holds_any_of(answer: Answer, secret: Secret) -> bool:
    """Whether an answer holds eight characters in a row of the envelope's random part."""
    envelope, text = secret.body["envelope"], answer.text
    return any(envelope[i : i + 8] in text for i in range(2, len(envelope) - 7))


def test_of_parallel_openers_one_gets_it_and_the_others_nothing(two: Two, say: Say) -> None:
    rounds, openers = 200, 32
    client = two.webs[0].client()
    found: Counter[int] = Counter()
    double = 0
    for n in range(rounds):
        content = f"secret number {n}".encode()
        secret = Secret.create(client, content)
        answers = together(two.webs, [claim_request(secret)] * openers)
        winners = [answer for answer in answers if answer.status == 200]
        found.update(answer.status for answer in answers)
        double += max(0, len(winners) - 1)
        assert [secret.unseal(answer) for answer in winners] == [content]
        for answer in answers:
            if answer.status != 200:
                assert answer.json["type"] == "opened"
                assert not holds_any_of(answer, secret)
    say(f"{found[200]} opened, {found[410]} x 410, {double} double")
    assert found == {200: rounds, 410: rounds * (openers - 1)}
    assert double == 0


def test_one_key_in_parallel_is_one_claim_with_the_same_bytes(two: Two, say: Say, *, full: bool) -> None:
    rounds = 50 if full else 15
    ledger = two.backs.ledger.client()
    for n in range(rounds):
        password = n % 3 == 0
        secret = Secret.create(two.webs[0].client(), stretched=os.urandom(32) if password else None)
        before = int(ledger.get("ss:sequence") or 0)
        openers = 4 if password else 16  # more would rightly be told to wait for a slot
        answers = together(two.webs, [claim_request(secret, new_idempotency_key())] * openers)
        assert {answer.status for answer in answers} == {200}
        assert {answer.json["envelope"] for answer in answers} == {secret.body["envelope"]}
        assert int(ledger.get("ss:sequence") or 0) == before + 1
    say(f"{rounds} keys, {rounds} claims")


def test_claim_revoke_and_expiry_race_to_one_end(backs: Backends, say: Say, *, full: bool) -> None:
    """Claim and revoke start together, up to 80 ms before or after the last moment."""
    rounds, at_once = (500, 50) if full else (200, 50)
    vault: Vault = backs.app(threads="32").extensions["secretsvc"].vault
    found: Counter[str] = Counter()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(rounds // at_once):
            time.sleep(1 - vault.store.now() % 1)  # a second has just begun: all are made within it
            made = [short_lived(vault) for _ in range(at_once)]
            expires_at = made[-1][0].receipt.expires_at
            for number, (link, sender) in enumerate(made):
                at = expires_at - 0.08 + 0.16 * number / at_once
                time.sleep(max(0.0, at - vault.store.now()))
                if link.receipt.expires_at != expires_at:  # the second turned while they were made
                    continue
                barrier = threading.Barrier(2)
                claim = pool.submit(ended, barrier, lambda link=link: vault.claim(link) == bytes(285))
                revoke = pool.submit(ended, barrier, lambda sender=sender: vault.revoke(sender).state)
                told = claim.result(), revoke.result()
                found[check_one_end(told)] += 1
                assert vault.state(vault.look(link.id, bytes(32), "link")).state == told_state(told)
    say(f"{dict(found)} of {found.total()}: exactly one end each")
    assert found.total() >= rounds * 0.8
    assert set(found) == {"claimed", "revoked", "expired"}


def short_lived(vault: Vault) -> tuple[Any, Any]:
    """Looks of link and sender at a secret that has less than a second to live."""
    id = os.urandom(16)
    made = vault.create(New(id=id, token=bytes(32), expires_in=1, envelope=bytes(285)))
    look = vault.look(id, bytes(32), "link", record=True)
    return look, vault.look(id, made.receipt_token, "sender")


def ended(barrier: threading.Barrier, call: Callable[[], Any]) -> Any:
    barrier.wait()
    try:
        return call()
    except SecretsvcError as error:
        return type(error)


ONE_END = {
    (True, Opened): "claimed",
    (Revoked, "revoked"): "revoked",
    (Expired, Expired): "expired",
}


def check_one_end(told: tuple[Any, Any]) -> str:
    assert told in ONE_END, f"no one end: claim {told[0]}, revoke {told[1]}"
    return ONE_END[told]


def told_state(told: tuple[Any, Any]) -> str:
    return {"claimed": "opened"}.get(ONE_END[told], ONE_END[told])


def test_parallel_wrong_passwords_gain_nothing_and_lock(two: Two, say: Say) -> None:
    client = two.webs[0].client()
    secret = Secret.create(client, stretched=os.urandom(32))
    answers = together(two.webs, [claim_request(secret, proof=WRONG)] * 200)
    found = Counter(answer.status for answer in answers)
    say(f"200 wrong passwords: {dict(found)}")
    tries = two.backs.store.client().hget(f"ss:{{{secret.id}}}", "n")
    assert int(tries or 0) == 5  # what Argon2 ran for and was counted
    assert found[403] == 5
    assert set(found) <= {403, 423, 429, 503}
    assert sorted(a.json["tries_left"] for a in answers if a.status == 403) == [0, 1, 2, 3, 4]
    assert not any(holds_any_of(answer, secret) for answer in answers)
    state = secret.state(client, sender=True).json
    assert (state["state"], state["tries_left"]) == ("locked", 0)
    assert secret.claim(client).status == 423


def test_parallel_right_passwords_open_once_and_never_lock(two: Two, say: Say, *, full: bool) -> None:
    rounds = 30 if full else 8
    client = two.webs[0].client()
    found: Counter[int] = Counter()
    for _ in range(rounds):
        secret = Secret.create(client, stretched=os.urandom(32))
        answers = together(two.webs, [claim_request(secret)] * 32)
        assert [secret.unseal(answer) for answer in answers if answer.status == 200] == [b"hunter2"]
        found.update(answer.status for answer in answers)
        assert not any(holds_any_of(answer, secret) for answer in answers if answer.status != 200)
        assert secret.state(client, sender=True).json["state"] == "opened"
    say(f"{rounds} x 32 right passwords: {dict(found)}")
    assert found[200] == rounds
    assert set(found) <= {200, 410, 429, 503}


def test_a_flood_of_passwords_is_bounded_in_memory_and_harms_nobody(
    backs: Backends, folder: Path, say: Say
) -> None:
    slots, memory_mib, at_once = (
        2,
        19,
        100,
    )  # as by default: malloc might keep a block of that size for each thread
    settings = {"argon2_memory_kib": str(memory_mib * 1024), "argon2_slots": str(slots)}
    with web(backs, folder, threads=32, **settings) as running:
        client = running.client()
        plain = Secret.create(client)
        worker = worker_of(running)
        Path(f"/proc/{worker}/clear_refs").write_text("5")  # the peak counts from here
        base = memory_kib(worker, "VmRSS")
        secrets_ = [Secret.create(client, stretched=os.urandom(32)) for _ in range(at_once)]
        slowest, statuses = 0.0, Counter[int]()
        with ThreadPoolExecutor(at_once) as pool:
            flood = [pool.submit(secret.claim, running.client(), None, WRONG) for secret in secrets_]
            while not all(one.done() for one in flood):
                started = time.monotonic()
                assert client.get("/healthz").status == 200
                assert plain.state(client).status == 200
                slowest = max(slowest, time.monotonic() - started)
            statuses.update(one.result().status for one in flood)
        grown = (memory_kib(worker, "VmHWM") - base) / 1024
        say(f"{dict(statuses)}; +{grown:.0f} MiB for {slots} x {memory_mib} MiB; slowest light {slowest:.2f} s")
        assert set(statuses) == {403, 503}
        assert grown <= slots * memory_mib + 24
        assert slowest < 1.0
        assert plain.claim(client).status == 200


def worker_of(running: Web) -> int:
    found = subprocess.run(
        ["pgrep", "-P", str(running.process.pid)], capture_output=True, text=True, check=True
    )
    [worker] = found.stdout.split()
    return int(worker)


def memory_kib(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def test_many_different_secrets_at_once_are_all_opened(backs: Backends, folder: Path, say: Say) -> None:
    """Answers of the ledger cross each other: an older one is not a sign that it was rolled back."""
    with web(backs, folder, workers=1, threads=8) as running:
        client = running.client()
        secrets_ = [Secret.create(client) for _ in range(300)]
        with ThreadPoolExecutor(16) as pool:
            claims = list(pool.map(lambda secret: secret.claim(running.client()), secrets_))
            states = list(pool.map(lambda secret: secret.state(running.client()), secrets_))
    found = Counter(answer.status for answer in claims)
    say(f"300 different secrets, 16 at a time: {dict(found)}")
    assert found == {200: 300}
    assert {answer.json["state"] for answer in states} == {"opened"}
