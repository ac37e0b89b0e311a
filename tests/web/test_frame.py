"""What surrounds the pages: the operator's name, look and contact; help, status, requests, altered links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from secretsvc import settings
from secretsvc.envelope import b64, format_request_link, unb64
from secretsvc.errors import Misconfigured
from secretsvc.web import theme
from secretsvc.web.assets import Assets
from tests.harness import ROOT, Backends, InProcess, Secret
from tests.web.common import BROWSER, FORM, Asked, dump, staff, store, with_proof, wrong_password

CONTACT = {
    "support_url": "https://help.example/portal",
    "support_email": "help@example.org",
    "support_phone": "+49 (30) 123456-0",
    "support_hours": "Mon-Fri 9-18",
    "support_hours_de": "Mo-Fr 9-18 Uhr",
    "emergency_phone": "+49 30 999",
    "imprint_url": "https://example.org/imprint",
    "privacy_url": "https://example.org/privacy",
    "terms_url": "https://example.org/terms",
    "documentation_url": "https://example.org/docs",
    "status_page_url": "https://status.example.org/",
}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32"/>'


def quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def test_the_operators_contact_is_on_help_and_wherever_somebody_is_stuck(backs: Backends) -> None:
    here = InProcess(backs.app(operator="Nordlicht", **CONTACT))
    secret = Secret.create(here)
    secret.claim(here)
    stuck = here.send("POST", "/open", f"link={quoted(secret.link)}".encode(), FORM | BROWSER)
    assert stuck.status == 410
    for page in (here.get(path, **BROWSER) for path in ("/help", "/s", "/r", "/status", "/nope")):
        for text in (
            "https://help.example/portal",
            "mailto:help@example.org",
            "tel:+49301234560",
            "Mon-Fri 9-18",
        ):
            assert text in page.text
        for field in ("imprint_url", "privacy_url", "terms_url"):
            assert f'href="{CONTACT[field]}"' in page.text
        assert "Nordlicht</span>" in page.text
    assert "tel:+4930999" in stuck.text
    assert "Mo-Fr 9-18 Uhr" in here.get("/help?lang=de", **BROWSER).text
    assert CONTACT["status_page_url"] in here.get("/status", **BROWSER).text
    assert CONTACT["documentation_url"] in here.get("/help", **BROWSER).text


def test_without_a_contact_nothing_is_promised(here: InProcess) -> None:
    assert "We are here to help" not in here.get("/help", **BROWSER).text
    assert "tel:" not in here.get("/s", **BROWSER).text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("imprint_url", "javascript:alert(1)"),
        ("privacy_url", "example.org/privacy"),
        ("terms_url", "//example.org"),
        ("support_url", "ftp://example.org"),
        ("status_page_url", "https://"),
        ("documentation_url", "data:text/html,x"),
        ("support_email", "nobody"),
        ("support_email", "a@b c"),
        ("support_phone", "call us"),
        ("support_phone", "+49;ext=1"),
        ("emergency_phone", "1"),
    ],
)
def test_a_contact_that_cannot_work_is_refused_by_name(field: str, value: str) -> None:
    with pytest.raises(Misconfigured, match=settings.variable(field)):
        settings.from_env({settings.variable(field): value})


def test_the_operators_colour_and_logo_are_served_and_checked(backs: Backends, tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_bytes(SVG)
    here = InProcess(backs.app(colour="#aa3300", logo_file=str(tmp_path / "logo.svg")))
    page = here.get("/", **BROWSER).text
    integrity = re.search(r'<link rel="stylesheet" href="/theme.css" integrity="([^"]+)">', page)
    css = here.get("/theme.css")
    assert integrity is not None
    assert integrity[1] == theme.Theme(css.text).integrity
    assert "--accent: #aa3300" in css.text
    assert css.headers["content-type"] == "text/css; charset=utf-8"
    logo = here.get("/logo")
    assert '<img src="/logo" alt=""' in page
    assert (logo.status, logo.body, logo.headers["content-type"]) == (200, SVG, "image/svg+xml; charset=utf-8")
    assert "script-src 'self'" in logo.headers["content-security-policy"]


def test_without_colour_and_logo_there_is_neither(here: InProcess) -> None:
    page = here.get("/", **BROWSER).text
    assert "theme.css" not in page
    assert "/logo" not in page
    assert here.get("/logo").status == 404


# --- files ---------------------------------------------------------------------------------------------


def test_static_files_may_be_kept_because_their_path_changes_with_them(here: InProcess, tmp_path: Path) -> None:
    icon = re.search(r'href="(/static/\w+/icon\.svg)"', here.get("/", **BROWSER).text)
    assert icon is not None
    assert "max-age=31536000" in here.get(icon[1]).headers["cache-control"]
    assert here.get("/favicon.ico").headers["location"] == icon[1]
    (tmp_path / "a.js").write_text("1")
    before = Assets(tmp_path)
    (tmp_path / "a.js").write_text("2")
    assert Assets(tmp_path).path != before.path
    (tmp_path / "a.js").rename(tmp_path / "b.js")
    assert Assets(tmp_path).path not in (before.path, "")


def test_every_import_of_a_module_is_known_to_its_page() -> None:
    assets = Assets(ROOT / "static")
    for path in (ROOT / "static" / "js").rglob("*.js"):
        name = str(path.relative_to(ROOT / "static"))
        written = set(re.findall(r'from "(?:\./|\.\./)?([\w/]+\.js)"', path.read_text()))
        assert {entry.rpartition("/")[2] for entry in written} <= {
            entry.rpartition("/")[2] for entry in assets.imports(name)
        }
        assert name not in assets.imports(name)


# --- status and help -----------------------------------------------------------------------------------


def test_status_says_in_words_which_part_does_not_answer(here: InProcess, backs: Backends) -> None:
    assert "The service works" in here.get("/status", **BROWSER).text
    assert here.get("/status").text == here.get("/readyz").text


def test_help_has_the_commands_that_work(here: InProcess) -> None:
    page = here.get("/help", **BROWSER).text
    assert "curl -F &#39;secret=&lt;-&#39; http://127.0.0.1:8000/" in page.replace("'", "&#39;")
    assert "http://127.0.0.1:8000/open" in page
    plain = here.get("/help")
    assert plain.headers["content-type"].startswith("text/plain")
    assert "curl -F 'secret=<-' http://127.0.0.1:8000/ < file" in plain.text


# --- requests, without script --------------------------------------------------------------------------


def request_link(asked: Asked) -> str:
    return format_request_link("http://h", asked.request.id, asked.request.public_key)


@pytest.mark.parametrize("head", [{}, BROWSER], ids=["curl", "browser"])
def test_a_request_is_answered_without_script_once(here: InProcess, head: dict[str, str]) -> None:
    agent = staff(here)
    asked = Asked.create(here, agent)
    body = f"link={quoted(request_link(asked))}&secret={quoted('pä' + chr(10))}".encode()
    answer = here.send("POST", "/r", body, FORM | head)
    assert answer.status == 201
    assert ("An agent collects it, once" in answer.text) == bool(head)
    claim = here.post(f"/api/v1/secrets/{asked.id}/claim", {}, {**asked.holder, **agent})
    assert asked.unseal(claim) == "pä\n".encode()
    assert here.send("POST", "/r", body, FORM | head).status == 409


@pytest.mark.parametrize(
    ("link", "fields", "status"),
    [
        (None, "", 400),
        ("", "&secret=a", 400),
        ("http://h/r#abc", "&secret=a", 400),
        (Secret.make().link, "&secret=a", 400),
        ("asked", "", 422),
        ("asked", "&secret=", 422),
        ("asked", "&secret=a&expires=1d", 422),
        ("asked", "&secret=" + "a" * 1_048_577, 413),
        ("other", "&secret=a", 404),
    ],
)
def test_a_bad_answer_is_refused_and_uses_nothing_up(
    here: InProcess, backs: Backends, link: str | None, fields: str, status: int
) -> None:
    asked = Asked.create(here, staff(here))
    links = {"asked": request_link(asked), "other": request_link(Asked.make())}
    before = dump(backs)
    text = "" if link is None else f"link={quoted(links.get(link, link))}"
    for head in ({}, BROWSER):
        answer = here.send("POST", "/r", (text + fields).strip("&").encode(), FORM | head)
        # A page then shows what is asked.
        wanted = 200 if head and (link, fields) == ("asked", "") else status
        assert answer.status == wanted, answer.text
    assert dump(backs) == before
    assert asked.answer(here).status == 201


# --- "that was not me", without script -----------------------------------------------------------------


def test_that_was_not_me_is_told_once_and_only_of_an_opened_one(here: InProcess) -> None:
    secret = Secret.create(here)
    report = f"link={quoted(secret.link)}&action=report".encode()
    early = here.send("POST", "/open", report, FORM | BROWSER)
    assert early.status == 409
    assert secret.claim(here).status == 200
    told = here.send("POST", "/open", report, FORM | BROWSER)
    assert (told.status, "The sender will see" in told.text) == (200, True)
    assert secret.state(here, sender=True).json["reported_at"]
    assert here.send("POST", "/open", report, FORM | BROWSER).status == 409
    assert here.send("POST", "/open", report.replace(b"=report", b"=x"), FORM).status == 422


# --- altered links -------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["s", "r"])
@pytest.mark.parametrize("sign", ["%23", "%2523"])
def test_an_altered_link_is_explained_and_opens_nothing(
    here: InProcess, backs: Backends, page: str, sign: str
) -> None:
    secret = Secret.create(here)
    before = dump(backs)
    path = f"/{page}{sign}{b64(secret.key)}"
    browser, curl = here.get(path, **BROWSER), here.get(path)
    assert (browser.status, curl.status) == (400, 400)
    assert "put # in place of %23" in browser.text
    assert "put # in place of %23" in curl.text
    assert b64(secret.key) not in browser.text + curl.text
    assert f"js/pages/{'open' if page == 's' else 'request'}.js" in browser.text  # the script repairs it
    assert dump(backs) == before


# --- what a review found -------------------------------------------------------------------------------


def test_forms_work_in_the_language_that_was_asked_for(here: InProcess) -> None:
    page = here.send("POST", "/?lang=de", b"secret=a", FORM | BROWSER)
    assert (page.status, '<html lang="de">' in page.text) == (201, True)
    link, receipt = re.findall(r"<textarea[^>]*>(http[^<]*)</textarea>", page.text)
    shown = here.send("POST", "/receipt?lang=de", f"receipt={quoted(receipt)}".encode(), FORM | BROWSER)
    assert "Noch nicht geöffnet" in shown.text
    opened = here.send("POST", "/open?lang=de", f"link={quoted(link)}".encode(), FORM | BROWSER)
    assert (opened.status, "Ihr Geheimnis" in opened.text) == (200, True)
    assert here.send("POST", "/?language=de", b"secret=a", FORM).status == 422


def test_an_end_by_the_operator_is_told_as_such_and_not_as_the_senders(here: InProcess) -> None:
    secret, revoked = Secret.create(here), Secret.create(here)
    revoked.call(here, "revoke", sender=True)
    here.service.ledger.new_epoch()
    for sender in (False, True):
        state = secret.state(here, sender=sender).json
        assert (state["state"], state["ended_by"]) == ("revoked", "operator")
        assert "ended_by" not in revoked.state(here, sender=sender).json
    receipt = b64(unb64(secret.id) + unb64(secret.receipt_token))
    page = here.send("POST", "/receipt", f"receipt=%23{receipt}".encode(), FORM | BROWSER)
    assert "Ended by the operator" in page.text
    assert "Withdrawn on" not in page.text


def test_the_last_wrong_password_is_told_as_the_lock_it_is(here: InProcess) -> None:
    secret = store(here, with_proof())
    wrong_password(here, secret, 4)
    page = here.send("POST", "/open", f"link={quoted(secret.link)}&password=x".encode(), FORM | BROWSER)
    assert page.status == 403
    assert "Locked after too many wrong passwords" in page.text
    assert "try again" not in page.text


def test_a_receipt_shows_the_end_that_came_before_its_button(here: InProcess) -> None:
    secret = Secret.create(here)
    secret.claim(here)
    receipt = b64(unb64(secret.id) + unb64(secret.receipt_token))
    body = f"receipt=%23{receipt}.&action=revoke".encode()
    page = here.send("POST", "/receipt", body, FORM | BROWSER)
    assert (page.status, "Opened on" in page.text, "That was not me" in page.text) == (200, True, False)
    assert here.send("POST", "/receipt", body, FORM).status == 410
    assert here.get(f"/receipt%23{receipt}", **BROWSER).status == 400


def test_the_size_that_is_named_is_that_of_a_secret(here: InProcess) -> None:
    for size in (1_100_000, 8_000_000):
        page = here.send("POST", "/", b"secret=" + b"x" * size, FORM | BROWSER)
        assert (page.status, "at most 1 MiB" in page.text) == (413, True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("public_url", "https://exa mple"),
        ("public_url", "https://example.org:99999"),
        ("public_url", 'https://example.org"><b'),
        ("public_url", "https://user@example.org"),
        ("support_url", "http://[::1"),
        ("operator", " "),
        ("operator", "a\nb"),
        ("operator", "a\u202eb"),
        ("security_contact", "mailto:a@b\nPolicy: x"),
    ],
)
def test_a_setting_that_would_end_up_in_pages_or_links_is_checked(field: str, value: str) -> None:
    with pytest.raises(Misconfigured, match=settings.variable(field)):
        settings.from_env({settings.variable(field): value})
