"""What customers hand in on forms, asked and unasked, and how agents collect it; on a real tracker."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from secretsvc.envelope import unb64
from secretsvc.tickets.sessions import link
from secretsvc.tokens import Person
from tests.browser import steps
from tests.browser.conftest import SCRIPTLESS, Site, Trouble
from tests.browser.relay import Relay, lost
from tests.browser.steps import view
from tests.browser.test_accessible import LOOK, RUN_AXE, TAGS
from tests.browser.test_weight import LIMIT, NAMED, visit
from tests.harness import InProcess, backends, web
from tests.tickets.notifying import write_config
from tests.tickets.rt.instance import RT
from tests.web.common import Asked

NewPage = Callable[..., Page]
ADA = Person("Ada Agentur", "customer", ("Agentur AG", "Kunde GmbH"), "ada", (), "ada@agentur.example")
ANNA = Person("Anna Agent", "agent", id="anna")
SECRET = "hunter2 Ö <b>"
ANSWER = "POST /api/v1/requests/[^/]+/answer"
ORDER = "POST /api/v1/orders"
DESCRIPTION = "Bitte zuerst\n  sichern"
KEY_FILE = steps.File("schlüssel.pem", bytes(range(256)))
TICKS = ("standard", "update", "access", "backup")
SAVED = """() => {
  const saved = () => new Event("saved", { bubbles: true });
  for (const each of document.querySelectorAll("#answers dd")) each.dispatchEvent(saved());
}"""
STORED = "() => localStorage.length + sessionStorage.length + document.cookie.length"


@dataclass(frozen=True)
class Shop:
    """A service with a real tracker behind it, where orders are taken."""

    site: Site
    rt: RT
    here: InProcess

    @property
    def agent(self) -> dict[str, str]:
        return steps.new_agent(self.here)

    def ask(self, form: str = "server-order", **more: Any) -> Asked:
        number, agent = self.rt.create("FTP fails"), self.agent
        # After this its organisation is known.
        assert self.here.get(f"/api/v1/tickets/rt/{number}", **agent).status == 200
        more = {"label": f"rt:{number}", "identity": "phone-password", **more}
        return Asked.create(self.here, agent, form=form, **more)

    def sign_in(self, page: Page, person: Person) -> None:
        """By a one-time link."""
        people = self.here.app.extensions["secretsvc.people"]
        address = link(self.site.url, people.sessions.invite(person))
        page.goto("/desk/sign-in?next=/s")
        page.locator("#link").fill(address)
        with page.expect_navigation(url="**/s"):
            page.locator("form[action*='sign-in/link'] button").click()

    def pick_up(self, number: str) -> str:
        """The link in the ticket's note."""
        [found] = [re.search(r"/s#[\w-]{43}", text) for _, text in self.rt.notes(number) if "/s#" in text]
        assert found is not None
        return found[0]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    rt = RT(folder / "rt")
    try:
        rt.start()
        conf = str(write_config(folder, rt, 'orders = "rt"\n'))
        with backends(folder) as backs, web(backs, folder, target=SCRIPTLESS, tickets_file=conf) as found:
            yield Shop(Site(backs, found), rt, InProcess(backs.app(tickets_file=conf)))
    finally:
        rt.kill()


@pytest.fixture
def visitor(new_page: NewPage, shop: Shop, trouble: Trouble) -> NewPage:
    """Make a page of somebody who is not signed in."""
    trouble.origin = shop.site.url

    def make(**options: Any) -> Page:
        return new_page(**{"base_url": shop.site.url, **options})

    return make


@pytest.fixture
def page(visitor: NewPage) -> Page:
    return visitor()


@pytest.fixture
def relay(shop: Shop, trouble: Trouble) -> Iterator[Relay]:
    """Between the browser and the service: it writes down what passes, and loses answers."""
    with Relay(shop.site.url) as found:
        trouble.allow(f"^asked: {found.url}/")
        yield found


def field(page: Page, id: str) -> Any:
    return page.locator(f'[id="f-{id}"]')


