"""The pages as a browser without script uses them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

from secretsvc import serverside
from secretsvc.envelope import b64, unb64
from tests.harness import Answer, Backends, InProcess, Secret, backends
from tests.web.common import BROWSER, FORM, dump, expire, store, with_proof, wrong_password

SAME_SITE = {**BROWSER, "Sec-Fetch-Site": "same-origin", "Origin": "null"}
VOID = {"meta", "link", "input", "br", "img", "hr"}


@dataclass
class Form:
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    method: str = "get"
    enctype: str = ""


class Page(HTMLParser):
    """What a browser without script makes of a page: its elements, text, forms and text fields."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(convert_charrefs=True)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.forms: list[Form] = []
        self.areas: dict[str, str] = {}
        self.words = ""
        self._area = ""
        self._select = ""
        self._open: list[str] = []
        self._unseen = 0  # how many elements around this one are not shown
        self._in_form = False
        self.feed(answer.text)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    @property
    def text(self) -> str:
        return " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, tuple(sorted(found))))
        self.attributes += [(tag, name, value) for name, value in found.items()]
        if tag not in VOID and tag != "p":
            self._open.append(tag)
            hidden = "hidden" in found or tag in ("template", "title")
            self._unseen += bool(self._unseen or hidden or "script" in found.get("class", "").split())
        if tag == "form":
            self._in_form = bool(found.get("method"))
        if tag == "form" and self._in_form:
            assert found["method"] == "post"
            self.forms.append(Form(found["action"], {}, "post", found.get("enctype", "")))
        elif tag == "textarea":
            self._area = found.get("name") or found["id"]
            self.areas[self._area] = ""
        elif tag == "select" and self._in_form:
            self._select = found["name"]
        elif tag == "option" and "selected" in found and self._in_form:
            self.forms[-1].fields[self._select] = found["value"]
        elif tag == "input" and self._in_form:
            self.forms[-1].fields[found["name"]] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag != "p":
            assert self._open.pop() == tag
            self._unseen -= bool(self._unseen)
        if tag == "form":
            self._in_form = False
        if tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.words += data
        if self._area:
            self.areas[self._area] += data


def multipart(fields: dict[str, str], files: dict[str, tuple[str, bytes]]) -> tuple[bytes, dict[str, str]]:
    """A form as browsers send it: CRLF in text, an empty file field as an empty part."""
    boundary = "----WebKitFormBoundaryAbCdEf"
    parts = []
    for name, value in fields.items():
        text = value.replace("\r\n", "\n").replace("\n", "\r\n")
        parts.append(f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}'.encode())
    for name, (filename, content) in files.items():
        head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
        parts.append(head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + content)
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), part) for part in parts)
    return body + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


class Browser:
    """A person's browser: follows the forms of pages, nothing else."""

    def __init__(self, here: InProcess) -> None:
        self.here = here
        self.last: tuple[str, bytes, dict[str, str]] | None = None

    def get(self, path: str) -> Page:
        answer = self.here.get(path, **BROWSER)
        assert answer.status == 200, answer.text
        return Page(answer)

    def submit(self, form: Form, files: dict[str, tuple[str, bytes]] | None = None, **values: str) -> Answer:
        assert set(values) <= {*form.fields, "secret", "link", "receipt", "action"}, values
        fields = {name: value for name, value in (form.fields | values).items() if name != "file"}
        if form.enctype:
            body, head = multipart(fields, files or {"file": ("", b"")})
        else:
            encoded = [
                f"{name}=" + "".join(f"%{byte:02X}" for byte in value.encode())
                for name, value in fields.items()
            ]
            body, head = "&".join(encoded).encode(), FORM
        self.last = form.action, body, head
        return self.again()

    def again(self) -> Answer:
        """F5."""
        assert self.last
        path, body, head = self.last
        return self.here.send("POST", path, body, {**SAME_SITE, **head})

    def create(self, **values: str) -> Page:
        answer = self.submit(self.get("/").forms[0], **values)
        assert answer.status == 201, answer.text
        return Page(answer)

    def open(self, link: str, **values: str) -> Answer:
        return self.submit(self.get("/s").forms[0], link=link, **values)


