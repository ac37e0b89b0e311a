"""What is left of a secret in the browser: nothing in the page once it is left, nothing anywhere else ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from secretsvc.envelope import Payload, b64, seal, write_answers
from tests.browser import steps
from tests.browser.conftest import CHROMIUM_FLAGS, Site, Trouble, executable
from tests.browser.relay import ALWAYS, Relay, storable
from tests.browser.steps import view
from tests.harness import InProcess, Secret
from tests.web.common import Asked, store, with_proof

SECRET = "kept-by-nobody-4711"
PASSWORD = "told-by-telephone-0815"
# The page with what its fields hold, and every place where a page can leave something.
EVERYTHING = """
async () => JSON.stringify([
  document.documentElement.outerHTML,
  [...document.querySelectorAll("*")].map((element) => [element.value, element.copied]),
  getSelection().toString(), document.title, window.name, location.href, history.state,
  Object.entries(localStorage), Object.entries(sessionStorage), document.cookie,
  await indexedDB.databases(), await caches.keys(),
])
"""
HIDE = "() => dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))"
SHOW = "() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))"


def held(page: Page, *texts: str) -> list[str]:
    """Which of these the browser still has, as far as a page can tell."""
    everything = page.evaluate(EVERYTHING)
    return [text for text in texts if text in everything]


def key_of(link: str) -> str:
    return link.partition("#")[2]


def is_clean(page: Page, *texts: str) -> None:
    """None of these is in the page or its address, and no store of the browser holds anything at all."""
    assert held(page, *texts) == []
    stores = """async () => [
      Object.keys(localStorage), Object.keys(sessionStorage), document.cookie, history.state, location.hash,
      await indexedDB.databases(), await caches.keys(),
    ]"""
    assert page.evaluate(stores) == [[], [], "", None, "", [], []]
    assert page.context.storage_state() == {"cookies": [], "origins": []}


@pytest.fixture
def secret(site: Site) -> Secret:
    return Secret.create(site.web.client(), SECRET.encode())


@pytest.fixture
def opened(page: Page, site: Site) -> Page:
    """A page that shows the secret; it had a password."""
    secret = Secret.create(site.web.client(), SECRET.encode(), password=PASSWORD)
    assert steps.receive(page, steps.link_of(secret), PASSWORD) == SECRET
    return page


# --- the reader ------------------------------------------------------------------------------------------


def test_address_bar_and_stores_never_keep_the_link(page: Page, secret: Secret, site: Site) -> None:
    key = key_of(steps.link_of(secret))
    page.goto("/help")
    steps.follow(page, steps.link_of(secret))
    assert page.url == f"{site.url}/s"
    is_clean(page, key)
    steps.press_open(page)
    assert steps.read_secret(page) == SECRET
    assert page.url == f"{site.url}/s"
    is_clean(page, key)
    page.go_back()
    page.go_forward()
    assert page.url == f"{site.url}/s"
    is_clean(page, key, SECRET)


def test_page_that_was_left_or_loaded_again_shows_the_secret_to_nobody(opened: Page) -> None:
    assert held(opened, SECRET) == [SECRET]
    opened.get_by_role("link", name="Help").click()
    opened.wait_for_url("**/help")
    opened.go_back()
    view(opened, "paste")
    is_clean(opened, SECRET, PASSWORD)
    opened.go_forward()
    opened.go_back()
    is_clean(opened, SECRET, PASSWORD)
    opened.reload()
    is_clean(opened, SECRET, PASSWORD)


def test_reload_before_opening_says_what_to_do_and_the_link_still_works(page: Page, site: Site) -> None:
    secret = Secret.create(site.web.client(), SECRET.encode(), password=PASSWORD)
    steps.follow(page, steps.link_of(secret))
    page.locator("#password").fill(PASSWORD)
    assert held(page, PASSWORD) == [PASSWORD]
    page.reload()
    view(page, "paste")
    expect(page.locator("#reloaded")).to_contain_text("go back to the message and follow the link again")
    expect(page.locator("#no-link")).to_be_hidden()
    is_clean(page, PASSWORD, key_of(steps.link_of(secret)))
    assert steps.receive(page, steps.link_of(secret), PASSWORD) == SECRET


@pytest.fixture
def keeping_browser(playwright: Playwright, engine: str, browser: Browser) -> Iterator[Browser]:
    """A browser that keeps pages for going back, as people's do; Playwright switches that off in Chromium."""
    if engine == "firefox":
        yield browser
        return
    found = playwright.chromium.launch(
        executable_path=executable(engine),
        args=CHROMIUM_FLAGS,
        ignore_default_args=["--disable-back-forward-cache"],
    )
    yield found
    found.close()


def test_page_that_the_browser_kept_whole_has_forgotten_the_secret(
    keeping_browser: Browser, site: Site, secret: Secret, trouble: Trouble
) -> None:
    with Relay(site.url) as relay, keeping_browser.new_context(base_url=relay.url) as context:
        trouble.origin = relay.url
        trouble.watch(context)
        relay.on("GET /s", storable, ALWAYS)
        page = context.new_page()
        assert steps.receive(page, steps.link_of(secret)) == SECRET
        assert held(page, SECRET) == [SECRET]
        page.evaluate("() => { window.same = true; }")
        page.get_by_role("link", name="Help").click()
        page.wait_for_url("**/help")
        # Playwright waits for a load that does not come: it is the very page, and not a new one.
        page.evaluate("() => { setTimeout(() => history.back()); }")
        page.wait_for_function("() => window.same && !document.querySelector('[data-view=gone]').hidden")
        is_clean(page, SECRET, key_of(steps.link_of(secret)))
    trouble.check()


