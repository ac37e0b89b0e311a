"""The shortest way through: create, open once, hear the truth."""

from pathlib import Path

from tests.harness import Backends, InProcess, Secret, new_idempotency_key, web


def test_second_claim_is_gone(here: InProcess) -> None:
    secret = Secret.create(here)
    first = secret.claim(here)
    assert first.status == 200, first.text
    assert secret.unseal(first) == b"hunter2"
    second = secret.claim(here)
    assert second.status == 410
    assert second.json["type"] == "opened"
    assert second.json["state"] == "opened"


def test_password_claim(here: InProcess) -> None:
    secret = Secret.create(here, password="sesam")
    wrong = secret.claim(here, proof="A" * 43)
    assert (wrong.status, wrong.json["tries_left"]) == (403, 4), wrong.text
    key = new_idempotency_key()
    for _ in range(3):
        right = secret.claim(here, key)
        assert right.status == 200, right.text
        assert secret.unseal(right) == b"hunter2"
    assert secret.call(here, "done", **{"Idempotency-Key": key}).status == 204
    assert secret.claim(here, key).status == 410


def test_web_process(backs: Backends, folder: Path) -> None:
    with web(backs, folder) as running:
        secret = Secret.create(running.client())
        assert secret.claim(running.client()).status == 200
        assert secret.claim(running.client()).status == 410
        assert secret.state(running.client(), sender=True).json["state"] == "opened"
