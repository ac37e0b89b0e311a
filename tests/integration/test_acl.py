"""The ACL line of the README: enough for the service, and no more."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest
import redis

from secretsvc import atrest
from tests.harness import ROOT, Backends, InProcess, Secret, new_idempotency_key
from tests.servers import client, start_server
from tests.web.common import Asked, staff


def test_the_acl_line_of_the_readme_is_enough_and_no_more(folder: Path) -> None:
    line = re.search(r"`(~ss:\* [^`]*)`", (ROOT / "README.md").read_text())
    assert line
    user = f"user app on >pw resetchannels -@all {line[1]}"
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
        store.client().set("foreign", "1")
        for url in urls.values():
            app = client(url)
            for command in (
                "FLUSHALL",
                "CONFIG SET maxmemory 1",
                "GET foreign",
                "DEL foreign",
                "SHUTDOWN",
                "DEBUG SLEEP 0",
            ):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    app.execute_command(*command.split())
            app.close()


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
