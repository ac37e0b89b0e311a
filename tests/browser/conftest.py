"""Fixtures of the real browsers: Chromium and Firefox, headless, on a real service, and nothing goes unnoticed.

``page`` is a fresh page in each of both engines; ``new_page`` makes more, each in a context of its own, with
the options of Playwright's ``new_context``.  Whatever a page logs as an error, throws, does against its
Content-Security-Policy or asks of another host fails the test when it ends, unless the test said ``allow`` or
``clear`` to ``trouble``.

Firefox does as Playwright says in locale, size, time zone and network, not in touch, motion, ``emulate_media``.
Dark colours and pages without script ``new_page`` brings about there by other means, the latter on a server
whose target is ``SCRIPTLESS``.  Before a screenshot say ``trouble.check()``: there, one trips the policy.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright, Response, sync_playwright

from tests.browser import scriptless
from tests.harness import Backends, Web, backends, web

# With Debian's packages, which are their commands too.
ENGINES = {"chromium": "chromium", "firefox": "firefox-esr"}
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# What ``tests.harness.web`` serves to pages without script.
SCRIPTLESS = "tests.browser.scriptless:create_app()"
# Options of ``new_context`` that Playwright does not hand on to this Firefox.
IGNORED_BY_FIREFOX = {"forced_colors", "has_touch", "is_mobile", "reduced_motion"}
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

    def see_sandbox(self, response: Response) -> None:
        """Notice a page in which scripts run although they should not."""
        is_page = response.request.resource_type == "document" and response.status < 300
        policy = response.headers.get("content-security-policy", "")
        self._note(is_page and scriptless.SANDBOX not in policy, f"with script: {response.url}")

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


def launch(
    playwright: Playwright, engine: str, downloads: Path | None = None, *, dark: bool = False
) -> Browser:
    """Start a headless browser; what it saves goes to the folder ``downloads``.

    ``dark`` is how Firefox is set to dark colours; in Chromium each page can be.
    """
    path = executable(engine)
    if engine == "chromium":
        return playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS, downloads_path=downloads)
    colours: dict[str, str | float | bool] = {
        "layout.css.prefers-color-scheme.content-override": 0 if dark else 1
    }
    return playwright.firefox.launch(
        executable_path=path, channel="moz-firefox", downloads_path=downloads, firefox_user_prefs=colours
    )


# Of the package, not of the session: while Playwright runs, so does its event loop, in the tests' own thread.


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
def downloads(tmp_path_factory: pytest.TempPathFactory, engine: str) -> Path:
    """Where the browser saves files."""
    return tmp_path_factory.mktemp(f"downloads-{engine}")


@pytest.fixture(scope="package")
def browser(playwright: Playwright, engine: str, downloads: Path) -> Iterator[Browser]:
    found = launch(playwright, engine, downloads)
    yield found
    found.close()


@pytest.fixture
def dark_browser(playwright: Playwright, engine: str) -> Iterator[Callable[[], Browser]]:
    """Start one more browser, set to dark colours."""
    with contextlib.ExitStack() as started:

        def start() -> Browser:
            found = launch(playwright, engine, dark=True)
            started.callback(found.close)
            return found

        yield start


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A real gunicorn with our configuration, on servers of its own, for all these tests."""
    folder = tmp_path_factory.mktemp("site")
    with backends(folder) as backs, web(backs, folder, target=SCRIPTLESS) as running:
        yield Site(backs, running)


@pytest.fixture
def trouble(site: Site) -> Trouble:
    """What the pages of this test did that they should not."""
    return Trouble(site.url)


@pytest.fixture
def new_page(
    engine: str, browser: Browser, dark_browser: Callable[[], Browser], site: Site, trouble: Trouble
) -> Iterator[Callable[..., Page]]:
    """Make a page in a context of its own: cookies, storage and options are shared with no other."""
    with contextlib.ExitStack() as contexts:

        def make(*, java_script_enabled: bool = True, color_scheme: str = "light", **options: Any) -> Page:
            options = {"base_url": site.url, "locale": "en-GB", **options}
            if engine == "firefox":
                assert not options.keys() & IGNORED_BY_FIREFOX, "Firefox would not do as it is told"
                context = (dark_browser() if color_scheme == "dark" else browser).new_context(**options)
                if not java_script_enabled:
                    # With javascript.enabled switched off Playwright can type nothing.
                    context.set_extra_http_headers({scriptless.ASK: "please"})
                    context.on("response", trouble.see_sandbox)
            else:
                options |= {"java_script_enabled": java_script_enabled, "color_scheme": color_scheme}
                context = browser.new_context(**options)
            contexts.callback(context.close)
            if java_script_enabled:
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
