"""Strangers and accidents: markup in every field, altered files, other sites, damaged links."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from secretsvc import envelope
from secretsvc.envelope import Payload, b64
from secretsvc.payload import write_answers
from secretsvc.web.assets import Assets
from secretsvc.web.headers import CONTENT_SECURITY_POLICY
from tests.browser import steps
from tests.browser.conftest import Site, Trouble
from tests.harness import ROOT, InProcess, Secret
from tests.web.common import BROWSER, Asked, dump, unchanged
from tests.web.test_pages import XSS

HOSTILE = [
    *XSS,
    # elements whose names hide properties of the document, the window and of forms
    "<form name=body><input name=firstChild>",
    "<img name=getElementById>",
    "<a id=words></a><a id=words name=content href='data:,x'>",
    "<form id=create><input name=action value=//evil.example><input name=closest>",
    "<img id=secret><img id=link><img id=live>",
    "<iframe name=navigator srcdoc='<img id=clipboard>'></iframe>",
    "<object name=crypto><param name=subtle></object>",
    "<input name=ownerDocument autofocus>",
    "__proto__",
    "constructor.prototype.x",
    # templates, placeholders, replacement patterns
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "<%= 7*7 %><?= 7*7 ?>",
    "#{7*7}[[7*7]]@(7*7)",
    "{name}{link}{time}{count}{size}{limit}{field}",
    "$&$`$'$1$<name>$$",
    "%(limit)s%(count)s%s%n",
    "{%if 1%}<b>{%endif%}",
    "<x v-html='1' ng-app onclick=alert(1)>{{$on.constructor('alert(1)')()}}",
    # Unicode
    "\u202e<script>alert(1)</script>\u202c",
    "\ufeff<script>alert(1)</script>",
    "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
    "<\u200bscript>alert(1)</script>",
    "<\u0131mg src=x onerror=alert(1)>",
    "<\u017fcript>alert(1)</\u017fcript>",
    "\U0001f4a9\U000e0001<svg onload=alert(1)>\u0301\u0300",
    "\u2029\u0085\u2028alert(1)",
    "\ufdd0\U0010ffff<img src=x onerror=alert(1)>",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "\\x3cimg src=x onerror=alert(1)\\x3e",
    # SVG and MathML
    "<svg><script>alert(1)</script></svg>",
    "<svg><script href=data:,alert(1) />",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><a xlink:href=javascript:alert(1)><text x=9 y=9>x</text></a>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=alert(1)/>#x'>",
    "<svg><foreignObject><iframe onload=alert(1)>",
    "<svg><style><img src=x onerror=alert(1)></style>",
    "<svg><set attributeName=onload to=alert(1)>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=x onerror=alert(1)>'>",
    "<math href=javascript:alert(1)>x</math>",
    "<math><annotation-xml encoding=text/html><script>alert(1)</script>",
    "<form><math><mtext></form><form><mglyph><svg><mtext><style><path id='</style><img onerror=alert(1) src>'>",
    # addresses that run
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "javascript://%0aalert(1)",
    "javascript&colon;alert(1)",
    "vbscript:msgbox(1)",
    "blob:null/alert(1)",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "view-source:javascript:alert(1)",
    "//evil.example/x.js",
    "https://evil.example@/s#alert(1)",
    # handlers and elements that load
    '" onmouseover="alert(1)" x="',
    "' onpointerrawupdate='alert(1)",
    "<input autofocus onfocus=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<marquee onstart=alert(1)>",
    "<select autofocus onfocus=alert(1)>",
    "<x contenteditable onblur=alert(1) tabindex=1 id=x autofocus>",
    "<embed src=javascript:alert(1)>",
    "<isindex type=image src=1 onerror=alert(1)>",
    "<button popovertarget=x onclick=alert(1)>x</button><b popover id=x onbeforetoggle=alert(1)>",
    "<portal src=javascript:alert(1)><fencedframe>",
    "</noscript><script>alert(1)</script><noscript>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
]
# Elements with the names of their attributes: what a page is made of, whatever it says.
SHAPE = """() => Array.from(document.querySelectorAll("*"), (element) => (
  `${element.tagName} ${element.getAttributeNames().sort()}`
))"""
HELPERS = """
const $ = (id) => document.getElementById(id);
const shown = () => document.querySelector("[data-view]:not([hidden])").dataset.view;
const paste = (text) => { $("pasted").value = text; $("paste-form").requestSubmit(); };
async function until(test) {
  for (const began = Date.now(); !test();) {
    if (Date.now() - began > 10000) throw new Error(`it never became so: ${test}`);
    await new Promise((resume) => setTimeout(resume, 4));
  }
}
"""
# A script that runs says so, where a dialog could be overlooked.
TELL_ALERTS = """
for (const name of ["alert", "confirm", "prompt", "msgbox"]) window[name] = () => console.error("a script ran");
"""
# Where stretching is not the point.
STRETCH_LITTLE = """
if (isSecureContext) {
  const { deriveBits } = SubtleCrypto.prototype;
  SubtleCrypto.prototype.deriveBits = function (algorithm, ...rest) {
    return deriveBits.call(this, algorithm.iterations ? { ...algorithm, iterations: 1 } : algorithm, ...rest);
  };
}
"""


def keep(site: Site, payload: Payload) -> str:
    """A secret that is there; the part of its link behind the #."""
    return b64(steps.keep(site.web.client(), payload).key)


