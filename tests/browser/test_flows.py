from __future__ import annotations
import pytest
from playwright.sync_api import Page, expect
from tests.browser import steps
from tests.browser.steps import File

def test_post(page: Page, new_page) -> None:
    claims = steps.sent(page, "POST", "/secrets.*")
    made = steps.create(page, "hällo\n ", password=steps.PASSWORD)
    for r in claims:
        print(r.url, r.post_data and r.post_data[:300], r.headers, r.all_headers())

def test_file(page, new_page):
    page.goto("/")
    steps.choose(page, File("a b ü.bin", bytes(range(256)), "image/png"))
    print(page.locator("#chosen").inner_text())
    steps.press_create(page)
    made = steps.read_created(page)
    reader = new_page()
    steps.follow(reader, made.link)
    steps.press_open(reader)
    print(reader.locator("#binary").inner_text())
    n, b = steps.save(reader)
    print(n, b == bytes(range(256)))

def test_drop(page):
    page.goto("/")
    steps.drop(page, File("a.txt", b"abc", "text/plain"))
    print(page.locator("#chosen").inner_text())
    page.locator("#unchoose").click()
    steps.paste(page, File("image.png", b"abc", "image/png"))
    print(page.locator("#chosen").inner_text())
    page.locator("#unchoose").click()

def test_route(page, trouble):
    trouble.allow(".*")
    n = []
    def lose(route):
        n.append(route.request)
        a = route.fetch()
        print(a.status, route.request.post_data)
        if len(n) == 1:
            route.abort()
        else:
            route.fulfill(response=a)
    page.route("**/api/v1/secrets", lose)
    made = steps.create(page, "x")
    print(len(n), [r.headers.get("idempotency-key") for r in n])

def test_clock(page, trouble):
    trouble.allow(".*")
    page.clock.install()
    page.route("**/api/v1/secrets", lambda r: r.abort())
    steps.write(page, "x")
    steps.press_create(page)
    expect(steps.problem(page)).to_be_visible()
    print(steps.problem(page).inner_text())
    for i in range(20):
        page.clock.run_for(1000)
    print(steps.problem(page).inner_text())

def test_back(page):
    steps.create(page, "x")
    page.goto("/help")
    r = page.go_back()
    print(page.url, r and r.status, page.evaluate("performance.getEntriesByType('navigation')[0].type"))
