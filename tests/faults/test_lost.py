"""Answers lost, servers gone, hung, full or read-only: nothing used up, nothing twice, the reader gets it."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from secretsvc.envelope import b64
from tests.faults.proxy import Proxy, calls
from tests.faults.test_parallel import claim_request
from tests.harness import (
    Answer,
    Backends,
    InProcess,
    Secret,
    backends,
    new_idempotency_key,
    wait_until,
    web,
)
from tests.servers import Server
from tests.web.common import Asked, staff

Say = Callable[[str], None]
WRONG = b64(bytes(32))


@dataclass
class Wired:
    """The application, with a proxy before each of its servers."""

    here: InProcess
    store: Proxy
    ledger: Proxy
    backs: Backends


@pytest.fixture(scope="module")
def wiring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wired]:
    with (
        backends(tmp_path_factory.mktemp("lost")) as backs,
        Proxy(backs.store.url) as store,
        Proxy(backs.ledger.url) as ledger,
    ):
        app = backs.app(redis_url=store.url, ledger_urls=ledger.url)
        yield Wired(InProcess(app), store, ledger, backs)


@pytest.fixture
def wired(wiring: Wired) -> Iterator[Wired]:
    """Both servers know the rules of a claim, and the connections stand."""
    assert Secret.create(wiring.here).claim(wiring.here).status == 200
    yield wiring
    heal(wiring)
    for proxy in (wiring.store, wiring.ledger):
        proxy.fired = 0


def heal(wired: Wired) -> None:
    """Both proxies let everything through again, and the application has noticed."""
    wired.store.heal()
    wired.ledger.heal()
    service = wired.here.service
    wait_until(lambda: service.store.node.is_up() and service.ledger.up() == (1, 1))


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, "" if answer.status < 400 else answer.json["type"]


def with_password(wired: Wired) -> Secret:
    return Secret.create(wired.here, stretched=os.urandom(32))


def pending(wired: Wired, secret: Secret) -> list[bytes]:
    """The reserved tries that nobody has settled."""
    fields = wired.backs.store.client().hkeys(f"ss:{{{secret.id}}}")
    return [name for name in fields if name[:1] == b"p" and len(name) > 1]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started <= seconds


def at_once(wired: Wired, kind: str, *asked: Callable[[InProcess], Answer]) -> None:
    """Ask all of it in parallel; each must be told 503 of this kind within three seconds."""

    def ask(call: Callable[[InProcess], Answer]) -> None:
        with within(3.0):
            answer = call(InProcess(wired.here.app))
        assert told(answer) == (503, kind)
        assert int(answer.headers["retry-after"]) >= 1

    with ThreadPoolExecutor(len(asked)) as pool:
        list(pool.map(ask, asked))


# --- answers of the store ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["look", "mark"])
def test_the_stores_lost_answer_does_not_cost_the_secret(wired: Wired, say: Say, name: str) -> None:
    got = 0
    for n in range(100):
        secret = Secret.create(wired.here, b"%d" % n)
        wired.store.drop(calls(name))
        answer = secret.claim(wired.here, new_idempotency_key() if n % 2 else None)
        assert answer.status == 200, answer.text
        got += secret.unseal(answer) == b"%d" % n
        assert told(secret.claim(wired.here)) == (410, "opened")
    say(f"{name}: {got}/100")
    assert (got, wired.store.fired) == (100, 100)


@pytest.mark.parametrize("name", ["reserve", "mark"])
def test_the_stores_lost_answer_does_not_cost_a_try(wired: Wired, name: str) -> None:
    secret = with_password(wired)
    wired.store.drop(calls(name))
    assert secret.claim(wired.here).status == 200
    assert wired.store.fired == 1
    assert pending(wired, secret) == []
    assert not wired.backs.store.client().hexists(f"ss:{{{secret.id}}}", "n")


def test_a_wrong_password_whose_count_was_answered_into_the_void_counts_once(wired: Wired) -> None:
    secret = with_password(wired)
    wired.store.drop(calls("settle"))
    answer = secret.claim(wired.here, proof=WRONG)
    assert told(answer) == (403, "wrong-password")
    assert answer.json["tries_left"] == 4
    assert wired.store.fired == 1


def test_an_end_that_is_never_marked_is_told_all_the_same(wired: Wired) -> None:
    secret = Secret.create(wired.here)
    wired.store.drop(calls("mark"), times=2)
    key = new_idempotency_key()
    # The store runs the mark although its answer is lost; take it back, as a failover would.
    assert secret.claim(wired.here, key).status == 200
    store = wired.backs.store.client()
    store.hset(f"ss:{{{secret.id}}}", "s", "sealed")
    store.hdel(f"ss:{{{secret.id}}}", "e")
    assert told(secret.claim(wired.here)) == (410, "opened")
    assert store.hget(f"ss:{{{secret.id}}}", "s") == b"opened"  # redone by whoever saw it
    assert secret.state(wired.here, sender=True).json["state"] == "opened"
    assert secret.claim(wired.here, key).status == 200


# --- answers of the ledger -----------------------------------------------------------------------------


def test_the_ledgers_answer_lost_once_is_asked_again_by_us(wired: Wired, say: Say) -> None:
    got = 0
    for n in range(100):
        secret = with_password(wired) if n % 10 == 0 else Secret.create(wired.here)
        sequence = wired.backs.ledger.client().get("ss:sequence")
        wired.ledger.drop(calls("ledger_end"))
        got += secret.unseal(secret.claim(wired.here)) == b"hunter2"
        assert told(secret.claim(wired.here)) == (410, "opened")
        assert int(wired.backs.ledger.client().get("ss:sequence") or 0) == int(sequence or 0) + 1
    say(f"{got}/100")
    assert (got, wired.ledger.fired) == (100, 100)


@pytest.mark.parametrize("verb", ["drop", "swallow"])
@pytest.mark.parametrize("with_key", [False, True], ids=["no-key", "key"])
@pytest.mark.parametrize("password", [False, True], ids=["plain", "password"])
def test_an_unclear_ledger_names_the_key_that_gets_the_secret(
    wired: Wired, verb: str, *, with_key: bool, password: bool
) -> None:
    secret = with_password(wired) if password else Secret.create(wired.here)
    key = new_idempotency_key() if with_key else None
    (wired.ledger.drop if verb == "drop" else wired.ledger.swallow)(calls("ledger_end"), 2)
    with within(3.0):
        unclear = secret.claim(wired.here, key)
    assert wired.ledger.fired == 2
    assert told(unclear) == (503, "ledger-unavailable")
    assert int(unclear.headers["retry-after"]) >= 1
    named = unclear.headers["idempotency-key"]
    assert named == (key or named)
    assert secret.body["envelope"] not in unclear.text
    assert pending(wired, secret) == []  # the try was given back

    assert told(secret.claim(wired.here)) == (410, "opened")
    assert told(secret.claim(wired.here, new_idempotency_key())) == (410, "opened")
    for _ in range(2):
        assert secret.unseal(secret.claim(wired.here, named)) == b"hunter2"
    assert told(secret.claim(wired.here, new_idempotency_key())) == (410, "opened")


def test_an_unclear_ledger_names_the_key_to_curl_too(wired: Wired) -> None:
    secret = Secret.create(wired.here)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = ("link=" + secret.link.replace("#", "%23")).encode()
    wired.ledger.drop(calls("ledger_end"), times=2)
    unclear = wired.here.send("POST", "/open", body, form)
    named = unclear.headers["idempotency-key"]
    assert unclear.status == 503
    assert f"Idempotency-Key: {named}" in unclear.text
    again = wired.here.send("POST", "/open", body, {**form, "Idempotency-Key": named})
    assert (again.status, again.body) == (200, b"hunter2")


@pytest.mark.parametrize("fault", ["refuse", "hang"])
def test_a_ledger_that_is_down_uses_nothing_up(wired: Wired, fault: str) -> None:
    secret, locked = Secret.create(wired.here), with_password(wired)
    getattr(wired.ledger, fault)()
    key = new_idempotency_key()
    at_once(
        wired,
        "ledger-unavailable",
        lambda here: secret.claim(here, key),
        lambda here: secret.state(here),
        lambda here: secret.call(here, "revoke", sender=True),
        lambda here: locked.claim(here),
        lambda here: locked.claim(here, proof=WRONG),
        lambda here: locked.call(here, "unlock", sender=True),
        lambda here: secret.call(here, "done", **{"Idempotency-Key": key}),
        lambda here: secret.call(here, "report"),
    )
    wait_until(lambda: wired.here.service.ledger.shards[0]._asked + 1 < time.monotonic())
    with within(3.0):
        assert told(wired.here.post("/api/v1/secrets", Secret.make().body)) == (503, "ledger-unavailable")
    heal(wired)
    assert secret.state(wired.here, sender=True).json["state"] == "sealed"
    assert locked.state(wired.here, sender=True).json["tries_left"] == 5
    assert secret.claim(wired.here).status == 200
    assert locked.claim(wired.here).status == 200


def test_a_ledger_that_decides_late_decided_for_the_key_it_named(wired: Wired) -> None:
    """Stopped and continued: it runs what it was sent although nobody waits for it any more."""
    secret = Secret.create(wired.here)
    os.kill(wired.backs.ledger.pid, signal.SIGSTOP)
    try:
        with within(3.0):
            unclear = secret.claim(wired.here)
    finally:
        os.kill(wired.backs.ledger.pid, signal.SIGCONT)
    assert told(unclear) == (503, "ledger-unavailable")
    entry = wired.backs.ledger.client()
    wait_until(lambda: entry.exists(f"ss:e:{secret.id}"))
    assert told(secret.claim(wired.here)) == (410, "opened")
    assert secret.claim(wired.here, unclear.headers["idempotency-key"]).status == 200


def test_a_revoke_whose_answer_was_lost_is_a_revoke(wired: Wired) -> None:
    secret = Secret.create(wired.here)
    wired.ledger.drop(calls("ledger_end"), times=2)
    assert told(secret.call(wired.here, "revoke", sender=True)) == (503, "ledger-unavailable")
    assert told(secret.claim(wired.here)) == (410, "revoked")
    again = secret.call(wired.here, "revoke", sender=True)
    assert (again.status, again.json["state"]) == (200, "revoked")


def test_a_full_ledger_decides_nothing(wired: Wired) -> None:
    secret = Secret.create(wired.here)
    with full_memory(wired.backs.ledger):
        answer = secret.claim(wired.here)
        assert told(answer) == (503, "ledger-unavailable")
        assert told(secret.call(wired.here, "revoke", sender=True)) == (503, "ledger-unavailable")
        assert secret.state(wired.here).json["state"] == "sealed"
    assert secret.claim(wired.here).status == 200


# --- the store down, hung, read-only, full -------------------------------------------------------------


@contextmanager
def full_memory(server: Server) -> Iterator[None]:
    server.client().config_set("maxmemory", "1mb")
    try:
        yield
    finally:
        server.client().config_set("maxmemory", "0")


@pytest.mark.parametrize("fault", ["refuse", "hang"])
def test_a_store_that_is_down_is_told_within_three_seconds_and_comes_back(wired: Wired, fault: str) -> None:
    secret, locked = Secret.create(wired.here), with_password(wired)
    getattr(wired.store, fault)()
    at_once(
        wired,
        "store-unavailable",
        lambda here: secret.claim(here),
        lambda here: secret.state(here),
        lambda here: secret.call(here, "revoke", sender=True),
        lambda here: locked.claim(here),
        lambda here: here.post("/api/v1/secrets", Secret.make().body),
        lambda here: here.post("/api/v1/secrets", {"secret": "x", "expires_in": 60}),
    )
    heal(wired)
    assert secret.claim(wired.here).status == 200
    assert locked.claim(wired.here).status == 200
    assert Secret.create(wired.here).claim(wired.here).status == 200


def test_a_slow_store_is_waited_for(wired: Wired) -> None:
    secret = Secret.create(wired.here)
    wired.store.delay(calls("look"), 0.6)
    with within(3.0):
        assert secret.claim(wired.here).status == 200


def test_a_store_that_hangs_after_the_commit_still_gives_the_secret(wired: Wired) -> None:
    secret = Secret.create(wired.here)
    wired.store.swallow(calls("mark"), times=2)
    with within(3.0):
        assert secret.claim(wired.here).status == 200


def test_a_read_only_store_gives_out_and_takes_nothing_in(wired: Wired) -> None:
    """A replica that was promoted by nobody: opening without a password needs no write, the rest does."""
    secret, locked = Secret.create(wired.here), with_password(wired)
    store = wired.backs.store.client()
    store.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        assert told(wired.here.post("/api/v1/secrets", Secret.make().body)) == (503, "store-unavailable")
        assert told(locked.claim(wired.here)) == (503, "store-unavailable")
        assert secret.claim(wired.here).status == 200
        assert told(secret.claim(wired.here)) == (410, "opened")
    finally:
        store.execute_command("REPLICAOF", "NO", "ONE")
    assert locked.claim(wired.here).status == 200
    assert secret.state(wired.here, sender=True).json["state"] == "opened"


def test_a_full_store_refuses_creates_and_opens_everything(wired: Wired, say: Say) -> None:
    plain = [Secret.create(wired.here) for _ in range(50)]
    locked, guessed = with_password(wired), with_password(wired)
    with full_memory(wired.backs.store):
        assert told(wired.here.post("/api/v1/secrets", Secret.make().body)) == (503, "store-unavailable")
        body = {"secret": "x", "expires_in": 60}
        head = {"Idempotency-Key": new_idempotency_key()}
        assert told(wired.here.post("/api/v1/secrets", body, head)) == (503, "store-unavailable")
        opened = Counter(secret.claim(wired.here).status for secret in plain)
        say(f"opened on a full store: {opened[200]}/50")
        assert opened == {200: 50}
        store = wired.backs.store.client()
        assert not any(store.exists(f"ss:{{{secret.id}}}:r") for secret in plain)
        assert all(told(secret.claim(wired.here)) == (410, "opened") for secret in plain)
        assert plain[0].state(wired.here, sender=True).json["state"] == "opened"
        for left in (4, 3, 2, 1, 0):
            assert guessed.claim(wired.here, proof=WRONG).json["tries_left"] == left
        assert told(guessed.claim(wired.here)) == (423, "locked")
        assert locked.claim(wired.here).status == 200
    assert wired.here.post("/api/v1/secrets", body, head).status == 201


def test_forgotten_scripts_are_no_error(backs: Backends, folder: Path) -> None:
    stop = threading.Event()

    def forget() -> None:
        clients = backs.store.client(), backs.ledger.client()
        while not stop.is_set():
            for client in clients:
                client.script_flush()

    with web(backs, folder, threads=8) as running:
        client = running.client()
        thread = threading.Thread(target=forget)
        thread.start()
        try:
            for n in range(40):
                secret = Secret.create(client, stretched=os.urandom(32) if n % 4 == 0 else None)
                key = new_idempotency_key()
                assert [secret.claim(client, key).status for _ in range(2)] == [200, 200]
                assert secret.claim(client).status == 410
                assert secret.call(client, "done", **{"Idempotency-Key": key}).status == 204
                assert secret.state(client, sender=True).json["state"] == "opened"
        finally:
            stop.set()
            thread.join()


# --- the answer to the reader --------------------------------------------------------------------------


def test_an_answer_lost_midway_is_had_again_with_the_same_key_alone(
    backs: Backends, folder: Path, say: Say
) -> None:
    content, got = os.urandom(200_000), 0
    with web(backs, folder) as running:
        client = running.client()
        for _ in range(100):
            secret = Secret.create(client, content)
            key = new_idempotency_key()
            with socket.create_connection(("127.0.0.1", running.port)) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.sendall(claim_request(secret, key))
                assert one.recv(1000).startswith(b"HTTP/1.1 200")
            assert told(secret.claim(client, new_idempotency_key())) == (410, "opened")
            assert told(secret.claim(client)) == (410, "opened")
            got += secret.unseal(secret.claim(client, key)) == content
    say(f"the same bytes {got}/100")
    assert got == 100


def test_after_the_window_it_is_gone_and_so_is_its_record(backs: Backends) -> None:
    here = InProcess(backs.app(retry_window="1"))
    secret = Secret.create(here)
    key = new_idempotency_key()
    assert secret.claim(here, key).status == 200
    assert secret.claim(here, key).status == 200
    wait_until(lambda: not backs.store.client().exists(f"ss:{{{secret.id}}}:r"), 3)
    assert told(secret.claim(here, key)) == (410, "opened")
    assert secret.state(here, sender=True).json["state"] == "opened"


def test_the_ledger_ends_the_window_even_where_the_record_was_not_marked(backs: Backends) -> None:
    here = InProcess(backs.app(retry_window="1"))
    secret = Secret.create(here)
    key = new_idempotency_key()
    store = backs.store.client()
    record = store.get(f"ss:{{{secret.id}}}:r")
    assert secret.claim(here, key).status == 200
    store.set(f"ss:{{{secret.id}}}:r", record or b"", ex=600)  # an older copy of the store is back
    store.hset(f"ss:{{{secret.id}}}", "s", "sealed")
    time.sleep(1.1)
    assert told(secret.claim(here, key)) == (410, "opened")
    wait_until(lambda: not store.exists(f"ss:{{{secret.id}}}:r"), 2)


def test_done_closes_the_window_at_once(here: InProcess, backs: Backends) -> None:
    secret = Secret.create(here)
    key, other = new_idempotency_key(), new_idempotency_key()
    assert told(secret.call(here, "done", **{"Idempotency-Key": key})) == (409, "conflict")
    assert secret.claim(here, key).status == 200
    assert told(secret.call(here, "done", **{"Idempotency-Key": other})) == (410, "opened")
    assert secret.claim(here, key).status == 200
    assert secret.call(here, "done", **{"Idempotency-Key": key}).status == 204
    with within(0.05):
        assert told(secret.claim(here, key)) == (410, "opened")
    assert secret.call(here, "done", **{"Idempotency-Key": key}).status == 204
    assert not backs.store.client().exists(f"ss:{{{secret.id}}}:r")


def test_clients_that_never_hang_up_do_not_make_a_worker_deaf(backs: Backends, folder: Path) -> None:
    """gunicorn closes connections in the thread that serves all others, and waits for the client's end."""
    ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with web(backs, folder) as running, ExitStack() as stack:
        for _ in range(10):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
            idle.sendall(ask)
        began = time.monotonic()
        assert running.client().get("/healthz").status == 200
        assert time.monotonic() - began < 5


