"""What operators see of the notifier: its backlog from any web process, its deliveries, and its log."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from secretsvc.tickets import backlog
from secretsvc.tickets.backlog import Backlog
from secretsvc.tickets.outbox import Outbox
from tests.harness import Backends, InProcess, lines_of
from tests.tickets.outgoing.receivers import OK, Receiver
from tests.tickets.outgoing.smtpd import MailServer, Ways
from tests.tickets.test_told_elsewhere import TICKET, Office

BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def office(backs: Backends, tmp_path: Path) -> Iterator[Office]:
    with Receiver() as target, MailServer(ways=Ways(starttls=False)) as mails:
        yield Office(backs, tmp_path, target, mails)


def seen(office: Office) -> Backlog:
    return backlog.look(office.module.tickets.store)


def elsewhere(office: Office, backs: Backends) -> InProcess:
    """Another web process: it has nothing to do with the notifier but the store."""
    return InProcess(backs.app(tickets_file=office.here.service.settings.tickets_file))


def test_what_a_target_does_not_take_waits_and_is_counted_until_it_does(
    office: Office, backs: Backends
) -> None:
    office.target.answer = BUSY
    office.send()
    assert seen(office).waiting == {"look": 1, "told": 0}
    office.choose("Kunde GmbH")
    office.module.notifier.round()
    found = seen(office)
    assert found.waiting["told"] == 1
    assert found.deliveries == {("local", "hook", "later"): 1}
    text = elsewhere(office, backs).get("/metrics").text
    assert 'secretsvc_deliveries_total{desk="local",outcome="later",place="hook"} 1.0' in text
    assert 'secretsvc_notifier_waiting{what="told"} 1.0' in text
    office.target.answer = OK
    store = office.module.tickets.store
    store.change_outbox(TICKET, sooner)
    store.look_at_once(TICKET)
    office.module.notifier.couriers._closed.clear()
    office.tell()
    found = seen(office)
    assert (found.waiting["told"], found.oldest["told"]) == (0, 0)
    assert found.deliveries[("local", "hook", "done")] >= 1


def sooner(outbox: Outbox) -> Outbox:
    """With everything due now."""
    return Outbox(tuple(msgspec.structs.replace(each, due_at=0.0) for each in outbox.deliveries))


def test_a_notifier_is_seen_at_work_and_gone(office: Office) -> None:
    assert not seen(office).at_work
    notifier = office.module.notifier
    assert notifier.store.lease("me", 15)
    assert seen(office).at_work
    notifier.store.release("me")
    assert not seen(office).at_work


def test_what_waits_too_long_is_said_by_readyz_and_status_and_keeps_the_service_ready(office: Office) -> None:
    here, store = office.here, office.module.tickets.store
    assert here.get("/readyz").text == "store: ok\nledger: ok\n"
    page = {"Accept": "text/html", "Accept-Language": "en"}
    assert "<dt>Messages to tickets</dt><dd>works</dd>" in here.get("/status", **page).text
    store.node.command("ZADD", "ss:t:due", repr(time.time() - 100), "local:1")
    here.app.extensions["secretsvc.sight"]._known_at = float("-inf")
    ready = here.get("/readyz")
    assert (ready.status, ready.text) == (200, "store: ok\nledger: ok\nnotifier: behind\n")
    text = here.get("/status", **page).text
    assert "<dt>Messages to tickets</dt><dd>delayed just now</dd>" in text
    assert "<dt>Opening links</dt><dd>works</dd>" in text
    assert "The service works: links can be created" in text


def test_a_delivery_is_one_line_that_names_events_and_no_person(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = lines_of(monkeypatch)
    secret = office.send()
    office.choose("Kunde GmbH")
    assert secret.claim(office.here).status == 200
    office.tell()
    lines = [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]
    told = [line for line in lines if line["message"] == "delivery"]
    assert sorted(line["events"] for line in told) == [["created"], ["opened"]]
    assert {(line["ticket"], line["place"], line["outcome"]) for line in told} == {("local:7", "hook", "done")}
    assert all(line["logger"] == "secretsvc.tickets.notifier" and line["tries"] == 1 for line in told)
    for word in (secret.id, secret.token, secret.link, "hunter2", "kim@", "Kunde"):
        assert word not in stream.getvalue()
