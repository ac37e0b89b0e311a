"""Limits for each client: on creating and on passwords, never on opening without one."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from secretsvc.envelope import b64
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
from tests.web.common import FORM, Asked, dump, is_problem, staff, store, with_proof, wrong_password

Limited = Callable[..., InProcess]


class From(InProcess):
    """The same application, as another client sees it."""

    def __init__(self, here: InProcess, address: str, **headers: str) -> None:
        super().__init__(here.app)
        self.address, self.headers = address, headers

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        found = self._client.open(
            path,
            method=method,
            data=body,
            headers={**self.headers, **(headers or {})},
            environ_base={"REMOTE_ADDR": self.address},
        )
        return Answer(found.status_code, {k.lower(): v for k, v in found.headers.items()}, found.data)


@pytest.fixture
def limited(backs: Backends) -> Limited:
    """An application with limits; a window begins with a client's first call."""
    return lambda **more: InProcess(backs.app(**more))


def is_limited(answer: Answer) -> None:
    assert answer.status == 429, answer.text
    assert 1 <= int(answer.headers["retry-after"]) <= 60


def creates(client: InProcess, times: int) -> list[int]:
    body = {"secret": "x", "expires_in": 60}
    return [client.post("/api/v1/secrets", body).status for _ in range(times)]


def test_creating_is_limited_for_each_client(limited: Limited, backs: Backends) -> None:
    here = limited(create_limit="3")
    one, two = From(here, "192.0.2.1"), From(here, "192.0.2.2")
    agent = staff(here)
    assert creates(one, 3) == [201] * 3
    before = dump(backs)
    refused = one.post("/api/v1/secrets", Secret.make().body)
    is_limited(refused)
    is_problem(refused, 429, "rate-limited")
    is_limited(one.send("POST", "/", b"secret=x", FORM))
    is_limited(one.post("/api/v1/requests", Asked.make().body, agent))
    is_limited(
        one.post(
            "/api/v1/secrets", {"secret": "x", "expires_in": 60}, {"Idempotency-Key": new_idempotency_key()}
        )
    )
    assert one.send("POST", "/", b"secret=x", FORM).text.count("\n") == 1
    assert {key for key in dump(backs) if b"limit" not in key[1]} == {
        key for key in before if b"limit" not in key[1]
    }
    assert creates(two, 3) == [201] * 3


def test_a_refused_create_counts_no_further_client(limited: Limited) -> None:
    """Staff who may not are refused before they are counted."""
    here = limited(create_limit="2", create="staff")
    one = From(here, "192.0.2.1")
    assert creates(one, 5) == [401] * 5
    agent = staff(here)
    body = {"secret": "x", "expires_in": 60}
    assert [one.post("/api/v1/secrets", body, agent).status for _ in range(3)] == [201, 201, 429]


def test_password_work_is_limited_for_each_client(limited: Limited) -> None:
    here = limited(password_limit="3")
    secret, other = store(here, with_proof()), store(here, with_proof())
    one, two = From(here, "192.0.2.1"), From(here, "192.0.2.2")
    assert [wrong_password(one, secret).status for _ in range(3)] == [403] * 3
    refused = wrong_password(one, secret)
    is_limited(refused)
    is_problem(refused, 429, "rate-limited")
    # Creating with a password, and every other way to have Argon2 run, counts as well.
    is_limited(one.post("/api/v1/secrets", with_proof().body))
    is_limited(one.post("/api/v1/secrets", {"secret": "x", "expires_in": 60, "password": "p"}))
    is_limited(one.send("POST", "/", b"secret=x&password=p", FORM))
    is_limited(one.post("/api/v1/open", {"link": secret.link, "password": "p"}))
    is_limited(one.send("POST", "/open", f"link=%23{b64(secret.key)}&password=p".encode(), FORM))
    is_limited(other.claim(one))
    # It cost no try, and stops nobody else.
    assert secret.state(here, sender=True).json["tries_left"] == 2
    assert other.claim(two).status == 200
    assert creates(one, 1) == [201]


