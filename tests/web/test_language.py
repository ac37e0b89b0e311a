"""Pages in the reader's language: chosen by the browser or by the address, and never half of one."""

from __future__ import annotations

import gettext
import re
from html.parser import HTMLParser

import pytest

from secretsvc.envelope import b64, unb64
from secretsvc.web import language
from tests.harness import ROOT, Answer, Backends, InProcess, Secret
from tests.web.common import BROWSER, FORM, Asked, expire, staff, store, with_proof, wrong_password

PAGES = ("/", "/s", "/open", "/r", "/receipt", "/help", "/status")
GERMAN = {**BROWSER, "Accept-Language": "de-DE,de;q=0.9,en;q=0.8"}


def asked(here: InProcess, path: str, accept: str | None) -> Answer:
    return here.get(path, **BROWSER, **({"Accept-Language": accept} if accept else {}))


def lang(answer: Answer) -> str:
    """The language a page says it is in, at both places."""
    found = re.search(r'<html lang="(\w+)">', answer.text)
    assert found is not None
    assert answer.headers["content-language"] == found[1]
    return found[1]


@pytest.mark.parametrize(
    ("accept", "query", "expected"),
    [
        (None, "", "en"),
        ("de", "", "de"),
        ("de-AT", "", "de"),
        ("de-CH,fr;q=0.5", "", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "", "en"),
        ("fr-FR,de;q=0.3,en;q=0.1", "", "de"),
        ("fr,ja", "", "en"),
        ("*", "", "en"),
        (",;;q=", "", "en"),
        ("de", "?lang=en", "en"),
        ("en", "?lang=de", "de"),
        ("de", "?lang=fr", "de"),
        ("de", "?lang=", "de"),
        ("en", "?lang=de&lang=en", "de"),
    ],
)
def test_a_page_is_in_the_language_asked_for(
    here: InProcess, accept: str | None, query: str, expected: str
) -> None:
    for path in PAGES:
        answer = asked(here, path + query, accept)
        assert lang(answer) == expected, path
        assert "Accept-Language" in answer.headers["vary"]
    assert lang(asked(here, "/nope" + query, accept)) == expected


def test_the_language_asked_for_stays_from_page_to_page_and_no_cookie_is_needed(here: InProcess) -> None:
    for path in PAGES:
        answer = asked(here, path + "?lang=de", "en")
        for url in re.findall(r'(?:href|action)="(/[^"]*)"', answer.text):
            if not url.startswith(("/static/", "/api", "/theme.css")) and ">Quittung<" not in url:
                assert url.endswith("?lang=de") or url == "/receipt", (path, url)
        assert "set-cookie" not in answer.headers
    assert 'href="?lang=en" lang="en" hreflang="en"' in asked(here, "/?lang=de", "en").text


# --- nothing is left untranslated ----------------------------------------------------------------------


class Pseudo(gettext.NullTranslations):
    """A language in which every translated sentence shows that it was."""

    def gettext(self, message: str) -> str:
        parts = re.split(r"(<[^>]*>|%\(\w+\)s|%Y.*)", message)  # markup and what is filled in stay outside
        return "".join(part if i % 2 or not part else f"⟦{part}⟧" for i, part in enumerate(parts))


