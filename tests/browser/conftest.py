"""Fixtures of the real browsers: Chromium and Firefox, headless, on a real service, and nothing goes unnoticed.

``page`` is a fresh page in each of both engines; ``new_page`` makes more, each in a context of its own, with
the options of Playwright's ``new_context``.  Whatever a page logs as an error, throws, does against its
Content-Security-Policy or asks of another host fails the test when it ends, unless the test said ``allow`` or
``clear`` to ``trouble``.  In Firefox say ``trouble.check()`` before a screenshot: taking one trips the policy.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright, sync_playwright

from tests.harness import Backends, Web, backends, web

ENGINES = {
    "chromium": "chromium",
    "firefox": "firefox-esr",
}  # and Debian's packages, which are their commands too
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# A violation is told to the page, wherever the engine itself would log it.
TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sample }) => {
  console.error(`against the policy: ${violatedDirective} ${blockedURI} ${sample}`);
});
"""


@dataclass
class Site:
    """A running service and what it stands on; nobody empties its servers."""

    backs: Backends
    web: Web

    @property
    def url(self) -> str:
        return self.web.url

    @cached_property
    def static(self) -> str:
        """The path under which the pages' files are served; it changes with any of them."""
        found = re.search(r"/static/[0-9a-f]+(?=/)", self.web.client().get("/", Accept="text/html").text)
        assert found is not None
        return found[0]


@dataclass
class Trouble:
    """What pages did that they should not: told by the browser, in words."""

    origin: str
    found: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        """Notice everything in all pages of ``context``, from before they are there."""
        context.add_init_script(TELL_VIOLATIONS)
        context.on("console", lambda message: self._note(message.type in {"error", "assert"}, message.text))
        context.on("weberror", lambda error: self._note(True, f"thrown: {error.error}"))
        context.on("request", lambda request: self._note(self.leaves(request.url), f"asked: {request.url}"))
        context.on("page", self._watch_sockets)

    def leaves(self, url: str) -> bool:
        """Whether asking for ``url`` tells another host of it."""
        parts = urlsplit(url)
        return (
            parts.scheme not in {"about", "blob", "data"} and f"{parts.scheme}://{parts.netloc}" != self.origin
        )

    def allow(self, pattern: str) -> None:
        """Expect what matches, before or after it comes."""
        self.allowed.append(pattern)

    def clear(self) -> None:
        """Take what there was so far for expected."""
        self.found.clear()

    def check(self) -> None:
        """Fail if there was anything that is not allowed."""
        rest = [line for line in self.found if not any(re.search(pattern, line) for pattern in self.allowed)]
        assert rest == []

    def _watch_sockets(self, page: Page) -> None:
        page.on("websocket", lambda socket: self._note(True, f"web socket: {socket.url}"))

    def _note(self, wrong: bool, words: str) -> None:
        if wrong:
            self.found.append(words)


def executable(engine: str) -> str:
    """The path of a browser; a missing one fails the test run, it never skips a test."""
    found = shutil.which(ENGINES[engine])
    if found is None:
        raise RuntimeError(f"{ENGINES[engine]} is missing; on Debian: apt install {ENGINES[engine]}")
    return found


def launch(playwright: Playwright, engine: str) -> Browser:
    """Start a headless browser."""
    path = executable(engine)
    if engine == "chromium":
        return playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
    return playwright.firefox.launch(executable_path=path, channel="moz-firefox")


# Of the package, not the session: while Playwright runs, so does its event loop, in the tests' own thread.


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="package", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The browser's name: every test that uses it, or a page, runs once in each."""
    found: str = request.param
    return found


@pytest.fixture(scope="package")
def browser(playwright: Playwright, engine: str) -> Iterator[Browser]:
    found = launch(playwright, engine)
    yield found
    found.close()


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A real gunicorn with our configuration, on servers of its own, for all these tests."""
    folder = tmp_path_factory.mktemp("site")
    with backends(folder) as backs, web(backs, folder) as running:
        yield Site(backs, running)


@pytest.fixture
def trouble(site: Site) -> Trouble:
    """What the pages of this test did that they should not."""
    return Trouble(site.url)


@pytest.fixture
def new_page(browser: Browser, site: Site, trouble: Trouble) -> Iterator[Callable[..., Page]]:
    """Make a page in a context of its own: cookies, storage and options are shared with no other."""
    with contextlib.ExitStack() as contexts:

        def make(**options: object) -> Page:
            context = browser.new_context(**{"base_url": site.url, "locale": "en-GB", **options})
            contexts.callback(context.close)
            if options.get("java_script_enabled", True):
                contexts.callback(let_finish, context)
            trouble.watch(context)
            return context.new_page()

        yield make
    trouble.check()


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A fresh page; relative addresses are the site's."""
    return new_page()


def let_finish(context: BrowserContext) -> None:
    """Wait until what the pages have started is done, and told."""
    for page in context.pages:
        with contextlib.suppress(Error):  # closing, or on its way to another page
            page.evaluate("new Promise((resume) => setTimeout(resume))")
