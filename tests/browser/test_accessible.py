"""Everybody can use the pages: by keyboard, by ear, enlarged, in the dark, on paper, in two languages.

Two tours go through every page in every state, one wide, light and English, one narrow, dark and German; the
tests below them ask what was found.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Playwright, expect

from secretsvc.envelope import Payload
from secretsvc.errors import LedgerUnavailable
from secretsvc.payload import write_answers
from secretsvc.web import problems
from tests.browser import steps
from tests.browser.conftest import Site, Trouble, launch
from tests.browser.steps import File, keep, link_of, pick_up_of, receipt_of, request_of
from tests.browser.test_weight import DRESSED
from tests.harness import Answer, Client, InProcess, Secret, web
from tests.web.common import BROWSER, FORM, Asked, expire, store, with_proof, wrong_password

LONG = "Donaudampfschiffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
LONG_NAME = f"{LONG * 3}.tar.gz"
LONG_LINE = "0123456789abcdef" * 19  # 304 characters without a blank
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN_AXE = """async (tags) => {
  if (!window.axe) return null;
  const found = await axe.run(document, {
    runOnly: { type: "tag", values: tags }, resultTypes: ["violations", "incomplete"], preload: false,
  });
  const told = (kind) => found[kind].flatMap(({ id, nodes }) => nodes.map(({ target, any }) => (
    `${id} ${target.join(" ")}: ${any.map(({ message }) => message).join(" ")}`
  )));
  const idle = found.passes.length > 15 ? [] : [`only ${found.passes.length} rules applied`];
  const language = [document.documentElement.lang];
  return { axe: told("violations"), undecided: told("incomplete"), idle, language };
}"""
# What a look at the layout finds: by promise, whatever breaks it.
LOOK = """() => {
  const found = { overflow: [], cut: [], small: [], undated: [] };
  const told = (element) => (
    `${element.tagName} ${element.id || element.className} ${element.textContent.trim().slice(0, 40)}`
  );
  const seen = Array.from(document.querySelectorAll("body *")).filter((element) => (
    element.checkVisibility({ visibilityProperty: true }) && !element.closest(".unseen, .skip")
  ));
  if (document.documentElement.scrollWidth > innerWidth) {
    const wide = seen.filter((element) => element.getBoundingClientRect().right > innerWidth + 1);
    found.overflow.push(`${document.documentElement.scrollWidth}: ${wide.slice(-3).map(told).join("; ")}`);
  }
  const holds = (box, text) => text.right <= box.right + 1 && text.left >= box.left - 1
    && text.bottom <= box.bottom + 1 && text.top >= box.top - 1;
  for (const element of seen) {
    const texts = Array.from(element.childNodes).filter((node) => node instanceof Text && node.data.trim());
    if (!texts.length || element.closest("textarea, select, script")) continue;
    const lines = texts.flatMap((text) => {
      const range = document.createRange();
      range.selectNode(text);
      return Array.from(range.getClientRects());
    });
    for (let box = element; box !== document.body; box = box.parentElement) {
      const { overflowX, overflowY, display } = getComputedStyle(box);
      if ([overflowX, overflowY].some((way) => way === "auto" || way === "scroll")) break;
      const isBox = overflowX !== "visible" || box.matches("button, .button, summary, label, .note, .code, dd");
      if (isBox && display !== "inline" && !lines.every((line) => holds(box.getBoundingClientRect(), line))) {
        found.cut.push(`${told(element)} by ${told(box)}`);
        break;
      }
    }
  }
  const targets = "button, .button, summary, select, textarea, input, nav a, .brand, .contact a";
  for (const element of seen.filter((one) => one.matches(targets))) {
    const { width, height } = element.getBoundingClientRect();
    if (width < 24 || height < 24) found.small.push(`${told(element)} ${width} x ${height}`);
  }
  for (const element of seen.filter((one) => one.tagName === "TIME")) {
    const isDated = /^20\\d\\d-\\d\\d-\\d\\dT/.test(element.dateTime) && /\\d/.test(element.textContent);
    if (!isDated) found.undated.push(told(element));
  }
  return found;
}"""
# Put another document into the window, as a browser without script shows it.
SHOW = """async (text) => {
  const next = new DOMParser().parseFromString(text, "text/html");
  const sheets = Array.from(next.querySelectorAll("link[rel=stylesheet]"), (sheet) => (
    new Promise((resolve, reject) => { sheet.onload = resolve; sheet.onerror = reject; })
  ));
  document.replaceChild(document.adoptNode(next.documentElement), document.documentElement);
  await Promise.all(sheets);
}"""
# Every time on the page, as the page's own script would set it.
SET_TIMES = """async (module) => {
  const { setTime } = await import(`${module}/js/dom.js`);
  for (const time of document.querySelectorAll("time:not([datetime])")) setTime(time, Date.now());
}"""


@dataclass
class Tour:
    """A way through all pages, and what was found on it: by promise, whatever breaks it."""

    page: Page
    site: Site
    app: InProcess
    language: str
    sizes: list[tuple[int, int]]  # of the window; the first is the usual one
    axe: str = Axe().axe_script
    states: list[str] = field(default_factory=list)
    found: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def client(self) -> Client:
        return self.site.web.client()

    def look(self, name: str) -> None:
        """Examine the page as it is now."""
        assert name not in self.states
        self.states.append(name)
        found = self.page.evaluate(RUN_AXE, TAGS)
        if found is None:
            self.page.evaluate(self.axe)
            found = self.page.evaluate(RUN_AXE, TAGS)
        assert found.pop("language") == [self.language], name
        self.note(name, found)
        for width, height in [*self.sizes[1:], self.sizes[0]]:
            if len(self.sizes) > 1:
                self.page.set_viewport_size({"width": width, "height": height})
            self.note(f"{name} at {width}", self.page.evaluate(LOOK))

    def note(self, name: str, found: dict[str, list[str]]) -> None:
        for promise, lines in found.items():
            self.found.setdefault(promise, []).extend(f"{name}: {line}" for line in lines)

    def arrive(self, path: str) -> None:
        """Go there as with a click elsewhere, also where only the part behind # is another."""
        self.page.goto("about:blank")
        self.page.goto(path)

    def show_views(self, name: str) -> None:
        """Look at every view of the page at hand that has not been looked at yet."""
        views = self.page.locator("[data-view]").evaluate_all("(all) => all.map((one) => one.dataset.view)")
        for view in views:
            if f"{name}: {view}" in self.states or view == "failed":
                continue
            self.page.evaluate(SET_TIMES, self.site.static)
            self.page.evaluate(
                "async ([module, view]) => (await import(`${module}/js/dom.js`)).show(view)",
                [self.site.static, view],
            )
            steps.view(self.page, view)
            self.look(f"{name}: {view}")

    def show(self, name: str, answer: Answer) -> None:
        """Look at a page that the application made, as a browser without script shows it."""
        assert answer.headers["content-type"].startswith("text/html"), name
        text = re.sub(r"<script.*?</script>|</?noscript>|<link rel=.modulepreload.*?>", "", answer.text)
        self.page.evaluate(SHOW, text)
        self.look(f"without script: {name}")

    def get(self, path: str) -> Answer:
        return self.app.get(path, **BROWSER, **{"Accept-Language": self.language})

    def post(self, path: str, **fields: str) -> Answer:
        head = FORM | BROWSER | {"Accept-Language": self.language}
        return self.app.send("POST", path, urlencode(fields).encode(), head)


