"""The ACL line of the README: enough for the service, and no more; and TLS to every kind of store."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from secretsvc import atrest
from secretsvc.hygiene import Housekeeping
from tests.faults.clusters import cluster
from tests.faults.topology import Member, ask, replicated
from tests.harness import ROOT, Backends, InProcess, Secret, new_idempotency_key, wait_until
from tests.servers import Server, binary, client, free_port, start_server
from tests.web.common import Asked, staff

FORBIDDEN = ("FLUSHALL", "CONFIG SET maxmemory 1", "GET foreign", "DEL foreign", "SHUTDOWN", "DEBUG SLEEP 0")


def allowed(*, cluster: bool = False) -> list[str]:
    """The README's words for a user with the password ``pw``."""
    readme = (ROOT / "README.md").read_text()
    line, more = re.search(r"`(~ss:\* [^`]*)`", readme), re.search(r"in a Cluster\s+`([^`]*)`", readme)
    assert line
    assert more
    return f"on >pw resetchannels -@all {line[1]} {more[1] if cluster else ''}".split()


def test_the_acl_line_of_the_readme_is_enough_and_no_more(folder: Path) -> None:
    user = f"user app {' '.join(allowed())}"
    atrest.save_keyring(folder / "keyring", {"test": secrets.token_bytes(32)})
    with (
        start_server("redis", transport="tcp", dir=folder / "store", extra=[user]) as store,
        start_server("redis", transport="tcp", dir=folder / "ledger", extra=[user]) as ledger,
    ):
        urls = {
            "redis_url": store.url.replace("://", "://app:pw@"),
            "ledger_urls": ledger.url.replace("://", "://app:pw@"),
        }
        backs = Backends(store, ledger, folder / "keyring")
        here = InProcess(backs.app(**urls, create_limit="100", password_limit="100"))
        everything(here)
        assert Housekeeping(here.service.store.node, every=60).look() == 1
        store.client().set("foreign", "1")
        for url in urls.values():
            refused(url)


def refused(url: str) -> None:
    app = client(url)
    for command in FORBIDDEN:
        with pytest.raises(redis.exceptions.NoPermissionError):
            app.execute_command(*command.split())
    app.close()


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_it_is_enough_behind_sentinels_and_in_a_cluster_too(backs: Backends, folder: Path, kind: str) -> None:
    start = replicated(folder / "store") if kind == "sentinel" else cluster(folder / "store", replicas=True)
    with start as store:
        for member in store.members:
            ask(member.server, "ACL", "SETUSER", "app", *allowed(cluster=kind == "cluster"))
        url = store.url.replace("://", "://app:pw@")
        here = InProcess(backs.app(redis_url=url, wait_replicas="1", create_limit="100", password_limit="100"))
        everything(here)
        assert Housekeeping(here.service.store.node, every=60).look() == 2 * len(store.members)
        for member in store.members:
            assert {entry["username"] for entry in denied(member)} <= {"default"}


def denied(member: Member) -> list[dict[str, str]]:
    """What somebody was refused there."""
    with client(member.server.url) as one:
        found: list[dict[str, str]] = one.acl_log()
    return found


def test_a_cluster_by_tls(backs: Backends, folder: Path) -> None:
    extra = ["cluster-enabled yes", "tls-cluster yes", "cluster-announce-ip 127.0.0.1", "tls-replication yes"]
    with start_server("redis", transport="tls", dir=folder / "store", extra=extra) as store:
        with store.client() as one:
            one.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
            wait_until(lambda: b"cluster_state:ok" in redis_bytes(one.execute_command("CLUSTER INFO")))
        url = store.url.replace("rediss://", "rediss+cluster://").replace("/0?", "?")
        everything(InProcess(backs.app(redis_url=url, create_limit="100", password_limit="100")))


def redis_bytes(answer: object) -> bytes:
    """CLUSTER INFO as the server sent it, whatever the client made of it."""
    if isinstance(answer, dict):
        return "".join(f"{key}:{value}\n" for key, value in answer.items()).encode()
    assert isinstance(answer, bytes)
    return answer


def test_sentinels_by_tls(backs: Backends, folder: Path) -> None:
    with start_server("redis", transport="tls", dir=folder / "store") as store:
        port, watch = urlsplit(store.url).port, free_port()
        tls = [line for line in store.config.splitlines() if line.startswith("tls-") and "port" not in line]
        file = folder / "sentinel.conf"
        lines = ["port 0", f"tls-port {watch}", "bind 127.0.0.1", *tls, "tls-replication yes"]
        file.write_text("\n".join([*lines, f"sentinel monitor main 127.0.0.1 {port} 1"]) + "\n")
        watched = store.url.replace(f":{port}/", f":{watch}/")
        sentinel = Server(watched, folder, binary("redis"), "", arguments=(str(file), "--sentinel"))
        sentinel.start()
        with sentinel:
            ca = store.url.partition("?")[2]
            url = f"rediss+sentinel://127.0.0.1:{watch}/main?{ca}"
            everything(InProcess(backs.app(redis_url=url, create_limit="100", password_limit="100")))


def everything(here: InProcess) -> None:
    """One of each call the service makes to its servers."""
    secret, key = Secret.create(here, password="sesam"), new_idempotency_key()
    for _ in range(5):
        assert secret.claim(here, proof="A" * 43).status == 403
    assert secret.call(here, "unlock", sender=True).status == 200
    assert secret.claim(here, key).status == 200
    assert secret.call(here, "done", **{"Idempotency-Key": key}).status == 204
    assert secret.call(here, "report").status == 200
    assert Secret.create(here).call(here, "revoke", sender=True).status == 200
    wish = {"secret": "x", "expires_in": 60}
    assert here.post("/api/v1/secrets", wish, {"Idempotency-Key": key}).status == 201
    asked = Asked.create(here, staff(here))
    assert asked.answer(here).status == 201
    assert here.service.tokens.revoke("anna")
    assert here.service.ledger.new_epoch()
    assert here.get("/readyz").status == 200


def test_every_key_that_traffic_makes_ends_by_itself(backs: Backends) -> None:
    everything(InProcess(backs.app(create_limit="100", password_limit="100")))
    kept = {
        "store": {key for key in backs.store.client().scan_iter() if backs.store.client().ttl(key) < 0},
        "ledger": {key for key in backs.ledger.client().scan_iter() if backs.ledger.client().ttl(key) < 0},
    }
    # The marks of the ledger are the operator's, not a caller's: they are few, and stay.
    assert kept == {"store": {b"ss:seen"}, "ledger": {b"ss:epoch", b"ss:sequence"}}
    assert backs.store.client().dbsize() >= 8
