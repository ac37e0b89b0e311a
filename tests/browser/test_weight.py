"""What a page costs: how many bytes, in how many requests, what is kept, and that every module is checked."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from secretsvc.web.assets import Assets
from secretsvc.web.theme import MAX_LOGO_BYTES
from tests.browser import steps
from tests.browser.conftest import Site, Trouble
from tests.harness import ROOT, web

LIMIT = 60_000  # bytes of a page with everything it fetches, uncompressed
PAGES = {  # and the script of each
    "/": "js/pages/create.js",
    "/open": "js/pages/open.js",
    "/s": "js/pages/open.js",
    "/r": "js/pages/request.js",
    "/receipt": "js/pages/receipt.js",
    "/help": "",
    "/status": "",
    "/api": "",
    "/nowhere": "",
}
# All that an operator can bring along.
DRESSED = {
    "operator": "O" * 80,
    "colour": "#7a1f5c",
    "imprint_url": "https://operator.example/imprint",
    "privacy_url": "https://operator.example/privacy",
    "terms_url": "https://operator.example/terms",
    "documentation_url": "https://operator.example/documentation",
    "status_page_url": "https://operator.example/status",
    "support_url": "https://operator.example/support",
    "support_email": "support@operator.example",
    "support_phone": "+49 30 123456-0",
    "support_hours": "Monday to Friday, 8 to 18 o'clock",
    "support_hours_de": "Montag bis Freitag, 8 bis 18 Uhr",
    "emergency_phone": "+49 30 123456-99",
}
NAMED = """() => Array.from(document.querySelectorAll("link[href], script[src], img"), (element) => [
  new URL(element.href || element.src).pathname,
  element.rel || element.type || "picture",
  element.integrity ?? "",
])"""


@dataclass(frozen=True)
class Visit:
    """A page as a browser got it: its weight with everything, what it asked for and what it names."""

    bytes: int
    cache: str
    asked: list[str]  # paths, without the page's own
    named: dict[str, tuple[str, str]]  # paths to kind and digest


def visit(page: Page, path: str, site: Site) -> Visit:
    """Go there.  The icon and the logo count whether the browser asks for them or not."""
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(urlsplit(request.url).path)

    page.on("request", note)
    answer = page.goto(path)
    page.remove_listener("request", note)
    assert answer is not None
    asked.remove(urlsplit(path).path)
    named = {name: (kind, digest) for name, kind, digest in page.evaluate(NAMED)}
    client = site.web.client()
    weight = len(answer.body()) + sum(len(client.get(name).body) for name in {*asked, *named})
    return Visit(weight, answer.all_headers()["cache-control"], asked, named)


@pytest.fixture(scope="module")
def visits(browser: Browser, site: Site) -> dict[tuple[str, str], Visit]:
    """Every page, in both languages."""
    found = {}
    for language in ("en", "de"):
        page = browser.new_page(base_url=site.url, locale=language)
        for path in PAGES:
            found[language, path] = visit(page, path, site)
        page.context.close()
    return found


@pytest.fixture(scope="module")
def dressed(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same service with everything an operator can bring along, the largest logo too."""
    folder = tmp_path_factory.mktemp("dressed")
    logo = folder / "logo.svg"
    rest = MAX_LOGO_BYTES - len(svg := '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"></svg>')
    logo.write_text(svg + " " * rest)
    with web(site.backs, folder, logo_file=str(logo), **DRESSED) as running:
        yield Site(site.backs, running)


def test_every_page_is_light(visits: dict[tuple[str, str], Visit], say: Callable[[str], None]) -> None:
    assert len(visits) == 2 * len(PAGES)
    for (language, path), found in visits.items():
        say(f"{path} in {language}: {found.bytes:,} bytes, {1 + len(found.asked)} requests")
        assert 8_000 < found.bytes < LIMIT, path
        assert len(found.asked) <= 16, path