def fill_order(page: Page, *, package: str = "managed") -> None:
    """All of the order form, for a Linux server."""
    field(page, "inquiry").select_option("root")
    field(page, "product").fill("web-1")
    field(page, "order.description").fill(DESCRIPTION)
    field(page, "root.host").fill("192.0.2.7")
    field(page, "root.user").fill("root")
    field(page, "root.password").fill(SECRET)
    for tick in TICKS:
        field(page, f"consents.{tick}").check()
    if field(page, "package").count():
        field(page, "package").select_option(package)


def hand_in(page: Page, button: str = "#answer-button") -> None:
    steps.press(page.locator(button))
    view(page, "handed-in")


def rows(page: Page) -> dict[str, str]:
    """What was collected, by its labels, in its order."""
    view(page, "opened-now")
    expect(page.locator("#answers")).to_be_visible()
    return {
        row.locator("dt").inner_text(): row.locator("dd").first.text_content() or ""
        for row in page.locator("#answers > div").all()
    }


# --- a request ---------------------------------------------------------------------------------------------


def test_a_form_is_sealed_in_the_browser_and_collected_row_by_row(
    page: Page, visitor: NewPage, shop: Shop, relay: Relay
) -> None:
    asked = shop.ask()
    steps.follow(page, relay.url + steps.request_of(asked), "write")
    expect(page.locator("h1:visible")).to_have_text("Order with access data")
    about = page.locator(".about:visible")
    for said in (asked.body["label"].removeprefix("rt:"), "Kunde GmbH", "agent-", "telephone password"):
        expect(about).to_contain_text(said)
    expect(about).to_contain_text("not your colleagues in your organisation either")
    fill_order(page)
    field(page, "consents.vendor").check()
    hand_in(page)
    expect(page.locator('[data-receipt="ticket"]')).to_contain_text(asked.body["label"].removeprefix("rt:"))
    [call] = relay.calls(ANSWER)
    body = call.json
    assert set(body) == {"envelope", "consents", "inquiry", "product", "package"}
    assert sorted(body["consents"]) == sorted((*TICKS, "vendor"))
    assert not any(typed in call.whole for typed in ("hunter2", "192.0.2.7", "sichern"))
    assert page.evaluate(STORED) == 0

    agent = visitor()
    shop.sign_in(agent, ANNA)
    steps.follow(agent, steps.pick_up_of(asked))
    expect(agent.locator("#signed-in")).to_contain_text("Anna Agent")
    expect(agent.locator("#api-key")).to_be_hidden()
    steps.press_open(agent)
    assert rows(agent) == {
        "What is to be done, or what has happened?": DESCRIPTION,
        "Server access (root): Server": "192.0.2.7",
        "Server access (root): User name": "root",
        "Server access (root): Password": SECRET,
    }
    known = agent.locator("#known")
    for said in (
        "web-1",
        "Work on a Linux server",
        "telephone password",
        "☑ Voluntary",
        "included in your package",
    ):
        expect(known).to_contain_text(said)


def test_the_kind_of_inquiry_decides_what_is_asked_and_what_it_costs(page: Page, shop: Shop) -> None:
    steps.follow(page, steps.request_of(shop.ask()), "write")
    expect(field(page, "root.host")).to_be_hidden()
    expect(field(page, "order.description")).to_be_visible()
    field(page, "inquiry").select_option("root")
    expect(field(page, "root.host")).to_be_visible()
    expect(field(page, "cost_accepted")).to_be_hidden()
    field(page, "package").select_option("basic")
    expect(page.locator(".cost")).to_have_text("We charge this job by the time it takes.")
    expect(field(page, "cost_accepted")).to_be_visible()
    field(page, "inquiry").select_option("mailbox")
    expect(page.locator(".cost")).to_have_text(
        "For this job we charge a fixed price according to the price list."
    )
    expect(field(page, "root.host")).to_be_hidden()
    field(page, "package").select_option("managed")
    expect(field(page, "cost_accepted")).to_be_hidden()


