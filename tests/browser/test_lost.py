"""Answers that never arrive: the page asks again, nothing is done twice, and nothing that was typed is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import steps
from tests.browser.conftest import Site, Trouble, let_finish
from tests.browser.relay import ALWAYS, Call, Fault, Relay, Slow, damaged, instead, lost, portal, refused, torn
from tests.browser.steps import view
from tests.harness import InProcess, Secret, wait_until
from tests.web.common import Asked, store, with_proof, wrong_password

CREATE = "POST /api/v1/secrets"
CLAIM = "POST /api/v1/secrets/[^/]+/claim"
DONE = "POST /api/v1/secrets/[^/]+/done"
LOOK = "GET /api/v1/secrets/[^/]+"
REVOKE = "POST /api/v1/secrets/[^/]+/revoke"
ANSWER = "POST /api/v1/requests/[^/]+/answer"
ANYTHING = ".* /api/.*"
TRIES = 5  # the first and four repeats
# What Chromium says of the faults made here; Firefox says nothing.
BROKEN = r"net::ERR_(EMPTY_RESPONSE|CONTENT_LENGTH_MISMATCH)"
BUSY = instead(503, {"type": "store-unavailable"}, retry_after="2")
LIMITED = instead(429, {"type": "rate-limited"}, retry_after="45")
# Counts the parts of bodies that the page has got.
COUNT_PARTS = """() => {
  window.parts = 0;
  const { prototype } = ReadableStreamDefaultReader;
  const { read } = prototype;
  prototype.read = function () { return read.call(this).then((part) => (window.parts++, part)); };
}"""


@pytest.fixture(scope="module")
def behind(browser: Browser, site: Site) -> Iterator[tuple[Relay, Page, Trouble]]:
    """A relay before the service and a page behind it, with a clock that can be put forward; for all tests."""
    with Relay(site.url) as relay, browser.new_context(base_url=relay.url, locale="en-GB") as context:
        watched = Trouble(relay.url)
        watched.watch(context)
        page = context.new_page()
        page.clock.install()
        yield relay, page, watched


@pytest.fixture
def trouble(behind: tuple[Relay, Page, Trouble]) -> Trouble:
    watched = behind[2]
    watched.found.clear()
    watched.allowed[:] = [BROKEN]
    return watched


@pytest.fixture
def relay(behind: tuple[Relay, Page, Trouble]) -> Relay:
    relay = behind[0]
    relay.heal()
    relay.seen.clear()
    return relay


@pytest.fixture
def page(behind: tuple[Relay, Page, Trouble], relay: Relay, trouble: Trouble) -> Iterator[Page]:
    page = behind[1]
    yield page
    let_finish(page.context)
    trouble.check()


def stored(site: Site) -> set[str]:
    """The ids of all secrets in the store."""
    return {key.decode()[4:-3] for key in site.backs.store.client().keys("ss:{*}:r")}


def key_of(calls: list[Call]) -> str:
    """The one Idempotency-Key of all these calls."""
    (key,) = {call.headers["idempotency-key"] for call in calls}
    return key


def hurry(page: Page, until: Callable[[], bool]) -> None:
    """Put the page's clock forward, a second at a time, until something is so."""
    wait_until(lambda: until() or page.clock.fast_forward(1000))


def asked(relay: Relay, what: str, times: int) -> Callable[[], bool]:
    return lambda: len(relay.calls(what)) >= times


def tries_again(page: Page, note: str) -> None:
    """It says so."""
    expect(steps.problem(page)).to_be_visible()
    expect(steps.problem(page)).to_have_text(f"No answer yet; trying again. {note}")


def lose_patience(page: Page, relay: Relay, what: str) -> None:
    """Put the page's clock to when it waits no longer for the answer to its first call."""
    wait_until(asked(relay, what, 1))
    page.clock.fast_forward(20_000)


# --- create ----------------------------------------------------------------------------------------------


