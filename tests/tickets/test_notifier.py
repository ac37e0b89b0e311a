"""The trail in a real Request Tracker: every event told, each once, whatever dies on the way."""

from __future__ import annotations

import contextlib
import quopri
import secrets
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secretsvc.tickets.couriers import Part
from secretsvc.tickets.model import Reference
from secretsvc.tickets.web.module import Module
from tests.harness import Backends, InProcess, Secret, wait_until
from tests.tickets.notifying import notifying, write_config
from tests.tickets.rt.instance import RT

NOTES = """
SELECT attachment.Content, attachment.ContentEncoding FROM Attachments attachment
JOIN Transactions change ON attachment.TransactionId = change.id
WHERE change.ObjectType = 'RT::Ticket' AND change.ObjectId = ? AND change.Type = 'Comment'
"""


class Desk:
    """The service in this process, on a Request Tracker, with an agent's token."""

    def __init__(
        self, backs: Backends, folder: Path, rt: RT, more: str = "", hook_secret: Path | None = None
    ) -> None:
        self.rt = rt
        self.config = write_config(folder, rt, more, hook_secret)
        self.here = InProcess(backs.app(tickets_file=str(self.config)))
        self.module: Module = self.here.app.extensions["secretsvc.tickets"]
        self.agent = {"X-API-Key": self.here.service.tokens.add("eve", "agent")}

    def send(self, number: str, **more: Any) -> Secret:
        secret = Secret.make(secrets.token_bytes(8), label=f"rt:{number}", **more)
        answer = self.here.post("/api/v1/secrets", secret.body, self.agent)
        assert answer.status == 201, answer.text
        secret.receipt_token = answer.json["receipt_token"]
        return secret

    def expected(self, number: str) -> Counter[str]:
        """The lines that the ticket's notes must hold: from the receipts, by the words of the trail."""
        record = self.module.tickets.notice(Reference("rt", number))
        return Counter(
            self.module.notifier.couriers.line(Part(link, event, record.of(link.id)), "en")
            for link in record.links.values()
            for event in record.of(link.id).events
        )

    def told(self, number: str) -> Counter[str]:
        """The lines in the notes, from the tracker's own files: REST would take it a second each time."""
        with contextlib.closing(sqlite3.connect(self.rt.folder / "rt.sqlite", timeout=20)) as files:
            texts = files.execute(NOTES, (int(number),)).fetchall()
        decoders = {"quoted-printable": lambda text: quopri.decodestring(text).decode(), "none": str}
        whole = [decoders[encoding](text) for text, encoding in texts]
        return Counter(line for text in whole for line in text.strip().splitlines())


@pytest.fixture
def desk(backs: Backends, tmp_path: Path, rt: RT) -> Desk:
    return Desk(backs, tmp_path, rt)


def test_what_became_of_a_link_stands_in_the_ticket_and_the_customer_sees_nothing_of_it(
    desk: Desk, backs: Backends, tmp_path: Path, rt: RT
) -> None:
    number = rt.create("FTP login fails")
    secret = desk.send(number)
    with notifying(backs, tmp_path, desk.config):
        wait_until(lambda: sum(desk.told(number).values()) == 1)
        assert secret.claim(desk.here).status == 200
        assert secret.call(desk.here, "report").status == 200
        wait_until(lambda: desk.told(number) == desk.expected(number))
    assert sum(desk.told(number).values()) == 3
    assert rt.written(number, "Comment", "kim@kunde.example") == []
    seen = repr(rt.notes(number))
    for word in (secret.id, secret.token, secret.link, secret.receipt_token):
        assert word not in seen


def test_what_happened_while_no_notifier_ran_is_told_later(
    desk: Desk, backs: Backends, tmp_path: Path, rt: RT
) -> None:
    number = rt.create("mail")
    opened, revoked = desk.send(number), desk.send(number)
    assert opened.claim(desk.here).status == 200
    assert revoked.call(desk.here, "revoke", sender=True).status == 200
    # The hints are lost too.
    desk.here.service.store.node.command("ZADD", "ss:t:due", time.time() + 2, f"rt:{number}")
    with notifying(backs, tmp_path, desk.config):
        wait_until(lambda: sum(desk.told(number).values()) == 4)
    assert desk.told(number) == desk.expected(number)