def test_every_mistake_is_named_the_first_has_the_focus_and_what_was_entered_stays(
    page: Page, shop: Shop
) -> None:
    asked = shop.ask()
    sent = steps.sent(page, "POST", "/requests/[^/]+/answer")
    steps.follow(page, steps.request_of(asked), "write")
    field(page, "inquiry").select_option("root")
    field(page, "root.password").fill(SECRET)
    field(page, "root.host").fill("x" * 300)
    field(page, "package").select_option("basic")
    steps.press(page.locator("#answer-button"))
    expect(field(page, "product")).to_be_focused()
    named = page.locator("#faults li")
    expect(named).to_have_count(9)
    for id, said in (("root.user", "fill this in"), ("root.host", "too long"), ("consents.backup", "tick this"),
                     ("cost_accepted", "accept the cost note")):  # fmt: skip
        expect(page.locator(f'[id="f-{id}-fault"]')).to_contain_text(said)
        expect(field(page, id)).to_have_attribute("aria-invalid", "true")
    named.get_by_role("button", name="User name").click()
    expect(field(page, "root.user")).to_be_focused()
    field(page, "root.user").fill("root")
    expect(page.locator('[id="f-root.user-fault"]')).to_be_hidden()
    expect(field(page, "root.password")).to_have_value(SECRET)
    assert sent == []
    fill_order(page, package="basic")
    field(page, "cost_accepted").check()
    hand_in(page)


def test_one_of_several_fields_will_do_and_a_file_is_collected_as_it_was(
    page: Page, visitor: NewPage, shop: Shop, downloads: Path
) -> None:
    asked = shop.ask("access")
    steps.follow(page, steps.request_of(asked), "write")
    field(page, "inquiry").select_option("other")
    steps.press(page.locator("#answer-button"))
    expect(page.locator("#faults li")).to_have_text(["Access data: Please fill in at least one of these."])
    upload = {"mimeType": KEY_FILE.type}
    field(page, "other.file").set_input_files({"name": "big", "buffer": b"x" * 65_537, **upload})
    steps.press(page.locator("#answer-button"))
    expect(page.locator("#faults li")).to_contain_text("at most 64 KiB")
    field(page, "other.file").set_input_files({"name": KEY_FILE.name, "buffer": KEY_FILE.content, **upload})
    hand_in(page)

    agent = visitor()
    shop.sign_in(agent, ANNA)
    steps.follow(agent, steps.pick_up_of(asked))
    steps.press_open(agent)
    view(agent, "opened-now")
    expect(agent.locator("#answers dt")).to_have_text(["File"])
    assert steps.save(agent, downloads, "#answers button") == (KEY_FILE.name, KEY_FILE.content)
    agent.goto("/help")  # and nobody asks whether to leave


def test_a_lost_answer_is_sent_again_as_the_very_same(
    page: Page, shop: Shop, relay: Relay, trouble: Trouble
) -> None:
    trouble.allow(steps.FAILED)
    steps.follow(page, relay.url + steps.request_of(shop.ask()), "write")
    fill_order(page)
    relay.on(ANSWER, lost)
    hand_in(page)
    assert len(relay.calls(ANSWER)) == 2
    assert len({call.body for call in relay.calls(ANSWER)}) == 1


def test_two_tabs_hand_in_one_answer(page: Page, visitor: NewPage, shop: Shop, trouble: Trouble) -> None:
    trouble.allow("status of 409")
    asked = shop.ask("access")
    late = visitor()
    for each in (page, late):
        steps.follow(each, steps.request_of(asked), "write")
        field(each, "inquiry").select_option("other")
        field(each, "other.text").fill("x")
    hand_in(page)
    steps.press(late.locator("#answer-button"))
    view(late, "answered")


def test_nothing_typed_stays_when_the_page_is_left(page: Page, shop: Shop) -> None:
    steps.follow(page, steps.request_of(shop.ask()), "write")
    fill_order(page)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    held = page.evaluate(
        "() => Array.from(document.querySelectorAll('input, textarea'), ({ value }) => value).join()"
    )
    assert SECRET not in held
    assert DESCRIPTION not in held