def test_what_an_operator_adds_is_light(
    new_page: Callable[..., Page],
    visits: dict[tuple[str, str], Visit],
    dressed: Site,
    trouble: Trouble,
    say: Callable[[str], None],
) -> None:
    trouble.origin = dressed.url
    page = new_page(locale="de-DE", base_url=dressed.url)
    for path in ("/", "/s"):
        found = visit(page, path, dressed)
        added = found.bytes - visits["de", path].bytes
        say(f"{path} {found.bytes:,} bytes, {added:,} of them added")
        assert {"/logo", "/theme.css"} <= set(found.named)
        assert MAX_LOGO_BYTES < added < MAX_LOGO_BYTES + 1500, path


def test_a_page_fetches_what_it_names_once_and_all_of_it_is_checked(
    visits: dict[tuple[str, str], Visit], site: Site, say: Callable[[str], None]
) -> None:
    client, assets = site.web.client(), Assets(ROOT / "static")
    for (_, path), found in visits.items():
        icon = {name for name, (kind, _) in found.named.items() if kind == "icon"}
        assert {*found.asked, *icon} == {*found.named, *icon}, path
        assert len(icon) == 1, path
        files = [name for name in found.asked if name not in icon]
        assert len(files) == len(set(files)), path
        for name, (_, digest) in found.named.items():
            data = client.get(name).body
            own = f"sha256-{base64.b64encode(hashlib.sha256(data).digest()).decode()}"
            assert digest == ("" if name in icon else own), name
        modules = {name for name, (kind, _) in found.named.items() if kind in ("module", "modulepreload")}
        entry = PAGES[path]
        listed = {f"{site.static}/{name}" for name in ([entry, *assets.imports(entry)] if entry else [])}
        assert {name for name in found.asked if name.endswith(".js")} == modules == listed, path
        assert len(modules) > 5 or not entry


def test_modules_that_come_later_are_checked_too(page: Page, site: Site, say: Callable[[str], None]) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page.goto("/")
    expect(page.locator("#create-button")).to_be_enabled()
    before = set(asked)
    page.locator("#generate").click()
    expect(page.locator("#password")).not_to_have_value("")
    page.locator("#secret").fill("x")
    steps.press_create(page)
    steps.read_created(page)
    steps.unfold(page, "QR code")
    expect(page.locator("#qr path")).to_be_visible()
    later = {name for name in set(asked) - before if "static" in name}
    assert later == {f"{site.static}/js/{name}.js" for name in ("generator", "qr")}
    named = {name: more for name, *more in page.evaluate(NAMED)}
    assert {(kind, digest[:7]) for kind, digest in map(named.get, later)} == {("modulepreload", "sha256-")}
    say(f"{sum(len(site.web.client().get(name).body) for name in later):,} bytes more, once they are wanted")


def test_files_are_kept_for_good_under_a_path_that_changes_and_pages_never(
    visits: dict[tuple[str, str], Visit], site: Site
) -> None:
    assert {found.cache for found in visits.values()} == {"no-store"}
    names = {name for found in visits.values() for name in found.named}
    assert len(names) > 10
    client = site.web.client()
    for name in names:
        assert re.fullmatch(r"/static/[0-9a-f]{10,}/[a-z/]+\.(js|css|svg)", name), name
        kept = client.get(name).headers["cache-control"]
        assert {"public", "immutable"} <= set(kept.split(", ")), name
        assert int(re.findall(r"max-age=(\d+)", kept)[0]) >= 365 * 86_400, name
        for other in ("/static/0000000000/", "/static/"):
            assert client.get(other + name.split("/", 3)[3]).status == 404, name


def test_a_second_visit_fetches_the_page_and_nothing_else(page: Page) -> None:
    sizes = """() => performance.getEntriesByType("resource")
      .filter(({ name }) => /\\.(js|css)$/.test(name)).map(({ transferSize }) => transferSize)"""
    page.goto("/")
    first = page.evaluate(sizes)
    assert len(first) > 6
    assert min(first) > 0
    page.goto("/help")
    page.goto("/")
    assert page.evaluate(sizes) == [0] * len(first)