def test_create_without_an_answer_makes_one_secret(
    page: Page, relay: Relay, site: Site, trouble: Trouble
) -> None:
    trouble.allow("status of 503")
    for fault in (lost, relay.silent, BUSY):
        relay.seen.clear()
        before = stored(site)
        steps.write(page, "typed once")
        relay.on(CREATE, fault)
        steps.press_create(page)
        if fault == relay.silent:
            lose_patience(page, relay, CREATE)
        tries_again(page, "Nothing is sent twice.")
        hurry(page, asked(relay, CREATE, 2))
        made = steps.read_created(page)
        first, second = relay.calls(CREATE)
        assert first.body == second.body
        assert key_of([first, second])
        assert stored(site) - before == {made.secret.id}
    assert steps.receive(page, steps.link_of(made.secret)) == "typed once"


def test_create_on_a_service_that_is_down_keeps_what_was_typed(page: Page, relay: Relay, site: Site) -> None:
    before = stored(site)
    steps.write(page, "typed once")
    relay.on(ANYTHING, lost, ALWAYS)
    steps.press_create(page)
    hurry(page, asked(relay, CREATE, TRIES))
    expect(steps.problem(page)).to_have_text(
        "The service does not answer. Your text is still here: please press the button again."
    )
    expect(page.locator("#secret")).to_have_value("typed once")
    assert len(relay.calls(CREATE)) == TRIES
    relay.heal()
    steps.press_create(page)
    made = steps.read_created(page)
    assert len({call.body for call in relay.calls(CREATE)}) == 1
    assert key_of(relay.calls(CREATE))
    assert stored(site) - before == {made.secret.id}
    assert steps.receive(page, steps.link_of(made.secret)) == "typed once"


def test_limit_on_creating_is_told_and_the_text_kept(
    page: Page, relay: Relay, site: Site, trouble: Trouble
) -> None:
    trouble.allow("status of 429")
    steps.write(page, "typed once")
    relay.on(CREATE, limited(site))
    steps.press_create(page)
    expect(steps.problem(page)).to_have_text(
        "Too many links were created from your address. Please wait a minute and press the button again."
    )
    expect(page.locator("#secret")).to_have_value("typed once")
    steps.press_create(page)
    steps.read_created(page)


def limited(site: Site) -> Fault:
    """What the service answers to somebody who creates too much: its own words."""
    here = InProcess(site.backs.app(create_limit="1"))
    store = site.backs.store.client()
    for window in store.keys("*ss:limit*"):  # one that is about to end would only be waited for
        store.delete(window)
    answers = [here.post("/api/v1/secrets", Secret.make().body) for _ in range(2)]
    assert [answer.status for answer in answers] == [201, 429]
    return lambda forward: answers[1]


# --- open ------------------------------------------------------------------------------------------------


def test_reader_gets_the_secret_whatever_becomes_of_the_first_answer(
    page: Page, relay: Relay, site: Site, trouble: Trouble
) -> None:
    trouble.allow("status of 503")
    for fault in (lost, torn, portal, relay.silent, BUSY):
        relay.seen.clear()
        secret = Secret.create(site.web.client(), b"arrives")
        steps.follow(page, steps.link_of(secret))
        relay.on(CLAIM, fault)
        steps.press_open(page)
        if fault == relay.silent:
            lose_patience(page, relay, CLAIM)
        tries_again(page, "Please stay on this page.")
        with steps.done(page):
            hurry(page, asked(relay, CLAIM, 2))
        assert steps.read_secret(page) == "arrives"
        assert len(relay.calls(CLAIM)) == 2
        assert key_of(relay.calls(CLAIM) + relay.calls(DONE))
        assert secret.state(site.web.client()).json["state"] == "opened"


def test_reader_gets_the_secret_at_the_next_press_after_every_answer_was_lost(
    page: Page, relay: Relay, site: Site
) -> None:
    secret = Secret.create(site.web.client(), b"arrives", password=steps.PASSWORD)
    steps.follow(page, steps.link_of(secret))
    relay.on(CLAIM, lost, ALWAYS)
    steps.press_open(page, steps.PASSWORD)
    hurry(page, asked(relay, CLAIM, 1 + TRIES))  # a wrong password would cost a try each time: it looks first
    expect(steps.problem(page)).to_contain_text("Press the button again at once, on this page only")
    assert secret.state(site.web.client()).json["state"] == "opened"
    relay.heal()
    steps.press_open(page)
    assert steps.read_secret(page) == "arrives"
    assert key_of(relay.calls(CLAIM))