def test_a_form_that_is_gone_is_answered_by_a_text(page: Page, shop: Shop, trouble: Trouble) -> None:
    trouble.allow("status of 404")
    page.route("**/form?*", lambda route: route.fulfill(status=404, json={"type": "not-found"}))
    steps.follow(page, steps.request_of(shop.ask()), "write")
    expect(page.locator("#secret")).to_be_visible()
    expect(page.locator("#fields input")).to_have_count(0)


# --- collecting --------------------------------------------------------------------------------------------


def test_signing_in_in_another_tab_is_noticed_and_the_link_is_kept(
    page: Page, shop: Shop, trouble: Trouble
) -> None:
    trouble.allow("status of 401")
    asked = shop.ask("text")
    assert asked.answer(shop.here).status == 201
    steps.follow(page, steps.pick_up_of(asked))
    expect(page.locator("#api-key")).to_be_visible()
    with page.context.expect_page() as opened:
        page.locator("#sign-in a").click()
    other = opened.value
    expect(other.locator("#link")).to_be_visible()
    assert steps.pick_up_of(asked).partition("#")[2] not in other.url
    assert other.evaluate("opener") is None
    shop.sign_in(other, ANNA)
    other.close()
    page.bring_to_front()
    page.evaluate("dispatchEvent(new Event('focus'))")
    expect(page.locator("#signed-in")).to_contain_text("Anna Agent")
    expect(page.locator("#api-key")).to_be_hidden()
    steps.press_open(page)
    assert steps.read_secret(page) == "hunter2"
    told = shop.here.get(f"/api/v1/secrets/{asked.id}", **asked.sender).json
    assert (told["state"], told["collected_by"]) == ("opened", "Anna Agent")


@pytest.mark.parametrize("how", ["missing", "altered"])
def test_what_collects_is_checked_and_there_before_anything_is_claimed(
    page: Page, shop: Shop, trouble: Trouble, how: str
) -> None:
    trouble.allow(r"[Ii]ntegrity|Failed to (load|find)|NetworkError|Loading failed|hash|404|was blocked")
    asked = shop.ask("text")
    assert asked.answer(shop.here).status == 201
    claims = steps.sent(page, "POST", "/secrets/[^/]+/claim")

    def spoil(route: Route) -> None:
        if how == "missing":
            route.fulfill(status=404)
            return
        content = shop.site.web.client().get(f"{shop.site.static}/js/collect.js").text
        route.fulfill(body=content + "\n", content_type="text/javascript")

    page.route("**/js/collect.js", spoil)
    steps.follow(page, steps.pick_up_of(asked), "unreachable")
    assert claims == []
    assert shop.here.get(f"/api/v1/secrets/{asked.id}", **asked.sender).json["state"] == "sealed"
    named = {name: more for name, *more in page.evaluate(NAMED)}
    for module in ("collect", "answers"):
        kind, digest = named[f"{shop.site.static}/js/{module}.js"]
        assert (kind, digest[:7]) == ("modulepreload", "sha256-")


def test_without_the_form_the_rows_have_the_names_they_were_sealed_under(
    page: Page, visitor: NewPage, shop: Shop, trouble: Trouble
) -> None:
    trouble.allow("status of 503")
    asked = shop.ask("access")
    steps.follow(page, steps.request_of(asked), "write")
    field(page, "inquiry").select_option("other")
    field(page, "other.text").fill(SECRET)
    hand_in(page)
    agent = visitor()
    shop.sign_in(agent, ANNA)
    agent.route("**/form?*", lambda route: route.fulfill(status=503, json={"type": "busy"}))
    steps.follow(agent, steps.pick_up_of(asked))
    steps.press_open(agent)
    assert rows(agent) == {"other.text": SECRET}


# --- orders ------------------------------------------------------------------------------------------------