@pytest.fixture
def browser(here: InProcess) -> Browser:
    return Browser(here)


# --- through the pages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["", "pässword <b>"])
def test_create_open_and_hear_that_it_is_gone(browser: Browser, password: str) -> None:
    created = browser.create(secret="pä\nß ", password=password, expires="1d")
    link = created.areas["link"]
    assert re.fullmatch(r"http://127\.0\.0\.1:8000/s#[A-Za-z0-9_-]{43}", link)
    assert "once" in created.text
    opened = browser.open(link, password=password)
    assert opened.status == 200
    assert Page(opened).areas["secret"].removeprefix("\n") == "pä\nß "
    ended = browser.open(link, password=password)
    assert ended.status == 410
    assert "opened before" in Page(ended).text
    assert re.search(r"It was opened on 20\d\d-\d\d-\d\d \d\d:\d\d UTC", Page(ended).text)


def test_reloading_the_created_page_makes_no_second_secret(browser: Browser, backs: Backends) -> None:
    first = browser.create(secret="a")
    before = dump(backs)
    again = browser.again()
    assert again.status == 201
    assert Page(again).areas["link"] == first.areas["link"]
    assert dump(backs).keys() == before.keys()


def test_reloading_the_opened_page_shows_the_secret_again(browser: Browser) -> None:
    link = browser.create(secret="a").areas["link"]
    assert browser.open(link).status == 200
    assert Page(browser.again()).areas["secret"].strip() == "a"
    assert browser.open(link).status == 410


def test_each_page_brings_a_key_of_its_own(browser: Browser) -> None:
    keys = {browser.get(path).forms[0].fields["idempotency_key"] for path in ("/", "/", "/s", "/s", "/open")}
    assert len(keys) == 5
    assert all(len(unb64(key)) == 32 for key in keys)


@pytest.mark.parametrize(
    "typed", ["a\nb", "\n", "\n\na\n", " a ", "a\tb", "\ufeffa", "</textarea><b>", "&amp;&lt;"]
)
def test_a_line_break_of_the_page_becomes_one_character(browser: Browser, typed: str) -> None:
    link = browser.create(secret=typed).areas["link"]
    curl = browser.here.send("POST", "/open", b"link=" + link.replace("#", "%23").encode(), FORM)
    assert curl.body == typed.encode()


def test_the_page_shows_the_text_as_it_was(browser: Browser) -> None:
    for text in (
        "\na",
        "\n\na\n",
        "a\u202eb",
        "</textarea><script>alert(1)</script>",
        "&lt;",
        "a  b",
        "\u2028",
    ):
        link = browser.create(secret=text).areas["link"]
        shown = Page(browser.open(link)).areas["secret"]
        assert shown.removeprefix("\n") == text  # a browser drops the first line break of a textarea


@pytest.mark.parametrize(
    ("content", "name"), [(b"\xff\xfe", ""), (b"a\x00b", ""), (b"text", "a.txt"), (b"\r\n\x00", "\u00e4.bin")]
)
def test_what_a_page_cannot_show_is_saved_instead(browser: Browser, content: bytes, name: str) -> None:
    if name:
        answer = browser.submit(browser.get("/").forms[0], {"file": (name, content)}, secret="")
        link = Page(answer).areas["link"]
    else:
        encoded = "".join(f"%{byte:02x}" for byte in content)
        link = browser.here.send("POST", "/", f"secret={encoded}".encode(), FORM).text.strip()
    opened = browser.open(link)
    assert (opened.status, opened.body) == (200, content)
    assert "html" not in opened.headers["content-type"]
    assert ("attachment" in opened.headers.get("content-disposition", "")) == bool(name)


