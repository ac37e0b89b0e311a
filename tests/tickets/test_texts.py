"""What agents send along with a link, and the sentences of the trail."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from secretsvc.envelope import read_link
from secretsvc.errors import Invalid
from secretsvc.tickets import texts, wording
from secretsvc.tickets.links import Event, Link, Word
from secretsvc.tickets.model import Identity

KEY = "oS6CAbgd6oLK-YXbhA8owFRV-y2vvZLaPB7TFME4ckU"
LINK = f"https://secrets.example/s#{KEY}"
UNTIL = 1_795_321_785  # 22 November 2026, 04:29:45 UTC
KINDS, LANGUAGES = ("secret", "request"), ("de", "en")
EVERY = [*product(KINDS, LANGUAGES, texts.FORMATS)]
SHOWN = {"de": "22.11.2026, 04:29 UTC", "en": "22 November 2026, 04:29 UTC"}
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "](https://evil.example) [x](https://evil.example)",
    "![x](https://evil.example/p.png) `code` *b* _i_ # h",
    "<https://evil.example>",
    "a\r\n\r\n# Heading\r\n- item\r\n> quote",
    "a\u2028b\u2029c\x0bd\x85e\u202ef",
    "{link} {until} {operator} {{link}}",
    "1. x",
    "=====",
    "&lt;b&gt; &amp; \\",
]


class Reader(HTMLParser):
    """Reads HTML as a mail program would."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.paragraphs: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.paragraphs += [""] if tag == "p" else []

    def handle_data(self, data: str) -> None:
        if self.paragraphs and data != "\n":
            self.paragraphs[-1] += data


def reply(kind: str, language: str, format: str, **more: object) -> str:
    usual = {"link": LINK, "until": UNTIL, "password": False, "ticket": "4711", "operator": "Example Support"}
    return texts.reply(kind, language, format, **(usual | more))  # type: ignore[arg-type]


def rendered(markdown: str, **options: bool) -> Reader:
    """Markdown as a helpdesk would show it."""
    return Reader(MarkdownIt("commonmark", options).render(markdown))


# --- replies


@pytest.mark.parametrize(("kind", "language", "format"), EVERY)
def test_every_reply_is_whole(kind: str, language: str, format: str) -> None:
    text = reply(kind, language, format)
    once = {
        "secret": {"de": "genau einmal", "en": "exactly once"},
        "request": {"de": "eine Antwort", "en": "one answer"},
    }
    manager = {"de": "Passwort-Manager", "en": "password manager"}
    for expected in (LINK, SHOWN[language], once[kind][language], manager[language], "4711", "Example Support"):
        assert expected in text
    assert not re.search(r"\{\w*\}", text)


@pytest.mark.parametrize(("language", "format"), [*product(LANGUAGES, texts.FORMATS)])
def test_a_password_is_spoken_of_only_where_there_is_one(language: str, format: str) -> None:
    hint = wording.TEXTS["reply"]["secret"][language]["password"]
    assert hint in reply("secret", language, format, password=True)
    assert hint not in reply("secret", language, format)
    assert reply("request", language, format, password=True) == reply("request", language, format)


@pytest.mark.parametrize(("kind", "language"), [*product(KINDS, LANGUAGES)])
def test_all_formats_say_the_same(kind: str, language: str) -> None:
    plain, markdown, html = (reply(kind, language, format, password=True) for format in texts.FORMATS)
    assert rendered(markdown).paragraphs == Reader(html).paragraphs == plain.strip().split("\n\n")


def test_no_sentence_of_ours_holds_markup() -> None:
    # They are not escaped in Markdown: nothing in them may need it.
    found = 0
    for kind, language in product(KINDS, LANGUAGES):
        text = wording.TEXTS["reply"][kind][language]
        for sentence in [*text["before"], *text["after"], text.get("password", ""), *text["close"]]:
            assert not re.search(r"[*_`#<>\[\]\\|~&]|^\s|^\d+[.)]|^[-+=]|https?:|www\.", sentence), sentence
            found += 1
    assert found >= 20


@pytest.mark.parametrize(("kind", "language", "format"), EVERY)
def test_the_link_survives_copying(kind: str, language: str, format: str) -> None:
    [line] = [line for line in reply(kind, language, format).splitlines() if KEY in line]
    if format == "html":
        page = Reader(line)
        assert page.tags == [("p", {}), ("a", {"href": LINK})]
        [line] = page.paragraphs
        assert line == LINK
    if kind == "secret":
        assert read_link(line) == read_link(LINK)  # brackets, where there are any, go with the format


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize(("kind", "language"), [*product(KINDS, LANGUAGES)])
def test_no_name_breaks_out(kind: str, language: str, hostile: str) -> None:
    _stays_inside(kind, language, hostile)


@given(st.sampled_from(KINDS), st.sampled_from(LANGUAGES), st.text())
def test_no_text_at_all_breaks_out(kind: str, language: str, hostile: str) -> None:
    _stays_inside(kind, language, hostile)


