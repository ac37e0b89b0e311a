"""Request forms: what is asked, what is refused, and where a mistake in a file is."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretsvc.envelope import read_answers, unb64, write_answers
from secretsvc.errors import Invalid, Misconfigured
from secretsvc.tickets import formparts, forms
from secretsvc.tickets.forms import Facts, Form, Upload
from secretsvc.tickets.tomllines import line_of

OURS = forms.load()
ORDER, ACCESS = OURS["server-order"], OURS["access"]
NOTES = ["standard", "update", "access", "backup"]
GUIDE = Path(__file__).parents[2] / "docs" / "forms.md"
EXAMPLE = re.findall(r"```toml\n(.*?)```", GUIDE.read_text("utf-8"), re.S)[0]
SMALL = """\
version = "1"
title.de = "Titel"
title.en = "Title"
intro.de = "Anfang"
intro.en = "Beginning"

[[groups]]
id = "one"
title.de = "Gruppe"
title.en = "Group"

[[groups.fields]]
id = "first"
label.de = "Feld"
label.en = "Field"
"""


def facts(**more: object) -> Facts:
    usual = {"consents": NOTES, "cost_accepted": True, "inquiry": "root", "product": "web-1"}
    return msgspec.convert(usual | more, Facts)


def refused(call: object, *args: object) -> dict[str, str]:
    assert callable(call)
    with pytest.raises(Invalid) as caught:
        call(*args)
    assert all(field and message for field, message in caught.value.errors)
    return dict(caught.value.errors)


# --- our forms

SHARED = {"Server", "SFTP", "Text"}  # words that both languages have


def test_ours_are_offered_in_order() -> None:
    assert list(OURS) == ["server-order", "access", "text", "file"]
    assert set(OURS.titles("de")) == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_every_form_is_whole_in_both_languages(name: str) -> None:
    german, english = (_texts(OURS[name].shown(language)) for language in ("de", "en"))
    assert german.keys() == english.keys()
    names = ("label", "title", "text", "intro")
    for place, text in german.items():
        if place[-1] in names:
            assert text
            assert english[place], place
            assert text != english[place] or text in SHARED, place
        assert bool(text) == bool(english[place]), place


def _texts(shown: object, place: tuple[object, ...] = ()) -> dict[tuple[object, ...], str]:
    found: dict[tuple[object, ...], str] = {}
    pairs = shown.items() if isinstance(shown, dict) else enumerate(shown) if isinstance(shown, list) else ()
    for key, value in pairs:
        found |= _texts(value, (*place, key))
    return found | {place: shown} if isinstance(shown, str) else found


def test_the_order_asks_access_data_by_kind_of_inquiry() -> None:
    asked = {kind["id"]: kind["ask"] for kind in ORDER.shown("en")["inquiries"]}
    kinds = ["root", "administrator", "mailbox", "ftp", "panel", "other"]
    assert asked == {kind: ["order", kind] for kind in kinds}


def test_four_notes_are_due_and_the_vendor_note_stands_apart() -> None:
    consents = ORDER.shown("de")["consents"]
    assert [(one["id"], one["required"]) for one in consents] == [
        *((id, True) for id in NOTES),
        ("vendor", False),
    ]


def test_access_asks_nothing_but_access_data() -> None:
    shown = ACCESS.shown("en")
    assert (shown["product"], shown["consents"], shown["cost"]) == (None, [], None)
    assert [kind["ask"] for kind in shown["inquiries"]] == [[group["id"]] for group in shown["groups"]]


def test_the_cost_note_is_the_package_s() -> None:
    cost = ORDER.shown("en", "managed")["cost"]
    assert (cost["package"], [one["id"] for one in cost["packages"]]) == ("managed", ["managed"])
    assert cost["packages"][0]["costs"]["root"]["charged"] is False
    assert "included" in cost["packages"][0]["costs"]["root"]["text"]


@pytest.mark.parametrize("package", [None, "of another house"])
def test_an_unknown_package_is_picked_from_all(package: str | None) -> None:
    cost = ORDER.shown("en", package)["cost"]
    assert (cost["package"], [one["id"] for one in cost["packages"]]) == (None, ["basic", "managed"])


def test_what_is_shown_is_json() -> None:
    for form in OURS.values():
        assert msgspec.json.decode(msgspec.json.encode(form.shown("de"))) == form.shown("de")


def test_labels_tell_equal_fields_apart() -> None:
    for form in OURS.values():
        for language in ("de", "en"):
            labels = list(form.labels(language).values())
            assert len(set(labels)) == len(labels)
    assert ORDER.labels("en")["ftp.password"] == "FTP or SFTP access: Password"
    assert ORDER.labels("en")["ftp.folder"] == "Folder"


def test_names_of_fields_for_notes_are_those_of_the_kind() -> None:
    names = ACCESS.asks_for("mailbox", "en")
    assert "E-mail address" in names
    assert "Folder" not in names


# --- facts


def test_a_whole_order_passes() -> None:
    ORDER.check_facts(facts(), "basic")
    ORDER.check_facts(facts(consents=[*NOTES, "vendor"], package="managed", cost_accepted=None))
    ORDER.check_facts(facts(package="basic"), "basic")


def test_everything_missing_is_named_at_once() -> None:
    found = refused(ORDER.check_facts, Facts(consents=[]))
    assert set(found) == {"product", "inquiry", "package", *(f"consents.{id}" for id in NOTES)}


@pytest.mark.parametrize("note", NOTES)
def test_each_missing_tick_is_named(note: str) -> None:
    assert set(refused(ORDER.check_facts, facts(consents=[id for id in NOTES if id != note]), "basic")) == {
        f"consents.{note}"
    }


@pytest.mark.parametrize(
    ("more", "package", "field"),
    [
        ({"consents": [*NOTES, "all-you-want"]}, "basic", "consents"),
        ({"consents": [*NOTES, "backup"]}, "basic", "consents"),
        ({"inquiry": "moon"}, "basic", "inquiry"),
        ({"inquiry": ""}, "basic", "inquiry"),
        ({"product": "  "}, "basic", "product"),
        ({"product": "x" * 201}, "basic", "product"),
        ({"product": "a\nb"}, "basic", "product"),
        ({"cost_accepted": None}, "basic", "cost_accepted"),
        ({"cost_accepted": False}, "basic", "cost_accepted"),
        ({"cost_accepted": None, "inquiry": "other"}, "managed", "cost_accepted"),
        ({}, None, "package"),
        ({"package": "gold"}, None, "package"),
        ({"package": "managed"}, "basic", "package"),
    ],
)
def test_each_wrong_fact_is_refused_by_name(more: dict[str, object], package: str | None, field: str) -> None:
    assert set(refused(ORDER.check_facts, facts(**more), package)) == {field}


def test_the_cheaper_package_cannot_be_picked_over_the_ticket_s() -> None:
    found = refused(ORDER.check_facts, facts(package="managed", cost_accepted=None), "basic")
    assert set(found) == {"package", "cost_accepted"}


@pytest.mark.parametrize(
    "more",
    [{"inquiry": "a"}, {"product": "a"}, {"cost_accepted": False}, {"package": "a"}, {"consents": ["a"]}],
)
def test_a_form_that_does_not_ask_takes_no_facts(more: dict[str, object]) -> None:
    OURS["text"].check_facts(Facts(consents=[]))
    given = msgspec.convert({"consents": []} | more, Facts)
    assert set(refused(OURS["text"].check_facts, given)) == set(more)


def test_a_tick_of_one_kind_is_due_only_there() -> None:
    form = forms.read("certificate", EXAMPLE, "certificate.toml")
    rest = {"product": "web-1", "package": "basic", "cost_accepted": True}
    form.check_facts(msgspec.convert({"consents": ["restart"], "inquiry": "order"} | rest, Facts))
    own = msgspec.convert({"consents": ["restart"], "inquiry": "own"} | rest, Facts)
    assert set(refused(form.check_facts, own)) == {"consents.rights"}
    other = msgspec.convert({"consents": ["restart", "rights"], "inquiry": "order"} | rest, Facts)
    assert set(refused(form.check_facts, other)) == {"consents"}


SENTENCES = {value for value in vars(formparts).values() if isinstance(value, str)} | {
    "Each of them once.",
    "The ticket names another package.",
    "Please accept the cost note: this job is charged.",
}


@given(st.from_type(Facts), st.none() | st.sampled_from(["basic", "managed"]) | st.text())
def test_no_facts_are_ever_quoted(made: Facts, package: str | None) -> None:
    known = {f"consents.{id}" for id in NOTES} | set(Facts.__struct_fields__)
    errors: tuple[tuple[str, str], ...] = ()
    try:
        ORDER.check_facts(made, package)
    except Invalid as error:
        errors = error.errors
    assert {field for field, _ in errors} <= known
    assert {message for _, message in errors} <= SENTENCES


def test_agents_read_the_facts_in_words_and_what_was_not_ticked() -> None:
    told = ORDER.told(facts(package="basic"), None, "en")
    assert (told["product"], told["inquiry"]) == ("web-1", "Work on a Linux server (root)")
    assert {one["id"]: one["ticked"] for one in told["consents"]} == dict.fromkeys(NOTES, True) | {
        "vendor": False
    }
    assert told["package"].startswith("Basic")
    assert (told["cost"], told["cost_accepted"]) == ("We charge this job by the time it takes.", True)


def test_facts_of_an_earlier_version_are_told_by_their_ids() -> None:
    old = Facts(consents=["gone"], inquiry="moon", product="x", package="gold", cost_accepted=True)
    told = ORDER.told(old, None, "de")
    assert (told["inquiry"], told["package"], told["cost"]) == ("moon", "gold", None)
    assert {"id": "gone", "text": "gone", "ticked": True} in told["consents"]


# --- answers

ROOT = {"order.description": "Do it", "root.host": "web-1", "root.user": "root", "root.password": " p w "}


def test_answers_are_flat_in_order_and_without_empty_fields() -> None:
    typed = {**dict(reversed(ROOT.items())), "root.port": "", "root.key": "\r\n"}
    found = ORDER.answers("root", typed)
    assert found == list(ROOT.items())
    assert read_answers(write_answers(dict(found))) == dict(ROOT)


def test_a_password_is_kept_to_the_space_and_a_key_gets_plain_line_ends() -> None:
    values = {**ROOT, "root.key": "-----BEGIN\r\nabc\r\n-----END\r\n", "root.host": " web-1 "}
    found = dict(ORDER.answers("root", values))
    assert found["root.password"] == " p w "
    assert found["root.key"] == "-----BEGIN\nabc\n-----END\n"
    assert found["root.host"] == "web-1"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"root.host": " "}, "root.host"),
        ({"order.description": ""}, "order.description"),
        ({"root.password": ""}, "root.password"),
        ({"root.port": "123456"}, "root.port"),
        ({"root.user": "x" * 256}, "root.user"),
        ({"root.user": "a\nb"}, "root.user"),
        ({"root.password": "a\tb"}, "root.password"),
        ({"root.key": "\ud800"}, "root.key"),
        ({"ftp.password": "of another kind"}, "ftp.password"),
        ({"hunter2": "unknown"}, "fields"),
    ],
)
def test_each_wrong_answer_is_refused_by_name_and_not_quoted(change: dict[str, str], field: str) -> None:
    found = refused(ORDER.answers, "root", ROOT | change)
    assert set(found) == {field}
    assert "hunter2" not in str(found)


def test_a_choice_is_one_of_its_options() -> None:
    values = {"ftp.protocol": "sftp", "ftp.host": "h", "ftp.user": "u", "ftp.password": "p"}
    assert dict(ACCESS.answers("ftp", values)) == values
    assert set(refused(ACCESS.answers, "ftp", values | {"ftp.protocol": "gopher"})) == {"ftp.protocol"}
    assert set(refused(ACCESS.answers, "ftp", values | {"ftp.protocol": ""})) == {"ftp.protocol"}


def test_a_file_goes_in_with_its_name_and_every_byte() -> None:
    content = bytes(range(256))
    found = dict(ACCESS.answers("other", {}, Upload("key.pem", content)))
    assert set(found) == {"other.file.name", "other.file.base64"}
    assert found["other.file.name"] == "key.pem"
    assert unb64(found["other.file.base64"]) == content
    [row] = [row for row in ACCESS.rows("en") if row["type"] == "file"]
    assert row["id"] == "other.file"


@pytest.mark.parametrize(
    ("form", "file", "field"),
    [
        (OURS["file"], None, "upload.file"),
        (OURS["file"], Upload("a", b"x" * 524_289), "upload.file"),
        (OURS["file"], Upload("../a", b"x"), "upload.file"),
        (OURS["file"], Upload("a\u202eb", b"x"), "upload.file"),
        (OURS["file"], Upload("a\nb", b"x"), "upload.file"),
    ],
)
def test_each_wrong_file_is_refused(form: Form, file: Upload | None, field: str) -> None:
    assert set(refused(form.answers, None, {}, file)) == {field}


def test_64_kib_fit_where_access_data_is_a_file_and_no_byte_more() -> None:
    assert ACCESS.answers("other", {}, Upload("a", b"x" * 65_536))
    assert set(refused(ACCESS.answers, "other", {}, Upload("a", b"x" * 65_537))) == {"other.file"}


def test_a_file_nobody_asked_for_is_refused_with_what_is_missing() -> None:
    assert set(refused(OURS["text"].answers, None, {}, Upload("a", b"x"))) == {"message.text", "file"}


def test_no_repr_holds_an_upload() -> None:
    assert repr(Upload("hunter2.pem", b"hunter2")) == "Upload(masked)"


# --- the operator's files


def test_the_guide_s_example_is_a_form(tmp_path: Path) -> None:
    (tmp_path / "certificate.toml").write_text(EXAMPLE, "utf-8")
    (tmp_path / "notes.txt").write_text("not a form")
    found = forms.load(str(tmp_path))
    assert list(found) == [*OURS, "certificate"]
    answers = found["certificate"].answers("own", {"wish.domain": "a.example"}, Upload("a.pem", b"x"))
    assert dict(answers)["certificate.file.base64"] == "eA"


def test_an_own_form_takes_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "text.toml").write_text(SMALL, "utf-8")
    found = forms.load(str(tmp_path))
    assert list(found) == list(OURS)
    assert found["text"].title.en == "Title"


MISTAKES = {
    "syntax": ('title.en = "Title"', "title.en = Title", "title.en = Title", "TOML"),
    "open string": ('id = "first"', 'id = "first', 'id = "first', "TOML"),
    "key twice": ('intro.en = "Beginning"', 'intro.en = "B"\nintro.en = "C"', 'intro.en = "C"', "TOML"),
    "no English": ('label.en = "Field"\n', "", "label.de", "`en`"),
    "empty German": ('title.de = "Gruppe"', 'title.de = ""', 'title.de = ""', "length >= 1"),
    "no version": ('version = "1"\n', "", "", "`version`"),
    "unknown key": ('id = "first"', 'id = "first"\nrequierd = true', "requierd", "requierd"),
    "unknown table": ("[[groups.fields]]", "[[groups.feilds]]", "[[groups.feilds]]", "feilds"),
    "name": ('version = "1"', 'version = "1"\nname = "x"', "name =", "what its file is called"),
    "wrong type": ('id = "first"', 'id = "first"\nrequired = "yes"', "required", "`bool`"),
    "no such type": ('id = "first"', 'id = "first"\ntype = "date"', 'type = "date"', "date"),
    "bad id": ('id = "first"', 'id = "First Name"', 'id = "First Name"', "small letters"),
    "choice without options": ('id = "first"', 'id = "first"\ntype = "choice"', "type =", "options"),
    "ask for nothing known": ('version = "1"', 'version = "1"\nask = ["two"]', "ask =", "'two'"),
    "one_of unknown": ('id = "one"', 'id = "one"\none_of = ["second"]', "one_of", "'second'"),
    "two files": (
        'id = "first"',
        'id = "first"\ntype = "file"\nlabel={de="a",en="a"}\n[[groups.fields]]\nid="b"\ntype = "file"  # here',
        "# here",
        "one field of type file",
    ),
}
MORE = '[[consents]]\nid = "a"\ntext = {de = "a", en = "a"}\n'
INQUIRY = '[[inquiries]]\nid = "i"\nlabel = {de = "a", en = "a"}\nask = ["one"]\n'
COST = """\
[[cost.classes]]
id = "free"
text = {de = "a", en = "a"}
[[cost.packages]]
id = "basic"
label = {de = "a", en = "a"}
"""
APPENDED = {
    "consent twice": (MORE + MORE.replace('"a"\ntext', '"a" # here\ntext'), "# here", "twice"),
    "inquiry twice": (INQUIRY + INQUIRY.replace('"i"', '"i" # here'), "# here", "twice"),
    "inquiry asks unknown": (INQUIRY.replace('["one"]', '["two"]'), 'ask = ["two"]', "'two'"),
    "inquiry ticks unknown": (INQUIRY + 'consents = ["b"]\n', 'consents = ["b"]', "'b'"),
    "inquiry asks nothing": ('[[inquiries]]\nid = "i"\nlabel = {de = "a", en = "a"}\n', "[[inquiries]]", "ask"),
    "group asked nowhere": (
        INQUIRY + '[[groups]]\nid = "z" # here\ntitle = {de="a",en="a"}\n'
        '[[groups.fields]]\nid = "f"\nlabel = {de="a",en="a"}\n',
        "# here",
        "never asked",
    ),
    "cost without inquiries": (COST + "costs = {}\n", "[[cost.classes]]", "inquiries"),
    "unknown cost class": (INQUIRY + COST + 'costs = {i = "dear"}\n', "costs =", "'dear'"),
    "cost of unknown inquiry": (INQUIRY + COST + 'costs = {i = "free", j = "free"}\n', "costs =", "'j'"),
    "an inquiry without cost": (INQUIRY + COST + "costs = {}\n", "costs =", "'i'"),
}
ALL = {name: (SMALL.replace(old, new, 1), at, what) for name, (old, new, at, what) in MISTAKES.items()}
ALL |= {name: (SMALL + "\n" + more, at, what) for name, (more, at, what) in APPENDED.items()}


@pytest.mark.parametrize("name", ALL)
def test_each_mistake_is_named_with_its_line(name: str, tmp_path: Path) -> None:
    text, at, what = ALL[name]
    assert text != SMALL
    lines = text.splitlines()
    expected = next(number for number, line in enumerate(lines, start=1) if at in line) if at else 1
    (tmp_path / "own.toml").write_text(text, "utf-8")
    with pytest.raises(Misconfigured) as caught:
        forms.load(str(tmp_path))
    assert f"{tmp_path / 'own.toml'}, line {expected}: " in caught.value.detail
    assert what in caught.value.detail


def test_the_small_form_is_one() -> None:
    assert forms.read("small", SMALL, "small.toml").labels("de") == {"one.first": "Feld"}


def test_a_file_that_is_not_utf_8_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(SMALL.encode() + b"# \xff")
    with pytest.raises(Misconfigured, match=rf"own\.toml, line {SMALL.count(chr(10)) + 1}: expected UTF-8"):
        forms.load(str(tmp_path))


def test_a_bad_file_name_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        forms.load(str(tmp_path / "nowhere"))
    (tmp_path / "My form.toml").write_text(SMALL, "utf-8")
    with pytest.raises(Misconfigured, match="name of a form"):
        forms.load(str(tmp_path))


def test_lines_are_found_past_values_of_several_lines() -> None:
    text = 'a = """\n[[b]]\nx = 1\n"""\n\n[[b]]\nlist = [\n  1,\n]\n"d.e" = 2\n[[b]]\n[b.c]\nf.g = 3\n'
    places = {("a",): 1, ("b", 0): 6, ("b", 0, "list"): 7, ("b", 0, "d.e"): 10, ("b", 1): 11}
    places |= {("b", 1, "c"): 12, ("b", 1, "c", "f", "g"): 13, ("b", 1, "missing"): 11, ("nowhere",): 1}
    assert {place: line_of(text, place) for place in places} == places