def test_the_receipt_shows_revokes_and_unlocks(browser: Browser, here: InProcess) -> None:
    created = browser.create(secret="a")
    page = browser.get("/receipt")
    shown = Page(browser.submit(page.forms[0], receipt=created.areas["receipt"]))
    assert "Not opened yet" in shown.text
    revoked = browser.submit(shown.forms[0], action="revoke")
    assert (revoked.status, Page(revoked).forms) == (200, [])
    assert "Withdrawn on 20" in Page(revoked).text
    ended = browser.open(created.areas["link"])
    assert ended.status == 410
    assert "ask the sender for a new link" in Page(ended).text

    locked = store(here, with_proof())
    wrong_password(here, locked, 5)
    receipt = "http://h/receipt#" + b64(unb64(locked.id) + unb64(locked.receipt_token))
    shown = Page(browser.submit(page.forms[0], receipt=receipt))
    assert "Locked after too many wrong passwords" in shown.text
    unlocked = Page(browser.submit(shown.forms[0], action="unlock"))
    assert "Not opened yet" in unlocked.text
    assert "5" in unlocked.text
    assert locked.claim(here).status == 200


def test_the_pages_say_who_sees_the_secret(browser: Browser) -> None:
    assert "the server encrypts" in browser.get("/").text
    assert "The server encrypted this secret for you" in browser.create(secret="a").text
    assert "the server opens" in browser.get("/s").text
    assert "uses the link up" in browser.get("/open").text


def test_pages_say_where_creating_or_opening_is_not_for_everybody(backs: Backends) -> None:
    for create in ("staff", "nobody"):
        page = Page(InProcess(backs.app(create=create)).get("/", **BROWSER))
        assert page.forms == []
    page = Page(InProcess(backs.app(open="nobody")).get("/s", **BROWSER))
    assert page.forms == []


# --- errors --------------------------------------------------------------------------------------------

CANARY = "kanarienvogel"


@pytest.mark.parametrize(
    ("values", "files", "status", "word"),
    [
        ({"secret": ""}, {}, 422, "secret"),
        ({"secret": CANARY, "expires": f"{CANARY}"}, {}, 422, "The link works for: Expected 60 seconds"),
        ({"secret": CANARY, "expires": "0"}, {}, 422, "The link works for: Expected 60 seconds"),
        ({"secret": CANARY, "password": CANARY * 100}, {}, 422, "password"),
        ({"secret": CANARY, "idempotency_key": CANARY}, {}, 400, "Idempotency-Key"),
        ({"secret": CANARY * 81_000}, {}, 413, "secret"),
        ({"secret": CANARY}, {"file": ("a", CANARY.encode())}, 422, "file"),
        ({"secret": ""}, {"file": (f"{CANARY}/x", CANARY.encode())}, 422, "name"),
        ({"secret": CANARY}, {CANARY[:5]: ("a", CANARY.encode())}, 422, CANARY[:5]),
    ],
)
def test_an_error_names_the_field_and_never_says_the_secret_back(
    browser: Browser,
    backs: Backends,
    values: dict[str, str],
    files: dict[str, tuple[str, bytes]],
    status: int,
    word: str,
) -> None:
    form = browser.get("/").forms[0]
    before = dump(backs)
    answer = browser.submit(form, files, **values)
    assert answer.status == status
    page = Page(answer)
    assert word.lower() in page.text.lower()
    assert "Go back in your browser" in page.text
    assert CANARY not in answer.text
    assert dump(backs) == before


