"""What must not cost a secret: an old browser, the skip link, the same link again, our own lost answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Dialog, Error, Page, expect

from secretsvc.envelope import b64, format_request_link, write_answers
from tests.browser import steps
from tests.browser.conftest import Site, Trouble
from tests.browser.relay import ALWAYS, Relay, lost, refused
from tests.browser.steps import view
from tests.browser.test_hostile import REFUSALS
from tests.browser.test_lost import BROKEN, CLAIM, TRIES, asked, hurry
from tests.harness import InProcess, Secret, wait_until
from tests.web.common import Asked, staff, wrong_password

NewPage = Callable[..., Page]
WITHOUT_X25519 = """
const importKey = crypto.subtle?.importKey.bind(crypto.subtle);
if (importKey) crypto.subtle.importKey = (format, key, algorithm, ...more) => (
  (algorithm.name ?? algorithm) === "X25519"
    ? Promise.reject(new DOMException("no such curve", "NotSupportedError"))
    : importKey(format, key, algorithm, ...more)
);
"""


@pytest.fixture
def relay(site: Site, trouble: Trouble) -> Iterator[Relay]:
    """What stands between the pages of a test and the service."""
    with Relay(site.url) as found:
        trouble.origin = found.url
        trouble.allow(BROKEN)
        yield found


def test_a_browser_that_cannot_open_an_answer_claims_nothing(page: Page, site: Site) -> None:
    here = InProcess(site.backs.app())
    request = Asked.create(here, staff(here, f"anna{id(page)}"))
    page.add_init_script(WITHOUT_X25519)
    page.goto(format_request_link(site.url, request.request.id, request.request.public_key))
    view(page, "unsupported")
    assert request.answer(here).status == 201
    page.goto(f"/s#{b64(request.key)}")
    view(page, "unsupported")
    assert here.get(f"/api/v1/secrets/{request.id}", **request.holder).json["state"] == "sealed"


def test_the_way_to_the_content_and_the_same_link_again_keep_what_is_shown(page: Page, site: Site) -> None:
    secret = Secret.create(site.web.client(), b"hunter2")
    page.goto(f"/s#{b64(secret.key)}")
    steps.press_open(page)
    expect(page.locator("#secret")).to_have_text("hunter2")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.evaluate(f"() => {{ location.hash = '{b64(secret.key)}'; }}")
    expect(page).to_have_url(f"{site.url}/s")  # the link is taken out again
    expect(page.locator("#secret")).to_have_text("hunter2")


def test_our_own_opening_whose_answer_was_lost_is_not_told_as_a_strangers(
    new_page: NewPage, relay: Relay, site: Site, trouble: Trouble
) -> None:
    trouble.allow("status of 410")
    page = new_page(base_url=relay.url)
    page.clock.install()
    secret = Secret.create(site.web.client(), b"hunter2")
    page.goto(f"/s#{b64(secret.key)}")
    relay.on(CLAIM, lost, ALWAYS)
    steps.press_open(page)
    hurry(page, asked(relay, CLAIM, TRIES))
    expect(steps.problem(page)).to_contain_text("No clear answer")
    expect(page.locator("#not-now")).to_be_hidden()
    expect(page.locator("[data-language]")).to_be_hidden()
    key = relay.calls(CLAIM)[0].headers["idempotency-key"]
    done = site.web.client().post(
        f"/api/v1/secrets/{secret.id}/done", None, {**secret.auth(), "Idempotency-Key": key}
    )
    assert done.status == 204  # as if the time to fetch it again were over
    relay.heal()
    steps.press_open(page)
    view(page, "missed")
    expect(page.locator("#report")).to_be_hidden()


# --- leaving ---------------------------------------------------------------------------------------------


def leave(page: Page) -> list[str]:
    """Follow a link of the page and stay if it asks: what was asked, or nothing and the page has been left."""
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.get_by_role("link", name="Help").click(no_wait_after=True)
    wait_until(lambda: asked or is_there(page, "/help"))
    page.remove_listener("dialog", stay)
    return asked


def is_there(page: Page, path: str) -> bool:
    """Whether the page has arrived; while it is on its way nothing can be asked of it."""
    with contextlib.suppress(Error):
        return bool(page.evaluate("location.pathname") == path)
    return False


def press_copy(page: Page, what: str) -> None:
    button = page.locator(f"[data-copy={what}]")
    button.click()
    expect(button).to_have_text("Copied")


def test_leaving_with_a_link_that_nobody_has_copied_is_asked_about(page: Page, site: Site) -> None:
    steps.write(page, "typed")
    assert leave(page) == ["beforeunload"]
    steps.press_create(page)
    steps.read_created(page)
    assert leave(page) == ["beforeunload"]
    expect(page.locator("#link")).to_be_visible()
    press_copy(page, "link")
    assert leave(page) == []

    steps.create(page, "withdrawn")  # then there is nothing to lose any more
    steps.unfold(page, "Withdraw the link").locator("#revoke").click()
    expect(page.locator('[data-state="revoked"]')).to_be_visible()
    assert leave(page) == []


def test_leaving_with_a_secret_that_nobody_has_copied_is_asked_about(page: Page, site: Site) -> None:
    client = site.web.client()
    steps.follow(page, steps.link_of(Secret.create(client)))
    assert leave(page) == []
    steps.receive(page, steps.link_of(Secret.create(client)))
    assert leave(page) == ["beforeunload"]
    expect(page.locator("#secret")).to_have_text("hunter2")
    press_copy(page, "secret")
    assert leave(page) == []

    form = write_answers({"user": "admin", "password": "hunter2", "note": ""})
    steps.follow(page, steps.link_of(steps.keep(client, form)))
    steps.press_open(page)
    press_copy(page, "answer-0")
    assert leave(page) == ["beforeunload"]
    press_copy(page, "answer-1")
    assert leave(page) == []


def test_what_was_copied_by_hand_is_copied(page: Page) -> None:
    page.add_init_script(REFUSALS["is not there"])
    steps.create(page, "x")
    page.locator("[data-copy=link]").click()
    expect(page.locator("[data-copy=link]")).to_contain_text("Marked")
    assert leave(page) == ["beforeunload"]
    page.locator("#link").focus()
    page.keyboard.press("Control+c")
    assert leave(page) == []


def test_leaving_is_not_asked_about_where_nothing_is_left_to_lose(
    page: Page, new_page: NewPage, relay: Relay, site: Site, trouble: Trouble
) -> None:
    trouble.allow("status of 4(09|10)")
    desk = InProcess(site.backs.app())
    request = Asked.create(desk, steps.new_agent(desk))
    steps.follow(page, relay.url + steps.request_of(request), "write")
    page.locator("#secret").fill("typed")
    assert request.answer(desk).status == 201
    steps.press(page.locator("#answer-button"))
    view(page, "answered")
    assert leave(page) == []

    page = new_page(base_url=relay.url)
    page.clock.install()
    secret = Secret.create(site.web.client())
    steps.follow(page, steps.link_of(secret))
    relay.on(CLAIM, refused, ALWAYS)
    steps.press_open(page)
    hurry(page, asked(relay, CLAIM, TRIES))
    expect(steps.problem(page)).to_contain_text("No clear answer")
    secret.claim(site.web.client())
    assert leave(page) == ["beforeunload"]
    relay.heal()
    steps.press_open(page)
    view(page, "missed")
    assert leave(page) == []


def test_a_link_that_was_unlocked_is_looked_at_again_when_it_is_followed_again(page: Page, site: Site) -> None:
    client = site.web.client()
    secret = Secret.create(client, password=steps.PASSWORD)
    wrong_password(client, secret, times=5)
    steps.follow(page, steps.link_of(secret), "locked")
    assert secret.call(client, "unlock", sender=True).status == 200
    page.goto(steps.link_of(secret))
    view(page, "ready")
    steps.press_open(page, steps.PASSWORD)
    assert steps.read_secret(page) == "hunter2"
    page.goto(steps.link_of(secret))
    assert steps.read_secret(page) == "hunter2"