def test_arrival_is_told_after_decrypting_and_ends_the_time_to_ask_again(
    page: Page, relay: Relay, site: Site
) -> None:
    client = site.web.client()
    secret = Secret.create(client)
    steps.follow(page, steps.link_of(secret))
    relay.on(DONE, refused, ALWAYS)
    steps.press_open(page)
    assert steps.read_secret(page) == "hunter2"
    wait_until(lambda: relay.calls(DONE))
    key = key_of(relay.calls(CLAIM) + relay.calls(DONE))
    assert secret.unseal(secret.claim(client, key)) == b"hunter2"
    relay.heal()
    with steps.done(page):
        hurry(page, asked(relay, DONE, len(relay.calls(DONE)) + 1))
    assert secret.claim(client, key).status == 410
    order = [call.path.rpartition("/")[2] for call in relay.calls(f"{CLAIM}|{DONE}")]
    assert order == ["claim"] + ["done"] * (len(order) - 1)


def test_damaged_answer_is_fetched_again_and_is_not_said_to_have_arrived(
    page: Page, relay: Relay, site: Site
) -> None:
    client = site.web.client()
    for fault in (damaged, instead(200, {"envelope": "AAAA"})):
        relay.seen.clear()
        secret = Secret.create(client)
        steps.follow(page, steps.link_of(secret))
        relay.on(CLAIM, fault, 2)
        steps.press_open(page)
        expect(view(page, "unsealable").locator("h1")).to_have_text("What came out is damaged")
        page.evaluate("() => fetch('/healthz')")  # asked after whatever the page itself has asked
        assert relay.calls("GET /healthz")
        assert relay.calls(DONE) == []
        assert secret.unseal(secret.claim(client, key_of(relay.calls(CLAIM)))) == b"hunter2"
    for fault in (damaged, instead(200, {"envelope": "*"})):
        secret = Secret.create(client)
        steps.follow(page, steps.link_of(secret))
        relay.on(CLAIM, fault)
        steps.press_open(page)
        assert steps.read_secret(page) == "hunter2"


def test_slow_line_is_waited_for_as_long_as_something_comes(page: Page, relay: Relay, site: Site) -> None:
    slow = Slow(4)
    secret = Secret.create(site.web.client(), b"arrives" * 100)
    steps.follow(page, steps.link_of(secret))
    page.evaluate(COUNT_PARTS)
    relay.on(CLAIM, slow)
    steps.press_open(page)
    wait_until(asked(relay, CLAIM, 1))
    for part in range(1, 4):
        page.clock.fast_forward(15_000)  # less than the page's patience; together it is more than twice
        slow.go()
        wait_until(lambda part=part: page.evaluate("window.parts") >= part)
    page.clock.fast_forward(15_000)
    expect(steps.problem(page)).to_be_hidden()
    with steps.done(page):
        slow.go()
    assert steps.read_secret(page) == "arrives" * 100
    assert len(relay.calls(CLAIM)) == 1


def test_line_that_dies_midway_is_not_waited_for(page: Page, relay: Relay, site: Site) -> None:
    slow = Slow(2)
    secret = Secret.create(site.web.client(), b"arrives" * 100)
    steps.follow(page, steps.link_of(secret))
    page.evaluate(COUNT_PARTS)
    relay.on(CLAIM, slow)
    steps.press_open(page)
    slow.go()
    wait_until(lambda: page.evaluate("window.parts") >= 1)
    page.clock.fast_forward(20_000)
    tries_again(page, "Please stay on this page.")
    hurry(page, asked(relay, CLAIM, 2))
    assert steps.read_secret(page) == "arrives" * 100
    assert key_of(relay.calls(CLAIM))
    slow.go()