def test_errors_of_opening_say_what_to_do_and_never_say_the_link_back(
    browser: Browser, here: InProcess
) -> None:
    secret = store(here, with_proof())
    key = secret.link.partition("#")[2]
    for link, values, status, word in (
        (secret.link[:-1], {}, 400, "incomplete"),
        (Secret.make().link, {}, 404, "leads to nothing"),
        (secret.link, {}, 422, "password"),
        (secret.link, {"password": CANARY}, 403, "Wrong passwords left before it locks: 4"),
        (secret.link, {"password": CANARY * 100}, 422, "password"),
    ):
        answer = browser.open(link, **values)
        assert (answer.status, word in Page(answer).text) == (status, True), answer.text
        assert key[:30] not in answer.text
        assert link.partition("#")[2] not in answer.text
        assert CANARY not in answer.text
    wrong_password(here, secret, 4)
    locked = browser.open(secret.link, password="x")
    assert locked.status == 423
    assert "Only its sender can unlock it, from the receipt" in Page(locked).text


def test_one_page_for_every_end(browser: Browser, here: InProcess, backs: Backends) -> None:
    opened, revoked, expired, epoch = (Secret.create(here) for _ in range(4))
    opened.claim(here)
    revoked.call(here, "revoke", sender=True)
    expire(backs, expired)
    for secret, title, said in (
        (opened, "This link was opened before", "It was opened on 20"),
        (revoked, "The sender has withdrawn this link", "It was withdrawn on 20"),
        (expired, "This link has run out", "It worked until 20"),
    ):
        answer = browser.open(secret.link)
        assert answer.status == 410
        assert f">{title}</h1>" in answer.text
        assert said in Page(answer).text
    here.service.ledger.new_epoch()
    answer = browser.open(epoch.link)
    assert (answer.status, "ended by the operator</h1>" in answer.text) == (410, True)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "evil", ""])
