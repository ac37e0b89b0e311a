"""The whole life of secrets against a plain model of it, in any order, with restarts and a store gone back."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from secretsvc.envelope import b64
from tests.harness import Answer, Backends, InProcess, Secret, new_idempotency_key

CAP, WINDOW = 3, 600
KEYS = [new_idempotency_key(), new_idempotency_key(), None]
WRONG = b64(bytes(32))
SELDOM = st.integers(0, 2)


@dataclass
class Model:
    """What we believe of one secret.  ``winner`` is the key it was opened with."""

    secret: Secret
    password: bool
    state: str = "sealed"
    wrong: int = 0
    winner: str | None = None
    window: bool = False
    expired: bool = False
    reported: bool = False
    gone_back: bool = False

    @property
    def ended(self) -> bool:
        return self.state in ("opened", "revoked", "expired")

    def claim(self, key: str | None, proof: str) -> set[tuple[int, str]]:
        """What it must be told; ``proof`` is "right", "wrong" or "none"."""
        if self.state == "opened" and key is not None and key == self.winner:
            return {self.repeat(proof)} if self.window else self.too_late(proof)
        if self.ended:
            return {(410, self.state)}
        if self.state == "locked":
            return {(423, "locked")}
        if self.password and proof == "none":
            return {(422, "invalid")}
        if self.password and proof == "wrong":
            self.wrong += 1
            self.state = "locked" if self.wrong == CAP else "sealed"
            return {(403, "wrong-password")}
        self.state, self.winner, self.window = "opened", key, True
        return {(200, "")}

    def repeat(self, proof: str) -> tuple[int, str]:
        if self.password and proof == "none":
            return 410, "opened"
        return (403, "wrong-password") if self.password and proof == "wrong" else (200, "")

    def too_late(self, proof: str) -> set[tuple[int, str]]:
        guess = self.password and proof == "wrong" and self.gone_back  # a record that is back is still tried
        return {(410, "opened")} | ({(403, "wrong-password")} if guess else set())


class Life(RuleBasedStateMachine):
    """Every rule makes a call and asks the model what must come of it."""

    backs: Backends
    steps: ClassVar[Counter[str]] = Counter()
    secrets_ = Bundle("secrets")

    def __init__(self) -> None:
        super().__init__()
        self.known: list[Model] = []
        self.copies: dict[str, list[bytes | None]] = {}
        self.open()

    def open(self) -> None:
        self.here = InProcess(self.backs.app(password_tries=str(CAP), retry_window=str(WINDOW), threads="2"))

    def expect(self, what: str, answer: Answer, *told: tuple[int, str]) -> Answer:
        self.steps[what] += 1
        found = answer.status, "" if answer.status < 400 else answer.json["type"]
        assert found in told, f"{what}: told {found}, expected {told}"
        return answer

    @initialize(target=secrets_)
    def two(self) -> MultipleResults[Model]:
        return multiple(self.create(password=False), self.create(password=True))

    @precondition(lambda self: len(self.known) < 5)
    @rule(target=secrets_, password=st.booleans())
    def another(self, password: bool) -> Model:
        return self.create(password=password)

    def create(self, *, password: bool) -> Model:
        secret = Secret.create(self.here, os.urandom(9), stretched=os.urandom(32) if password else None)
        store = self.backs.store.client()
        model = Model(secret, password)
        self.copies[secret.id] = [store.dump(key) for key in self.keys(model)]
        self.known.append(model)
        return model

    def keys(self, m: Model) -> tuple[str, str]:
        return f"ss:{{{m.secret.id}}}", f"ss:{{{m.secret.id}}}:r"

    @rule(m=secrets_, other=st.booleans())
    def create_again(self, m: Model, other: bool) -> None:
        body = {**m.secret.body, "expires_in": 7200} if other else m.secret.body
        answer = self.here.post("/api/v1/secrets", body)
        answer = self.expect("create again", answer, (409, "conflict") if other else (201, ""))
        if not other:
            assert answer.json["state"] == m.state
            assert answer.json["receipt_token"] == m.secret.receipt_token

    @rule(m=secrets_, key=st.sampled_from(KEYS), proof=st.sampled_from(["right", "right", "wrong", "none"]))
    def claim(self, m: Model, key: str | None, proof: str) -> None:
        sent = {"right": m.secret.proof, "wrong": WRONG, "none": None}[proof]
        head = {**m.secret.auth(), **({"Idempotency-Key": key} if key else {})}
        path = f"/api/v1/secrets/{m.secret.id}/claim"
        answer = self.here.post(path, {"proof": sent} if sent else {}, head)
        self.expect("claim", answer, *m.claim(key, proof))
        if answer.status == 200:
            assert m.secret.unseal(answer) == m.secret.content
        elif answer.status == 403:
            # The winner's own wrong password spends no try, so none are told.
            assert answer.json.get("tries_left") == (None if m.state == "opened" else CAP - m.wrong)
        assert (m.secret.body["envelope"] in answer.text) == (answer.status == 200)

    @rule(m=secrets_, key=st.sampled_from(KEYS[:2]))
    def open_and_again(self, m: Model, key: str) -> None:
        self.claim(m, key, "right")
        self.claim(m, key, "right")

    @rule(m=secrets_, unlock=st.booleans())
    def guess_on(self, m: Model, unlock: bool) -> None:
        for _ in range(CAP):
            self.claim(m, KEYS[0], "wrong" if m.password else "none")
        if unlock:
            self.unlock(m)

    @rule(m=secrets_)
    def open_and_close(self, m: Model) -> None:
        self.claim(m, KEYS[0], "right")
        self.done(m, KEYS[0])
        self.claim(m, KEYS[0], "right")

    @rule(m=secrets_, key=st.sampled_from(KEYS[:2]))
    def done(self, m: Model, key: str) -> None:
        answer = m.secret.call(self.here, "done", **{"Idempotency-Key": key})
        if m.state == "opened" and key == m.winner:
            m.window = False
            self.expect("done", answer, (204, ""))
        elif m.state in ("opened", "revoked"):
            self.expect("done", answer, (410, m.state))
        else:
            self.expect("done", answer, (409, "conflict"))

    @rule(m=secrets_)
    def revoke(self, m: Model) -> None:
        if not m.ended:
            m.state = "revoked"
        answer = m.secret.call(self.here, "revoke", sender=True)
        self.expect("revoke", answer, (200, "") if m.state == "revoked" else (410, m.state))

    @rule(m=secrets_)
    def unlock(self, m: Model) -> None:
        answer = m.secret.call(self.here, "unlock", sender=True)
        if m.state == "locked":
            m.state, m.wrong = "sealed", 0
            assert self.expect("unlock", answer, (200, "")).json["tries_left"] == CAP
        else:
            self.expect("unlock", answer, (410, m.state) if m.ended else (409, "conflict"))

    @rule(m=secrets_)
    def report(self, m: Model) -> None:
        answer = m.secret.call(self.here, "report")
        good = m.state == "opened" and not m.reported
        m.reported |= good
        self.expect("report", answer, (200, "") if good else (409, "conflict"))
        if good:
            self.expect("report", m.secret.call(self.here, "report"), (409, "conflict"))

    @rule(m=secrets_, now=SELDOM)
    def expire(self, m: Model, now: int) -> None:
        """Its time runs out: what the receipt says, and the record that the store drops by itself."""
        if now:
            return
        self.check(m)
        receipt, record = self.keys(m)
        store = self.backs.store.client()
        store.hset(receipt, "x", int(time.time()) - 1)
        store.delete(record)
        m.expired, m.window = True, False
        m.state = m.state if m.ended else "expired"
        self.steps["expire"] += 1

    @rule(m=secrets_)
    def open_and_wait(self, m: Model) -> None:
        self.claim(m, KEYS[0], "right")
        self.window_over(m)
        self.store_goes_back(m, "claim")

    @rule(m=secrets_)
    def window_over(self, m: Model) -> None:
        if m.state != "opened" or not m.window:
            return
        ledger = self.backs.ledger.client()
        for field in ("t", "r"):
            if ledger.hexists(f"ss:e:{m.secret.id}", field):
                ledger.hincrby(f"ss:e:{m.secret.id}", field, -(WINDOW + 1) * 1000)
        self.backs.store.client().delete(self.keys(m)[1])
        m.window = False
        self.steps["window over"] += 1

    @rule(m=secrets_, then=st.sampled_from(["nothing", "look", "claim", "claim"]))
    def store_goes_back(self, m: Model, then: str) -> None:
        """A restored or failed-over store: the secret as it was when it was created."""
        if m.expired:
            return
        for key, copy in zip(self.keys(m), self.copies[m.secret.id], strict=True):
            self.backs.store.client().restore(key, 3_600_000, copy or b"", replace=True)
        m.wrong, m.reported, m.gone_back = 0, False, True
        m.state = "sealed" if m.state == "locked" else m.state
        self.steps["store goes back"] += 1
        if then == "look":
            self.check(m)
        elif then == "claim":
            self.claim(m, m.winner or KEYS[0], "right")

    @rule(what=st.sampled_from(["app", "app", "store", "ledger"]), now=SELDOM)
    def restart(self, what: str, now: int) -> None:
        if now == 2:
            return
        if what != "app":
            server = getattr(self.backs, what)
            server.kill()
            server.restart()
        self.open()
        self.steps["restart"] += 1

    @rule(m=secrets_)
    def look(self, m: Model) -> None:
        self.check(m)
        self.steps["look"] += 1

    def check(self, m: Model) -> None:
        for sender in (False, True):
            found = m.secret.state(self.here, sender=sender).json
            assert (found["state"], found["password"]) == (m.state, m.password)
            assert ("ended_at" in found) == m.ended
            assert ("reported_at" in found) == m.reported
            left = CAP - m.wrong if sender and m.password and not m.ended else None
            assert found.get("tries_left") == left

    @invariant()
    def an_ended_one_is_ended_for_strangers(self) -> None:
        for m in self.known[-1:]:
            if m.ended:
                answer = m.secret.claim(self.here)
                self.expect("a stranger", answer, (410, m.state))


def test_no_divergence_from_the_model(backs: Backends, say: Callable[[str], None], *, full: bool) -> None:
    class OnOurServers(Life):
        pass

    OnOurServers.backs, OnOurServers.steps = backs, Counter()
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        OnOurServers,
        settings=settings(
            max_examples=200 if full else 30,
            stateful_step_count=50,
            deadline=None,
            phases=[Phase.generate],  # shrinking would restart real servers for minutes
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    say(f"{OnOurServers.steps.total()} steps, 0 divergence: {dict(OnOurServers.steps.most_common())}")
    assert OnOurServers.steps.total() > 500
