"""Orders: credentials that a customer hands in unasked, into a real Request Tracker."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest

from secretsvc import envelope
from secretsvc.envelope import Payload, RequestLink, b64, new_key, seal_answer, unb64
from secretsvc.tickets.web.session import COOKIE
from secretsvc.tokens import Person
from tests.harness import Answer, Backends, InProcess, new_idempotency_key
from tests.tickets.notifying import write_config
from tests.tickets.rt.instance import ORGANISATION_FIELD, RT

ADA = Person("Ada Agentur", "customer", ("Agentur AG", "Kunde GmbH"), "ada", (), "ada@agentur.example")
ANSWER = b'{"text.text":"root: hunter2"}'
ORIGIN = {"Sec-Fetch-Site": "same-origin"}


class Shop:
    """The service with orders taken at the tracker, and somebody signed in."""

    def __init__(self, backs: Backends, folder: Path, rt: RT, person: Person = ADA) -> None:
        self.rt = rt
        conf = write_config(folder, rt, 'orders = "rt"\n')
        self.here = InProcess(backs.app(tickets_file=str(conf)))
        people = self.here.app.extensions["secretsvc.people"]
        self.signed_in = {"Cookie": f"{COOKIE}={people.sessions.begin(person)}", **ORIGIN}
        self.agent = {"X-API-Key": self.here.service.tokens.add("eve", "agent")}

    def order(self, body: dict[str, Any], key: str) -> Answer:
        return self.here.post("/api/v1/orders", body, {**self.signed_in, "Idempotency-Key": key})

    def tickets(self, marker: str) -> list[str]:
        found = self.rt.send("GET", f"/tickets?query=Subject%20LIKE%20%27{marker}%27&per_page=100")
        return [item["id"] for item in found.json["items"]]


def make(
    form: str = "text", organisation: str | None = "Kunde GmbH", **more: Any
) -> tuple[bytes, dict[str, Any]]:
    key = new_key()
    handles = envelope.derive_handles(key)
    link = RequestLink(handles.id, envelope.request_public_key(key))
    sealed = seal_answer(link, Payload(ANSWER, None, "application/json"))
    body = {"key": b64(key), "form": form, "envelope": b64(sealed), "consents": [], **more}
    return key, body if organisation is None else {**body, "organisation": organisation}


@pytest.fixture
def shop(backs: Backends, tmp_path: Path, rt: RT) -> Shop:
    return Shop(backs, tmp_path, rt)


def test_an_order_opens_a_ticket_and_an_agent_picks_it_up_once(shop: Shop, rt: RT) -> None:
    key, body = make()
    placed = shop.order(body, new_idempotency_key())
    assert placed.status == 201, placed.text
    number = placed.json["ticket"].removeprefix("rt:")
    ticket = rt.send("GET", f"/ticket/{number}").json
    fields = {field["name"]: field["values"] for field in ticket["CustomFields"]}
    assert fields[ORGANISATION_FIELD] == ["Kunde GmbH"]
    assert ticket["Requestor"][0]["id"] == "ada@agentur.example"
    [(_, note)] = [found for found in rt.notes(number) if "/s#" in found[1]]
    link = re.search(r"\S+/s#[\w-]{43}", note)
    assert link is not None
    assert link[0].endswith(b64(key))
    assert "/s#" not in repr(rt.written(number, "Create", "ada@agentur.example"))
    assert "hunter2" not in repr(rt.history(number)) + repr(rt.notes(number))
    body = {"link": link[0]}
    assert shop.here.post("/api/v1/open", body, shop.signed_in).status == 403
    opened = shop.here.post("/api/v1/open", body, shop.agent)
    assert (opened.status, opened.json["secret"]) == (200, ANSWER.decode())
    assert shop.here.post("/api/v1/open", body, shop.agent).status == 410
    shown = shop.here.get(f"/api/v1/tickets/rt/{number}", **shop.agent).json
    [listed] = shown["links"]
    assert shown["organisation"] == "Kunde GmbH"
    assert (listed["order"], listed["identity"], listed["state"]) == (True, "signed-in", "opened")
    assert [event.get("by") for event in listed["events"]] == ["Ada Agentur", None, "eve"]


def test_the_same_order_again_is_the_same_ticket(shop: Shop, rt: RT) -> None:
    _, body = make()
    key = new_idempotency_key()
    first, second = shop.order(body, key), shop.order(body, key)
    assert (first.status, second.status) == (201, 201)
    assert first.json == second.json
    number = first.json["ticket"].removeprefix("rt:")
    assert len([text for _, text in rt.notes(number) if "/s#" in text]) == 1


def test_one_order_sent_from_many_places_at_once_opens_one_ticket(shop: Shop, rt: RT) -> None:
    _, body = make()
    key = new_idempotency_key()
    answers: list[Answer] = []
    together = threading.Barrier(6)

    def send() -> None:
        together.wait()
        answers.append(
            InProcess(shop.here.app).post("/api/v1/orders", body, {**shop.signed_in, "Idempotency-Key": key})
        )

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} <= {201, 503}
    assert {answer.status for answer in answers} & {201}
    last = shop.order(body, key)
    assert last.status == 201, last.text
    assert {answer.json["ticket"] for answer in answers if answer.status == 201} == {last.json["ticket"]}
    assert len([text for _, text in rt.notes(last.json["ticket"].removeprefix("rt:")) if "/s#" in text]) == 1


def test_with_the_tracker_down_nothing_is_handed_in_and_the_same_order_goes_through_later(
    shop: Shop, rt: RT
) -> None:
    _, body = make()
    key = new_idempotency_key()
    rt.kill()
    refused = shop.order(body, key)
    assert (refused.status, refused.json["type"]) == (503, "desk-unavailable")
    assert not shop.here.service.store.node.command("KEYS", "ss:{*")
    rt.start()
    assert shop.order(body, key).status == 201


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"organisation": "Fremd AG"}, "organisation"),
        ({"organisation": None}, "organisation"),
        ({"form": "nosuch"}, "form"),
        ({"form": "server-order"}, "product"),
        ({"expires_in": 1}, "expires_in"),
        ({"consents": ["nosuch"]}, "consents"),
    ],
)
def test_a_wrong_order_is_refused_before_a_ticket_is_opened(
    shop: Shop, change: dict[str, Any], field: str
) -> None:
    _, body = make(**{**change} if "form" in change else {})
    refused = shop.order({**body, **change}, new_idempotency_key())
    assert refused.status == 422, refused.text
    assert field in [error["field"] for error in refused.json["errors"]]
    assert not shop.here.service.store.node.command("KEYS", "ss:t:begun*")


def test_only_customers_with_a_verified_address_order(backs: Backends, tmp_path: Path, rt: RT) -> None:
    nameless = Person("Kim", "customer", ("Kunde GmbH",), "kim")
    shop = Shop(backs, tmp_path, rt, nameless)
    _, body = make()
    assert shop.order(body, new_idempotency_key()).status == 403
    assert shop.here.post("/api/v1/orders", body, {"Idempotency-Key": new_idempotency_key()}).status == 401
    foreign = {**shop.signed_in, "Sec-Fetch-Site": "cross-site", "Idempotency-Key": new_idempotency_key()}
    assert shop.here.post("/api/v1/orders", body, foreign).status == 401
    assert unb64(body["key"])