def test_leaving_wipes_forms_and_files_too(page: Page, site: Site) -> None:
    for payload in (write_answers({"field": SECRET}), Payload(b"x", name=SECRET)):
        secret = Secret.make()
        secret.body["envelope"] = b64(seal(secret.key, payload))
        steps.follow(page, steps.link_of(store(site.web.client(), secret)))
        steps.press_open(page)
        view(page, "opened-now")
        assert held(page, SECRET) == [SECRET]
        page.evaluate(HIDE)
        assert held(page, SECRET) == []


def test_another_link_in_the_same_tab_takes_the_place_of_the_first(page: Page, site: Site) -> None:
    client = site.web.client()
    first = with_proof()
    store(client, first)
    second, third = (Secret.create(client, content) for content in (SECRET.encode(), b"another one"))
    gone = [SECRET, "typed", *(key_of(steps.link_of(each)) for each in (first, second, third))]
    steps.follow(page, steps.link_of(first))
    page.locator("#password").fill("typed")
    page.goto(steps.link_of(second))
    expect(page.locator("#password")).to_be_hidden()
    view(page, "ready")
    is_clean(page, *gone)
    steps.press_open(page)
    assert steps.read_secret(page) == SECRET
    page.goto(steps.link_of(third))
    view(page, "ready")
    is_clean(page, *gone)
    steps.press_open(page)
    assert steps.read_secret(page) == "another one"
    assert first.state(client).json["state"] == "sealed"
    page.goto(steps.link_of(second))
    page.locator("#report").click()
    expect(page.locator("#report-said")).to_be_visible()
    page.goto(steps.link_of(third))
    expect(page.locator("#report-said")).to_be_hidden()
    expect(page.locator("#report")).to_be_visible()
    page.go_back()
    is_clean(page, *gone)


# --- the sender ------------------------------------------------------------------------------------------


def test_created_page_that_was_left_shows_neither_link_nor_secret(page: Page, site: Site) -> None:
    made = steps.create(page, SECRET, password=PASSWORD)
    kept = (SECRET, PASSWORD, made.key, key_of(made.receipt))
    assert page.url == f"{site.url}/"
    assert held(page, *kept) == list(kept[1:])  # what was typed is gone; the rest is what the page is for
    page.get_by_role("link", name="Help").click()
    page.wait_for_url("**/help")
    page.go_back()
    view(page, "write")
    is_clean(page, *kept)
    page.reload()
    view(page, "write")
    is_clean(page, *kept)


def test_what_was_typed_is_not_filled_in_again(page: Page) -> None:
    steps.write(page, SECRET, password=PASSWORD)
    assert held(page, SECRET, PASSWORD) == [SECRET, PASSWORD]
    page.reload()
    view(page, "write")
    is_clean(page, SECRET, PASSWORD)
    page.locator("#secret").fill(SECRET)
    page.locator("#password").fill(PASSWORD)
    page.get_by_role("link", name="Help").click()
    page.wait_for_url("**/help")
    page.go_back()
    view(page, "write")
    is_clean(page, SECRET, PASSWORD)


def test_leaving_wipes_the_created_page_too(page: Page) -> None:
    made = steps.create(page, SECRET, password=PASSWORD)
    page.locator("#qr-wanted summary").click()
    drawn = page.locator("#qr path").get_attribute("d")
    assert drawn
    assert drawn in page.content()
    page.evaluate(HIDE)
    assert held(page, SECRET, PASSWORD, made.key, key_of(made.receipt), drawn) == []
    with page.expect_navigation():
        page.evaluate(SHOW)
    view(page, "write")


def test_receipt_stays_out_of_the_address_and_is_asked_for_again(
    page: Page, secret: Secret, site: Site
) -> None:
    receipt = steps.receipt_of(secret)
    steps.follow(page, receipt, "receipt")
    assert page.url == f"{site.url}/receipt"
    is_clean(page, key_of(receipt))
    page.reload()
    view(page, "paste")
    expect(page.locator("#reloaded")).to_be_visible()
    other = Secret.create(site.web.client())
    steps.follow(page, steps.receipt_of(other), "receipt")
    is_clean(page, key_of(receipt), key_of(steps.receipt_of(other)))
    page.goto("/receipt")
    page.locator("#pasted").fill(receipt)
    page.locator("#paste-form button").click()
    view(page, "receipt")
    page.evaluate(HIDE)
    is_clean(page, key_of(receipt))


# --- who answers a request -------------------------------------------------------------------------------


def test_what_was_typed_for_one_request_is_not_there_for_another(page: Page, site: Site) -> None:
    desk = InProcess(site.backs.app())
    anna = steps.new_agent(desk)
    one, two = (Asked.create(desk, anna, label=label) for label in ("Ticket 1", "Ticket 2"))
    steps.follow(page, steps.request_of(one), "write")
    page.locator("#secret").fill(SECRET)
    assert page.url == f"{site.url}/r"
    assert held(page, SECRET) == [SECRET]
    page.goto(steps.request_of(two))
    expect(page.locator("#label")).to_have_text("Ticket 2")
    is_clean(page, SECRET)
    page.locator("#secret").fill(SECRET)
    page.evaluate(HIDE)
    is_clean(page, SECRET)