def test_the_winners_first_repeat_begins_its_window_anew_in_the_store_too(backs: Backends) -> None:
    """Of a window of 10 s: the repeat after 6 s is lost on the way, and the one after 12 s still gets it."""
    here = InProcess(backs.app(retry_window="10"))
    secret, key = Secret.create(here), new_idempotency_key()
    assert secret.claim(here, key).status == 200
    store, ledger = backs.store.client(), backs.ledger.client()
    record, entry = f"ss:{{{secret.id}}}:r", f"ss:e:{secret.id}"

    def seconds_pass(seconds: int) -> None:
        store.pexpire(record, max(1, store.pttl(record) - 1000 * seconds))
        for field in ("t", "r"):
            if ledger.hexists(entry, field):
                ledger.hincrby(entry, field, -1000 * seconds)

    seconds_pass(6)
    assert secret.claim(here, key).status == 200
    seconds_pass(6)
    assert secret.claim(here, key).status == 200
    assert 0 < store.pttl(record) <= 4_000  # and not a second time
    assert secret.claim(here).status == 410
    assert store.pttl(record) <= 4_000
    seconds_pass(5)
    wait_until(lambda: not store.exists(record))
    assert secret.claim(here, key).status == 410


def test_our_own_repeat_of_a_call_does_not_use_the_window_up(wired: Wired) -> None:
    secret, key = Secret.create(wired.here), new_idempotency_key()
    wired.ledger.drop(calls("ledger_end"))
    assert secret.claim(wired.here, key).status == 200
    assert wired.ledger.fired == 1
    assert wired.backs.ledger.client().hget(f"ss:e:{secret.id}", "r") is None