def test_a_signed_in_customer_hands_in_unasked_and_support_collects_it(
    page: Page, visitor: NewPage, shop: Shop, relay: Relay
) -> None:
    shop.sign_in(page, ADA)
    page.goto(f"{relay.url}/desk/order")
    page.get_by_role("link", name="Order with access data").click()
    view(page, "write")
    expect(page.get_by_text("whoever runs this server could read what you hand in")).to_be_visible()
    fill_order(page)
    steps.press(page.locator("#order-button"))
    expect(field(page, "whom")).to_be_focused()
    expect(page.locator("#faults li")).to_have_text(["For whom is this?: Please choose."])
    assert relay.calls(ORDER) == []
    field(page, "whom").select_option("Kunde GmbH")
    hand_in(page, "#order-button")
    [call] = relay.calls(ORDER)
    assert not any(typed in call.whole for typed in ("hunter2", "192.0.2.7", "sichern"))
    number = page.locator('[data-receipt="ticket"] strong').inner_text()
    assert shop.rt.send("GET", f"/ticket/{number}").json["Requestor"][0]["id"] == ADA.email
    assert page.evaluate("() => localStorage.length + sessionStorage.length") == 0
    agent = visitor()
    shop.sign_in(agent, ANNA)
    steps.follow(agent, shop.pick_up(number))
    steps.press_open(agent)
    assert rows(agent)["Server access (root): Password"] == SECRET
    expect(agent.locator("#known")).to_contain_text("Kunde GmbH")
    expect(agent.locator("#known")).to_contain_text("by signing in")


def test_an_order_whose_answer_was_lost_opens_one_ticket(
    page: Page, shop: Shop, relay: Relay, trouble: Trouble
) -> None:
    trouble.allow(steps.FAILED)
    shop.sign_in(page, ADA)
    page.goto(f"{relay.url}/desk/order?form=text")
    view(page, "write")
    field(page, "whom").select_option("Agentur AG")
    field(page, "message.text").fill(SECRET)
    relay.on(ORDER, lost)
    steps.press(page.locator("#order-button"))
    expect(page.locator('[data-view="handed-in"]')).to_be_visible(timeout=20_000)
    tries = relay.calls(ORDER)
    assert len(tries) == 2
    assert len({(call.body, call.headers["idempotency-key"]) for call in tries}) == 1
    number = page.locator('[data-receipt="ticket"] strong').inner_text()
    assert shop.pick_up(number)


# --- without script ----------------------------------------------------------------------------------------


def test_without_script_a_form_is_filled_in_step_by_step(
    visitor: NewPage, shop: Shop, trouble: Trouble
) -> None:
    trouble.allow("status of 422")
    asked = shop.ask()
    page = visitor(java_script_enabled=False)
    page.goto(steps.request_of(asked))
    page.locator("#plain-link").fill(page.url)
    page.get_by_role("button", name="Continue").click()
    expect(page.locator(".about")).to_contain_text("Kunde GmbH")
    field(page, "inquiry").select_option("root")
    page.get_by_role("button", name="Continue").click()
    field(page, "order.description").fill(DESCRIPTION)
    field(page, "root.password").fill(SECRET)
    field(page, "consents.vendor").check()
    page.get_by_role("button", name="Hand it in").click()
    expect(page.get_by_role("alert")).to_contain_text("Something is missing")
    # Firefox's sandbox, which stands for no script here, leaves the focus alone.
    expect(field(page, "product")).to_have_attribute("autofocus", "")
    expect(field(page, "order.description")).to_have_value(DESCRIPTION)
    expect(field(page, "consents.vendor")).to_be_checked()
    expect(field(page, "root.password")).to_have_value("")
    field(page, "product").fill("web-1")
    field(page, "root.host").fill("192.0.2.7")
    field(page, "root.user").fill("root")
    field(page, "root.password").fill(SECRET)
    for tick in TICKS:
        field(page, f"consents.{tick}").check()
    field(page, "package").select_option("managed")
    page.get_by_role("button", name="Hand it in").click()
    expect(page.locator("h1")).to_have_text("Handed in")
    expect(page.locator("main")).to_contain_text("The server encrypted it for you")
    opened = shop.here.post("/api/v1/open", {"key": steps.pick_up_of(asked).partition("#")[2]}, shop.agent)
    assert json.loads(opened.json["secret"])["root.password"] == SECRET