def send(tour: Tour) -> None:
    page = tour.page
    page.goto("/")
    expect(page.locator("#create-button")).to_be_enabled()
    tour.look("create: write")
    steps.press_create(page)
    expect(steps.problem(page)).to_be_visible()
    tour.look("create: nothing to send")
    page.locator("#generate").click()
    page.locator("#secret").fill(LONG_LINE)
    page.locator("#expires").select_option("other")
    page.locator("#expires-count").press("Control+a")  # Firefox fills a number in behind the one that is there
    page.keyboard.type("0")
    steps.press_create(page)
    expect(page.locator("#expires-count")).to_have_attribute("aria-invalid", "true")
    tour.look("create: another time")
    steps.choose(page, File(LONG_NAME, b"x" * 5000))
    expect(page.locator("#secret")).to_have_attribute("aria-invalid", "true")
    tour.look("create: text or file")
    page.locator("#secret").fill("")
    steps.choose(page, File(LONG_NAME, b"x" * 5000))
    expect(page.locator("#chosen")).to_be_visible()
    tour.look("create: file")
    page.locator("#unchoose").click()
    page.locator("#secret").fill(LONG_LINE)
    page.locator("#expires").select_option("604800")
    steps.press_create(page)
    created = steps.read_created(page)
    tour.look("create: created")
    page.locator("details").evaluate_all("(all) => { for (const one of all) one.open = true; }")
    expect(page.locator("#qr path")).to_be_attached()
    tour.look("create: created, unfolded")
    wrong_password(tour.client, created.secret, 5)
    follow(page, "locked")
    tour.look("create: locked")
    page.locator("#revoke").click()
    expect(page.locator("#status")).to_have_attribute("data-now", "revoked")
    tour.look("create: revoked")
    created = steps.create(page)
    created.secret.claim(tour.client)
    follow(page, "opened")
    tour.look("create: opened")
    created.secret.call(tour.client, "report")
    follow(page, "opened")
    expect(page.locator("#reported")).to_be_visible()
    tour.look("create: reported")