def test_service_that_is_busy_is_no_unclear_answer(
    page: Page, relay: Relay, site: Site, trouble: Trouble
) -> None:
    trouble.allow("status of (429|503|410)")
    client = site.web.client()
    secret = Secret.create(client, b"arrives")
    steps.follow(page, steps.link_of(secret))
    relay.on(CLAIM, BUSY, TRIES)
    steps.press_open(page)
    hurry(page, asked(relay, CLAIM, TRIES))
    expect(view(page, "unreachable")).to_contain_text("Nothing was opened or used up.")
    page.locator("#retry").click()
    view(page, "ready")
    steps.press_open(page)
    assert steps.read_secret(page) == "arrives"

    relay.seen.clear()
    secret = Secret.create(client, password=steps.PASSWORD)
    steps.follow(page, steps.link_of(secret))
    relay.on(CLAIM, LIMITED)
    steps.press_open(page, steps.PASSWORD)
    expect(steps.problem(page)).to_have_text(
        "Too many tries from your address. Please wait a minute; nothing was used up."
    )
    expect(page.locator("#not-now")).to_be_visible()
    expect(page.locator("[data-language]")).to_be_visible()
    relay.on(CLAIM, instead(503, {"type": "busy"}, retry_after="1"))
    steps.press_open(page)
    wait_until(asked(relay, CLAIM, 2))
    tries_again(page, "Please stay on this page.")
    secret.claim(client)  # by somebody else, meanwhile
    hurry(page, asked(relay, CLAIM, 3))
    expect(view(page, "opened").locator("#report")).to_be_visible()


def test_wrong_password_after_a_lost_answer_says_what_is_known(
    page: Page, relay: Relay, site: Site, trouble: Trouble
) -> None:
    trouble.allow("status of (403|410)")
    client = site.web.client()
    secret = Secret.create(client, b"arrives", password=steps.PASSWORD)
    steps.follow(page, steps.link_of(secret))
    relay.on(CLAIM, lost, ALWAYS)
    steps.press_open(page, steps.PASSWORD)
    hurry(page, asked(relay, CLAIM, 1 + TRIES))
    expect(steps.problem(page)).to_contain_text("No clear answer")
    relay.heal()
    steps.press_open(page, "falsch")  # although the one before was right, and has opened it
    expect(steps.problem(page)).to_have_text("An earlier password was right. Enter that one again at once.")
    steps.press_open(page, steps.PASSWORD)
    assert steps.read_secret(page) == "arrives"

    secret = Secret.create(client, password=steps.PASSWORD)
    steps.follow(page, steps.link_of(secret))
    relay.on(CLAIM, lost)
    steps.press_open(page, "falsch")
    expect(steps.problem(page)).to_contain_text("No clear answer")
    steps.press_open(page, "wieder falsch")
    expect(steps.problem(page)).to_contain_text("Wrong password. Nothing was opened.")
    secret.claim(client)
    steps.press_open(page, steps.PASSWORD)
    expect(view(page, "opened").locator("#report")).to_be_visible()


def test_link_is_kept_while_the_service_does_not_answer(page: Page, relay: Relay, site: Site) -> None:
    secret = Secret.create(site.web.client())
    relay.on(LOOK, refused, ALWAYS)
    page.goto(steps.link_of(secret))
    expect(page.locator("#checking-again")).to_have_text("No answer yet; trying again.")
    hurry(page, page.locator("#retry").is_visible)
    expect(view(page, "unreachable")).to_contain_text("Nothing was opened or used up.")
    relay.heal()
    page.locator("#retry").click()
    view(page, "ready")
    steps.press_open(page)
    assert steps.read_secret(page) == "hunter2"


# --- the others ------------------------------------------------------------------------------------------