def test_opening_without_a_password_is_never_limited(limited: Limited) -> None:
    here = limited(password_limit="1", create_limit="1")
    one = From(here, "192.0.2.1")
    secrets = [Secret.create(From(here, f"198.51.100.{number}")) for number in range(30)]
    guarded = store(From(here, "198.51.100.200"), with_proof())
    wrong_password(one, guarded)
    is_limited(wrong_password(one, guarded))
    creates(one, 2)
    for number, secret in enumerate(secrets):
        assert secret.state(one).status == 200
        # A password nobody asked for runs no Argon2, and is not counted.
        answer = (
            secret.claim(one, None, b64(os.urandom(32)))
            if number % 3 == 0
            else one.post("/api/v1/open", {"link": secret.link, "password": "p"})
            if number % 3 == 1
            else one.send("POST", "/open", f"link=%23{b64(secret.key)}".encode(), FORM)
        )
        assert answer.status == 200, answer.text


def fields(answer: Answer) -> tuple[str, str]:
    return answer.headers.get("ratelimit-policy", ""), answer.headers.get("ratelimit", "")


def test_answers_say_what_is_left(limited: Limited) -> None:
    """draft-ietf-httpapi-ratelimit-headers-10: lists of strings with parameters."""
    here = limited(create_limit="3", password_limit="2")
    one = From(here, "192.0.2.1")
    body = {"secret": "x", "expires_in": 60}
    left = [fields(one.post("/api/v1/secrets", body)) for _ in range(2)]
    assert left == [('"create";q=3;w=60', '"create";r=2'), ('"create";q=3;w=60', '"create";r=1')]
    both = one.post("/api/v1/secrets", {**body, "password": "p"})
    assert fields(both) == (
        '"create";q=3;w=60, "password";q=2;w=60',
        '"create";r=0, "password";r=1',
    )
    for refused in (one.post("/api/v1/secrets", body), one.send("POST", "/", b"secret=x", FORM)):
        is_limited(refused)
        wait = refused.headers["retry-after"]
        assert fields(refused) == ('"create";q=3;w=60', f'"create";r=0;t={wait}')
    assert one.post("/api/v1/secrets", body).json["violated-policies"] == ["create"]


def test_an_error_tells_what_is_left_too(limited: Limited) -> None:
    one = From(limited(create_limit="3"), "192.0.2.1")
    answer = one.post("/api/v1/secrets", {"secret": "x", "expires_in": 1})
    assert (answer.status, *fields(answer)) == (422, '"create";q=3;w=60', '"create";r=2')


def test_what_is_not_limited_speaks_of_no_limit(limited: Limited) -> None:
    here = limited(create_limit="50", password_limit="50", sign_in_limit="50")
    secret = Secret.create(here)
    answers = [here.get("/"), secret.state(here), secret.claim(here), secret.claim(here), here.get("/healthz")]
    assert [answer.status for answer in answers] == [200, 200, 200, 410, 200]
    assert [fields(answer) for answer in answers] == [("", "")] * 5
    assert fields(InProcess(limited(create_limit="0").app).post("/api/v1/secrets", Secret.make().body)) == (
        "",
        "",
    )


LARGE = {"secret": "x" * 3000, "expires_in": 60}


