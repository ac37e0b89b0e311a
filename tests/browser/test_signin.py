"""Signing in as people do, in both browsers: at a provider, by a one-time link, with and without script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from secretsvc.connections import open_node
from secretsvc.errors import StoreUnavailable
from secretsvc.tickets.sessions import Sessions, link
from tests.browser.conftest import Site, Trouble
from tests.browser.test_accessible import RUN_AXE, TAGS
from tests.browser.test_weight import LIMIT, visit
from tests.harness import backends, web
from tests.tickets.people.steps import ANNA, SESSION, Provider, running_provider, settings_file

TARGET = "tests.tickets.people.steps:create_scriptless_app()"
PARTS = "() => [location.pathname, location.search, location.hash]"


@dataclass(frozen=True)
class Desk:
    """A service where people sign in, its provider, and its sessions seen from here."""

    site: Site
    provider: Provider
    sessions: Sessions

    @property
    def link(self) -> str:
        return link(self.site.url, self.sessions.invite(ANNA))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    with running_provider() as provider, backends(folder) as backs:
        path = settings_file(folder, provider.url)
        with web(backs, folder, target=TARGET, sign_in_limit="0", tickets_file=str(path)) as found:
            node = open_node(backs.store.url, connections=4, unavailable=StoreUnavailable)
            yield Desk(Site(backs, found), provider, Sessions(node))
            node.close()


@pytest.fixture
def visitor(new_page: Callable[..., Page], desk: Desk, trouble: Trouble) -> Callable[..., Page]:
    """Make a page of somebody who is not signed in."""
    trouble.origin = desk.site.url
    trouble.allow(f"^asked: {desk.provider.url}/")

    def make(**options: Any) -> Page:
        return new_page(base_url=desk.site.url, **options)

    return make


def session(page: Page) -> dict[str, Any]:
    """What the browser keeps of the session; nothing where there is none."""
    [found] = [each for each in page.context.cookies() if each["name"] == SESSION] or [{}]
    return dict(found)


def sign_in(page: Page) -> None:
    page.goto("/desk/sign-in")
    page.get_by_role("link", name="Sign in with 127.0.0.1").click()
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("nav.desk")).to_contain_text("Anna Agent")


def test_an_agent_signs_in_at_the_provider_and_out_again(visitor: Callable[..., Page], desk: Desk) -> None:
    page = visitor()
    sign_in(page)
    assert page.evaluate(PARTS) == ["/desk", "", ""]
    kept = session(page)
    assert (kept["secure"], kept["httpOnly"], kept["sameSite"], kept["path"]) == (True, True, "Lax", "/")
    assert desk.sessions.find(kept["value"]) is not None
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Signed out")
    assert session(page) == {}
    assert desk.sessions.find(kept["value"]) is None


def test_a_one_time_link_waits_in_the_form_and_not_in_the_address(
    visitor: Callable[..., Page], desk: Desk
) -> None:
    page, address = visitor(), desk.link
    page.goto(address)
    expect(page.locator("#filled")).to_be_visible()
    expect(page.locator("#link")).to_have_value(address.partition("#")[2])
    assert page.evaluate(PARTS) == ["/desk/sign-in", "", ""]
    assert session(page) == {}
    page.reload()
    expect(page.locator("#link")).to_have_value("")
    page.goto("/help")
    page.goto(address)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("nav.desk")).to_contain_text("Anna")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    expect(page.locator("#link")).to_have_value("")


def test_switching_the_language_keeps_the_link_and_the_way(visitor: Callable[..., Page], desk: Desk) -> None:
    page, address = visitor(), desk.link
    page.goto(address.replace("#", "?next=/desk/organisations#"))
    page.get_by_role("link", name="Deutsch").click()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page.locator("#link")).to_have_value(address.partition("#")[2])
    assert page.evaluate(PARTS)[2] == ""
    with page.expect_navigation(url="**/desk/organisations"):
        page.locator("form.card button").click()
    assert desk.sessions.find(session(page)["value"]) == ANNA


def test_an_altered_link_leaves_the_address_and_still_works(
    visitor: Callable[..., Page], desk: Desk, trouble: Trouble
) -> None:
    trouble.allow("400")
    page = visitor()
    page.goto(desk.link.replace("#", "%23"))
    expect(page.locator("#filled")).to_be_visible()
    assert page.evaluate(PARTS) == ["/desk/sign-in", "", ""]
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("nav.desk")).to_contain_text("Anna")


def test_a_one_time_link_is_pasted_where_no_script_runs(visitor: Callable[..., Page], desk: Desk) -> None:
    page, address = visitor(java_script_enabled=False), desk.link
    page.goto("/desk/sign-in?next=/desk/organisations")
    page.get_by_label("Your sign-in link").fill(address)
    with page.expect_navigation(url="**/desk/organisations"):
        page.get_by_role("button", name="Sign in").click()
    assert desk.sessions.find(session(page)["value"]) == ANNA


def test_a_used_link_says_so_and_signs_nobody_in(
    visitor: Callable[..., Page], desk: Desk, trouble: Trouble
) -> None:
    trouble.allow("403")
    page, address = visitor(), desk.link
    desk.sessions.redeem(address.partition("#")[2])
    page.goto(address)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("was used before")
    assert session(page) == {}


def test_a_form_on_another_port_of_this_machine_cannot_sign_out(
    visitor: Callable[..., Page], desk: Desk, trouble: Trouble
) -> None:
    trouble.allow("403")
    page = visitor()
    sign_in(page)
    page.goto(f"{desk.provider.url}/authorize")
    page.evaluate(
        """(action) => {
          const form = document.body.appendChild(document.createElement("form"));
          Object.assign(form, { action, method: "post" });
          setTimeout(() => form.submit());  // once this call has been answered
        }""",
        f"{desk.site.url}/desk/sign-out",
    )
    expect(page.get_by_role("alert")).to_contain_text("from another site")
    page.goto("/desk/sign-in")
    expect(page.get_by_text("You are signed in as Anna Agent.")).to_be_visible()


def test_the_pages_of_signing_in_are_light_and_usable_by_all(
    visitor: Callable[..., Page], desk: Desk, say: Callable[[str], None]
) -> None:
    page = visitor()

    def look() -> None:
        Axe().run(page)
        found = page.evaluate(RUN_AXE, TAGS)
        assert (found["axe"], found["undecided"], found["idle"]) == ([], [], []), page.url

    weight = visit(page, "/desk/sign-in", desk.site).bytes
    say(f"/desk/sign-in: {weight:,} bytes")
    assert weight < LIMIT
    look()
    sign_in(page)
    look()
    page.goto("/desk/sign-in")
    look()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Signed out")
    look()