def test_answer_to_a_request_is_handed_in_once(page: Page, relay: Relay, site: Site) -> None:
    desk = InProcess(site.backs.app())
    anna = steps.new_agent(desk)
    request = Asked.create(desk, anna)
    steps.follow(page, steps.request_of(request), "write")
    page.locator("#secret").fill("typed once")
    relay.on(ANSWER, lost, ALWAYS)
    steps.press(page.locator("#answer-button"))
    tries_again(page, "Nothing is sent twice.")
    hurry(page, asked(relay, ANSWER, TRIES))
    expect(steps.problem(page)).to_contain_text("Your text is still here: please press the button again.")
    relay.heal()
    steps.press(page.locator("#answer-button"))
    view(page, "handed-in")
    assert len(relay.calls(ANSWER)) == TRIES + 1
    assert len({call.body for call in relay.calls(ANSWER)}) == 1
    claimed = desk.post(f"/api/v1/secrets/{request.id}/claim", {}, request.holder | anna)
    assert request.unseal(claimed) == b"typed once"


def test_sender_is_told_while_the_service_does_not_answer(page: Page, relay: Relay, site: Site) -> None:
    secret = Secret.create(site.web.client())
    steps.follow(page, steps.receipt_of(secret), "receipt")
    relay.on(LOOK, refused, ALWAYS)
    hurry(page, asked(relay, LOOK, len(relay.calls(LOOK)) + 1))
    expect(page.locator("#status-trouble")).to_have_text(
        "The service does not answer just now; it is asked again."
    )
    relay.heal()
    relay.on("POST .*/revoke", lost)
    steps.unfold(page, "Withdraw the link").locator("#revoke").click()
    hurry(page, asked(relay, "POST .*/revoke", 2))
    expect(page.locator('[data-state="revoked"]')).to_be_visible()
    expect(page.locator("#status-trouble")).to_be_hidden()


def test_nothing_is_said_to_be_asked_again_when_it_is_not(page: Page, relay: Relay, site: Site) -> None:
    secret = Secret.create(site.web.client())
    steps.follow(page, steps.receipt_of(secret), "receipt")
    relay.on(LOOK, refused, ALWAYS)
    steps.unfold(page, "Withdraw the link").locator("#revoke").click()
    expect(page.locator('[data-state="revoked"]')).to_be_visible()
    hurry(page, asked(relay, LOOK, 2))  # once more, on the timer that was running
    page.evaluate("() => fetch('/healthz')")  # its answer is after theirs
    expect(page.locator("#status-trouble")).to_be_hidden()


def test_withdrawal_that_fails_is_shown_as_failed(page: Page, relay: Relay, site: Site) -> None:
    secret = Secret.create(site.web.client())
    steps.follow(page, steps.receipt_of(secret), "receipt")
    failed = page.locator("#act-failed")
    relay.on(ANYTHING, refused, ALWAYS)
    steps.unfold(page, "Withdraw the link").locator("#revoke").click()
    hurry(page, failed.is_visible)
    assert len(relay.calls(REVOKE)) == TRIES
    expect(page.locator('[data-state="sealed"]')).to_be_visible()
    expect(page.locator("#revoke")).to_be_visible()
    relay.heal()
    assert secret.state(site.web.client()).json["state"] == "sealed"

    relay.on(ANYTHING, lost, ALWAYS)  # now it is done, and nobody hears of it
    steps.press(page.locator("#revoke"))
    expect(failed).to_be_hidden()
    hurry(page, failed.is_visible)
    expect(failed).to_contain_text("may not have been done")
    relay.heal()
    hurry(page, page.locator('[data-state="revoked"]').is_visible)
    expect(failed).to_be_hidden()


def test_unlocking_whose_answer_was_lost_is_not_shown_as_failed(
    page: Page, relay: Relay, site: Site, trouble: Trouble
) -> None:
    trouble.allow("status of 409")
    secret = with_proof()
    store(site.web.client(), secret)
    wrong_password(site.web.client(), secret, times=5)
    steps.follow(page, steps.receipt_of(secret), "receipt")
    relay.on("POST .*/unlock", lost)
    page.locator("#unlock").click()
    hurry(page, asked(relay, "POST .*/unlock", 2))
    expect(page.locator('[data-state="sealed"]')).to_be_visible()
    expect(page.locator("#unlock")).not_to_have_attribute("aria-busy", "true")
    expect(page.locator("#act-failed")).to_be_hidden()