def test_bytes_are_limited_for_each_client_and_small_secrets_go_on(limited: Limited, backs: Backends) -> None:
    here = limited(create_limit="100", create_bytes_limit="10000")
    one, two = From(here, "192.0.2.1"), From(here, "192.0.2.2")
    first = one.post("/api/v1/secrets", LARGE)
    assert first.status == 201
    size = len(json.dumps(LARGE))
    assert fields(first) == (
        '"create";q=100;w=60, "create-bytes";q=10000;w=3600;qu="content-bytes"',
        f'"create";r=99, "create-bytes";r={10_000 - size}',
    )
    assert [one.post("/api/v1/secrets", LARGE).status for _ in range(2)] == [201, 201]
    before = len(dump(backs))
    refused = one.post("/api/v1/secrets", LARGE)
    is_problem(refused, 429, "rate-limited")
    assert refused.json["violated-policies"] == ["create-bytes"]
    assert 3500 < int(refused.headers["retry-after"]) <= 3600
    form = b"secret=" + b"x" * 3000
    assert one.send("POST", "/", form, FORM).status == 429
    assert len(dump(backs)) == before
    assert creates(one, 3) == [201] * 3
    assert two.post("/api/v1/secrets", LARGE).status == 201


def test_a_body_that_says_no_length_or_an_absurd_one_counts_as_the_largest_secret(limited: Limited) -> None:
    here = limited(create_limit="100", create_bytes_limit="100000", max_secret_bytes="40000")

    def left(**environ: Any) -> int:
        one = From(here, f"192.0.2.{len(environ)}")
        where = {"REMOTE_ADDR": one.address, **environ}
        answer = one._client.post("/api/v1/secrets", content_type="application/json", environ_base=where)
        assert answer.status_code in (400, 413, 415), answer.text
        return int(answer.headers["RateLimit"].rpartition(";r=")[2])

    assert left(CONTENT_LENGTH=str(10**30)) == 60_000
    assert left(HTTP_TRANSFER_ENCODING="chunked", **{"wsgi.input_terminated": True}) == 60_000


def test_a_limit_below_the_largest_secret_lets_one_through(limited: Limited) -> None:
    here = limited(create_bytes_limit="2500")
    one = From(here, "192.0.2.1")
    assert [one.post("/api/v1/secrets", LARGE).status for _ in range(2)] == [201, 429]


def test_opening_goes_on_while_somebody_floods(tmp_path: Path, full: bool, say: Callable[[str], None]) -> None:
    """Real processes; the same address floods with creates and opens, as in an office."""
    count, floods = (400, 6) if full else (60, 3)
    with (
        backends(tmp_path) as backs,
        web(backs, tmp_path, create_limit="5", password_limit="5", create_bytes_limit="100000") as running,
    ):
        secrets = [Secret.create(InProcess(backs.app())) for _ in range(count)]
        over = threading.Event()
        seen: Counter[int] = Counter()

        def flood() -> None:
            client, large = running.client(), {"secret": "x" * 50_000, "expires_in": 60}
            while not over.is_set():
                for body in ({"secret": "x", "expires_in": 60}, {**large, "password": "p"}):
                    seen[client.post("/api/v1/secrets", body).status] += 1

        with ThreadPoolExecutor(floods + 4) as pool:
            flooding = [pool.submit(flood) for _ in range(floods)]
            try:
                wait_until(lambda: seen[429] > 0 or any(one.done() for one in flooding))
                clients = {0: running.client(), 1: running.client(), 2: running.client(), 3: running.client()}
                before = seen[429]
                opened = [
                    pool.submit(
                        lambda which: [one.claim(clients[which]).status for one in secrets[which::4]], n
                    )
                    for n in range(4)
                ]
                statuses = Counter(status for one in opened for status in one.result())
                meanwhile = seen[429] - before
            finally:
                over.set()
            for one in flooding:
                one.result()
    say(f"{count} openings by a limited address: {dict(statuses)}; its flood meanwhile: {meanwhile} x 429")
    assert statuses == {200: count}
    assert meanwhile > 0
    assert set(seen) <= {201, 429, 503}
    assert seen[201] < seen[429]


ESCAPES = b"link=" + b"%41" * 500_000
PATHS = ("/open", "/receipt", "/r", "/desk/sign-in/link")