def _stays_inside(kind: str, language: str, hostile: str) -> None:
    usual = reply(kind, language, "plain")
    plain, markdown, html = (
        reply(kind, language, format, ticket=hostile, operator=hostile) for format in texts.FORMATS
    )
    word = wording.one_line(hostile)
    expected = usual.replace("4711", word).replace("Example Support", word).strip()
    assert plain == expected + "\n"
    assert len(plain.splitlines()) == len(expected.splitlines())
    # In HTML and in Markdown there is what is always there: paragraphs and one link; and the same text.
    tags = ["p"] * len(plain.strip().split("\n\n"))
    tags.insert(3, "a")
    for page in (Reader(html), rendered(markdown)):
        assert [tag for tag, _ in page.tags] == tags
        assert [attributes for _, attributes in page.tags if attributes] == [{"href": LINK}]
        assert page.paragraphs == plain.strip().split("\n\n")


@pytest.mark.parametrize(
    "link",
    [
        "",
        "javascript:alert(1)#abc",
        'https://a.example/s#abc"><b>',
        "https://a.example/s#abc\nhttps://b",
        "https://a.example/s?x=1&y=2#abc",
        "https://a.example/s#",
        LINK + "\n",
    ],
)
def test_what_is_no_link_of_ours_is_refused_and_not_quoted(link: str) -> None:
    with pytest.raises(Invalid) as caught:
        reply("secret", "en", "html", link=link)
    [(field, message)] = caught.value.errors
    assert field == "link"
    assert "example" not in message


@pytest.mark.parametrize(("kind", "language", "password"), [*product(KINDS, LANGUAGES, (False, True))])
def test_a_template_filled_in_the_browser_is_the_reply(kind: str, language: str, password: bool) -> None:
    templates = texts.templates(
        kind,  # type: ignore[arg-type]
        language,  # type: ignore[arg-type]
        password=password,
        ticket="4711",
        operator="{link} & Sons",
    )
    assert list(templates) == list(texts.FORMATS)
    for format, template in templates.items():
        assert KEY not in template
        assert template.count("{link}") == (2 if format == "html" else 1)
        assert template.count("{until}") == 1
        filled = template.replace("{link}", LINK).replace("{until}", SHOWN[language])
        assert filled == reply(kind, language, format, password=password, operator="{link} & Sons")


# --- the trail


# What never happens to the one happens to the other.
NEVER = {("submitted", "secret"), ("collected", "secret"), ("opened", "request")}
EVENTS = [event for event in product(get_args(Word), KINDS, LANGUAGES) if event[:2] not in NEVER]


@pytest.mark.parametrize(("word", "kind", "language"), EVENTS)
def test_every_event_has_a_line(word: Word, kind: str, language: str) -> None:
    line = wording.event_line(word, language, "7QK2", UNTIL, kind=kind, by="Kim Lang", until=UNTIL + 86_400)  # type: ignore[arg-type]
    assert "7QK2" in line
    assert SHOWN[language] in line
    assert len(line.splitlines()) == 1
    assert not re.search(r"\{\w*\}", line)
    named = {"secret": {"created"}, "request": {"created", "collected"}}
    assert ("Kim Lang" in line) == (word in named[kind])


def test_opened_says_that_somebody_pressed_the_button() -> None:
    assert "somebody pressed" in wording.event_line("opened", "en", "7QK2", UNTIL)
    assert "jemand" in wording.event_line("opened", "de", "7QK2", UNTIL)


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_answer_s_line_names_the_fields_asked(language: str) -> None:
    line = wording.event_line(
        "submitted",
        language,  # type: ignore[arg-type]
        "7QK2",
        UNTIL,
        kind="request",
        fields=["FTP user", "FTP\r\npassword"],
    )
    assert "FTP user, FTP password)" in line
    assert "(" not in wording.event_line("submitted", language, "7QK2", UNTIL, kind="request")  # type: ignore[arg-type]


def test_creation_tells_of_a_password() -> None:
    assert "with a password" in wording.event_line("created", "en", "7QK2", 0, password=True)
    assert "password" not in wording.event_line("created", "en", "7QK2", 0)


@given(st.text(), st.text(), st.lists(st.text()), st.sampled_from(LANGUAGES))
def test_a_line_is_one_line_whatever_stands_in_it(ref: str, by: str, fields: list[str], language: str) -> None:
    line = wording.event_line("created", language, ref, 0, kind="request", by=by, fields=fields)  # type: ignore[arg-type]
    assert len(line.splitlines()) == 1
    line.encode()


def test_a_kept_link_and_event_make_the_same_line() -> None:
    link = Link(ref="7QK2", id="x", kind="request", created_at=0, expires_at=UNTIL, form="text", order=True)
    event = Event(id="7QK2.created", word="created", at=0, by="Kim Lang")
    line = wording.trail_line(link, event, "de")
    assert line == (
        "Auftrag 7QK2 ging am 01.01.1970, 00:00 UTC von Kim Lang ein. "
        "Die Zugangsdaten liegen bis 22.11.2026, 04:29 UTC zur Abholung bereit, einmal."
    )
    assert wording.trail_subject(["7QK2", "8ABC", "7QK2"], "en") == "One-time links: 7QK2, 8ABC"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_way_of_identification_has_words(language: str) -> None:
    said = [wording.identity(way, language) for way in get_args(Identity)]  # type: ignore[arg-type]
    assert len(set(said)) == len(said) == 4


def test_moments_are_said_alike_whatever_the_machine_s_language() -> None:
    assert wording.moment(UNTIL, "de") == "22.11.2026, 04:29 UTC"
    assert wording.moment(UNTIL + 0.9, "en") == "22 November 2026, 04:29 UTC"
    assert wording.moment(0, "en") == "1 January 1970, 00:00 UTC"