# --- a store that failed over between two steps, to a server that had not heard of it ------------------


def vanishes(here: InProcess, monkeypatch: pytest.MonkeyPatch, step: str, secret: Secret | Asked) -> None:
    """From this step on the store knows nothing of the secret."""
    store = here.service.store
    real = getattr(store, step)

    def forgotten(*arguments: Any, **more: Any) -> Any:
        after = real(*arguments, **more) if step != "reserve" else None
        store.node.command("DEL", f"ss:{{{secret.id}}}", f"ss:{{{secret.id}}}:r")
        return after if after is not None else real(*arguments, **more)

    monkeypatch.setattr(store, step, forgotten)


def test_a_secret_that_vanishes_before_its_password_is_tried_is_not_locked(
    here: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = Secret.create(here, stretched=os.urandom(32))
    vanishes(here, monkeypatch, "reserve", secret)
    assert told(secret.claim(here)) == (503, "store-unavailable")


def test_an_answer_that_vanishes_is_not_told_to_be_kept(
    here: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked.create(here, staff(here))
    vanishes(here, monkeypatch, "answer", asked)
    assert told(asked.answer(here)) == (503, "store-unavailable")


def test_an_answer_that_only_another_server_has_is_not_told_to_be_kept(
    here: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked.create(here, staff(here))
    monkeypatch.setattr(here.service.store, "answer", lambda *_: "answered")
    assert told(asked.answer(here)) == (503, "store-unavailable")