@dataclass
class Agent:
    """Somebody who may ask, and an application to ask with."""

    here: InProcess
    head: dict[str, str]

    def ask(self, **more: Any) -> tuple[Asked, str]:
        """A request, and the part of its link behind the #."""
        asked = Asked.create(self.here, self.head, **more)
        return asked, steps.request_of(asked).partition("#")[2]


@pytest.fixture(scope="module")
def agent(site: Site) -> Agent:
    here = InProcess(site.backs.app())
    return Agent(here, steps.new_agent(here))


def packed(texts: list[str], limit: int) -> list[str]:
    """As many of them in one as fit into so many bytes, with blanks between."""
    packs = [""]
    for text in texts:
        joined = f"{packs[-1]} {text}".lstrip(" ") if packs[-1] else text
        if len(joined.encode()) <= limit:
            packs[-1] = joined
        else:
            packs.append(text)
    return packs


def run(page: Page, script: str, argument: object = None) -> Any:
    """Evaluate the body of ``async (given) => { … }``, with ``paste``, ``shown`` and ``until`` at hand."""
    return page.evaluate(f"async (given) => {{ {HELPERS} {script} }}", argument)


def calls(page: Page) -> list[str]:
    """A list that grows with every call of the API."""
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url) if "/api/" in request.url else None)
    return found


@pytest.fixture
def stranger(page: Page) -> Page:
    """A page on which any script of a stranger's fails the test."""
    page.add_init_script(TELL_ALERTS)
    return page


