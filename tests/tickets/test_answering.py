"""What customers hand in without script: step by step, every mistake named, nothing secret sent back."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest

from secretsvc.envelope import b64, format_request_link, read_answers, unb64, unseal_answer
from secretsvc.tickets.web.session import COOKIE
from secretsvc.tokens import Person
from tests.harness import Answer, Backends, InProcess
from tests.tickets.notifying import write_config
from tests.tickets.rt.instance import RT
from tests.web.common import BROWSER, FORM, Asked, dump, staff

SECRETS = ("hunter2-Ö", "-----BEGIN KEY-----")
ROOT = {
    "field.root.host": 'web-1 "<b>',
    "field.root.user": "root",
    "field.root.password": SECRETS[0],
    "field.order.description": "Zeile 1\r\n<Zeile> 2",
    "product": "Server & Co",
    "package": "managed",
}
TICKS = {f"consents.{name}": "yes" for name in ("standard", "update", "access", "backup")}
ADA = Person("Ada Agentur", "customer", ("Agentur AG", "Kunde GmbH"), "ada", (), "ada@agentur.example")
OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def agent(here: InProcess) -> dict[str, str]:
    return staff(here)


@pytest.fixture
def asked(here: InProcess, agent: dict[str, str]) -> Asked:
    return Asked.create(here, agent, form="server-order", label="local:4711", identity="phone-password")


def link_of(asked: Asked) -> str:
    return format_request_link("https://any.example", asked.request.id, asked.request.public_key)


def post(here: InProcess, asked: Asked, headers: dict[str, str] | None = None, **fields: str) -> Answer:
    """The fields of a page's form, sent by a browser unless the headers say otherwise."""
    body = urlencode({"link": link_of(asked), **fields}).encode()
    return here.send("POST", "/r", body, {**FORM, **(BROWSER if headers is None else headers)})


