"""What an agent of another desk, a customer, or a fault may not do by way of the lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from secretsvc.envelope import b64
from secretsvc.tickets.model import Reference
from secretsvc.tickets.trail import UNBORN, Seen, advance
from secretsvc.tickets.web.module import Module
from tests.harness import Backends, InProcess, Secret
from tests.web.common import Asked

TWO_DESKS = '[desks.a]\nkind = "local"\n[desks.b]\nkind = "local"\n'


class House:
    """A service with two desks that know numbers alone, and an agent at each."""

    def __init__(self, backs: Backends, folder: Path, desks: str = TWO_DESKS) -> None:
        path = folder / "tickets.toml"
        path.write_text(desks)
        self.here = InProcess(backs.app(tickets_file=str(path)))
        self.module: Module = self.here.app.extensions["secretsvc.tickets"]

    def agent(self, *desks: str) -> dict[str, str]:
        name = f"agent-{len(self.here.service.tokens.all())}"
        return {"X-API-Key": self.here.service.tokens.add(name, "agent", (), desks)}

    def send(self, label: str | None, head: dict[str, str]) -> Secret:
        secret = Secret.make(b"hunter2", **({"label": label} if label else {}))
        answer = self.here.post("/api/v1/secrets", secret.body, head)
        assert answer.status == 201, answer.text
        secret.receipt_token = answer.json["receipt_token"]
        return secret

    def links(self, ticket: str, head: dict[str, str]) -> list[dict[str, Any]]:
        answer = self.here.get(f"/api/v1/tickets/{ticket.replace(':', '/')}", **head)
        assert answer.status == 200, answer.text
        found: list[dict[str, Any]] = answer.json["links"]
        return found

    def ref(self, ticket: str, secret: Secret) -> str:
        return self.module.tickets.store.read(Reference.read(ticket)).links[secret.id].ref


@pytest.fixture
def house(backs: Backends, tmp_path: Path) -> House:
    return House(backs, tmp_path)


@pytest.mark.parametrize("label", ["a:1", None])
def test_naming_anothers_id_in_a_create_gives_no_hold_on_it(house: House, label: str | None) -> None:
    """An id stands in addresses, and so in the logs of proxies."""
    one, two = house.agent("a"), house.agent("b")
    victim = house.send(label, one)
    taken = Secret.make(b"x", label="b:9").body | {"id": victim.id}
    assert house.here.post("/api/v1/secrets", taken, two).status == 409
    assert house.links("b:9", two) == []
    ref = house.ref("b:9", victim)
    for what in ("revoke", "unlock"):
        assert house.here.post(f"/api/v1/tickets/b/9/links/{ref}/{what}", None, two).status == 404
    house.module.notifier.round()
    assert house.links("b:9", two) == []
    assert victim.claim(house.here).status == 200


def test_a_desk_that_is_gone_from_the_settings_opens_its_answers_to_nobody_else(
    backs: Backends, tmp_path: Path
) -> None:
    house = House(backs, tmp_path)
    one, two = house.agent("a"), house.agent("b")
    asked = Asked.create(house.here, one, label="a:1")
    assert asked.answer(house.here).status == 201
    later = House(backs, tmp_path, '[desks.b]\nkind = "local"\n')
    claim = f"/api/v1/secrets/{asked.id}/claim"
    assert later.here.post(claim, {}, asked.holder | two).status == 403
    assert later.here.post(claim, {}, asked.holder | one).status == 200


def test_an_opened_link_is_looked_at_from_time_to_time_and_no_oftener_when_its_time_is_over(
    house: House,
) -> None:
    one = house.agent()
    secret = house.send("a:1", one)
    assert secret.claim(house.here).status == 200
    ticket, store = Reference.read("a:1"), house.module.tickets.store
    house.module.notifier.round()
    # As if its time had run out long ago.
    receipt = f"ss:{{{secret.id}}}"
    store.node.command("HINCRBY", receipt, "x", -7200)
    store.node.command("HSET", "ss:t:{a:1}", f"p:{secret.id}", b'{"state":"opened","expires_at":1000}')
    house.module.tickets.store.change_progress(ticket, secret.id, lambda known: known)
    at = house.module.notifier.look(ticket)
    assert at is not None
    assert at - house.module.notifier.now() > house.module.notifier.every / 2


def test_one_ticket_that_cannot_be_read_keeps_no_other_waiting(house: House) -> None:
    one = house.agent()
    house.send("a:1", one)
    other = house.send("a:2", one)
    store = house.module.tickets.store
    store.node.command("HSET", "ss:t:{a:1}", "outbox", b'{"deliveries":7}')
    assert other.claim(house.here).status == 200
    for _ in range(2):
        house.module.notifier.round()
    assert [event["type"] for event in house.links("a:2", one)[0]["events"]] == ["created", "opened"]
    assert store.due(house.module.notifier.now()) == []


def test_a_create_that_succeeds_only_after_a_while_is_listed_all_the_same(house: House) -> None:
    one = house.agent()
    secret = Secret.make(b"x", label="a:1")
    tickets, ticket = house.module.tickets, Reference.read("a:1")
    house.here.post("/api/v1/secrets", secret.body, one)
    link = tickets.store.read(ticket).links[secret.id]
    store = tickets.store
    store.node.command("HDEL", "ss:t:{a:1}", f"p:{secret.id}")
    # As if it had not been stored the first time, and somebody had looked too late.
    gone = store.change_progress(
        ticket, secret.id, lambda known: advance(link, known, Seen(None), link.created_at + UNBORN)
    )
    assert gone.state == "forgotten"
    assert house.here.post("/api/v1/secrets", secret.body, one).status == 201
    assert [found["state"] for found in house.links("a:1", one)] == ["sealed"]


def test_a_link_typed_as_a_ticket_number_is_no_ticket(house: House) -> None:
    one = house.agent()
    secret = house.send("a:1", one)
    for number in (b64(secret.key), secret.token):
        assert house.here.get(f"/api/v1/tickets/a/{number}", **one).status == 404
        body = Secret.make(b"x", label=f"a:{number}").body
        house.here.post("/api/v1/secrets", body, one)
    assert not [key for key in house.here.service.store.node.command("KEYS", "ss:t:*") if len(key) > 40]