def test_a_closed_ticket_ends_delivery_and_its_trail_stays_with_us(
    desk: Desk, backs: Backends, tmp_path: Path, rt: RT
) -> None:
    """Request Tracker would take comments on closed tickets."""
    number, other = rt.create("closed"), rt.create("open")
    desk.send(number)
    with notifying(backs, tmp_path, desk.config):
        wait_until(lambda: sum(desk.told(number).values()) == 1)
        rt.set(number, Status="closed")
        desk.module.tickets.facts(Reference("rt", number), fresh=0)
        late = desk.send(number)
        assert late.claim(desk.here).status == 200
        desk.send(other)
        wait_until(lambda: sum(desk.told(other).values()) == 1)
        wait_until(lambda: not desk.module.tickets.store.read(Reference("rt", number)).outbox.open)
    assert sum(desk.told(number).values()) == 1
    answer = desk.here.get(f"/api/v1/tickets/rt/{number}", **desk.agent)
    assert [link["state"] for link in answer.json["links"]] == ["opened", "sealed"]
    assert answer.json["status"] == "closed"


def test_two_notifiers_at_once_tell_nothing_twice(desk: Desk, backs: Backends, tmp_path: Path, rt: RT) -> None:
    numbers = [rt.create(f"two {n}") for n in range(4)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with notifying(backs, tmp_path / "one", desk.config), notifying(backs, tmp_path / "two", desk.config):
        for number in numbers:
            for _ in range(3):
                secret = desk.send(number)
                assert secret.claim(desk.here).status == 200
                desk.here.service.store.node.command("DEL", "ss:t:notifier")  # both think it is their turn
        wait_until(lambda: all(desk.told(n) == desk.expected(n) for n in numbers), 60)
    assert sum(sum(desk.told(n).values()) for n in numbers) == 24


def test_a_note_that_was_on_its_way_when_the_tracker_hung_is_not_written_twice(
    desk: Desk, backs: Backends, tmp_path: Path, rt: RT
) -> None:
    number = rt.create("hang")
    with notifying(backs, tmp_path, desk.config) as notifier:
        desk.send(number)
        wait_until(lambda: sum(desk.told(number).values()) == 1)
        rt.pause()
        secret = desk.send(number)
        wait_until(lambda: "tried again" in notifier.log.read_text())
        rt.resume()
        assert secret.claim(desk.here).status == 200
        wait_until(lambda: desk.told(number) == desk.expected(number), 60)
    assert sum(desk.told(number).values()) == 3


def test_a_killed_tracker_and_a_killed_notifier_lose_and_double_nothing(
    desk: Desk, backs: Backends, tmp_path: Path, rt: RT, *, full: bool, say: Callable[[str], None]
) -> None:
    tickets, each = (40, 5) if full else (10, 5)
    numbers = [rt.create(f"kill {n}") for n in range(tickets)]
    killed = Counter[str]()
    with notifying(backs, tmp_path, desk.config) as notifier:
        for turn, number in enumerate(numbers):
            hangs, written = turn % 5 == 3, notifier.log.stat().st_size
            if hangs:
                rt.pause()
            one, two = desk.send(number), desk.send(number)
            assert one.claim(desk.here).status == 200
            assert two.claim(desk.here).status == 200
            desk.send(number)
            if hangs:
                wait_until(lambda written=written: notifier.log.stat().st_size > written, 60)
                rt.resume()
                killed["tracker hung"] += 1
            elif turn % 5 == 2:
                rt.kill()
                rt.start()
                killed["tracker"] += 1
            elif turn % 5 == 4:
                notifier.end(signal.SIGKILL)
                notifier.start()
                killed["notifier"] += 1
        wait_until(lambda: all(desk.told(n) == desk.expected(n) for n in numbers), 180)
    told = sum((desk.told(n) for n in numbers), Counter[str]())
    assert sum(told.values()) == tickets * each
    assert max(told.values()) == 1
    say(f"{sum(told.values())} events, {dict(killed)} killed or hung: 0 lost, 0 doubled")
