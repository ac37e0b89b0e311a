"""The pages of agents and organisations over HTTP: who sees what, and nothing in them opens anything."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from secretsvc.connections import open_node
from secretsvc.envelope import b64
from secretsvc.errors import StoreUnavailable
from secretsvc.tickets.sessions import Sessions
from secretsvc.tokens import Person
from secretsvc.web.language import CATALOGUES
from tests.harness import Answer, Backends, Client, Secret, backends, web
from tests.tickets import paper
from tests.tickets.paper import ANNA, BERT, CARL, KIM, LEE
from tests.web.common import Asked, is_problem, wrong_password

PAGE = {"Accept": "text/html"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin", **PAGE}
HOSTILE = "<img src=x onerror=alert(1)>\r\nSet-Cookie: a=b\u202e\u2066</title>%0d%0a\"'"


@dataclass
class Desk:
    """A running service with a helpdesk on paper."""

    backs: Backends
    client: Client
    sessions: Sessions

    def ticket(self, number: str = "", **ticket: Any) -> str:
        """A ticket in the helpdesk, by default a new one of Kunde GmbH."""
        number = number or secrets.token_hex(6)
        said = {"organisation": "Kunde GmbH", "requester": "kim@kunde.example", **ticket}
        paper.says(self.backs.store.client(), number, **said)
        return number

    def head(self, person: Person | None) -> dict[str, str]:
        if person is None:
            return {}
        return {"Cookie": f"__Host-secretsvc={self.sessions.begin(person)}"}

    def get(self, person: Person | None, path: str) -> Answer:
        return self.client.send("GET", path, None, PAGE | self.head(person))

    def post(
        self, person: Person | None, path: str, fields: dict[str, str] | None = None, **more: str
    ) -> Answer:
        body = urlencode(fields or {}).encode()
        head = FORM | self.head(person) | {name.replace("_", "-"): value for name, value in more.items()}
        return self.client.send("POST", path, body, head)

    def call(self, person: Person, method: str, path: str, body: Any = None) -> Answer:
        """A call of the API as our own pages make it."""
        head = self.head(person) | {"Sec-Fetch-Site": "same-origin"}
        if method == "GET":
            return self.client.send("GET", f"/api/v1{path}", None, head)
        return self.client.post(f"/api/v1{path}", body, head)

    def send(self, number: str, **more: Any) -> Secret:
        """A secret on the ticket."""
        secret = Secret.make(label=f"paper:{number}", **more)
        answer = self.call(ANNA, "POST", "/secrets", secret.body)
        assert answer.status == 201, answer.text
        secret.receipt_token = answer.json["receipt_token"]
        return secret

    def ask(self, number: str, **more: Any) -> Asked:
        asked = Asked.make(**{"label": f"paper:{number}", "form": "text", **more})
        answer = self.call(ANNA, "POST", "/requests", asked.body)
        assert answer.status == 201, answer.text
        asked.receipt_token = answer.json["receipt_token"]
        return asked

    def refs(self, number: str) -> list[str]:
        return [each["ref"] for each in self.call(ANNA, "GET", f"/tickets/paper/{number}").json["links"]]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    settings = {"tickets_file": str(paper.write_config(folder))}
    with backends(folder) as backs, web(backs, folder, target=paper.TARGET, **settings) as running:
        node = open_node(backs.store.url, connections=4, unavailable=StoreUnavailable)
        yield Desk(backs, running.client(), Sessions(node))
        node.close()


def text(answer: Answer, *, after: str = "<main") -> str:
    """What the page says, without markup."""
    main = answer.text.partition("<main")[2].partition("</main>")[0]
    main = after + (main.partition(after)[2] if after != "<main" else main)
    words = re.sub(r"<template.*?</template>|<[^>]*>", " ", main, flags=re.S)
    return " ".join(unescape(words).split())


# --- who gets in -----------------------------------------------------------------------------------------

PAGES = (
    "/desk",
    "/desk/paper/4711",
    "/desk/paper/4711/trail",
    "/desk/organisations",
    "/desk/organisations/links?organisation=Kunde+GmbH&state=sealed",
    "/desk/organisations/links?organisation=B%C3%A4cker%20%26%20Co",
)


@pytest.mark.parametrize("path", PAGES)
def test_whoever_has_not_signed_in_is_sent_there_and_back_again(desk: Desk, path: str) -> None:
    answer = desk.get(None, path)
    assert answer.status == 303
    found = urlsplit(answer.headers["location"])
    assert (found.netloc, found.path) == ("", "/desk/sign-in")
    assert parse_qs(found.query)["next"] == [path]
    page = desk.client.send("GET", answer.headers["location"], None, PAGE).text
    assert f'name="next" value="{path.replace("&", "&amp;")}"' in page
    assert desk.client.get(path).status == 401


def test_a_foreign_ticket_and_no_ticket_are_one_and_the_same(desk: Desk) -> None:
    number = desk.ticket()
    desk.send(number)
    [ref] = desk.refs(number)
    rest = ("", "/trail", f"/links/{ref}/revoke", f"/links/{ref}/unlock", "/organisation")
    strangers = (LEE, CARL, Person("Mo", "customer", id="mo", email="KIM@kunde.example.org"))
    for person in strangers:
        for what in rest:
            found = []
            for there in (number, "99999"):
                path = f"/desk/paper/{there}{what}"
                answer = desk.get(person, path) if what in ("", "/trail") else desk.post(person, path)
                found.append((answer.status, answer.text.replace(there, "")))
            assert found[0] == found[1], (person, what)
            assert found[0][0] == 404
    assert desk.get(KIM, f"/desk/paper/{number}").status == 200
    [row] = desk.call(ANNA, "GET", f"/tickets/paper/{number}").json["links"]
    assert row["state"] == "sealed"


def test_a_foreign_organisation_is_not_there(desk: Desk) -> None:
    desk.send(desk.ticket())
    for name in ("Kunde GmbH", "Nobody"):
        query = urlencode({"organisation": name})
        assert desk.get(LEE, f"/desk/organisations/links?{query}").status == 404
        assert (
            desk.post(LEE, "/desk/organisations/follow", {"organisation": name, "language": "de"}).status == 404
        )
    assert "Kunde" not in desk.get(LEE, "/desk/organisations").text
    assert desk.get(KIM, "/desk/organisations/links?organisation=Kunde+GmbH").status == 200


def test_a_customer_reads_the_list_and_can_press_nothing(desk: Desk) -> None:
    number = desk.ticket(requester_name="Kim Kunde")
    asked = desk.ask(number, identity="phone-password")
    body = {"envelope": asked.sealed(), "consents": []}
    assert asked.answer(desk.client, body).status == 201
    desk.send(number)
    page = desk.get(KIM, f"/desk/paper/{number}")
    assert page.status == 200
    for ref in desk.refs(number):
        assert ref in page.text
    trail = page.text.partition('<div id="ticket"')[2]
    for nothing in ("<form", "<button", "<details", "Kim Kunde", "kim@kunde.example"):
        assert nothing not in trail, nothing
    assert "Answered: ready to be picked up" in text(page)
    assert "<button" in desk.get(ANNA, f"/desk/paper/{number}").text.partition('<div id="ticket"')[2]
    for ref in desk.refs(number):
        assert desk.post(KIM, f"/desk/paper/{number}/links/{ref}/revoke").status == 404
    assert {row["state"] for row in desk.call(ANNA, "GET", f"/tickets/paper/{number}").json["links"]} == {
        "sealed"
    }


def test_a_page_of_another_site_can_press_nothing(desk: Desk) -> None:
    number = desk.ticket()
    desk.send(number)
    [ref] = desk.refs(number)
    for path, fields in (
        (f"/desk/paper/{number}/links/{ref}/revoke", {}),
        (f"/desk/paper/{number}/organisation", {"organisation": "Andere AG"}),
        ("/desk/organisations/follow", {"organisation": "Kunde GmbH", "language": "de"}),
        ("/desk", {"ticket": number}),
    ):
        for site in ("cross-site", "same-site"):
            assert desk.post(ANNA, path, fields, Sec_Fetch_Site=site).status == 403, path
    page = desk.call(ANNA, "GET", f"/tickets/paper/{number}").json
    assert (page["organisation"], page["links"][0]["state"]) == ("Kunde GmbH", "sealed")
    assert "You follow it" not in text(desk.get(ANNA, "/desk/organisations"))


# --- what is in them -------------------------------------------------------------------------------------


def test_no_page_holds_anything_that_opens(desk: Desk) -> None:
    number = desk.ticket(organisation="Leser AG", requester="leo@leser.example")
    leo = Person("Leo", "customer", ("Leser AG",), id="leo")
    secret, asked = desk.send(number, password="öffne"), desk.ask(number)
    asked.answer(desk.client)
    keys = [b64(secret.key), b64(asked.key), secret.id, asked.id, secret.token, asked.token]
    keys += [
        secret.receipt_token,
        asked.receipt_token,
        b64(asked.request.public_key),
        asked.body["answer_token"],
    ]
    keys += [secret.proof or "", b64(secret.stretched or b""), secret.body["envelope"][:40]]
    seen = 0
    for person in (ANNA, BERT, leo):
        for path in (
            "/desk",
            f"/desk/paper/{number}",
            f"/desk/paper/{number}/trail",
            f"/desk/paper/{number}/trail?id={secret.id}",
            "/desk/organisations",
            "/desk/organisations/links?organisation=Leser+AG",
        ):
            page = desk.get(person, path)
            assert page.status == 200, (person, path)
            seen += sum(ref in page.text for ref in desk.refs(number))
            assert [key for key in keys if len(key) < 20 or key in page.text] == [], path
            assert page.headers["cache-control"] == "no-store"
    assert seen == 3 * 4 * 2


def test_whoever_made_a_link_learns_its_reference_by_its_id(desk: Desk) -> None:
    number = desk.ticket()
    first, second = desk.send(number), desk.ask(number)
    links = desk.call(ANNA, "GET", f"/tickets/paper/{number}").json["links"]
    refs = {link["kind"]: link["ref"] for link in links}
    for made, kind in ((second, "request"), (first, "secret")):
        page = desk.get(ANNA, f"/desk/paper/{number}/trail?id={made.id}")
        assert f'data-made="{refs[kind]}"' in page.text
    other = desk.send(desk.ticket())
    for id in ("", other.id, "x", quote(HOSTILE)):
        assert 'data-made=""' in desk.get(ANNA, f"/desk/paper/{number}/trail?id={id}").text


def test_what_people_and_helpdesks_write_does_no_harm(desk: Desk) -> None:
    theirs = desk.ticket(organisation=HOSTILE)
    desk.send(theirs)
    desk.refs(theirs)  # looked at: so subjects can name it
    agent = Person(HOSTILE, "agent", id="hostile-agent")
    number = desk.ticket(requester_name=HOSTILE, requester=HOSTILE, subject=f"Re: {HOSTILE}: {HOSTILE}")
    secret = Secret.make(label=f"paper:{number}")
    assert desk.call(agent, "POST", "/secrets", secret.body).status == 201
    query = urlencode({"organisation": HOSTILE})
    for path in (
        f"/desk/paper/{number}",
        f"/desk/paper/{number}/trail",
        f"/desk/paper/{theirs}",
        "/desk/organisations",
        f"/desk/organisations/links?{query}",
        "/desk/organisations/links?organisation=Kunde+GmbH",
        "/desk",
    ):
        page = desk.get(agent, path)
        assert page.status == 200, path
        assert "<img" not in page.text.partition("<main")[2], path
        assert page.text.count("</title>") == 1
        assert not set("\u202e\u2066") & set(text(page, after="</nav>")), path
        assert "set-cookie" not in page.headers
        assert "onerror=alert(1)" in page.text or path == "/desk"
    assert desk.post(agent, f"/desk/paper/{number}/organisation", {"organisation": HOSTILE}).status == 422
    found = desk.post(agent, "/desk", {"ticket": HOSTILE})
    assert (found.status, "<img" in found.text.partition("<main")[2]) == (422, False)


def test_a_page_made_once_for_all_names_nobody_to_others(desk: Desk) -> None:
    for path in ("/", "/s", "/open", "/receipt", "/help", "/r", "/s%23x", "/r%23x"):
        for person in (ANNA, None, BERT, None, ANNA):
            page = desk.get(person, path).text
            named = {each.name for each in (ANNA, BERT) if each.name in page}
            assert named <= ({person.name} if person else set()), (path, person)
    assert ANNA.name in desk.get(ANNA, "/s").text


def test_the_language_that_was_asked_for_stays(desk: Desk) -> None:
    number = desk.ticket()
    desk.send(number)
    [ref] = desk.refs(number)
    german = CATALOGUES["de"].gettext("Withdraw it for good")
    page = desk.get(ANNA, f"/desk/paper/{number}?lang=de").text
    assert '<html lang="de">' in page
    assert german in page
    found = desk.post(ANNA, f"/desk/paper/{number}/links/{ref}/revoke?lang=de")
    assert found.headers["location"] == f"/desk/paper/{number}?lang=de#trail-heading"
    listed = desk.get(ANNA, "/desk/organisations/links?organisation=Kunde+GmbH&state=revoked&lang=de").text
    assert 'href="?organisation=Kunde+GmbH&amp;state=revoked&amp;lang=en"' in listed
    assert 'name="lang" value="de"' in listed
    assert desk.get(None, "/desk?lang=de").headers["location"].endswith("lang=de")


# --- to a ticket -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "desk_field", "leads_to"),
    [
        ("4711", "paper", "/desk/paper/4711"),
        (" #4711 ", "paper", "/desk/paper/4711"),
        ("local:4711", "paper", "/desk/local/4711"),
        ("https://rt.example/rt/Ticket/Display.html?id=4711", "paper", "/desk/rt/4711"),
        ("https://rt.example/rt/Ticket/4711/", "", "/desk/rt/4711"),
        ("https://rt.example/rt/Ticket/none", "rt", "address of a ticket"),
        ("https://elsewhere.example/4711", "rt", "address of a ticket"),
        ("https://zammad.example/#ticket/zoom/5", "rt", "type the number"),
        ("http://[", "rt", "address of a ticket"),
        ("nowhere:4711", "paper", "no desk of this name"),
        ("4711", "", "Type the ticket's number"),
        ("", "paper", "Type the ticket's number"),
        ("47 11", "paper", "Type the ticket's number"),
    ],
)
def test_a_ticket_is_found_by_number_reference_or_address(
    desk: Desk, typed: str, desk_field: str, leads_to: str
) -> None:
    answer = desk.post(BERT, "/desk", {"ticket": typed, "desk": desk_field})
    if leads_to.startswith("/"):
        assert (answer.status, answer.headers.get("location")) == (303, leads_to)
    else:
        assert answer.status == 422
        assert leads_to in text(answer)
        assert f'value="{typed.strip()}"' in answer.text  # what was entered stays


def test_whoever_works_at_one_desk_types_the_number_alone(desk: Desk) -> None:
    page = desk.get(ANNA, "/desk").text
    assert 'name="ticket"' in page
    assert 'name="desk"' not in page
    assert desk.post(ANNA, "/desk", {"ticket": "4711"}).headers["location"] == "/desk/paper/4711"
    assert desk.post(ANNA, "/desk", {"ticket": "local:4711"}).status == 422


def test_a_helpdesk_that_is_down_is_a_503_with_a_sentence(desk: Desk) -> None:
    desk.backs.store.client().hset(paper.TICKETS, "down", "down")
    answer = desk.get(ANNA, "/desk/paper/down")
    assert (answer.status, answer.headers["retry-after"]) == (503, "30")
    assert "The helpdesk does not answer just now" in text(answer)


# --- whose ticket it is ----------------------------------------------------------------------------------


def test_an_agent_is_asked_where_an_agency_stands_and_the_answer_counts(desk: Desk) -> None:
    desk.send(desk.ticket())
    number = desk.ticket(
        organisation="Agentur Süd", subject="Kunde GmbH: mail is down", requester="a@sued.example"
    )
    page = desk.get(ANNA, f"/desk/paper/{number}")
    assert "Agentur Süd acts for others" in text(page)
    assert "It belongs to Kunde GmbH" in text(page)
    desk.send(number)
    assert desk.get(KIM, f"/desk/paper/{number}").status == 404
    found = desk.post(ANNA, f"/desk/paper/{number}/organisation", {"organisation": "Kunde GmbH"})
    assert (found.status, found.headers["location"]) == (303, f"/desk/paper/{number}")
    page = desk.get(ANNA, f"/desk/paper/{number}")
    assert "acts for others" not in text(page)
    assert desk.get(KIM, f"/desk/paper/{number}").status == 200
    assert desk.post(ANNA, f"/desk/paper/{number}/organisation", {"organisation": ""}).status == 303
    assert desk.get(KIM, f"/desk/paper/{number}").status == 404


def test_what_a_subject_suggests_is_for_agents_alone(desk: Desk) -> None:
    other = desk.ticket(organisation="Andere AG", requester="lee@andere.example")
    desk.send(other)
    assert desk.get(LEE, f"/desk/paper/{other}").status == 200  # so that the organisation is known
    number = desk.ticket(subject="Andere AG: mail is down")
    desk.send(number)
    assert "It belongs to Andere AG" in text(desk.get(ANNA, f"/desk/paper/{number}"))
    assert "Andere AG" not in desk.get(KIM, f"/desk/paper/{number}").text
    assert "suggested" in desk.call(ANNA, "GET", f"/tickets/paper/{number}").json
    assert "suggested" not in desk.call(KIM, "GET", f"/tickets/paper/{number}").json


def test_a_frozen_ticket_says_so_and_stays_where_it_is(desk: Desk) -> None:
    number = desk.ticket(status="closed")
    page = desk.get(ANNA, f"/desk/paper/{number}")
    assert "Frozen since" in text(page)
    assert 'action="/desk/paper/' not in page.text
    answer = desk.post(ANNA, f"/desk/paper/{number}/organisation", {"organisation": "Andere AG"})
    assert answer.status == 409
    assert "its organisation cannot change any more" in text(answer)


def test_the_page_says_who_sees_the_list_and_that_the_first_click_wins(desk: Desk) -> None:
    shared, alone = desk.ticket(), desk.ticket(organisation=None)
    page = desk.get(ANNA, f"/desk/paper/{shared}")
    assert "everybody in the organisation" in text(page)
    assert "Everybody at Kunde GmbH reads this ticket: the first click wins" in text(page)
    page = desk.get(ANNA, f"/desk/paper/{alone}")
    assert "agents of the desk, and the requester" in text(page)
    assert "first click wins" not in text(page)
    assert "first click wins" not in text(desk.get(BERT, "/desk/local/1"))


# --- what became of links --------------------------------------------------------------------------------


def test_revoking_and_unlocking_work_by_forms(desk: Desk) -> None:
    number = desk.ticket()
    secret = desk.send(number, stretched=secrets.token_bytes(32))
    [ref] = desk.refs(number)
    assert "Unlock" not in text(desk.get(ANNA, f"/desk/paper/{number}"))
    wrong_password(desk.client, secret, 5)
    page = desk.get(ANNA, f"/desk/paper/{number}")
    assert "Locked after too many wrong passwords" in text(page)
    assert f'action="/desk/paper/{number}/links/{ref}/unlock"' in page.text
    assert desk.post(ANNA, f"/desk/paper/{number}/links/{ref}/unlock").status == 303
    assert secret.state(desk.client).json["state"] == "sealed"
    assert desk.post(ANNA, f"/desk/paper/{number}/links/{ref}/unlock").status == 409
    found = desk.post(ANNA, f"/desk/paper/{number}/links/{ref}/revoke")
    assert (found.status, found.headers["location"]) == (303, f"/desk/paper/{number}#trail-heading")
    assert secret.state(desk.client).json["state"] == "revoked"
    page = desk.get(ANNA, f"/desk/paper/{number}")
    assert "Withdrawn: nobody can open it" in text(page)
    assert "/revoke" not in page.text


def test_withdrawing_what_was_opened_meanwhile_shows_that(desk: Desk) -> None:
    number = desk.ticket()
    secret = desk.send(number)
    [ref] = desk.refs(number)
    assert secret.claim(desk.client).status == 200
    assert desk.post(ANNA, f"/desk/paper/{number}/links/{ref}/revoke").status == 303
    page = desk.get(ANNA, f"/desk/paper/{number}")
    assert "Somebody pressed “Open now”" in text(page)
    assert "Withdrawn" not in text(page)
    assert desk.post(ANNA, f"/desk/paper/{number}/links/ZZZZZZ/revoke").status == 404


def test_agents_see_what_was_ticked_and_who_picked_up(desk: Desk) -> None:
    number = desk.ticket()
    asked = desk.ask(number, identity="known-address")
    asked.answer(desk.client)
    head = asked.holder | desk.head(ANNA) | {"Sec-Fetch-Site": "same-origin"}
    assert desk.client.post(f"/api/v1/secrets/{asked.id}/claim", {}, head).status == 200
    page = text(desk.get(ANNA, f"/desk/paper/{number}"))
    assert "Who the customer is: Known e-mail address" in page
    assert re.search(r"Picked up *, Anna Agent", page)
    order = [page.index(word) for word in ("Asked", "Answered by the customer")]
    assert order == sorted(order)


def test_how_the_customer_was_made_sure_of_comes_with_the_request(desk: Desk) -> None:
    for identity in ("signed-in", "phone-password", "known-address", "not-checked", None):
        number = desk.ticket()
        desk.ask(number, **({"identity": identity} if identity else {}))
        [row] = desk.call(ANNA, "GET", f"/tickets/paper/{number}").json["links"]
        assert row.get("identity") == identity
    wrong = Asked.make(label=f"paper:{number}", form="text", identity="by-voice")
    is_problem(desk.call(ANNA, "POST", "/requests", wrong.body), 422, "invalid", "identity")
    found = desk.client.get("/api/v1/openapi.json").json["components"]["schemas"]["NewRequest"]
    assert "phone-password" in str(found["properties"]["identity"])
    assert "identity" not in found["required"]


# --- organisations ---------------------------------------------------------------------------------------


def test_an_organisations_list_is_filtered_and_comes_in_pages(desk: Desk) -> None:
    ort = Person("Ort", "customer", ("Viele AG",), id="ort")
    number = desk.ticket(organisation="Viele AG", requester="v@viele.example")
    asked = desk.ask(number)
    made = [desk.send(number) for _ in range(101)]
    made[0].call(desk.client, "revoke", sender=True)
    assert len(desk.refs(number)) == 102  # looked at, and so in the list

    def count(query: str) -> int:
        page = desk.get(ort, f"/desk/organisations/links?organisation=Viele+AG{query}")
        assert page.status == 200
        return page.text.count('class="entry"')

    assert (count(""), count("&page=2"), count("&page=3")) == (100, 2, 0)
    assert (count("&kind=request"), count("&state=revoked"), count("&state=waiting")) == (1, 1, 1)
    assert (count("&state=sealed&kind=secret"), count("&state=opened")) == (100, 0)
    page = desk.get(ort, "/desk/organisations/links?organisation=Viele+AG&kind=secret").text
    assert (
        'rel="next" href="/desk/organisations/links?organisation=Viele+AG&amp;kind=secret&amp;page=2"' in page
    )
    assert 'rel="prev"' not in page
    assert asked.id not in page
    for wrong in ("state=x", "kind=x", "page=0", "page=x", "page=10000", "page=%C2%B2"):
        for path in ("/desk/organisations/links", "/api/v1/organisations/links"):
            assert desk.get(ort, f"{path}?organisation=Viele+AG&{wrong}").status == 422, wrong


def test_the_lists_say_what_being_in_an_organisation_shows(desk: Desk) -> None:
    desk.send(desk.ticket())
    for path in ("/desk/organisations", "/desk/organisations/links?organisation=Kunde+GmbH"):
        assert "shows all its tickets' links: their state and times, never what they open" in text(
            desk.get(KIM, path)
        )


def test_following_is_switched_on_and_off(desk: Desk) -> None:
    store = desk.backs.store.client()
    desk.send(desk.ticket(organisation="Folge AG"))
    fay = Person("Fay", "customer", ("Folge AG",), id="fay", email="fay@folge.example")
    mute = Person("Mute", "customer", ("Folge AG",), id="mute")

    def followers() -> list[bytes]:
        return [value for key in store.keys("ss:t:follow:*") for value in store.hvals(key) if b"fay@" in value]

    assert "Follow, mails in German" in text(desk.get(fay, "/desk/organisations"))
    fields = {"organisation": "Folge AG"}
    assert desk.post(fay, "/desk/organisations/follow", fields | {"language": "de"}).status == 303
    assert [b'"de"' in each for each in followers()] == [True]
    assert "You follow it." in text(desk.get(fay, "/desk/organisations"))
    assert desk.post(fay, "/desk/organisations/follow", fields | {"language": "fr"}).status == 422
    assert desk.post(fay, "/desk/organisations/follow", fields).status == 303
    assert followers() == []
    assert "no verified e-mail address" in text(desk.get(mute, "/desk/organisations"))
    assert desk.post(mute, "/desk/organisations/follow", fields | {"language": "de"}).status == 422


def test_customers_find_their_organisations_first(desk: Desk) -> None:
    page = desk.get(KIM, "/desk")
    assert 'href="/desk/organisations/links?organisation=Kunde+GmbH"' in page.text
    assert 'name="ticket"' not in page.text
    assert "/desk/order" not in page.text  # no orders are taken here