def test_without_script_an_order_is_placed(visitor: NewPage, shop: Shop) -> None:
    page = visitor(java_script_enabled=False)
    shop.sign_in(page, ADA)
    page.goto("/desk/order?form=access")
    assert page.locator("main").inner_text().count("whoever runs this server could read") == 1
    field(page, "inquiry").select_option("other")
    page.get_by_role("button", name="Continue").click()
    field(page, "organisation").select_option("Kunde GmbH")
    field(page, "other.file").set_input_files(
        {"name": KEY_FILE.name, "mimeType": KEY_FILE.type, "buffer": KEY_FILE.content}
    )
    page.get_by_role("button", name="Hand it in").click()
    expect(page.locator("h1")).to_have_text("Handed in")
    number = page.locator(".about strong").inner_text()
    opened = shop.here.post("/api/v1/open", {"link": shop.pick_up(number)}, shop.agent)
    found = json.loads(opened.json["secret"])
    assert (found["other.file.name"], unb64(found["other.file.base64"])) == (KEY_FILE.name, KEY_FILE.content)


# --- for everybody -----------------------------------------------------------------------------------------


def test_an_access_form_is_filled_in_by_keyboard_alone(page: Page, shop: Shop) -> None:
    steps.follow(page, steps.request_of(shop.ask("access")), "write")
    keyboard = page.keyboard
    for _ in range(20):
        if page.evaluate("document.activeElement.id") == "f-inquiry":
            break
        keyboard.press("Tab")
    keyboard.type("Contr")
    expect(field(page, "inquiry")).to_have_value("panel")
    for id, text in (
        ("panel.address", "https://panel.example"),
        ("panel.user", "admin"),
        ("panel.password", SECRET),
    ):
        keyboard.press("Tab")
        expect(field(page, id)).to_be_focused()
        keyboard.type(text)
    keyboard.press("Enter")
    view(page, "handed-in")


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_forms_orders_and_collecting_are_usable_by_all(
    visitor: NewPage, shop: Shop, engine: str, trouble: Trouble, language: str, scheme: str
) -> None:
    trouble.allow("status of 422")
    page = visitor(locale={"en": "en-GB", "de": "de-DE"}[language], color_scheme=scheme)
    found: list[Any] = []

    def look(what: str) -> None:
        if page.evaluate("!window.axe"):
            page.evaluate(Axe().axe_script)
        told = page.evaluate(RUN_AXE, TAGS)
        assert told["language"] == [language], what
        found.extend((what, kind, told[kind]) for kind in ("axe", "undecided", "idle") if told[kind])
        for width in (360, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            found.extend((what, width, kind, lines) for kind, lines in page.evaluate(LOOK).items() if lines)

    asked = shop.ask(language=language)
    steps.follow(page, steps.request_of(asked), "write")
    look("form")
    field(page, "inquiry").select_option("root")
    field(page, "package").select_option("basic")
    steps.press(page.locator("#answer-button"))
    expect(page.locator("#faults")).to_be_visible()
    look("faults")
    fill_order(page)
    hand_in(page)
    look("handed in")
    steps.follow(page, steps.pick_up_of(asked))
    look("pick-up, not signed in")
    shop.sign_in(page, ANNA)
    steps.follow(page, steps.pick_up_of(asked))
    look("pick-up")
    steps.press_open(page)
    rows(page)
    look("collected")
    page.evaluate(SAVED)  # so that nobody is asked whether to leave
    shop.sign_in(page, ADA)
    page.goto("/desk/order")
    look("choose a form")
    page.goto("/desk/order?form=server-order")
    view(page, "write")
    look("order")
    steps.press(page.locator("#order-button"))
    expect(page.locator("#faults")).to_be_visible()
    look("order's faults")
    assert found == []


def test_an_order_page_is_light_and_all_it_fetches_is_checked(
    page: Page, shop: Shop, say: Callable[[str], None]
) -> None:
    shop.sign_in(page, ADA)
    page.goto("/help")
    found = visit(page, "/desk/order?form=server-order", shop.site)
    say(f"/desk/order: {found.bytes:,} bytes, {1 + len(found.asked)} requests")
    assert found.bytes < LIMIT
    modules = {name for name in found.asked if name.endswith(".js")}
    assert modules
    assert all(found.named[name][1].startswith("sha256-") for name in modules)
