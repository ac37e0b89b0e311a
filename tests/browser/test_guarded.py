"""What must not cost a secret: an old browser, the skip link, the same link again, our own lost answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from secretsvc.envelope import b64, format_request_link
from tests.browser import steps
from tests.browser.conftest import Site, Trouble
from tests.browser.relay import ALWAYS, Relay, lost
from tests.browser.steps import view
from tests.browser.test_lost import BROKEN, CLAIM, TRIES, asked, hurry
from tests.harness import InProcess, Secret
from tests.web.common import Asked, staff

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