class Visible(HTMLParser):
    """All text and all attributes that people read or hear."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._raw = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        # Code is the same everywhere; what has a language of its own is in it.
        self._raw += (
            1 if self._raw or tag in ("pre", "code", "time") or (own.get("lang") and tag != "html") else 0
        )
        if tag in ("meta", "link", "input", "img", "br", "hr") and self._raw:
            self._raw -= 1
        if not self._raw:
            self.found += [
                own[name] or "" for name in ("aria-label", "title", "alt", "placeholder") if name in own
            ]

    def handle_endtag(self, tag: str) -> None:
        self._raw -= bool(self._raw)

    def handle_data(self, data: str) -> None:
        if not self._raw:
            self.found.append(data)


def everything(here: InProcess, backs: Backends) -> dict[str, Answer]:
    """Every page there is, in every state that the server renders."""
    agent = staff(here)
    found = {path: here.get(path, **GERMAN) for path in (*PAGES, "/nope", "/s%23x", "/r%23x")}

    def post(name: str, path: str, **fields: str) -> Answer:
        body = "&".join(
            f"{key}=" + "".join(f"%{byte:02x}" for byte in value.encode()) for key, value in fields.items()
        )
        found[name] = here.send("POST", path, body.encode(), FORM | GERMAN)
        return found[name]

    created = post("created", "/", secret="a", password="b").text
    link, receipt = re.findall(r"<textarea[^>]*>(http[^<]*)</textarea>", created)
    for name, fields in {
        "empty": {"secret": ""},
        "expires": {"secret": "a", "expires": "9"},
        "field": {"secret": "a", "unknown": "b"},
        "password": {"secret": "a", "password": "ä" * 2000},
        "large": {"secret": "a" * 1_100_000},
    }.items():
        post(name, "/", **fields)
    post("no password", "/open", link=link)
    post("wrong password", "/open", link=link, password="c")
    post("waiting receipt", "/receipt", receipt=receipt)
    post("opened now", "/open", link=link, password="b")
    post("opened before", "/open", link=link, password="b")
    post("report", "/open", link=link, action="report")
    post("reported", "/receipt", receipt=receipt)
    post("damaged", "/open", link=link[:-1])
    post("damaged receipt", "/receipt", receipt=receipt[:-1])
    post("unknown", "/open", link=Secret.make().link)
    revoked, expired, locked = Secret.create(here), Secret.create(here), store(here, with_proof())
    revoked.call(here, "revoke", sender=True)
    expire(backs, expired)
    wrong_password(here, locked, 5)
    for name, secret in (("revoked", revoked), ("expired", expired), ("locked", locked)):
        post(name, "/open", link=secret.link, password="x" if secret is locked else "")
        post(f"receipt of {name}", "/receipt", receipt=f"#{receipt_of(secret)}")
    request = Asked.create(here, agent)
    answer_link = f"http://h/r#{b64(request.request.id + request.request.public_key)}"
    post("handed in", "/r", link=answer_link, secret="a")
    post("answered", "/r", link=answer_link, secret="b")
    post("not an answer link", "/r", link="x", secret="b")
    return found


def receipt_of(secret: Secret) -> str:
    return b64(unb64(secret.id) + unb64(secret.receipt_token))


# What is the same in every language, or the operator's, or the user's own.
FREE = re.compile(
    r"[\s\d.,:;\u2013…✓|/#?!()-]*"
    r"(API|Testbetreiber|Deutsch|English|[\d.,]+ (B|KiB|MiB)|https?://\S*|unknown|\S+@\S+|a|\+?[\d /-]+)?"
    r"[\s\d.,:;\u2013…|/#?!()-]*"
)


def test_no_page_has_a_sentence_that_was_not_translated(
    backs: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(language.CATALOGUES, "de", Pseudo())  # type: ignore[misc]
    here = InProcess(
        backs.app(
            operator="Testbetreiber",
            support_phone="+49 30 1",
            support_email="a@b.example",
            support_url="https://b.example",
            emergency_phone="+49 30 2",
            imprint_url="https://b.example/i",
            privacy_url="https://b.example/p",
            terms_url="https://b.example/t",
            documentation_url="https://b.example/d",
            status_page_url="https://b.example/s",
        )
    )
    pages = everything(here, backs)
    assert len(pages) >= 30
    seen = 0
    for name, answer in pages.items():
        assert lang(answer) == "de", name
        for text in Visible(answer.text).found:
            rest = re.sub(r"⟦[^⟦⟧]*⟧", "", text)
            seen += rest != text
            assert FREE.fullmatch(rest), (name, rest)
    assert seen > 500


def test_no_script_has_a_sentence_of_its_own() -> None:
    """They say what the page has brought along in its language."""
    for path in sorted((ROOT / "static" / "js").rglob("*.js")):
        code = re.sub(r"/\*.*?\*/|(?m:(^|\s)//.*$)", "", path.read_text(), flags=re.S)
        literals = re.findall(r'"([^"\n]*)"|`([^`]*)`', code)
        sentences = [
            text for pair in literals for text in pair if re.search(r"[a-z]{3,} [a-z]{2,} [a-z]", text)
        ]
        assert sentences == [], path


def test_a_message_to_the_reader_is_there_in_both_languages(here: InProcess) -> None:
    for accept in ("de", "en"):
        page = asked(here, "/", accept).text
        found = re.findall(r'<template data-message="(\w+)" lang="\w+"><p>(.*?)</p>', page, re.S)
        assert [code for code, _ in found] == ["en", "de"]
        assert found[0][1].startswith("Hello,")
        assert found[1][1].startswith("Guten Tag,")
        for _, text in found:
            assert "{link}" in text
            assert "{time}" in text


def test_whoever_asks_without_naming_a_language_gets_the_readers(here: InProcess) -> None:
    agent = staff(here)
    for pinned, accept, expected in (
        (None, "de", "de"),
        (None, "en", "en"),
        ("de", "en", "de"),
        ("en", "de", "en"),
    ):
        asked = Asked.create(here, agent, **({"language": pinned} if pinned else {}))
        head = {**asked.answerer, "Accept-Language": accept}
        assert here.get(f"/api/v1/requests/{asked.id}", **head).json["language"] == expected


def test_times_without_script_are_written_as_the_language_does(here: InProcess) -> None:
    for accept, form in (
        ("en", r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"),
        ("de", r"\d\d\.\d\d\.\d{4}, \d\d:\d\d Uhr UTC"),
    ):
        page = here.send("POST", "/", b"secret=a", FORM | BROWSER | {"Accept-Language": accept}).text
        assert re.search(rf'<time datetime="[\dT:-]+Z">{form}</time>', page)