@dataclass
class Elsewhere:
    """Another site: it shows one page, and notes what it is asked for."""

    url: str
    page: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/favicon.ico":
                found.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(found.page.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Elsewhere(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        server.shutdown()
        thread.join()


# --- markup ----------------------------------------------------------------------------------------------


def test_there_are_a_hundred_hostile_strings() -> None:
    assert len(set(HOSTILE)) == 100


def test_markup_in_a_form_answer_is_text(stranger: Page, site: Site) -> None:
    def opened(texts: list[str]) -> list[str]:
        pairs = dict(zip(texts, reversed(texts), strict=True))
        steps.follow(stranger, f"/s#{keep(site, write_answers(pairs))}")
        steps.press_open(stranger)
        steps.view(stranger, "opened-now")
        for tag, expected in (("dt", pairs), ("dd.code", pairs.values())):
            assert stranger.locator(f"#answers {tag}").all_text_contents() == list(expected)
        labels = stranger.locator("#answers button").evaluate_all("(all) => all.map((one) => one.ariaLabel)")
        assert all(text in label for text, label in zip(texts, labels, strict=True))
        shape: list[str] = stranger.evaluate(SHAPE)
        return shape

    assert opened(HOSTILE) == opened([f"harmless {i}" for i in range(100)])


def test_markup_in_a_secret_is_text(stranger: Page, site: Site) -> None:
    def opened(text: str) -> list[str]:
        steps.follow(stranger, f"/s#{keep(site, Payload(text.encode()))}")
        steps.press_open(stranger)
        assert steps.read_secret(stranger) == text
        shape: list[str] = stranger.evaluate(SHAPE)
        return shape

    assert opened("\n".join(HOSTILE)) == opened("harmless")


def test_markup_in_the_name_and_type_of_a_received_file_is_text(
    stranger: Page, site: Site, say: Callable[[str], None]
) -> None:
    allowed = [re.sub(r"[\x00-\x1f\x7f-\x9f/\\\u200e\u200f\u202a-\u202e]", "_", text) for text in HOSTILE]
    names, types = packed(allowed, 255), packed(allowed, 127)
    names += ["x"] * (len(types) - len(names))
    keys = [
        keep(site, Payload(b"\xff", name, type))
        for name, type in zip(["a", *names], ["b", *types], strict=True)
    ]
    stranger.goto("/s")
    seen = run(
        stranger,
        f"""const seen = [];
        for (const key of given) {{
          paste(`#${{key}}`);
          await until(() => shown() === "ready");
          $("open-button").click();
          await until(() => shown() === "opened-now");
          seen.push([$("file-name").textContent, $("file-size").textContent, ({SHAPE})()]);
        }}
        return seen;""",
        keys,
    )
    say(f"{len(keys)} files")
    assert [name for name, _, _ in seen] == ["a", *names]
    assert [about for _, about, _ in seen] == [f"{type}, 1 B" for type in ["b", *types]]
    assert all(shape == seen[0][2] for _, _, shape in seen)


def test_markup_in_the_name_of_a_chosen_file_is_text(stranger: Page) -> None:
    stranger.goto("/")
    seen = run(
        stranger,
        f"""const seen = [];
        for (const name of given) {{
          const transfer = new DataTransfer();
          transfer.items.add(new File(["x"], name));
          const event = new DragEvent("drop", {{ dataTransfer: transfer, bubbles: true, cancelable: true }});
          $("drop").dispatchEvent(event);
          seen.push([transfer.files[0].name, $("chosen-name").textContent, ({SHAPE})()]);
        }}
        return seen;""",
        ["harmless", *HOSTILE],
    )
    assert len(seen) == 101
    assert all(shown == name and shape == seen[0][2] for name, shown, shape in seen)


def test_markup_in_the_label_of_a_request_is_text(stranger: Page, agent: Agent) -> None:
    labels = packed([re.sub(r"[\x00-\x1f\x7f]", "_", text) for text in HOSTILE], 200)
    given = [(agent.ask(label=label)[1], label) for label in ["harmless", *labels]]
    stranger.goto("/r")
    seen = run(
        stranger,
        f"""const seen = [];
        for (const [key, label] of given) {{
          paste(`#${{key}}`);
          await until(() => shown() === "write" && $("label").textContent === label);
          seen.push(({SHAPE})());
        }}
        return seen;""",
        given,
    )
    assert len(seen) == len(labels) + 1
    assert all(shape == seen[0] for shape in seen)


def test_markup_in_a_password_is_text(stranger: Page) -> None:
    stranger.add_init_script(STRETCH_LITTLE)
    shapes = []
    for password in ["harmless", *packed(HOSTILE, 1000)]:
        assert steps.create(stranger, password=password).password == password.replace("\n", "")
        shapes.append(stranger.evaluate(SHAPE))
    assert all(shape == shapes[0] for shape in shapes)


@pytest.mark.parametrize(
    ("path", "leads_to"), [("/s", "damaged"), ("/r", "damaged"), ("/receipt", "paste")], ids=lambda it: it
)
def test_markup_in_a_pasted_link_or_an_address_is_damaged_text(
    stranger: Page, path: str, leads_to: str
) -> None:
    called = calls(stranger)
    stranger.goto(path)
    shapes = run(
        stranger,
        f"""const shapes = [];
        for (const text of given.texts) {{
          paste(text);
          await until(() => shown() === given.leadsTo && (shown() === "damaged" || !$("problem").hidden));
          shapes.push(({SHAPE})());
        }}
        return shapes;""",
        {"texts": ["harmless", *HOSTILE], "leadsTo": leads_to},
    )
    assert len(shapes) == 101
    assert all(shape == shapes[0] for shape in shapes)
    stranger.goto("about:blank")
    stranger.goto(f"{path}?lang={quote(''.join(HOSTILE[:9]))}#{quote(''.join(HOSTILE), safe='<>/=:;,')}")
    steps.view(stranger, leads_to)
    assert called == []


def test_markup_in_an_address_is_read_as_it_is_and_taken_out(stranger: Page, site: Site) -> None:
    stranger.goto("/s")
    found = run(
        stranger,
        """const { takeLink } = await import(given.module);
        return given.texts.map((text) => {
          history.replaceState(null, "", `/s#${encodeURIComponent(text)}`);
          const taken = takeLink("/s");
          return [taken.altered, decodeURIComponent(taken.text), location.href];
        });""",
        {"texts": HOSTILE, "module": f"{site.static}/js/link.js"},
    )
    for text, (altered, taken, address) in zip(HOSTILE, found, strict=True):
        assert (altered, taken.removeprefix("/s#"), address) == (False, text, f"{site.url}/s")


def test_markup_in_the_language_or_the_operators_name_is_text(stranger: Page, site: Site) -> None:
    """Pages as the server writes them, read by this browser, with what is there for those without script."""
    app = site.backs.app()
    here = InProcess(app)

    def pages(operator: str, language: str) -> list[str]:
        app.jinja_env.globals["operator"] = operator
        app.extensions.pop("secretsvc.pages", None)  # those made for the name before
        return [here.get(f"{path}?lang={quote(language)}", **BROWSER).text for path in ("/", "/s", "/r")]

    stranger.goto("about:blank")
    found = stranger.evaluate(
        f"""(pages) => pages.map((page) => {{
          const document = new DOMParser().parseFromString(page, "text/html");
          return [({SHAPE})().join("\\n"), document.title, document.querySelector(".brand").textContent];
        }})""",
        [page for text in ["harmless", *HOSTILE] for page in pages(text, text)],
    )
    assert len(found) == 303
    for at, (shape, title, brand) in enumerate(found):
        text = ["harmless", *HOSTILE][at // 3]
        assert shape == found[at % 3][0], text
        assert text.split() == brand.split(), text
        assert " ".join(text.split()) in " ".join(title.split()), text


# --- policy ----------------------------------------------------------------------------------------------

POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "connect-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
}


def test_every_page_brings_the_whole_policy_and_nothing_laxer(page: Page, site: Site) -> None:
    for path in (
        "/",
        "/s",
        "/open",
        "/r",
        "/receipt",
        "/help",
        "/status",
        "/api",
        "/nowhere",
        "/s%23x",
        "/r%23x",
    ):
        answer = page.request.get(path, headers=BROWSER)
        assert "text/html" in answer.headers["content-type"]
        assert set(answer.headers["content-security-policy"].split("; ")) == POLICY, path
    assert "unsafe" not in CONTENT_SECURITY_POLICY


SINKS = {
    "innerHTML": "document.body.innerHTML = given",
    "outerHTML": "document.body.outerHTML = given",
    "insertAdjacentHTML": "document.body.insertAdjacentHTML('beforeend', given)",
    "document.write": "document.write(given)",
    "DOMParser": "new DOMParser().parseFromString(given, 'text/html')",
    "fragment": "document.createRange().createContextualFragment(given)",
    "srcdoc": "document.createElement('iframe').srcdoc = given",
    "script text": "document.createElement('script').text = given",
    "script address": "document.createElement('script').src = given",
    "handler": "document.body.setAttribute('onclick', given)",
    "eval": "window.eval(given)",
    "Function": "new Function(given)",
    "timer": "setTimeout(given)",
    "policy": "trustedTypes.createPolicy('own', {})",
}


def test_no_text_becomes_markup_or_script(page: Page, trouble: Trouble, engine: str) -> None:
    trouble.allow("against the policy|Content.Security.Policy|[Tt]rusted")
    page.goto("/")
    assert page.evaluate("Boolean(window.trustedTypes)"), engine
    before = page.evaluate(SHAPE)
    for name, sink in SINKS.items():
        # In a task of its own: what a debugger evaluates may do more.
        caught = page.evaluate(
            f"""(given) => new Promise((resolve) => setTimeout(() => {{
              try {{ {sink}; resolve("done"); }} catch (error) {{ resolve(error.name); }}
            }}))""",
            "window.ran = 1; '<img src=x onerror=window.ran=1>'",
        )
        assert caught in ("TypeError", "EvalError"), (name, caught)
    assert page.evaluate(SHAPE) == before
    assert page.evaluate("window.ran") is None


def test_what_is_slipped_into_a_page_on_its_way_neither_runs_nor_loads(
    page: Page, elsewhere: Elsewhere, trouble: Trouble
) -> None:
    evil = f"""<script>window.ran = "inline"</script><script src="{elsewhere.url}/script"></script>
      <script type="module">window.ran = "module"</script><img src="x" onerror="window.ran = 'handler'">
      <style>main {{ color: rgb(1, 2, 3) }}</style><link rel="stylesheet" href="{elsewhere.url}/style">
      <base href="{elsewhere.url}/"><img src="{elsewhere.url}/image">
      <iframe src="{elsewhere.url}/frame"></iframe>
      <object data="{elsewhere.url}/object"></object><video src="{elsewhere.url}/video"></video>
      <svg onload="window.ran = 'svg'"></svg><p id="painted" style="color: rgb(1, 2, 3)">x</p>
      <a id="evil" href="javascript:window.ran='address'">x</a>
      <form id="leak" action="{elsewhere.url}/form"><input name="x" value="y"></form>"""

    def inject(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("<main", evil + "<main", 1))

    page.route("**/help", inject)
    page.goto("/help")
    page.evaluate("() => document.getElementById('evil').click()")
    page.evaluate(f"() => fetch('{elsewhere.url}/fetch').catch(() => null)")
    for place in ("#painted", "main"):
        assert page.locator(place).evaluate("(it) => getComputedStyle(it).color") != "rgb(1, 2, 3)"
    assert page.evaluate("() => [window.ran, document.baseURI]")[0] is None
    page.evaluate("() => void setTimeout(() => document.getElementById('leak').submit())")
    page.evaluate("() => fetch('/healthz').then((answer) => answer.text())")
    assert page.url.endswith("/help")
    assert elsewhere.asked == []
    assert sum("against the policy" in line for line in trouble.found) >= 8
    trouble.clear()


# --- altered files ---------------------------------------------------------------------------------------


def says_it_did_not_load(page: Page) -> None:
    """In place of the script the page itself complains, after eight seconds: they are made to have passed."""
    note = page.locator(".late")
    expect(note).to_be_hidden()
    delays = note.evaluate("""(note) => note.getAnimations().map((animation) => {
      animation.finish();
      return animation.effect.getComputedTiming().delay;
    })""")
    assert delays == [8000]
    expect(note).to_be_visible()
    expect(note).to_contain_text("has not loaded")


def alter(route: Route) -> None:
    """One byte more, which no script and no style would mind."""
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.body() + b"\n")


def test_a_page_with_any_file_altered_or_missing_says_so_and_sends_nothing(
    page: Page, site: Site, agent: Agent, trouble: Trouble, say: Callable[[str], None]
) -> None:
    assets, entries = Assets(ROOT / "static"), {}
    for path, entry in (
        ("/", "js/pages/create.js"),
        (f"/s#{keep(site, Payload(b'x'))}", "js/pages/open.js"),
        (f"/r#{agent.ask()[1]}", "js/pages/request.js"),
        ("/receipt#x", "js/pages/receipt.js"),
    ):
        entries |= {name: path for name in (*assets.imports(entry), entry) if name not in entries}
    before, called = dump(site.backs), calls(page)
    for name, path in entries.items():
        missing = name == "js/api.js"
        pattern = f"**/{name}"
        page.route(pattern, (lambda route: route.fulfill(status=404)) if missing else alter)
        page.goto("about:blank")
        page.goto(path)
        says_it_did_not_load(page)
        assert page.locator("main .main:enabled:visible, #paste-form button:enabled").count() == 0, name
        page.unroute(pattern)
    say(f"{len(entries)} files")
    assert len(entries) > 10
    assert called == []
    assert unchanged(before, dump(site.backs))
    assert sum("integrity" in line for line in trouble.found) >= len(entries) - 1
    trouble.clear()


def test_a_module_that_comes_later_is_not_used_when_it_was_altered(page: Page, trouble: Trouble) -> None:
    for name in ("generator", "qr"):
        page.route(f"**/js/{name}.js", alter)
    page.goto("/")
    page.locator("#secret").fill("x")
    with page.expect_response("**/js/generator.js"):
        page.locator("#generate").click()
    steps.press_create(page)
    assert steps.read_created(page).password == ""
    steps.unfold(page, "QR code")
    expect(page.locator("#qr-failed")).to_be_visible()
    expect(page.locator("#qr path")).to_have_count(0)
    trouble.clear()


def test_pressing_enter_without_the_script_sends_nothing(page: Page, site: Site, trouble: Trouble) -> None:
    page.route("**/js/dom.js", lambda route: route.fulfill(status=404))
    page.goto("/")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    page.locator("#secret").fill("kanarienvogel")
    for name in ("#password", "#expires", "#secret"):
        page.locator(name).press("Enter")
    page.locator("#create-button").click(force=True)
    page.evaluate("() => fetch('/healthz')")  # whatever was on its way has left by then
    assert [line.replace(site.url, "") for line in asked if "static" not in line] == ["GET /healthz"]
    with page.expect_navigation():  # as if a browser let it through
        page.locator("#create").evaluate("(form) => form.requestSubmit()")
    assert page.url == f"{site.url}/?"
    assert not any("POST" in line or "kanarienvogel" in line for line in asked)
    trouble.clear()


def test_a_page_whose_script_is_there_never_says_that_it_is_missing(page: Page) -> None:
    for path in ("/", "/s", "/open", "/r", "/receipt"):
        page.goto(path)
        expect(page.locator("main button:visible").first).to_be_enabled()
        expect(page.locator(".late")).to_have_count(0)


def test_an_altered_stylesheet_is_not_used(page: Page, trouble: Trouble) -> None:
    page.goto("/help")
    assert page.locator("body").evaluate("(body) => getComputedStyle(body).marginTop") == "0px"
    page.route("**/css/secretsvc.css", alter)
    page.reload()
    assert page.locator("body").evaluate("(body) => getComputedStyle(body).marginTop") == "8px"
    trouble.allow("integrity")


# --- other sites -----------------------------------------------------------------------------------------


def test_no_other_site_can_show_a_page_in_a_frame(browser: Browser, site: Site, elsewhere: Elsewhere) -> None:
    elsewhere.page = "".join(f'<iframe src="{site.url}{path}"></iframe>' for path in ("/", "/s", "/help"))
    page = browser.new_page()
    page.goto(elsewhere.url)
    assert elsewhere.asked == ["/"]
    frames = page.main_frame.child_frames
    assert len(frames) == 3
    for frame in frames:
        frame.wait_for_load_state()
        assert frame.locator("#main").count() == 0
    page.context.close()


# --- the clipboard ---------------------------------------------------------------------------------------

EXACT = "  Zeile eins\n\tzwei <b>&amp; 日本 🔑 \n\n"
REFUSALS = {
    "refuses": "if (isSecureContext) Clipboard.prototype.writeText = () => Promise.reject(new Error('no'))",
    "is not there": "Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined })",
}


def test_copy_puts_the_exact_text_on_the_clipboard(page: Page, site: Site, engine: str) -> None:
    if engine == "chromium":
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    steps.follow(page, f"/s#{keep(site, Payload(EXACT.encode()))}")
    steps.press_open(page)
    assert steps.read_secret(page) == EXACT
    page.locator("[data-copy=secret]").click()
    expect(page.locator("[data-copy=secret]")).to_have_text("Copied")
    expect(page.locator("#live")).to_have_text("Copied")
    assert steps.clipboard(page) == EXACT


@pytest.mark.parametrize("refusal", REFUSALS)
def test_where_the_clipboard_refuses_the_text_is_marked_and_a_sentence_says_what_to_press(
    page: Page, refusal: str
) -> None:
    page.add_init_script(REFUSALS[refusal])
    created = steps.create(page)
    for button, text in (("link", created.link), ("receipt", created.receipt)):
        if button == "receipt":
            steps.unfold(page, "your receipt")
        page.locator(f"[data-copy={button}]").click()
        expect(page.locator(f"[data-copy={button}]")).to_contain_text("Marked")
        expect(page.locator("#live")).to_contain_text("press Ctrl+C")
        assert page.evaluate("() => getSelection().toString().trim()") == text
        expect(page.locator(f"#{button}")).to_be_focused()


# --- no encryption ---------------------------------------------------------------------------------------


def test_where_the_browser_cannot_encrypt_a_sentence_says_so_and_nothing_is_sent(
    page: Page, site: Site, agent: Agent
) -> None:
    """As on a page that was loaded without https."""
    key, (_, asked) = keep(site, Payload(b"x")), agent.ask()
    page.add_init_script("Object.defineProperty(Crypto.prototype, 'subtle', { value: undefined })")
    before, called = dump(site.backs), calls(page)
    page.goto("/")
    expect(steps.problem(page)).to_contain_text("https://")
    page.locator("#secret").fill("hunter2")
    page.locator("#password").press("Enter")
    expect(page.locator("#create-button")).to_be_disabled()
    for path in (f"/s#{key}", f"/r#{asked}"):
        page.goto(path)
        expect(steps.view(page, "insecure")).to_contain_text("https://")
    page.go_back()
    page.goto("/")
    expect(page.locator("#secret")).to_be_visible()
    assert called == []
    assert unchanged(before, dump(site.backs))


# --- damaged links ---------------------------------------------------------------------------------------

BEHIND = [".", ",", ";", ":", "!", "?", ")", ">", "]", "}", "'", '"', '">', ").", ">.", "\u00a0", " ", "  \t"]


def test_a_link_short_of_any_character_is_damaged_and_nothing_is_asked(
    page: Page, site: Site, agent: Agent
) -> None:
    key = keep(site, Payload(b"x"))
    _, asked = agent.ask()
    before, called = dump(site.backs), calls(page)
    for path, whole in (("/s", key), ("/r", asked)):
        cuts = [whole[:at] + whole[at + 1 :] for at in range(len(whole))]
        page.goto(path)
        run(
            page,
            """for (const cut of given) {
              paste(`#${cut}`);
              await until(() => shown() === "damaged");
              document.querySelector("[data-view=damaged] [data-paste]").click();
              if (shown() !== "paste") throw new Error("no way to paste it again");
            }""",
            cuts,
        )
    assert called == []
    assert unchanged(before, dump(site.backs))


def test_what_a_program_hangs_on_to_a_link_does_no_harm(page: Page, site: Site) -> None:
    key = keep(site, Payload(b"x"))
    before, called = dump(site.backs), calls(page)
    links = [
        *(f"http://a.example/s#{key}{behind}" for behind in BEHIND),
        f" \n<{site.url}/s#{key}>",
        f"\t{site.url}/s%23{key} ",
        f"{site.url}/s%2523{key}.",
    ]
    page.goto("/s")
    run(
        page,
        """for (const link of given) {
          paste("x");
          await until(() => shown() === "damaged");
          paste(link);
          await until(() => shown() === "ready");
        }""",
        links,
    )
    assert len(called) == len(links)
    assert unchanged(before, dump(site.backs))
    for behind in ('">', ".\u00a0"):  # as it arrives with a click; all of them in test_vectors.py
        page.goto("about:blank")
        page.goto(f"/s#{key}{behind}")
        steps.view(page, "ready")
    assert unchanged(before, dump(site.backs))
    steps.press_open(page)
    assert steps.read_secret(page) == "x"


@pytest.mark.parametrize("sign", ["%23", "%2523"])
def test_a_link_altered_on_its_way_is_repaired_and_the_page_says_so(
    page: Page, site: Site, agent: Agent, trouble: Trouble, sign: str
) -> None:
    trouble.allow(steps.FAILED)
    key, (asked, fragment) = keep(site, Payload(b"x")), agent.ask()
    before = dump(site.backs)
    for path, held in (("/r", fragment), ("/s", key)):
        page.goto(f"{path}{sign}{held}")
        expect(page.locator("#repaired:visible")).to_contain_text("it was repaired here")
        assert page.url == site.url + path
        assert held not in page.evaluate("() => JSON.stringify(history.state) + location.href + document.title")
    assert unchanged(before, dump(site.backs))
    steps.press_open(page)
    assert steps.read_secret(page) == "x"
    page.goto(f"/r{sign}{fragment}")
    page.locator("#secret").fill("geheim")
    page.locator("#answer-button").click()
    steps.view(page, "handed-in")
    claimed = agent.here.post(f"/api/v1/secrets/{asked.id}/claim", {}, asked.holder | agent.head)
    assert asked.unseal(claimed) == b"geheim"


def test_a_link_of_another_kind_or_service_is_told_apart_and_uses_nothing_up(
    page: Page, site: Site, agent: Agent, trouble: Trouble
) -> None:
    trouble.allow(steps.FAILED)
    secret = Secret.create(site.web.client())
    receipt = b64(envelope.unb64(secret.id) + envelope.unb64(secret.receipt_token))
    _, asked = agent.ask()
    before = dump(site.backs)
    page.goto("/help")
    for path, pasted, leads_to in (
        ("/s", f"https://other.example/s#{b64(envelope.new_key())}", "not-found"),
        ("/s", f"{site.url}/receipt#{receipt}", "damaged"),
        ("/s", f"{site.url}/r#{asked}", "damaged"),
        ("/s", f"{site.url}/s", "damaged"),
        ("/s", "https://other.example/x?y=z#top", "damaged"),
        ("/r", f"{site.url}/s#{b64(secret.key)}", "damaged"),
        ("/r", f"{site.url}/receipt#{receipt}", "damaged"),
        ("/receipt", f"{site.url}/s#{b64(secret.key)}", "paste"),
    ):
        if not page.url.endswith(path):
            page.goto(path)
        run(
            page,
            """paste(given.pasted);
            await until(() => shown() === given.leadsTo && (shown() !== "paste" || !$("problem").hidden));""",
            {"pasted": pasted, "leadsTo": leads_to},
        )
    assert unchanged(before, dump(site.backs))
    assert secret.claim(site.web.client()).status == 200