def multipart(fields: dict[str, str], file: tuple[str, str, bytes]) -> tuple[bytes, dict[str, str]]:
    """The same with one file: its field, name and content."""
    parts = [
        f'--xx\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--xx\r\nContent-Disposition: form-data; name="{file[0]}"; filename="{file[1]}"\r\n\r\n'
    body = b"".join([*parts, head.encode(), file[2], b"\r\n--xx--\r\n"])
    return body, {"Content-Type": "multipart/form-data; boundary=xx", **BROWSER}


def collected(here: InProcess, asked: Asked, agent: dict[str, str]) -> dict[str, str]:
    """What the agent gets out of it."""
    answer = here.post(f"/api/v1/secrets/{asked.id}/claim", {}, asked.holder | agent)
    assert answer.status == 200, answer.text
    return read_answers(unseal_answer(asked.key, unb64(answer.json["envelope"])))


def facts(here: InProcess, asked: Asked) -> dict[str, Any]:
    """What was said outside the sealed part."""
    found = here.service.vault.status(unb64(asked.id)).receipt.facts
    assert found is not None
    kept: dict[str, Any] = json.loads(found)
    return kept


def values(page: Answer) -> dict[str, str]:
    """What stands in the fields of a page."""
    found = dict.fromkeys(re.findall(r'<(?:input|textarea|select)[^>]* name="([^"]+)"', page.text), "")
    for tag in re.findall(r"<input[^>]*>", page.text):
        name, value = re.search(r' name="([^"]+)"', tag), re.search(r' value="([^"]*)"', tag)
        if name and value and ('type="checkbox"' not in tag or " checked" in tag):
            found[name[1]] = unescape(value[1])
    for name, text in re.findall(r'<textarea name="([^"]+)"[^>]*>\n(.*?)</textarea>', page.text, re.S):
        found[name] = unescape(text)
    for name, options in re.findall(r'<select[^>]* name="([^"]+)".*?>(.*?)</select>', page.text, re.S):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        found[name] = chosen[1] if chosen else ""
    return found


def faults(page: Answer) -> list[str]:
    """Of which fields a page complains, in its summary; each is complained of at its place too."""
    found = re.findall(r'<li><a href="#f-([^"]+)"', page.text)
    assert found == re.findall(r'class="fault" id="f-([^"]+)-fault"', page.text)
    return found


# --- steps -------------------------------------------------------------------------------------------------


def test_a_link_leads_to_its_form_and_says_who_asks_and_who_reads(here: InProcess, asked: Asked) -> None:
    page = post(here, asked)
    assert page.status == 200
    for said in ("anna", "4711", "telephone password, which an agent has checked", "the server encrypts"):
        assert said in page.text, said
    assert "not your colleagues in your organisation either" in page.text
    assert set(values(page)) == {"link", "inquiry"}
    assert "no-store" in page.headers["cache-control"]


def test_the_kind_of_inquiry_decides_what_is_asked(here: InProcess, asked: Asked) -> None:
    mailbox, root = (set(values(post(here, asked, inquiry=kind))) for kind in ("mailbox", "root"))
    assert {"field.mailbox.address", "field.order.description", "consents.vendor"} <= mailbox
    assert not any(name.startswith("field.root") for name in mailbox)
    assert {"field.root.host", "field.root.key"} <= root
    assert not any(name.startswith("field.mailbox") for name in root)


def test_a_form_is_handed_in_and_collected_as_its_answers(
    here: InProcess, asked: Asked, agent: dict[str, str]
) -> None:
    page = post(here, asked, inquiry="root", step="hand-in", **ROOT, **TICKS)
    assert page.status == 201, page.text
    assert "4711" in page.text
    assert "The server encrypted it for you" in page.text
    assert not any(secret in page.text for secret in SECRETS)
    kept = facts(here, asked)
    assert (kept["inquiry"], kept["product"], kept["package"]) == ("root", "Server & Co", "managed")
    assert sorted(kept["consents"]) == ["access", "backup", "standard", "update"]
    assert (kept["form"], kept["identity"]) == ("server-order", "phone-password")
    assert kept["version"]
    assert collected(here, asked, agent) == {
        "order.description": "Zeile 1\n<Zeile> 2",
        "root.host": 'web-1 "<b>',
        "root.user": "root",
        "root.password": SECRETS[0],
    }


def test_a_file_is_handed_in_by_name_and_content(here: InProcess, asked: Asked, agent: dict[str, str]) -> None:
    content = bytes(range(256))
    given = {"link": link_of(asked), "step": "hand-in", "inquiry": "other", "product": "x"}
    given |= {"field.order.description": "y", "package": "basic", "cost_accepted": "yes", **TICKS}
    body, headers = multipart(given, ("field.other.file", "schlüssel.pem", content))
    assert here.send("POST", "/r", body, headers).status == 201
    found = collected(here, asked, agent)
    assert (found["other.file.name"], unb64(found["other.file.base64"])) == ("schlüssel.pem", content)


# --- mistakes ----------------------------------------------------------------------------------------------


def test_every_missing_field_and_tick_is_named_and_the_first_has_the_focus(
    here: InProcess, asked: Asked, backs: Backends
) -> None:
    before = dump(backs)
    page = post(here, asked, inquiry="root", step="hand-in")
    assert page.status == 422
    ticks = [f"consents.{name}" for name in ("standard", "update", "access", "backup")]
    fields = ["order.description", "root.host", "root.user", "root.password"]
    assert faults(page) == ["product", *fields, *ticks, "package"]
    [focused] = re.findall(r"<[^>]* autofocus[^>]*>", page.text)
    assert 'id="f-product"' in focused
    assert dump(backs) == before


def test_the_cost_has_to_be_accepted_where_the_package_is_charged(here: InProcess, asked: Asked) -> None:
    page = post(here, asked, inquiry="root", step="hand-in", **{**ROOT, "package": "basic"}, **TICKS)
    assert (page.status, faults(page)) == (422, ["cost_accepted"])
    assert "We charge this job by the time it takes." in page.text


def test_what_was_entered_survives_a_mistake_and_no_secret_is_sent_back(here: InProcess, asked: Asked) -> None:
    entered = {**ROOT, "field.root.key": SECRETS[1], "consents.vendor": "yes"}
    page = post(here, asked, inquiry="root", step="hand-in", **entered)
    assert page.status == 422
    assert not any(secret in unescape(page.text) for secret in SECRETS)
    kept = values(page)
    secret = {"field.root.password", "field.root.key"}
    assert {name: kept[name] for name in entered if name not in secret} == {
        name: value for name, value in entered.items() if name not in secret
    }
    assert {kept[name] for name in secret} == {""}
    again = post(here, asked, inquiry="root", step="kind", **entered)
    assert values(again)["field.order.description"] == ROOT["field.order.description"]
    assert not any(secret in unescape(again.text) for secret in SECRETS)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"field.root.port": "123456"}, "root.port"),
        ({"field.root.host": "a\nb"}, "root.host"),
        ({"field.mailbox.address": "x@y"}, "mailbox.address"),
        ({"field.nowhere.x": "y"}, "fields"),
        ({"consents.nothing": "yes"}, "consents"),
        ({"package": "gold"}, "package"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_what_is_not_asked_or_does_not_fit_is_named(
    here: InProcess, asked: Asked, changed: dict[str, str], named: str
) -> None:
    page = post(here, asked, inquiry="root", step="hand-in", **{**ROOT, **TICKS, **changed})
    assert page.status == 422
    assert re.findall(r'<li><a href="#f-([^"]+)"', page.text) == [named]


def test_a_field_of_no_form_is_refused(here: InProcess, asked: Asked) -> None:
    page = post(here, asked, inquiry="root", step="hand-in", **ROOT, **TICKS, root="x")
    assert page.status == 422
    assert "There is no such field." in page.text


def test_a_form_with_many_fields_is_read_whole(here: InProcess, asked: Asked) -> None:
    many = {f"field.root.x{number}": "y" for number in range(40)}
    page = post(here, asked, inquiry="root", step="hand-in", **ROOT, **TICKS, **many)
    assert (page.status, "This form does not ask for that." in page.text) == (422, True)


# --- once --------------------------------------------------------------------------------------------------


def test_a_request_is_answered_once(here: InProcess, asked: Asked, agent: dict[str, str]) -> None:
    given = {"inquiry": "root", "step": "hand-in", **ROOT, **TICKS}
    assert post(here, asked, None, **given).status == 201
    for again in (given, {}, {"inquiry": "root"}):
        page = post(here, asked, None, **again)
        assert page.status == 409
        assert "This request has been answered" in page.text
    assert collected(here, asked, agent)["root.password"] == SECRETS[0]
    assert post(here, asked).status == 409


def test_a_withdrawn_request_says_so(here: InProcess, asked: Asked) -> None:
    assert here.post(f"/api/v1/secrets/{asked.id}/revoke", None, asked.sender).status == 200
    for given in ({}, {"inquiry": "root", "step": "hand-in", **ROOT, **TICKS}):
        page = post(here, asked, None, **given)
        assert (page.status, "This request has ended" in page.text) == (410, True)


def test_the_link_reads_nothing_and_a_wrong_one_is_nothing(
    here: InProcess, asked: Asked, agent: dict[str, str]
) -> None:
    other = Asked.make()
    assert post(here, other).status == 404
    assert here.send("POST", "/r", b"link=x", {**FORM, **BROWSER}).status == 400
    assert here.send("POST", "/r", b"", {**FORM, **BROWSER}).status == 400
    post(here, asked, inquiry="root", step="hand-in", **ROOT, **TICKS)
    page = post(here, asked)
    assert not any(secret in page.text for secret in SECRETS)


def test_the_form_speaks_the_language_of_the_request(here: InProcess, agent: dict[str, str]) -> None:
    asked = Asked.create(here, agent, form="server-order", language="de")
    page = post(here, asked)
    assert 'lang="de"' in page.text
    assert "Auftrag mit Zugangsdaten" in page.text
    assert page.headers["content-language"] == "de"


def test_another_site_cannot_answer_for_the_reader(here: InProcess, asked: Asked) -> None:
    assert post(here, asked, {**BROWSER, "Sec-Fetch-Site": "cross-site"}).status == 403


# --- text and file, curl -----------------------------------------------------------------------------------


def test_a_text_stays_a_text(here: InProcess, agent: dict[str, str]) -> None:
    asked = Asked.create(here, agent, label="local:12")
    assert set(values(post(here, asked))) == {"link", "secret", "file", "newlines"}
    empty = post(here, asked, secret="")
    assert (empty.status, "There is nothing in it." in empty.text) == (422, True)
    assert post(here, asked, secret="a\r\nb", newlines="lf").status == 201
    answer = here.post(f"/api/v1/secrets/{asked.id}/claim", {}, asked.holder | agent)
    payload = unseal_answer(asked.key, unb64(answer.json["envelope"]))
    assert (payload.content, payload.name, payload.type) == (b"a\nb", None, None)


@pytest.mark.parametrize("form", ["text", "file"])
def test_curl_answers_what_asks_for_a_text_or_a_file(here: InProcess, agent: dict[str, str], form: str) -> None:
    asked = Asked.create(here, agent, form=form)
    answer = post(here, asked, {}, secret="\r\nfrom a pipe\n")
    assert (answer.status, answer.text) == (201, "Handed in.\n")
    claim = here.post(f"/api/v1/secrets/{asked.id}/claim", {}, asked.holder | agent)
    assert asked.unseal(claim) == b"\r\nfrom a pipe\n"
    assert post(here, asked, {}, secret="x").status == 409


def test_curl_is_told_in_one_line_what_a_longer_form_takes(here: InProcess, asked: Asked) -> None:
    answer = post(here, asked, {}, secret="x")
    assert answer.status == 422
    assert answer.text.count("\n") == 1
    assert "open its link in a browser" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


# --- orders ------------------------------------------------------------------------------------------------


class Shop:
    """The service with orders taken at a real tracker."""

    def __init__(self, backs: Backends, conf: str, rt: RT) -> None:
        self.rt = rt
        self.here = InProcess(backs.app(tickets_file=conf))
        self.people = self.here.app.extensions["secretsvc.people"]

    def as_(self, person: Person) -> dict[str, str]:
        return {"Cookie": f"{COOKIE}={self.people.sessions.begin(person)}", **OURS, **BROWSER}

    def get(self, person: Person, path: str = "/desk/order") -> Answer:
        return self.here.get(path, **self.as_(person))

    def order(self, person: Person = ADA, headers: dict[str, str] | None = None, **fields: str) -> Answer:
        given = {"form": "access", "inquiry": "other", "step": "hand-in", "field.other.text": SECRETS[0]}
        body = urlencode(given | fields).encode()
        return self.here.send("POST", "/desk/order", body, {**self.as_(person), **FORM, **(headers or {})})

    def collect(self, number: str) -> dict[str, str]:
        """What an agent gets by the note in the ticket."""
        agent = staff(self.here, f"agent-{number}")
        [link] = [re.search(r"#([\w-]{43})", text) for _, text in self.rt.notes(number) if "/s#" in text]
        assert link is not None
        found = self.here.post("/api/v1/open", {"key": link[1]}, agent)
        assert found.status == 200, found.text
        return {"type": found.json["type"], "secret": found.json["secret"]}


@pytest.fixture
def shop(backs: Backends, tmp_path: Any, rt: RT) -> Shop:
    return Shop(backs, str(write_config(tmp_path, rt, 'orders = "rt"\n')), rt)


def test_an_order_without_script_opens_one_ticket_however_often_it_is_sent(shop: Shop) -> None:
    page = shop.get(ADA, "/desk/order?form=access")
    key = re.search(r'name="idempotency_key" value="([^"]+)"', page.text)
    assert key is not None
    assert "whoever runs this server could read" in page.text
    given = {"idempotency_key": key[1], "organisation": "Kunde GmbH"}
    placed = shop.order(**given)
    assert placed.status == 201, placed.text
    number = re.findall(r"<strong>(\d+)</strong>", placed.text)[0]
    again = shop.order(**given)
    assert again.status == 409
    assert re.findall(r"<strong>(\d+)</strong>", again.text) == [number]
    assert SECRETS[0] not in placed.text + again.text
    assert len([text for _, text in shop.rt.notes(number) if "/s#" in text]) == 1
    assert shop.collect(number)["secret"] == f'{{"other.text":"{SECRETS[0]}"}}'


def test_an_order_for_one_of_several_says_which(shop: Shop) -> None:
    def tickets() -> int:
        return int(shop.rt.send("GET", "/tickets?query=id>0").json["total"])

    before = tickets()
    for organisation in ({}, {"organisation": "Fremd AG"}):
        page = shop.order(idempotency_key="k" * 30, **organisation, **{"field.other.text": " "})
        assert page.status == 422
        assert faults(page) == ["organisation", "other.text"]
    assert tickets() == before


def test_who_is_not_signed_in_is_sent_there_and_agents_are_told(shop: Shop) -> None:
    out = shop.here.get("/desk/order?form=access", **BROWSER)
    assert (out.status, out.headers["location"]) == (303, "/desk/sign-in?next=%2Fdesk%2Forder%3Fform%3Daccess")
    agent = shop.get(Person("Anna", "agent", id="anna"))
    assert (agent.status, "Orders are for customers" in agent.text) == (403, True)
    nameless = shop.get(Person("Kim", "customer", ("Kunde GmbH",), "kim"))
    assert (nameless.status, "no verified e-mail address" in nameless.text) == (403, True)
    assert shop.get(ADA, "/desk/order?form=nothing").status == 404
    foreign = shop.order(headers={"Sec-Fetch-Site": "cross-site"}, idempotency_key="k" * 30)
    assert (foreign.status, "sent from another site" in foreign.text) == (403, True)


def test_where_no_orders_are_taken_the_page_says_so(here: InProcess) -> None:
    people = here.app.extensions["secretsvc.people"]
    cookie = {"Cookie": f"{COOKIE}={people.sessions.begin(ADA)}", **OURS}
    page = here.get("/desk/order", **cookie, **BROWSER)
    assert (page.status, "Orders are not taken here" in page.text) == (403, True)


def test_a_desk_that_does_not_answer_keeps_what_was_entered(shop: Shop) -> None:
    given = {"idempotency_key": b64(bytes(30)), "organisation": "Kunde GmbH", "inquiry": "root"}
    given |= {"field.root.host": "web-1", "field.root.user": "root", "field.root.password": SECRETS[0]}
    given["field.other.text"] = ""
    shop.rt.pause()
    try:
        page = shop.order(**given)
    finally:
        shop.rt.resume()
    assert page.status == 503
    assert "The helpdesk does not answer" in page.text
    kept = values(page)
    assert (kept["field.root.host"], kept["organisation"]) == ("web-1", "Kunde GmbH")
    assert kept["idempotency_key"] == given["idempotency_key"]
    assert SECRETS[0] not in page.text
