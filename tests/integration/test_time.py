"""Time: the servers' clocks count, ours does not; and nothing is given out after its last moment."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from secretsvc.envelope import unb64
from secretsvc.errors import Ended, Expired, LedgerUnavailable, Misconfigured, Opened
from secretsvc.node import Node
from secretsvc.vault import New, Vault, claimant_hash
from tests.harness import Backends, InProcess, Secret, new_idempotency_key, wait_until

TWO_HOURS = 7200


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("off", [TWO_HOURS, -TWO_HOURS])
@pytest.mark.parametrize("since", ["start", "later"])
def test_a_wrong_clock_of_ours_changes_nothing(
    backs: Backends, monkeypatch: pytest.MonkeyPatch, off: int, since: str
) -> None:
    real = time.time
    now = real()
    here = InProcess(backs.app()) if since == "later" else None
    before = Secret.create(here, expires_in=3600) if here else None
    monkeypatch.setattr(time, "time", lambda: real() + off)
    here = here or InProcess(backs.app())

    secret = Secret.make(expires_in=60)
    answer = here.post("/api/v1/secrets", secret.body)
    assert answer.status == 201, answer.text
    assert abs(seconds(answer.json["created_at"]) - now) < 5
    assert abs(seconds(answer.json["expires_at"]) - now - 60) < 5
    assert 50 < backs.store.client().ttl(f"ss:{{{secret.id}}}:r") <= 60
    assert secret.state(here).json["state"] == "sealed"
    key = new_idempotency_key()
    assert [secret.claim(here, key).status for _ in range(2)] == [200, 200]
    assert secret.claim(here).json["type"] == "opened"
    assert abs(seconds(secret.claim(here).json["ended_at"]) - now) < 5

    locked = Secret.create(here, stretched=os.urandom(32))
    assert locked.claim(here, proof="A" * 43).status == 403
    assert locked.claim(here).status == 200
    if before:
        assert before.claim(here).status == 200


def short(vault: Vault, *, proof: bytes | None = None) -> tuple[bytes, int]:
    """A secret with one to two seconds to live: its id, and when it ends."""
    id = os.urandom(16)
    made = vault.create(New(id=id, token=bytes(32), expires_in=2, envelope=b"e" * 285, proof=proof))
    return id, made.view.expires_at


def claim(vault: Vault, id: bytes, **more: Any) -> bytes:
    return vault.claim(vault.look(id, bytes(32), "link", record=True), **more)


def test_nothing_is_served_after_its_expiry_not_to_a_repeat_either(backs: Backends) -> None:
    vault: Vault = InProcess(backs.app()).service.vault
    key = new_idempotency_key()
    unread, expires_at = short(vault)
    read, _ = short(vault)
    held, _ = short(vault)
    look = vault.look(held, bytes(32), "link", record=True)  # looked at in time, claimed too late
    assert claim(vault, read, key=key) == b"e" * 285
    assert claim(vault, read, key=key) == b"e" * 285
    wait_until(lambda: time.time() >= expires_at + 1.01, 5)

    with pytest.raises(Expired) as told:
        claim(vault, unread)
    assert told.value.ended_at == expires_at
    with pytest.raises(Opened):
        claim(vault, read, key=key)
    with pytest.raises(Expired):
        vault.claim(look)
    assert vault.state(vault.look(unread, bytes(32), "link")).state == "expired"
    assert vault.state(vault.look(read, bytes(32), "link")).state == "opened"
    records = backs.store.client().keys("*:r")
    assert records == []


def test_served_until_the_last_second_and_never_after(backs: Backends) -> None:
    """A repeat every few milliseconds across the last moment; the store's own clock is the judge."""
    vault: Vault = InProcess(backs.app()).service.vault
    key = new_idempotency_key()
    id, expires_at = short(vault)
    clock = backs.store.client()
    served = refused = 0
    while refused < 20:
        started = clock.time()[0]
        try:
            claim(vault, id, key=key)
        except Ended:
            refused += 1
            assert clock.time()[0] >= expires_at
        else:
            served += 1
            assert started < expires_at
            assert refused == 0
    assert served > 20


@pytest.mark.parametrize(("off", "refused"), [(60, True), (-60, True), (2, False)])
def test_servers_whose_clocks_differ_are_refused(
    backs: Backends, monkeypatch: pytest.MonkeyPatch, off: int, refused: bool
) -> None:
    real = Node.time
    ledgers = {LedgerUnavailable: off}
    monkeypatch.setattr(Node, "time", lambda node: real(node) + ledgers.get(node._unavailable, 0))
    if not refused:
        assert backs.app()
        return
    with pytest.raises(Misconfigured, match="clocks of ledger and store differ"):
        backs.app()


def test_a_look_by_a_clock_ahead_does_not_cut_the_winners_window_short(backs: Backends) -> None:
    """What is left of the window is counted by the ledger's clock, which began it."""
    here = InProcess(backs.app(retry_window="60"))
    secret, key = Secret.create(here), new_idempotency_key()
    vault = here.service.vault
    look = vault.look(unb64(secret.id), unb64(secret.token), "link", record=True)
    vault.ledger.end(  # decided, and the process died before it marked the receipt
        look.id,
        look.receipt.epoch,
        "opened",
        claimant_hash(look.id, key),
        expires_at=look.receipt.expires_at,
        window=60,
        keep_until=look.receipt.expires_at + 9,
    )
    with pytest.raises(Opened):
        vault.ends.truth(replace(look, now=look.now + 100))
    assert 50 < backs.store.client().ttl(f"ss:{{{secret.id}}}:r") <= 62
    assert secret.unseal(secret.claim(here, key)) == secret.content
