"""What a page does wrong is noticed, in each engine; and a browser that is missing is not passed over."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route

from tests.browser import conftest
from tests.browser.conftest import Site, Trouble, executable, let_finish

WRONG = {
    "logged": ("console.error('a message')", r"^a message$"),
    "thrown": ("setTimeout(() => { throw new Error('a fault'); })", r"^thrown: .*a fault"),
    "rejected": ("void Promise.reject(new Error('a fault'))", r"^thrown: .*a fault"),
    "foreign image": (
        "document.body.append(Object.assign(new Image(), { src: 'https://x.example/y' }))",
        "img-src",
    ),
    "foreign fetch": ("fetch('https://x.example/y').catch(() => {})", "connect-src"),
    "markup": ("try { document.body.innerHTML = '<b>'; } catch {}", "require-trusted-types-for"),
    "inline style": ("document.body.setAttribute('style', 'color: red')", "style-src"),
}


@pytest.mark.parametrize("act", WRONG)
def test_what_a_page_does_wrong_is_noticed(page: Page, trouble: Trouble, act: str) -> None:
    script, words = WRONG[act]
    page.goto("/")
    page.evaluate(f"() => {{ {script}; }}")
    let_finish(page.context)
    assert any(re.search(words, line) for line in trouble.found), trouble.found
    with pytest.raises(AssertionError):
        trouble.check()
    trouble.clear()


def test_a_request_that_leaves_is_noticed_whatever_the_policy(page: Page, site: Site, trouble: Trouble) -> None:
    def answer(route: Route) -> None:
        route.fulfill(body="<!doctype html><link rel=icon href=data:,><img src='http://other.example/x'>hello")

    page.route("**/lax", answer)
    page.route("http://other.example/**", lambda route: route.fulfill(body=""))
    page.goto("/lax")
    let_finish(page.context)
    assert "asked: http://other.example/x" in trouble.found
    trouble.clear()


def test_what_is_allowed_is_no_trouble_and_the_rest_is(page: Page, trouble: Trouble) -> None:
    trouble.allow("^one")
    page.goto("/")
    page.evaluate("() => { console.error('one'); console.error('one more'); console.log('nothing'); }")
    let_finish(page.context)
    trouble.check()
    trouble.found.append("another one")
    with pytest.raises(AssertionError, match="another one"):
        trouble.check()
    trouble.clear()


def test_pages_share_nothing(page: Page, new_page: Callable[..., Page]) -> None:
    other = new_page()
    page.goto("/")
    assert page.evaluate("() => { document.cookie = 'key=x'; return document.cookie; }") == "key=x"
    other.goto("/")
    assert other.evaluate("() => document.cookie") == ""


def test_options_reach_the_page(new_page: Callable[..., Page]) -> None:
    page = new_page(locale="de-DE", viewport={"width": 360, "height": 640}, color_scheme="dark")
    page.goto("/")
    look = "() => [navigator.language, innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]"
    assert page.evaluate(look) == ["de-DE", 360, True]
    assert page.locator("html").get_attribute("lang") == "de"


def test_without_script_no_script_runs_and_forms_still_work(new_page: Callable[..., Page], site: Site) -> None:
    page = new_page(java_script_enabled=False)
    page.goto("/")
    assert page.locator("form.script").is_visible() is False
    form = page.locator("noscript form")
    form.locator("textarea").fill("hunter2")
    form.get_by_role("button", name="Create link").click()
    assert f"{site.url}/s#" in page.content()


def test_script_that_should_not_run_is_noticed(new_page: Callable[..., Page], trouble: Trouble) -> None:
    page = new_page(java_script_enabled=False)
    page.route("**/scripted", lambda route: route.fulfill(body="<script>document.title = 'ran'</script>"))
    page.goto("/scripted")
    assert (page.title() == "ran") is any(line.startswith("with script: ") for line in trouble.found)
    trouble.clear()


def test_missing_browser_fails_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest.shutil, "which", lambda name: None)
    for engine, package in conftest.ENGINES.items():
        with pytest.raises(RuntimeError, match=f"apt install {package}"):
            executable(engine)
