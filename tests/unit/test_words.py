"""Every sentence that a page shows exists in German, and the compiled catalogue is that of the sources."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

from secretsvc import errors
from tests.harness import ROOT

FOLDER = ROOT / "secretsvc" / "locale" / "de" / "LC_MESSAGES"
KEYWORDS: dict[str, Any] = dict.fromkeys(("_", "N_", "gettext")) | {"ngettext": (1, 2)}
# Where sentences are for programs, the command line or the log: English only.
FOR_PROGRAMS = {
    "web/api.py", "web/openapi.py", "tokens.py", "client.py", "terminal.py", "node.py", "store.py", "ledger.py",
    "backends.py", "embedded.py", "processes.py", "settings.py", "atrest.py", "ends.py", "errors.py",
    "web/theme.py",
}  # fmt: skip
# Said of JSON bodies alone, which no page sends.
JSON_ONLY = {
    "This must be a string of base64url.",
    "The body must be a JSON object.",
    "This must be ",
    "base64url without padding.",
}
# The same in both languages.
SAME = {"Organisation", "Status", "Ticket", "Tickets"}


def sources() -> set[str]:
    """Every sentence marked in the code and the pages."""
    options = {"**.html": {"trimmed": "true"}}
    found = [*extract_from_dir(str(ROOT / "secretsvc"), [("**.py", "python")], {}, KEYWORDS)]
    found += extract_from_dir(str(ROOT / "templates"), [("**.html", "jinja2")], options, KEYWORDS)
    return {str(message) for _, _, message, _, _ in found}


def catalogue() -> Catalog:
    """The German sentences as people edit them."""
    with (FOLDER / "messages.po").open("rb") as file:
        return read_po(file, locale="de")


def test_every_sentence_is_in_german_and_none_is_left_over() -> None:
    german = {str(message.id): message for message in catalogue() if message.id}
    assert len(german) > 200
    assert sources() == set(german), "make words"
    for sentence, message in german.items():
        assert message.string, sentence
        assert not message.fuzzy, sentence
        assert message.string != sentence or sentence in SAME, sentence


def test_a_translation_keeps_what_is_filled_in_and_the_markup() -> None:
    for message in catalogue():
        english, german = str(message.id), str(message.string)
        if english and "%Y" not in english:
            for slots in (r"%\(\w+\)\w", r"\{\w+\}", r"</?\w+[^>]*>"):
                assert sorted(re.findall(slots, english)) == sorted(re.findall(slots, german)), english


def test_german_addresses_people_formally_and_says_one_word_for_one_thing() -> None:
    for message in catalogue():
        german = str(message.string)
        assert not re.search(r"\b(du|dein|deine|deinen|dir|dich|euch|ihr)\b", german), german
        for word in ("Nachricht löschen", "Taste ", "Absenderin", "brennen", "Notiz löschen"):
            assert word not in german


def test_the_compiled_catalogue_is_that_of_the_sources() -> None:
    with (FOLDER / "messages.mo").open("rb") as file:
        compiled = {message.id: message.string for message in read_mo(file) if message.id}
    assert compiled == {message.id: message.string for message in catalogue() if message.id}, "make words"


def raised_sentences(path: Path) -> list[str]:
    """Sentences given to our errors as they are, not marked for translation."""
    classes = {name for name in vars(errors) if isinstance(getattr(errors, name), type)} - {"Misconfigured"}
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            for argument in ast.walk(ast.Tuple(node.args[:1])) if name in classes else ():
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    found.append(argument.value)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "N_":
            found = [text for text in found if text != getattr(node.args[0], "value", None)]
    return [text for text in found if " " in text]


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((ROOT / "secretsvc").rglob("*.py"))
        if str(path.relative_to(ROOT / "secretsvc")) not in FOR_PROGRAMS and "cli" not in path.parts
    ],
    ids=lambda path: path.name,
)
def test_every_error_a_page_can_show_is_marked_for_translation(path: Path) -> None:
    known = sources() | JSON_ONLY
    assert [text for text in raised_sentences(path) if text not in known] == []