def test_what_is_never_counted_takes_only_small_bodies(here: InProcess) -> None:
    """Megabytes of escapes took 0.7 s to undo, at addresses that nobody is refused at."""
    head = FORM | {"Sec-Fetch-Site": "same-origin"}
    for path in PATHS:
        assert here.send("POST", path, ESCAPES, head).status == 413, path
        assert here.send("POST", path, b"link=" + b"%41" * 20_000, head).status in (400, 401, 403, 404, 422), (
            path
        )
    secret = Secret.create(here)
    for what in ("claim", "done", "report"):
        body = {"proof": "x" * 70_000}
        refused = here.post(f"/api/v1/secrets/{secret.id}/{what}", body, secret.auth())
        is_problem(refused, 413, "too-large", "body")
        assert "65536" in refused.json["detail"]
    is_problem(here.post("/api/v1/open", {"link": "x" * 70_000}), 413, "too-large", "body")
    assert secret.claim(here).status == 200


def test_an_ipv6_network_counts_as_one_client(limited: Limited) -> None:
    here = limited(create_limit="2")
    assert creates(From(here, "2001:db8:1:2::1"), 1) == [201]
    assert creates(From(here, "2001:db8:1:2:ffff:ffff:ffff:ffff"), 1) == [201]
    assert creates(From(here, "2001:db8:1:2:3::"), 1) == [429]
    assert creates(From(here, "2001:db8:1:3::1"), 1) == [201]
    assert creates(From(here, "192.0.2.7"), 2) == [201] * 2
    assert creates(From(here, "::ffff:192.0.2.7"), 1) == [429]  # the same client by another notation
    assert creates(From(here, "192.0.2.8"), 1) == [201]


FORGED = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP")


def test_a_forged_header_changes_nothing_without_a_trusted_proxy(limited: Limited) -> None:
    here = limited(create_limit="3", trusted_proxies="0")
    statuses = [
        creates(From(here, "192.0.2.1", **dict.fromkeys(FORGED, f"198.51.100.{number}")), 1)[0]
        for number in range(6)
    ]
    assert statuses == [201] * 3 + [429] * 3


@pytest.mark.parametrize("hops", [1, 2])
def test_behind_trusted_proxies_only_their_own_hops_count(limited: Limited, hops: int) -> None:
    here = limited(create_limit="2", trusted_proxies=str(hops))
    behind = ", 10.0.0.9" * (hops - 1)

    def create(said: str) -> int:
        return creates(From(here, "10.0.0.1", **{"X-Forwarded-For": said + behind}), 1)[0]

    # What the client writes stands to the left of what the proxies add.
    assert [create(f"203.0.113.{number}, 192.0.2.1") for number in range(4)] == [201, 201, 429, 429]
    assert create("192.0.2.1, 192.0.2.2") == 201
    assert create("192.0.2.2") == 201
    assert create("192.0.2.2") == 429


def test_with_fewer_hops_than_trusted_the_peer_itself_counts(limited: Limited) -> None:
    here = limited(create_limit="2", trusted_proxies="2")
    statuses = [
        creates(From(here, "10.0.0.1", **{"X-Forwarded-For": f"198.51.100.{number}"}), 1)[0]
        for number in range(4)
    ]
    assert statuses == [201, 201, 429, 429]


def test_an_address_that_is_none_counts_as_one_client(limited: Limited) -> None:
    here = limited(create_limit="2")
    assert [creates(From(here, address), 1)[0] for address in ("", "unix:", "nonsense")] == [201, 201, 429]