def follow(page: Page, state: str) -> None:
    """The page asks when it comes to the fore; it need not be waited for."""
    page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator("#status")).to_have_attribute("data-now", state)


def open_(tour: Tour) -> None:
    page = tour.page
    page.goto("/open")
    expect(page.locator("#paste-form button")).to_be_enabled()
    tour.look("open: paste")
    page.reload()
    expect(page.locator("#reloaded")).to_be_visible()
    tour.look("open: reloaded")
    page.goto("/s")
    expect(page.locator("#no-link")).to_be_visible()
    tour.look("open: no link")
    locked = store(tour.client, with_proof())
    page.goto(f"/s%23{link_of(locked).partition('#')[2]}")
    expect(page.locator("#repaired")).to_be_visible()
    tour.look("open: ready")
    steps.press_open(page, "x")
    expect(steps.problem(page)).to_be_visible()
    tour.look("open: wrong password")
    asked = Asked.create(tour.app, steps.new_agent(tour.app), label=LONG)
    asked.answer(tour.client)
    tour.arrive(pick_up_of(asked))
    steps.view(page, "ready")
    tour.look("open: for an agent")
    steps.press_open(page)
    expect(page.locator("#api-key")).to_have_attribute("aria-invalid", "true")
    tour.look("open: agents only")
    tour.arrive(link_of(keep(tour.client, Payload(f"{LONG_LINE}\nzwei ".encode()))))
    steps.press_open(page)
    steps.read_secret(page)
    tour.look("open: opened-now")
    page.evaluate("() => Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.locator("[data-copy=secret]").click()
    page.locator("#hide").click()
    tour.look("open: hidden, copied by hand")
    tour.arrive(link_of(keep(tour.client, Payload(b"\xff", LONG_NAME, "application/x-" + "x" * 100))))
    steps.press_open(page)
    expect(page.locator("#binary")).to_be_visible()
    tour.look("open: file")
    tour.arrive(link_of(keep(tour.client, write_answers({"root": LONG_LINE, LONG: "x", "": " \n"}))))
    steps.press_open(page)
    expect(page.locator("#answers")).to_be_visible()
    tour.look("open: answers")
    opened = Secret.create(tour.client)
    opened.claim(tour.client)
    tour.arrive(link_of(opened))
    steps.view(page, "opened")
    page.locator("#report").click()
    expect(page.locator("#report-said")).to_be_visible()
    tour.look("open: opened")
    tour.show_views("open")


def look_at_receipts(tour: Tour) -> None:
    page = tour.page
    page.goto("/receipt")
    expect(page.locator("#paste-form button")).to_be_enabled()
    tour.look("receipt: paste")
    page.locator("#pasted").fill("x")
    page.locator("#paste-form button").click()
    expect(steps.problem(page)).to_be_visible()
    tour.look("receipt: damaged")
    tried = store(tour.client, with_proof())
    wrong_password(tour.client, tried)
    tour.arrive(receipt_of(tried))
    expect(page.locator("#tries")).to_be_visible()
    tour.look("receipt: receipt")
    expired = Secret.create(tour.client)
    expire(tour.site.backs, expired)
    tour.arrive(receipt_of(expired))
    expect(page.locator("#status")).to_have_attribute("data-now", "expired")
    tour.look("receipt: expired")
    tour.show_views("receipt")


def answer(tour: Tour) -> None:
    page, agent = tour.page, steps.new_agent(tour.app)
    page.goto("/r")
    expect(page.locator("#paste-form button")).to_be_enabled()
    tour.look("request: paste")
    asked = Asked.create(tour.app, agent, label=f"{LONG * 2} #4711")
    tour.arrive(request_of(asked))
    steps.view(page, "write")
    tour.look("request: write")
    page.locator("#answer-button").click()
    expect(steps.problem(page)).to_be_visible()
    tour.look("request: nothing to send")
    steps.choose(page, File(LONG_NAME, b"x" * 5000))
    expect(page.locator("#chosen")).to_be_visible()
    tour.look("request: file")
    page.locator("#answer-button").click()
    steps.view(page, "handed-in")
    tour.look("request: handed-in")
    tour.arrive(request_of(asked))
    steps.view(page, "answered")
    tour.look("request: answered")
    tour.show_views("request")


def read(tour: Tour) -> None:
    for path in ("/help", "/status", "/api", "/nowhere"):
        tour.page.goto(path)
        tour.look(path)


def do_without_script(tour: Tour) -> None:
    tour.page.route("**/blank", lambda route: route.fulfill(body="", content_type="text/html"))
    tour.page.goto("/blank")
    for path in ("/", "/open", "/s", "/s%23x", "/r", "/receipt"):
        tour.show(path, tour.get(path))
    for name, setting in (("create", "staff"), ("create", "nobody"), ("open", "nobody")):
        narrow = InProcess(tour.site.backs.app(**DRESSED, **{name: setting}))
        head = BROWSER | {"Accept-Language": tour.language}
        tour.show(f"{name} by {setting}", narrow.get("/" if name == "create" else "/s", **head))
    made = tour.post("/", secret=LONG_LINE, password="x", expires="1d")
    tour.show("created", made)
    assert made.status == 201
    opened, revoked, expired = (Secret.create(tour.client, LONG_LINE.encode()) for _ in range(3))
    locked, tried = (store(tour.client, with_proof()) for _ in range(2))
    tour.show("opened", tour.post("/open", link=opened.link))
    tour.show("opened before", tour.post("/open", link=opened.link))
    tour.show("reported", tour.post("/open", link=opened.link, action="report"))
    tour.show("receipt of an opened one", tour.post("/receipt", receipt=receipt_of(opened)))
    tour.show("wrong password", tour.post("/open", link=tried.link, password="x"))
    tour.show("receipt", tour.post("/receipt", receipt=receipt_of(tried)))
    wrong_password(tour.client, locked, 5)
    tour.show("locked", tour.post("/open", link=locked.link, password="x"))
    tour.show("receipt of a locked one", tour.post("/receipt", receipt=receipt_of(locked)))
    tour.show("revoked", tour.post("/receipt", receipt=receipt_of(revoked), action="revoke"))
    tour.show("opening a revoked one", tour.post("/open", link=revoked.link))
    expire(tour.site.backs, expired)
    tour.show("opening an expired one", tour.post("/open", link=expired.link))
    asked = Asked.create(tour.app, steps.new_agent(tour.app))
    tour.show("handed in", tour.post("/r", link=request_of(asked), secret="x"))
    tour.show("invalid", tour.post("/", secret=""))
    tour.show("damaged", tour.post("/open", link="x"))
    with tour.app.app.test_request_context(f"/open?lang={tour.language}"):
        error = LedgerUnavailable()
        error.claimant = "k" * 43
        unclear = problems.page(error)
    tour.show("unclear", Answer(503, {"content-type": unclear.content_type or ""}, unclear.data))


@pytest.fixture(scope="module")
def dressed(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service that says all that an operator can have it say, and at length."""
    folder = tmp_path_factory.mktemp("accessible")
    with web(site.backs, folder, **DRESSED | {"operator": LONG}) as running:
        yield Site(site.backs, running)


@pytest.fixture(scope="module")
def tours(playwright: Playwright, engine: str, browser: Browser, dressed: Site) -> list[Tour]:
    """Both tours."""
    app = InProcess(dressed.backs.app(**DRESSED | {"operator": LONG}, public_url=dressed.url))
    found = []
    # Half of 1280 x 800 is that window enlarged to 200 %.  Firefox is slow to change its size.
    for language, scheme, sizes in (
        ("en", "light", [(1280, 800), (640, 400)] if engine == "chromium" else [(1280, 800)]),
        ("de", "dark", [(360, 640), (320, 640)] if engine == "chromium" else [(320, 640)]),
    ):
        began = time.monotonic()
        own = launch(playwright, engine, dark=True) if (engine, scheme) == ("firefox", "dark") else browser
        context = own.new_context(
            base_url=dressed.url,
            locale=language,
            color_scheme=scheme if engine == "chromium" else None,  # type: ignore[arg-type]
            viewport={"width": sizes[0][0], "height": sizes[0][1]},
        )
        trouble = Trouble(dressed.url)
        trouble.allow(f"{steps.FAILED}|status of 4..")
        trouble.watch(context)
        tour = Tour(context.new_page(), dressed, app, language, sizes)
        tour.page.goto("/help")
        assert tour.page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches") == (
            scheme == "dark"
        )
        for part in (send, open_, look_at_receipts, answer, read, do_without_script):
            part(tour)
        trouble.check()
        context.close()
        if own is not browser:
            own.close()
        tour.seconds = time.monotonic() - began
        found.append(tour)
    return found


def all_found(tours: list[Tour], promise: str) -> list[str]:
    assert len({tuple(tour.states) for tour in tours}) == 1
    return [line for tour in tours for line in tour.found[promise]]


def test_axe_finds_nothing_in_any_state(tours: list[Tour], say: Callable[[str], None]) -> None:
    states, violations = len(tours[0].states), all_found(tours, "axe")
    took = " and ".join(f"{tour.seconds:.0f} s" for tour in tours)
    say(f"{states} states x {len(tours)} runs, {len(violations)} violations, {took}")
    assert states >= 70
    assert violations == []
    assert all_found(tours, "idle") == []
    # What somebody has chosen to hide is illegible on purpose.
    assert [line for line in all_found(tours, "undecided") if not line.startswith("open: hidden")] == []


def test_nothing_is_wider_than_the_window(tours: list[Tour]) -> None:
    assert all_found(tours, "overflow") == []


def test_no_text_is_cut(tours: list[Tour]) -> None:
    assert all_found(tours, "cut") == []


def test_everything_to_press_is_large_enough(tours: list[Tour]) -> None:
    assert all_found(tours, "small") == []


def test_every_time_can_be_read_by_machines_too(tours: list[Tour]) -> None:
    assert all_found(tours, "undated") == []


# --- by keyboard -----------------------------------------------------------------------------------------

FOCUS = """() => {
  const element = document.activeElement;
  const outlined = element.matches(".unseen") ? element.parentElement : element;
  const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(outlined);
  const { top, bottom, left, right } = outlined.getBoundingClientRect();
  return {
    told: `${element.tagName} ${element.id || element.textContent.trim().slice(0, 30)}`,
    visible: element.matches(":focus-visible") && outlineStyle !== "none" && parseFloat(outlineWidth) >= 2
      && !/, 0\\)$|transparent/.test(outlineColor),
    inside: bottom > 0 && right > 0 && top < innerHeight && left < innerWidth,
  };
}"""


def tab_to(page: Page, target: str) -> Locator:
    """Press Tab until it has the focus; on the way there the focus is always seen."""
    found = page.locator(target)
    for _ in range(40):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        assert focus["visible"], focus
        assert focus["inside"], focus
        if found.evaluate("(element) => element === document.activeElement"):
            return found
    raise AssertionError(f"no way to {target}")


def heading_of(page: Page, view: str) -> Locator:
    """The heading of a view that has just come; whoever listens is there at once."""
    steps.view(page, view)
    found = page.locator(f'[data-view="{view}"] h1')
    assert found.evaluate("(element) => element === document.activeElement"), view
    return found


def live(page: Page) -> Locator:
    """What is read out, whatever has the focus."""
    found = page.locator("#live")
    expect(found).to_have_attribute("role", "status")
    return found


def test_create_by_keyboard_alone(new_page: Callable[..., Page], engine: str) -> None:
    page = new_page(locale="de-DE", viewport={"width": 1000, "height": 500})
    if engine == "chromium":
        page.context.grant_permissions(["clipboard-write"])
    page.goto("/")
    expect(page.locator("#create-button")).to_be_enabled()
    tab_to(page, "#create-button")
    page.keyboard.press("Enter")
    expect(steps.problem(page)).to_be_visible()
    expect(page.locator("#secret")).to_have_attribute("aria-invalid", "true")
    assert page.evaluate("() => document.activeElement.id") == "secret"
    page.keyboard.type("hunter2")
    tab_to(page, "#file")
    tab_to(page, "#generate-secret")
    tab_to(page, "#expires")
    page.keyboard.type("31")
    tab_to(page, "#reader-language")
    tab_to(page, "#password")
    page.keyboard.type("geheim")
    tab_to(page, "[data-reveal=password]")
    page.keyboard.press("Space")
    expect(page.locator("[data-reveal=password]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#password")).to_have_attribute("type", "text")
    tab_to(page, "#create-button")
    page.keyboard.press("Enter")
    expect(heading_of(page, "created")).to_be_visible()
    tab_to(page, "#link")
    tab_to(page, "[data-copy=link]")
    page.keyboard.press("Enter")
    expect(live(page)).to_have_text("Kopiert")
    tab_to(page, "#revoking > summary")
    page.keyboard.press("Enter")
    tab_to(page, "#revoke")
    page.keyboard.press("Space")
    expect(live(page)).to_contain_text("Niemand kann ihn öffnen")
    expect(page.locator("#status")).to_have_attribute("data-now", "revoked")
    tab_to(page, "#qr-wanted > summary")
    page.keyboard.press("Space")
    expect(page.locator("#qr path")).to_be_visible()


def test_open_by_keyboard_alone(page: Page, site: Site, trouble: Trouble, engine: str) -> None:
    trouble.allow("status of 403")  # the wrong password
    if engine == "chromium":
        page.context.grant_permissions(["clipboard-write"])
    secret = Secret.create(site.web.client(), b"hunter2", password="geheim")
    page.goto("/open")
    expect(page.locator("#paste-form button")).to_be_enabled()
    tab_to(page, "#pasted")
    page.keyboard.type(secret.link)
    tab_to(page, "#paste-form button")
    page.keyboard.press("Enter")
    heading_of(page, "ready")
    tab_to(page, "#password")
    page.keyboard.type("falsch")
    page.keyboard.press("Enter")
    expect(steps.problem(page)).to_have_attribute("role", "alert")
    expect(steps.problem(page)).to_contain_text("Wrong password")
    expect(page.locator("#password")).to_have_attribute("aria-invalid", "true")
    assert page.evaluate("() => document.activeElement.id") == "password"
    page.keyboard.press("Control+a")
    page.keyboard.type("geheim")
    expect(page.locator("#open-button")).to_be_enabled()
    tab_to(page, "#open-button")
    page.keyboard.press("Space")
    heading_of(page, "opened-now")
    expect(live(page)).to_have_text("Opened. The secret is shown.")
    tab_to(page, "#secret")
    tab_to(page, "[data-copy=secret]")
    page.keyboard.press("Enter")
    expect(live(page)).to_have_text("Copied")
    tab_to(page, "#hide")
    page.keyboard.press("Space")
    expect(page.locator("#hide")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#hide")).to_have_text("Show")


@pytest.mark.parametrize("path", ["/", "/help", "/open", "/receipt", "/r", "/s"])
def test_skip_link_leads_to_the_content_and_costs_nothing(page: Page, site: Site, path: str) -> None:
    link = link_of(Secret.create(site.web.client())) if path == "/s" else path
    page.goto(link)
    if path == "/s":
        steps.view(page, "ready")
    page.locator("h1:visible").first.wait_for()
    before = page.locator("main").inner_text()
    page.evaluate("() => { window.same = true; }")
    page.locator(".skip").focus()
    page.keyboard.press("Shift")  # by keyboard, so that the focus is shown
    focus = page.evaluate(FOCUS)
    assert (focus["told"], focus["inside"]) == ("A To the content", True)
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'main'", timeout=5000)
    assert page.evaluate("() => window.same"), "it was loaded anew"
    assert page.locator("main").inner_text() == before


def test_what_happens_is_said(page: Page, site: Site) -> None:
    """For those who do not see it: in the live region, or where the focus goes."""
    page.goto("/")
    steps.choose(page, File("a.txt", b"x"))
    expect(live(page)).to_have_text("a.txt is chosen.")
    page.locator("#unchoose").click()
    page.locator("#generate").click()
    expect(live(page)).to_have_text("A password was generated.")
    page.locator("#password").fill("")
    page.locator("#secret").fill("x")
    steps.press_create(page)
    created = steps.read_created(page)
    created.secret.claim(site.web.client())
    follow(page, "opened")
    expect(live(page)).to_contain_text("Opened on")


# --- enlarged, still, printed ----------------------------------------------------------------------------


def test_nothing_moves_for_those_who_asked_for_it(page: Page) -> None:
    """By the rules themselves: this Firefox cannot be asked to keep still."""
    page.goto("/")
    moving = page.evaluate("""() => Array.from(document.styleSheets)
      .flatMap((sheet) => Array.from(sheet.cssRules))
      .filter((rule) => !rule.conditionText?.includes("prefers-reduced-motion: no-preference"))
      .flatMap((rule) => rule.cssText.match(/(transition|animation)(-duration)?:[^;]*/g) ?? [])
      .filter((rule) => rule.match(/[0-9.]+m?s\\b/g)?.[0] !== "0s")""")
    assert moving == []


PRINT = """() => {
  const rules = Array.from(document.styleSheets).flatMap((sheet) => Array.from(sheet.cssRules));
  const printed = rules.filter((rule) => rule.conditionText === "print");
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(printed.flatMap((rule) => Array.from(rule.cssRules, (inner) => inner.cssText)).join(""));
  document.adoptedStyleSheets = [sheet];
}"""


def print_(page: Page, engine: str) -> None:
    """Show the page as on paper.  This Firefox cannot be asked to: there its rules for paper are put on top."""
    if engine == "chromium":
        page.emulate_media(media="print")
    else:
        page.evaluate(PRINT)


def test_print_has_the_whole_secret_and_no_buttons(page: Page, site: Site, engine: str) -> None:
    text = "\n".join(f"{i} {LONG_LINE}" for i in range(40))
    steps.receive(page, link_of(Secret.create(site.web.client(), text.encode())))
    is_whole = "(box) => box.scrollHeight <= box.clientHeight + 1 && box.scrollWidth <= box.clientWidth + 1"
    assert not page.locator("#secret").evaluate(is_whole)
    expect(page.locator("button:visible")).to_have_count(3)
    print_(page, engine)
    assert page.locator("#secret").evaluate(is_whole)
    assert page.locator("#secret").evaluate("(box) => box.offsetHeight") > 1000
    expect(page.locator("button:visible, .button:visible, nav:visible, footer:visible")).to_have_count(0)


def test_print_has_the_link_and_its_end_and_no_buttons(page: Page, engine: str) -> None:
    steps.create(page)
    print_(page, engine)
    expect(page.locator("#link")).to_be_visible()
    expect(page.locator("#created-until")).to_be_visible()
    expect(page.locator("button:visible, .button:visible, summary:visible, nav:visible")).to_have_count(0)


# --- dates -----------------------------------------------------------------------------------------------

MONTHS = {
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "en": "January February March April May June July August September October November December",
}


def test_dates_are_in_the_readers_language_and_zone(new_page: Callable[..., Page], site: Site) -> None:
    link = link_of(Secret.create(site.web.client(), expires_in=86_400 * 3))
    texts = []
    for locale, zone, form, hours in (
        ("de-DE", "Europe/Berlin", r"(\d+)\. (\w+) (20\d\d) um (\d\d):(\d\d)", (1, 2)),
        ("en-US", "America/New_York", r"(\w+) (\d+), (20\d\d) at (\d+):(\d\d) [AP]M", (-5, -4)),
        ("en-GB", "Asia/Tokyo", r"(\d+) (\w+) (20\d\d) at (\d\d):(\d\d)", (9,)),
    ):
        page = new_page(locale=locale, timezone_id=zone)
        steps.follow(page, link)
        until = page.locator("#until")
        moment = steps.moment(until)
        text = until.inner_text().replace("\u202f", " ")
        found = re.fullmatch(form, text)
        assert found, text
        day, month, year, hour, minute = found.groups()
        if locale == "en-US":
            day, month, hour = month, day, str(int(hour) % 12 + 12 * text.endswith("PM"))
        local = datetime(
            int(year), MONTHS[locale[:2]].split().index(month) + 1, int(day), int(hour), int(minute)
        )
        apart = local - moment.replace(second=0, tzinfo=None)
        assert apart in [timedelta(hours=hours_) for hours_ in hours], text
        assert page.locator("html").get_attribute("lang") == locale[:2]
        texts.append(text)
    assert len(set(texts)) == 3
