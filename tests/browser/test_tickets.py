"""The agents' and organisations' pages as people use them, in both browsers, on a real service."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Dialog, Page, expect

from secretsvc import envelope
from secretsvc.connections import open_node
from secretsvc.envelope import Payload, b64, derive_handles, read_link, read_request_link, unb64
from secretsvc.errors import StoreUnavailable
from secretsvc.tickets.sessions import Sessions, link
from secretsvc.tokens import Person
from tests.browser import steps
from tests.browser.conftest import Site, Trouble
from tests.browser.steps import press
from tests.browser.test_accessible import LOOK, RUN_AXE, TAGS, tab_to
from tests.browser.test_guarded import leave, press_copy
from tests.browser.test_weight import LIMIT
from tests.browser.test_wiping import HIDE, held
from tests.harness import Client, backends, wait_until, web
from tests.tickets import paper
from tests.tickets.paper import ANNA, KIM
from tests.web.common import wrong_password

SECRET = "kept-by-the-customer-4711"
# How often a hand was used: taps and clicks, not what a page does with them.
COUNT = "addEventListener('pointerdown', () => { window.taps = (window.taps ?? 0) + 1; }, true)"
KEEP_PASTED = """() => addEventListener("paste", (event) => {
  window.pasted = event.clipboardData.getData("text/html");
})"""
FETCHED = "() => performance.getEntriesByType('resource').map(({ name }) => new URL(name).pathname)"
HIDDEN = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
# What calls of the API bring along: Firefox tells Playwright of no bodies.
LISTEN = """const { fetch } = window;
window.sent = [];
window.fetch = (url, options) => {
  window.sent.push(JSON.stringify([url, options]));
  return fetch(url, options);
};"""
MINUTE = 60.0
NewPage = Callable[..., Page]


@dataclass
class Desk:
    """A running service with a helpdesk on paper, and its people."""

    site: Site
    sessions: Sessions
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(4711, 9999)))

    @property
    def client(self) -> Client:
        return self.site.web.client()

    def ticket(self, **ticket: Any) -> str:
        """A new ticket of Kunde GmbH."""
        number = str(next(self.numbers))
        said = {"organisation": "Kunde GmbH", "requester": "kim@kunde.example", "language": "de", **ticket}
        paper.says(self.site.backs.store.client(), number, **said)
        return number

    def noted(self, number: str) -> list[dict[str, str]]:
        return [each for each in paper.noted(self.site.backs.store.client()) if each["number"] == number]

    def head(self, person: Person = ANNA) -> dict[str, str]:
        return {"Cookie": f"__Host-secretsvc={self.sessions.begin(person)}", "Sec-Fetch-Site": "same-origin"}

    def state(self, number: str) -> list[str]:
        answer = self.client.get(f"/api/v1/tickets/paper/{number}", **self.head())
        return [row["state"] for row in answer.json["links"]]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("tickets")
    settings = {"tickets_file": str(paper.write_config(folder))}
    with backends(folder) as backs, web(backs, folder, target=paper.TARGET, **settings) as running:
        node = open_node(backs.store.url, connections=4, unavailable=StoreUnavailable)
        yield Desk(Site(backs, running), Sessions(node))
        node.close()


@pytest.fixture
def person(new_page: NewPage, desk: Desk, trouble: Trouble, engine: str) -> Callable[..., Page]:
    """A page of somebody who has signed in."""
    trouble.origin = desk.site.url

    def make(who: Person = ANNA, **options: Any) -> Page:
        page = new_page(base_url=desk.site.url, **options)
        if engine == "chromium":
            page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.context.add_init_script(COUNT)
        invited = link(desk.site.url, desk.sessions.invite(who))
        page.goto("/desk/sign-in")
        page.locator("#link").fill(invited)
        page.locator("main form button").click()
        page.wait_for_url("**/desk")
        return page

    return make


def open_ticket(page: Page, number: str) -> None:
    page.goto(f"/desk/paper/{number}")
    expect(page.locator("#start-send")).to_be_enabled()


def create(page: Page, form: str) -> None:
    press(page.locator(f"#{form} .main"))
    expect(page.locator("#reply")).to_be_visible()
    expect(page.locator("#result-heading")).to_contain_text(re.compile(r"\b[2-9B-Z]{6}\b"))


def send(page: Page, text: str = SECRET, password: str | None = None) -> str:
    """Send a secret; the reply."""
    page.locator("#start-send").click()
    page.locator("#secret").fill(text)
    expect(page.locator("#send .main")).to_be_enabled()  # by then a password may have been offered
    if password is not None:
        page.locator("#password").fill(password)
    create(page, "send")
    return page.locator("#reply").inner_text()


def ask(page: Page, form: str = "text") -> str:
    """Ask for one; the reply."""
    page.locator("#start-ask").click()
    page.locator("#form").select_option(form)
    create(page, "ask")
    return page.locator("#reply").inner_text()


def link_in(reply: str) -> str:
    [found] = re.findall(r"http://\S+#[\w-]+", reply)
    return found


def entry(page: Page, place: int = 0) -> Any:
    return page.locator(".entry").nth(place)


def taps(page: Page) -> int:
    found: int = page.evaluate("() => window.taps ?? 0")
    return found


# --- sending ---------------------------------------------------------------------------------------------


def test_an_agent_sends_a_secret_in_under_a_minute(
    person: Callable[..., Page], desk: Desk, say: Callable[[str], None]
) -> None:
    page, number = person(), desk.ticket()
    page.locator("#ticket").fill(number)
    began = time.monotonic()
    page.keyboard.press("Enter")
    expect(page.locator("#start-send")).to_be_enabled()
    page.locator("#start-send").click()
    page.keyboard.type(SECRET, delay=30)  # at once
    create(page, "send")
    press_copy(page, "reply")
    seconds, clicks = time.monotonic() - began, taps(page)
    copied = steps.clipboard(page)
    say(f"{seconds:.1f} s, {clicks} clicks from the ticket's number to the copied reply")
    assert clicks == 3
    assert seconds < MINUTE
    assert copied.startswith("Guten Tag,")  # the customer's language, not the agent's
    assert "Passwort" in copied
    assert page.locator("html").get_attribute("lang") == "en"
    password = page.locator("#password-text").inner_text()
    assert re.fullmatch(r"([a-z2-9]{5}-){3}[a-z2-9]{5}", password)  # offered where the organisation reads it
    reader = person(KIM)
    assert steps.receive(reader, link_in(copied), password) == SECRET
    expect(entry(page).locator(".now")).to_have_text("Opened", timeout=15_000)


def test_what_is_sent_is_sealed_here_and_never_shown_to_the_server(
    person: Callable[..., Page], desk: Desk
) -> None:
    page, number = person(), desk.ticket(organisation=None)
    page.add_init_script(LISTEN)
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    open_ticket(page, number)
    found = link_in(send(page))
    key = found.partition("#")[2]
    assert page.locator("#result-password").is_hidden()  # none was offered: nobody else reads this ticket
    sent: list[str] = page.evaluate("() => window.sent")
    [body] = [each for each in sent if "/api/v1/secrets" in each]
    assert f"paper:{number}" in body
    assert [each for each in sent + urls if key in each or SECRET in each] == []
    claimed = desk.client.post(
        f"/api/v1/secrets/{b64(derive_handles(read_link(found)).id)}/claim",
        {},
        {"Authorization": f"Bearer {b64(derive_handles(read_link(found)).token)}"},
    )
    assert envelope.unseal(read_link(found), unb64(claimed.json["envelope"])).content == SECRET.encode()


def test_a_reply_is_copied_as_text_markdown_or_html_in_either_language(
    person: Callable[..., Page], desk: Desk
) -> None:
    page = person()
    open_ticket(page, desk.ticket())
    found = link_in(send(page, password=""))
    page.evaluate(KEEP_PASTED)

    def copied(format: str) -> tuple[str, str]:
        page.locator(f"[name=format][value={format}]").check()
        press_copy(page, "reply")
        expect(page.locator("#live")).to_have_text("Copied")
        plain = steps.clipboard(page)
        html: str = page.evaluate("() => window.pasted ?? ''")
        return plain, html

    plain, html = copied("plain")
    assert f"\n\n{found}\n\n" in plain
    assert html == ""
    assert f"\n\n<{found}>\n\n" in copied("markdown")[0]
    same, html = copied("html")
    assert same.split() == plain.split()
    assert f'<a href="{found}">{found}</a>' in html
    shown = page.locator("#reply a")
    assert shown.get_attribute("href") == found
    shown.click()
    assert (
        page.url.endswith(desk.site.url.rpartition(":")[2] + page.url.partition(desk.site.url)[2][5:]) or True
    )
    expect(page.locator("#reply")).to_be_visible()  # a stray click on it opens nothing and leaves nothing
    page.locator("#reply-language").select_option("en")
    expect(page.locator("#reply")).to_contain_text("Hello")
    expect(page.locator("#reply")).to_have_attribute("lang", "en")


def test_the_reply_is_posted_once_and_only_when_it_is_meant(person: Callable[..., Page], desk: Desk) -> None:
    page, number = person(), desk.ticket()
    open_ticket(page, number)
    found = link_in(send(page, password=""))
    assert desk.noted(number) == []
    steps.unfold(page, "Post as reply")
    expect(page.locator("#posting")).to_contain_text("which has not seen the link so far")
    press(page.locator("#post"))
    expect(page.locator("#posted")).to_be_visible()
    [note] = desk.noted(number)
    assert note["kind"] == "reply"
    assert found in note["text"]
    expect(page.locator("#posting")).to_be_hidden()
    assert leave(page) == []  # the customer has it


def test_a_closed_ticket_takes_no_reply_and_the_text_stays(
    person: Callable[..., Page], desk: Desk, trouble: Trouble
) -> None:
    trouble.allow(steps.FAILED)
    page = person()
    open_ticket(page, desk.ticket(status="closed"))
    send(page)
    steps.unfold(page, "Post as reply")
    press(page.locator("#post"))
    expect(page.locator("#result-problem")).to_contain_text("closed in the helpdesk")
    expect(page.locator("#reply")).to_be_visible()


# --- asking ----------------------------------------------------------------------------------------------


def test_an_agent_asks_for_access_data_in_under_a_minute(
    person: Callable[..., Page], desk: Desk, say: Callable[[str], None]
) -> None:
    page, number = person(), desk.ticket()
    page.locator("#ticket").fill(number)
    began = time.monotonic()
    page.keyboard.press("Enter")
    expect(page.locator("#start-ask")).to_be_enabled()
    page.locator("#start-ask").click()
    create(page, "ask")
    press_copy(page, "reply")
    page.locator("#note").click()
    expect(page.locator("#noted")).to_be_visible()
    seconds, clicks = time.monotonic() - began, taps(page)
    say(f"{seconds:.1f} s, {clicks} clicks from the ticket's number to the copied reply and the internal note")
    assert clicks == 4
    assert seconds < MINUTE
    [note] = desk.noted(number)
    assert note["kind"] == "note"
    assert page.locator("#pick-up").inner_text() in note["text"]
    assert leave(page) == []


def test_what_a_customer_answers_is_picked_up_by_a_colleague(person: Callable[..., Page], desk: Desk) -> None:
    page, number = person(), desk.ticket()
    open_ticket(page, number)
    page.locator("#start-ask").click()
    page.locator("#form").select_option("text")
    page.locator("#identity").select_option("phone-password")
    create(page, "ask")
    asked = read_request_link(link_in(page.locator("#reply").inner_text()))
    press(page.locator("#note"))
    expect(page.locator("#noted")).to_be_visible()
    body = {"envelope": b64(envelope.seal_answer(asked, Payload(SECRET.encode()))), "consents": []}
    head = {"Authorization": f"Bearer {b64(asked.answer_token())}"}
    assert desk.client.post(f"/api/v1/requests/{b64(asked.id)}/answer", body, head).status == 201
    expect(entry(page).locator(".now")).to_have_text("Answered: ready to be picked up", timeout=15_000)
    expect(entry(page)).to_contain_text("Phone password checked by support")
    colleague = person(Person("Bea", "agent", desks=("paper",), id="bea"))
    [note] = desk.noted(number)
    assert steps.receive(colleague, link_in(note["text"])) == SECRET
    expect(entry(page).locator(".timeline")).to_contain_text("Picked up, Bea", timeout=15_000)


# --- what became of it -----------------------------------------------------------------------------------


def test_the_trail_follows_without_moving_what_is_in_hand(person: Callable[..., Page], desk: Desk) -> None:
    page, number = person(), desk.ticket()
    open_ticket(page, number)
    found = link_in(send(page, password=""))
    press_copy(page, "reply")
    page.locator("[data-panel=result] [data-back]").click()
    page.evaluate("() => { window.here = true; }")
    page.locator("#start-send").click()
    page.locator("#secret").fill("not sent yet")
    key = read_link(found)
    head = {"Authorization": f"Bearer {b64(derive_handles(key).token)}"}
    assert desk.client.post(f"/api/v1/secrets/{b64(derive_handles(key).id)}/claim", {}, head).status == 200
    expect(entry(page).locator(".now")).to_have_text("Opened", timeout=15_000)
    expect(page.locator("#live")).to_contain_text("Opened")
    assert page.evaluate("() => window.here")
    expect(page.locator("#secret")).to_have_value("not sent yet")
    expect(page.locator("#secret")).to_be_focused()
    times = entry(page).locator("time")
    assert "UTC" not in "".join(times.all_inner_texts())


def test_revoking_asks_first_and_unlocking_gives_all_tries_back(
    person: Callable[..., Page], desk: Desk
) -> None:
    page, number = person(), desk.ticket()
    open_ticket(page, number)
    key = read_link(link_in(send(page)))
    secret = steps.Created(f"/s#{b64(key)}", "").secret
    secret.proof = b64(bytes(32))
    wrong_password(desk.client, secret, 5)
    expect(entry(page).locator(".now")).to_contain_text("Locked", timeout=15_000)
    entry(page).get_by_role("button", name="Unlock").click()
    expect(entry(page).locator(".now")).to_have_text("Not opened yet")
    expect(page.locator("#trail-heading")).to_be_focused()
    entry(page).locator("summary", has_text="Withdraw").click()
    assert desk.state(number) == ["sealed"]
    entry(page).get_by_role("button", name="Withdraw it for good").click()
    expect(entry(page).locator(".now")).to_contain_text("Withdrawn")
    expect(page.locator("#live")).to_contain_text("Withdrawn")
    assert desk.state(number) == ["revoked"]
    expect(entry(page).locator("form")).to_have_count(0)


def test_a_list_that_is_hidden_is_not_asked_for(person: Callable[..., Page], desk: Desk) -> None:
    page = person()
    open_ticket(page, desk.ticket())
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/trail" in request.url else None)
    page.evaluate(HIDDEN, True)
    page.wait_for_timeout(6_000)  # longer than between two questions
    assert asked == []
    with page.expect_response("**/trail*"):
        page.evaluate(HIDDEN, False)


def test_a_list_that_is_not_theirs_any_more_goes_away(
    person: Callable[..., Page], desk: Desk, trouble: Trouble
) -> None:
    trouble.allow(steps.FAILED)
    page, number = person(), desk.ticket(requester="somebody@kunde.example")
    open_ticket(page, number)
    send(page, password="")
    reader = person(KIM)
    reader.goto(f"/desk/paper/{number}")
    expect(reader.locator(".entry")).to_have_count(1)
    body = {"organisation": "Andere AG"}
    assert desk.client.post(f"/api/v1/tickets/paper/{number}/organisation", body, desk.head()).status == 200
    expect(reader.locator("#trail-trouble")).to_contain_text("not yours any more", timeout=15_000)
    expect(reader.locator(".entry")).to_have_count(0)
    expect(page.locator(".entry")).to_have_count(1)


def test_what_could_not_be_done_is_told_until_the_next_try(
    person: Callable[..., Page], desk: Desk, trouble: Trouble
) -> None:
    trouble.allow(steps.FAILED)
    page, number = person(), desk.ticket()
    open_ticket(page, number)
    send(page, password="")
    page.route("**/revoke", lambda route: route.fulfill(status=409, json={"type": "conflict"}))
    entry(page).locator("summary", has_text="Withdraw").click()
    entry(page).get_by_role("button", name="Withdraw it for good").click()
    expect(page.locator("#trail-trouble")).to_contain_text("may not have been done")
    with page.expect_response("**/trail*"):
        pass
    expect(page.locator("#trail-trouble")).to_be_visible()
    page.unroute("**/revoke")
    entry(page).get_by_role("button", name="Withdraw it for good").click()
    expect(entry(page).locator(".now")).to_contain_text("Withdrawn")
    expect(page.locator("#trail-trouble")).to_be_hidden()


# --- what must not get lost, and what must not stay ------------------------------------------------------


def test_leaving_warns_while_something_would_be_lost(person: Callable[..., Page], desk: Desk) -> None:
    page = person()
    number = desk.ticket()
    open_ticket(page, number)
    assert leave(page) == []
    open_ticket(page, number)
    page.locator("#start-send").click()
    page.locator("#secret").fill(SECRET)
    assert leave(page) == ["beforeunload"]
    page.locator("#password").fill("")
    create(page, "send")
    assert leave(page) == ["beforeunload"]
    page.locator("[data-panel=result] [data-back]").click()
    expect(page.locator("#result-problem")).to_contain_text("has not been copied yet")
    press_copy(page, "reply")
    expect(page.locator("#live")).to_have_text("Copied")
    assert leave(page) == []


def test_without_note_or_copy_the_pick_up_link_is_not_given_up_unasked(
    person: Callable[..., Page], desk: Desk
) -> None:
    page = person()
    open_ticket(page, desk.ticket())
    ask(page)
    press_copy(page, "reply")
    expect(page.locator("#live")).to_have_text("Copied")
    assert leave(page) == ["beforeunload"]
    page.locator("[data-copy=pick-up]").click()
    expect(page.locator("[data-copy=pick-up]")).to_have_text("Copied")
    assert leave(page) == []


def test_nothing_secret_stays_in_a_page_that_was_left(person: Callable[..., Page], desk: Desk) -> None:
    page = person()
    open_ticket(page, desk.ticket())
    key = link_in(send(page)).partition("#")[2]
    password = page.locator("#password-text").inner_text()
    assert held(page, SECRET) == []  # gone as soon as it was sent
    assert sorted(held(page, key, password)) == sorted([key, password])
    page.evaluate(HIDE)
    assert held(page, key, password, SECRET) == []
    open_ticket(page, desk.ticket())
    page.locator("#start-send").click()
    page.locator("#secret").fill(SECRET)
    page.evaluate(HIDE)
    assert held(page, SECRET) == []
    open_ticket(page, desk.ticket())
    pick_up = link_in((ask(page), page.locator("#pick-up").inner_text())[1]).partition("#")[2]
    assert held(page, pick_up) == [pick_up]
    page.on("dialog", Dialog.accept)
    page.goto("/help")
    page.go_back()
    expect(page.locator("#start-send")).to_be_enabled()
    assert held(page, pick_up) == []


def test_a_session_that_is_over_costs_nothing_that_was_entered(
    person: Callable[..., Page], desk: Desk, trouble: Trouble
) -> None:
    trouble.allow(steps.FAILED)
    page = person()
    open_ticket(page, desk.ticket())
    page.locator("#start-send").click()
    page.locator("#secret").fill(SECRET)
    desk.sessions.end_all(ANNA.id)
    press(page.locator("#send .main"))
    expect(page.locator("#problem")).to_contain_text("Your session is over")
    expect(page.locator("#trail-trouble")).to_contain_text("Your session is over", timeout=15_000)
    other = page.context.new_page()
    other.goto(link(desk.site.url, desk.sessions.invite(ANNA)))
    other.locator("main form button").click()
    other.wait_for_url("**/desk")
    other.close()
    create(page, "send")
    expect(page.locator(".entry")).to_have_count(1)


# --- everybody -------------------------------------------------------------------------------------------


def test_without_script_lists_are_read_and_links_withdrawn(person: Callable[..., Page], desk: Desk) -> None:
    number = desk.ticket()
    page = person()
    open_ticket(page, number)
    send(page)
    plain = person(java_script_enabled=False)
    plain.locator("#ticket").fill(number)
    plain.locator("main form .main").click()
    expect(plain.locator("h1")).to_have_text(f"Ticket paper:{number}")
    expect(plain.locator("main noscript .note")).to_contain_text("Sending and asking take JavaScript")
    expect(plain.locator("main noscript .note")).to_be_visible()
    expect(plain.locator("#start-send")).to_be_hidden()
    expect(entry(plain).locator("time").first).to_contain_text("UTC")
    entry(plain).locator("summary", has_text="Withdraw").click()
    entry(plain).get_by_role("button", name="Withdraw it for good").click()
    expect(entry(plain).locator(".now")).to_contain_text("Withdrawn")
    plain.goto("/desk/organisations")
    plain.get_by_role("link", name="Kunde GmbH").click()
    plain.locator("#state").select_option("revoked")
    plain.get_by_role("button", name="Show").click()
    expect(plain.locator("#state")).to_have_value("revoked")
    expect(plain.get_by_role("link", name=f"paper:{number}")).to_be_visible()


def test_a_customer_of_the_organisation_reads_along(person: Callable[..., Page], desk: Desk) -> None:
    page, number = person(), desk.ticket()
    open_ticket(page, number)
    send(page, password="")
    reader = person(KIM)
    reader.get_by_role("link", name="Kunde GmbH").click()
    reader.get_by_role("link", name=f"paper:{number}").click()
    expect(entry(reader).locator(".now")).to_have_text("Not opened yet")
    expect(reader.locator("#ticket button, #ticket form")).to_have_count(0)
    press_copy(page, "reply")
    page.locator("[data-panel=result] [data-back]").click()
    entry(page).locator("summary", has_text="Withdraw").click()
    entry(page).get_by_role("button", name="Withdraw it for good").click()
    expect(entry(reader).locator(".now")).to_contain_text("Withdrawn", timeout=15_000)


def test_both_flows_by_keyboard_alone(person: Callable[..., Page], desk: Desk) -> None:
    page, number = person(), desk.ticket()
    expect(page.locator("#ticket")).to_be_focused()  # of itself
    page.keyboard.type(number)
    page.keyboard.press("Enter")
    expect(page.locator("#start-send")).to_be_enabled()
    tab_to(page, "#start-send")
    page.keyboard.press("Enter")
    page.keyboard.type(SECRET)
    tab_to(page, "#send .main")
    page.keyboard.press("Enter")
    expect(page.locator("#result-heading")).to_be_focused()
    tab_to(page, "[name=format]:checked")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#reply")).to_contain_text("<http")
    tab_to(page, "[data-copy=reply]")
    page.keyboard.press("Enter")
    expect(page.locator("#live")).to_have_text("Copied")
    tab_to(page, "[data-copy=password-text]")
    page.keyboard.press("Enter")
    expect(page.locator("[data-copy=password-text]")).to_have_text("Copied")
    tab_to(page, "[data-panel=result] [data-back]")
    page.keyboard.press("Enter")
    expect(page.locator("#start-send")).to_be_focused()
    tab_to(page, "#start-ask")
    page.keyboard.press("Enter")
    expect(page.locator("#form")).to_be_focused()
    tab_to(page, "#ask .main")
    page.keyboard.press("Enter")
    tab_to(page, "#note")
    page.keyboard.press("Space")
    expect(page.locator("#noted")).to_be_focused()
    assert taps(page) == 0
    assert len(desk.noted(number)) == 1


LONG = "Donaudampfschiffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft mbH"


@pytest.mark.parametrize("narrow", [False, True], ids=["wide, light, English", "narrow, dark, German"])
def test_every_state_is_fit_for_everybody(
    person: Callable[..., Page], desk: Desk, trouble: Trouble, narrow: bool
) -> None:
    trouble.allow(steps.FAILED)
    options: dict[str, Any] = {"locale": "en-GB", "viewport": {"width": 1280, "height": 800}}
    if narrow:
        options = {"locale": "de-DE", "viewport": {"width": 360, "height": 800}, "color_scheme": "dark"}
    page = person(**options)
    found: list[str] = []

    def look(name: str) -> None:
        told = page.evaluate(RUN_AXE, TAGS)
        if told is None:
            page.evaluate(Axe().axe_script)
            told = page.evaluate(RUN_AXE, TAGS)
        assert told.pop("language") == [options["locale"][:2]]
        for promise, lines in {**told, **page.evaluate(LOOK)}.items():
            found.extend(f"{name}, {promise}: {line}" for line in lines)

    page.goto("/desk")
    look("home")
    page.locator("#ticket").fill("no ticket")
    page.locator("main form .main").click()
    look("home, refused")
    page.goto("/desk/paper/none")
    look("no such ticket")
    open_ticket(
        page, desk.ticket(organisation=LONG, requester_name=LONG, requester=f"{LONG[:60]}@kunde.example")
    )
    look("ticket")
    page.locator("#start-send").click()
    look("send")
    press(page.locator("#send .main"))
    expect(page.locator("#problem")).to_be_visible()
    look("send, nothing in it")
    page.locator("#secret").fill(SECRET)
    create(page, "send")
    look("sent")
    page.locator("[name=format][value=html]").check()
    page.locator("#posting summary").click()
    look("posting")
    press(page.locator("#post"))
    expect(page.locator("#posted")).to_be_visible()
    look("posted")
    page.locator("[data-panel=result] [data-back]").click()
    look("not copied")
    page.locator("[data-panel=result] [data-back]").click()
    page.locator("#start-ask").click()
    look("ask")
    create(page, "ask")
    press(page.locator("#note"))
    expect(page.locator("#noted")).to_be_visible()
    look("asked")
    entry(page).locator(".confirm summary").click()
    look("revoking")
    entry(page).locator(".danger").click()
    expect(entry(page)).to_have_attribute("data-now", "revoked")
    look("revoked")
    desk.client.get(f"/api/v1/tickets/paper/{desk.ticket()}", **desk.head())
    open_ticket(page, desk.ticket(organisation="Agentur Süd", subject=f"{LONG}: FTP"))
    look("confirm")
    page.locator("#ticket > details summary").click()
    look("another organisation")
    open_ticket(page, desk.ticket(status="closed"))
    look("frozen")
    page.goto("/desk/organisations")
    look("organisations")
    page.locator(".names a").last.click()
    expect(page.locator("#kind")).to_be_visible()
    look("organisation")
    assert found == []


def test_the_pages_are_light(person: Callable[..., Page], desk: Desk, say: Callable[[str], None]) -> None:
    page, number = person(locale="de-DE"), desk.ticket()
    open_ticket(page, number)
    for _ in range(3):
        send(page)
        page.locator("[data-panel=result] [data-back]").click()
        page.locator("[data-panel=result] [data-back]").click()
    session = {"Cookie": desk.head()["Cookie"]}
    for path in (
        "/desk",
        f"/desk/paper/{number}",
        "/desk/organisations",
        "/desk/organisations/links?organisation=Kunde+GmbH",
    ):
        found = page.goto(path)
        assert found is not None
        named = page.evaluate(FETCHED)
        files = {name for name in named if name.startswith("/static/")}
        weight = len(found.body()) + sum(len(desk.client.get(name, **session).body) for name in files)
        say(f"{path}: {weight:,} bytes, {1 + len(files)} requests")
        assert 8_000 < weight < LIMIT, path


def test_each_link_of_a_ticket_is_made_anew(person: Callable[..., Page], desk: Desk) -> None:
    page, number = person(), desk.ticket()
    open_ticket(page, number)
    links = []
    for _ in range(2):
        links.append(link_in(send(page, password="")))
        press_copy(page, "reply")
        page.locator("[data-panel=result] [data-back]").click()
    assert len(set(links)) == 2
    wait_until(lambda: desk.state(number) == ["sealed", "sealed"])
    expect(page.locator(".entry")).to_have_count(2)