def test_the_store_holds_no_address(limited: Limited, backs: Backends) -> None:
    here = limited(create_limit="5", password_limit="5")
    addresses = {"192.0.2.77": b"\xc0\x00\x02\x4d", "2001:db8:77::1": bytes.fromhex("20010db80077")}
    for address in addresses:
        creates(From(here, address), 1)
        wrong_password(From(here, address), store(From(here, address), with_proof()))
    client = backs.store.client()
    counters = [key for key in client.keys("*") if b"limit" in key]
    assert len(counters) == 4
    assert all(0 < client.ttl(key) <= 60 for key in counters)
    everything = b"\n".join(repr(item).encode() for item in dump(backs).items()) + b"\n".join(counters)
    for address, packed in addresses.items():
        assert address.encode() not in everything
        assert repr(packed)[2:-1].encode() not in everything
        assert packed.hex().encode() not in everything
        assert b64(packed).encode() not in everything


def test_a_pseudonym_is_the_keyrings_own(backs: Backends, limited: Limited, tmp_path: Path) -> None:
    """Without the master key nobody can try addresses against the counters."""
    creates(From(limited(create_limit="5"), "192.0.2.1"), 1)
    client = backs.store.client()
    (one,) = client.keys("*limit*")
    with backends(tmp_path / "other") as other:
        creates(From(InProcess(other.app(create_limit="5")), "192.0.2.1"), 1)
        (two,) = other.store.client().keys("*limit*")
    assert one != two


@pytest.fixture
def crowded(backs: Backends) -> Iterator[tuple[InProcess, list[Secret]]]:
    """A store that is full, with some secrets in it."""
    here = InProcess(backs.app(create_limit="1000", password_limit="1000"))
    secrets = [Secret.create(here), *(store(here, with_proof()) for _ in range(3))]
    client = backs.store.client()
    client.config_set("maxmemory", 1)
    try:
        yield here, secrets
    finally:
        client.config_set("maxmemory", 0)


def test_a_full_store_refuses_to_create_and_still_opens(crowded: tuple[InProcess, list[Secret]]) -> None:
    here, (plain, guarded, guessed, revoked) = crowded
    for body in (Secret.make().body, with_proof().body, {"secret": "x", "expires_in": 60}):
        is_problem(here.post("/api/v1/secrets", body), 503, "store-unavailable")
    assert here.send("POST", "/", b"secret=x", FORM).status == 503
    assert plain.claim(here).status == 200
    # The cap on wrong passwords holds there too.
    assert [wrong_password(here, guessed).status for _ in range(7)] == [403] * 5 + [423] * 2
    assert wrong_password(here, guarded).json["tries_left"] == 4
    assert guarded.claim(here).status == 200
    assert revoked.call(here, "revoke", sender=True).status == 200
    for secret, end in ((plain, "opened"), (guarded, "opened"), (revoked, "revoked")):
        is_problem(secret.claim(here), 410, end)
        assert secret.state(here).json["state"] == end


def test_a_store_that_cannot_count_refuses_to_create(tmp_path: Path) -> None:
    with backends(tmp_path) as backs:
        here = InProcess(backs.app(create_limit="10", password_limit="10"))
        secret = store(here, with_proof())
        backs.store.kill()
        is_problem(here.post("/api/v1/secrets", Secret.make().body), 503, "store-unavailable")
        is_problem(secret.claim(here), 503, "store-unavailable")
        backs.store.start()
        assert secret.claim(here).status == 200
        here.service.store.node.close()
        here.service.ledger.close()


@pytest.mark.parametrize("path", ["/api/v1/secrets", "/api/v1/requests", "/"])
def test_what_another_site_has_a_browser_send_is_not_counted(backs: Backends, path: str) -> None:
    """Or any page could use up what everybody behind the reader's address may create."""
    here = InProcess(backs.app(create_limit="3"))
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        head = {"Content-Type": kind, "Sec-Fetch-Site": "cross-site"}
        answers = [here.send("POST", path, b"x" * 5000, head) for _ in range(5)]
        assert {answer.status for answer in answers} <= {403, 415}
        assert not any("ratelimit" in answer.headers for answer in answers)
    answer = here.post("/api/v1/secrets", Secret.make().body)
    assert (answer.status, answer.headers["ratelimit"]) == (201, '"create";r=2')