@pytest.mark.parametrize("path", ["/", "/open", "/receipt", "/s"])
def test_a_form_of_another_site_is_refused(here: InProcess, backs: Backends, site: str, path: str) -> None:
    secret = Secret.create(here)
    receipt = b64(unb64(secret.id) + unb64(secret.receipt_token))
    body = {
        "/": "secret=a",
        "/open": f"link=%23{b64(secret.key)}",
        "/receipt": f"receipt=%23{receipt}&action=revoke",
    }
    before = dump(backs)
    for head in (BROWSER, {}):
        answer = here.send("POST", path, body.get(path, "").encode(), {**FORM, **head, "Sec-Fetch-Site": site})
        assert answer.status == 403, (site, path)
        assert "another site" in answer.text
    assert dump(backs) == before
    for fine in ({"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}, {"Origin": "null"}):
        answer = here.send("POST", path, body.get(path, "").encode(), {**FORM, **BROWSER, **fine})
        assert answer.status != 403


# --- headers -------------------------------------------------------------------------------------------

POLICY = {
    "default-src 'none'",
    "style-src 'self'",
    "img-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
}
HEADERS = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def every_kind_of_answer(here: InProcess, monkeypatch: pytest.MonkeyPatch) -> dict[str, Answer]:
    secret = Secret.create(here)
    link = here.post("/api/v1/secrets", {"secret": "<b>", "expires_in": 60}).json["link"].replace("#", "%23")
    found = {
        path + who: here.get(path, **head)
        for path in (
            "/",
            "/s",
            "/open",
            "/receipt",
            "/api",
            "/api/v1/openapi.json",
            "/healthz",
            "/readyz",
            "/favicon.ico",
            "/.well-known/security.txt",
            "/static/icon.svg",
            "/static/css/secretsvc.css",
            "/static/nope",
            "/nope",
            "/s%23x",
            f"/api/v1/secrets/{secret.id}",
        )
        for who, head in (("", {}), (" in a browser", BROWSER))
    }
    for what, method, path, body, head in (
        ("201", "POST", "/", b"secret=x", FORM),
        ("201 page", "POST", "/", b"secret=x", FORM | BROWSER),
        ("200 open", "POST", "/open", f"link={link}".encode(), FORM),
        ("410 page", "POST", "/open", f"link={link}".encode(), FORM | BROWSER),
        ("422", "POST", "/", b"", FORM | BROWSER),
        ("413", "POST", "/", b"x" * 8_000_000, FORM | BROWSER),
        ("415", "POST", "/api/v1/secrets", b"", {}),
        ("401", "POST", f"/api/v1/secrets/{secret.id}/claim", b"", {}),
        ("404", "POST", f"/api/v1/secrets/{secret.id}/revoke", b"", secret.auth()),
        ("200 claim", "POST", f"/api/v1/secrets/{secret.id}/claim", b"", secret.auth()),
        ("405", "PUT", "/", b"", {}),
        ("OPTIONS", "OPTIONS", "/", b"", {}),
        ("HEAD", "HEAD", "/", b"", {}),
        ("403", "POST", "/", b"secret=x", FORM | {"Sec-Fetch-Site": "cross-site"}),
    ):
        found[what] = here.send(method, path, body, head)

    def broken(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(serverside, "look", broken)
        found["500"] = here.post("/api/v1/open", {"link": link})
        found["500 page"] = here.send("POST", "/open", f"link={link}".encode(), FORM | BROWSER)
    assert [found[name].status for name in ("201", "410 page", "500", "500 page")] == [201, 410, 500, 500]
    return found


@pytest.mark.parametrize("url", ["https://secrets.example", "http://secrets.example"])
def test_every_answer_carries_the_headers(backs: Backends, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    here = InProcess(backs.app(public_url=url))
    for what, answer in every_kind_of_answer(here, monkeypatch).items():
        policy = set(answer.headers["content-security-policy"].split("; "))
        assert policy >= POLICY, what
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "*" not in answer.headers["content-security-policy"]
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, (what, name)
        assert "permissions-policy" in answer.headers
        assert "set-cookie" not in answer.headers, what
        if "/static/" not in what or "nope" in what:
            assert answer.headers["cache-control"] == "no-store", what
        sure = answer.headers.get("strict-transport-security")
        assert (sure is not None) == url.startswith("https"), what
        if sure:
            assert int(re.findall(r"max-age=(\d+)", sure)[0]) >= 15_768_000


def test_pages_are_small_and_bring_nothing_inline_or_from_elsewhere(browser: Browser) -> None:
    link = browser.create(secret="a").areas["link"]
    answers = [browser.here.get(path, **BROWSER) for path in ("/", "/s", "/receipt", "/api", "/nope")]
    answers += [browser.open(link), browser.open(link)]
    for answer in answers:
        page = Page(answer)
        assert not {tag for tag, _ in page.elements} & {"style", "iframe", "object", "embed", "base"}
        assert "".join(re.findall(r"<script[^>]*>(.*?)</script>", answer.text, re.S)) == ""
        # Fetched when somebody asks for a code or a password, or collects an answer.
        wanted_later = ("js/qr.js", "js/generator.js", "js/collect.js", "js/answers.js")
        used = {url for _, name, url in page.attributes if name in ("href", "src") and "/static/" in url}
        used = {url for url in used if not url.endswith(wanted_later)}
        assert sum(len(browser.here.get(url).body) for url in used) + len(answer.body) < 60_000
        for tag, name, value in page.attributes:
            assert not name.startswith("on"), (tag, name)
            assert name != "style", tag
            if name in ("href", "src", "action"):
                assert value.startswith(("/", "#main", "?lang=")), (tag, name, value)
                assert not value.startswith("//"), (tag, name, value)


# --- markup --------------------------------------------------------------------------------------------

XSS = [
    "<script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><img src=x onerror=alert(1)>",
    "<img src=x onerror=alert(1)//",
    '" autofocus onfocus=alert(1) x="',
    "' autofocus onfocus='alert(1)",
    "<svg onload=alert(1)>",
    "<svg/onload=alert(1)>",
    "<body onload=alert(1)>",
    "<iframe src=javascript:alert(1)>",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "<a href='javascript:alert(1)'>x</a>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "<style>@import'//evil.example';</style>",
    "<link rel=stylesheet href=//evil.example>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<form action=//evil.example><input name=x>",
    "<!--<img src='--><img src=x onerror=alert(1)//'>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><script>alert(1)</script>",
    "{{7*7}}{% raw %}${7*7}#{7*7}",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#x3c;/script>",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "\u2028<script>alert(1)</script>\u2029",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "<details open ontoggle=alert(1)>",
    "<template><script>alert(1)</script></template>",
]


def shape(answer: Answer) -> list[tuple[str, tuple[str, ...]]]:
    return Page(answer).elements


def quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def test_markup_in_any_field_is_text_and_nothing_else(here: InProcess) -> None:
    """A page with markup in a field has the very elements and attributes of the same page without."""
    assert len(XSS) >= 30
    receipt = here.post("/api/v1/secrets", {"secret": "a", "expires_in": 60}).json["receipt_url"]

    def answers(text: str) -> dict[str, Answer]:
        link = here.send("POST", "/", f"secret={quoted(text)}".encode(), FORM).text.strip()
        posts = {
            "opened": ("/open", f"link={quoted(link)}"),
            "link": ("/open", f"link={quoted(text)}"),
            "receipt": ("/receipt", f"receipt={quoted(text)}"),
            "behind a receipt": ("/receipt", f"receipt={quoted(text)}%23{quoted(receipt.partition('#')[2])}"),
            "action": ("/receipt", f"receipt={quoted(receipt)}&action={quoted(text)}"),
            "password": ("/open", f"link={quoted(link)}&password={quoted(text)}"),
            "expires": ("/", f"secret=a&expires={quoted(text)}"),
            "language": ("/", f"secret=a&language={quoted(text)}"),
            "label": ("/", f"secret=a&label={quoted(text)}"),
            "key": ("/", f"secret=a&idempotency_key={quoted(text)}"),
            "field": ("/", f"{quoted(text)}=a"),
            "query": (f"/?{quoted(text)}=a", "secret=a"),
        }
        found = {
            what: here.send("POST", path, body.encode(), FORM | BROWSER) for what, (path, body) in posts.items()
        }
        found["path"] = here.get(f"/{quoted(text)}", **BROWSER)
        return found

    harmless = answers("harmless")
    for text in XSS:
        for what, answer in answers(text).items():
            assert answer.status == harmless[what].status, (what, text)
            assert shape(answer) == shape(harmless[what]), (what, text)
            if what == "opened":
                assert Page(answer).areas["secret"].removeprefix("\n") == text
            if what in ("field", "query"):
                assert text[:64] in Page(answer).words, (what, text)


def test_markup_in_the_operators_name_is_text(backs: Backends) -> None:
    reference = shape(InProcess(backs.app(operator="harmless")).get("/", **BROWSER))
    for text in XSS:
        answer = InProcess(backs.app(operator=text)).get("/", **BROWSER)
        assert shape(answer) == reference, text
        assert text in Page(answer).words


def test_a_hostile_file_name_makes_a_harmless_header(here: InProcess) -> None:
    for text in [*XSS, 'a"; filename=b', "a; b", "a'b", "ä", "日", "a\u00a0b", "%0d%0aX: y"]:
        answer = here.post("/api/v1/secrets", {"secret": "x", "expires_in": 60, "name": text})
        if answer.status == 422:
            assert "/" in text
            continue
        opened = here.send("POST", "/open", f"link={quoted(answer.json['link'])}".encode(), FORM | BROWSER)
        assert re.fullmatch(
            r"attachment; filename\*=UTF-8''[A-Za-z0-9%._~-]+", opened.headers["content-disposition"]
        )
        assert opened.headers["content-type"] == "application/octet-stream"
        assert opened.headers["x-content-type-options"] == "nosniff"


# --- a ledger that falls silent ------------------------------------------------------------------------


@pytest.fixture
def shaky(tmp_path: Path) -> Iterator[tuple[InProcess, Backends]]:
    """An application whose servers the test may stop."""
    with backends(tmp_path) as backs:
        here = InProcess(backs.app())
        yield here, backs
        here.service.store.node.close()
        here.service.ledger.close()


def test_the_page_of_an_unclear_claim_opens_it_when_the_ledger_is_back(
    shaky: tuple[InProcess, Backends],
) -> None:
    here, backs = shaky
    browser = Browser(here)
    link = browser.create(secret="a").areas["link"]
    form = browser.get("/s").forms[0]
    backs.ledger.kill()
    unclear = browser.submit(form, link=link)
    assert unclear.status == 503
    assert int(unclear.headers["retry-after"]) >= 1
    page = Page(unclear)
    assert "not certain yet" in page.text
    assert page.forms[0].fields["idempotency_key"] == form.fields["idempotency_key"]
    assert unclear.headers["idempotency-key"] == form.fields["idempotency_key"]
    assert link.partition("#")[2] not in unclear.text
    backs.ledger.start()
    opened = browser.submit(page.forms[0], link=link)
    assert opened.status == 200, opened.text
    assert Page(opened).areas["secret"].strip() == "a"
    assert browser.open(link).status == 410


def test_without_a_key_of_its_own_a_caller_is_given_one(shaky: tuple[InProcess, Backends]) -> None:
    here, backs = shaky
    link = here.send("POST", "/", b"secret=a", FORM).text.strip()
    body = f"link={quoted(link)}".encode()
    api = Secret.create(here)
    backs.ledger.kill()
    line = here.send("POST", "/open", body, FORM)
    key = line.headers["idempotency-key"]
    assert line.status == 503
    assert line.text.count("\n") == 1
    assert f"'Idempotency-Key: {key}'" in line.text
    claim = api.claim(here)
    assert (claim.status, claim.json["type"]) == (503, "ledger-unavailable")
    backs.ledger.start()
    assert here.send("POST", "/open", body, FORM | {"Idempotency-Key": key}).body == b"a"
    assert here.send("POST", "/open", body, FORM).status == 410
    assert api.unseal(api.claim(here, claim.headers["idempotency-key"])) == b"hunter2"


def test_with_the_store_down_everything_is_503_and_nothing_is_used_up(
    shaky: tuple[InProcess, Backends],
) -> None:
    here, backs = shaky
    browser = Browser(here)
    link = browser.create(secret="a").areas["link"]
    backs.store.kill()
    for answer in (browser.open(link), browser.submit(browser.get("/").forms[0], secret="b")):
        assert answer.status == 503
        assert "retry-after" in answer.headers
        assert Page(answer).forms == []  # nothing is uncertain: nothing was asked of the ledger
    ready = here.get("/readyz")
    assert (ready.status, ready.text) == (503, "store: unavailable\nledger: ok\n")
    assert here.get("/healthz").status == 200
    backs.store.start()
    assert here.get("/readyz").status == 200
    assert Page(browser.open(link)).areas["secret"].strip() == "a"


def test_a_page_made_once_gives_every_form_a_key_of_its_own(here: InProcess) -> None:
    def parts(path: str, language: str) -> tuple[str, str, str]:
        page = here.get(path, Accept="text/html", **{"Accept-Language": language}).text
        before, key, after = re.split(r'name="idempotency_key" value="([A-Za-z0-9_-]{43})"', page)
        return before, key, after

    for path in ("/", "/s", "/open", "/s%23x", "/?lang=de", "/open?lang=en"):
        for language in ("de", "en"):
            found = [parts(path, language) for _ in range(3)]
            assert len({key for _, key, _ in found}) == 3
            assert len({(before, after) for before, _, after in found}) == 1
    assert parts("/s", "de")[0] != parts("/s", "en")[0]
    assert parts("/?lang=de", "en") != parts("/", "en")
    assert parts("/s", "de")[2] != parts("/open", "de")[2]
