"""What a customer is asked: our forms in ``forms/*.toml``, and those of the operator's own folder.

An own form with the name of one of ours takes its place.  All are checked at start; a mistake is named with its
file and line (docs/forms.md).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from ..errors import Misconfigured
from .form import Facts, Form, Language, Upload
from .formparts import Option
from .tomllines import line_of

__all__ = ["Facts", "Form", "Forms", "Language", "Upload", "load", "read"]

OURS = ("server-order", "access", "text", "file")  # in the order in which they are offered
NAME = re.compile("[a-z][a-z0-9-]{0,31}")
_UNKNOWN = re.compile(r"contains unknown field `(.+)`")

_Place = tuple[str | int, ...]


class Forms(Mapping[str, Form]):
    """The forms by name, in the order in which they are offered: ours, then the operator's by name."""

    def __init__(self, forms: Mapping[str, Form]) -> None:
        self._forms = dict(forms)

    def __getitem__(self, name: str) -> Form:
        return self._forms[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._forms)

    def __len__(self) -> int:
        return len(self._forms)

    def titles(self, language: Language) -> dict[str, str]:
        """What to choose from: titles by name."""
        return {name: form.title.of(language) for name, form in self.items()}


def load(folder: str = "") -> Forms:
    """Our forms and those of the folder.

    Args:
        folder: with ``<name>.toml`` files; other files in it are not looked at.

    Raises:
        Misconfigured: naming the file and the line of what is refused, and what was expected.
    """
    package = files(__package__) / "forms"
    found = {name: read(name, (package / f"{name}.toml").read_text("utf-8"), f"{name}.toml") for name in OURS}
    if not folder:
        return Forms(found)
    try:
        paths = sorted(path for path in Path(folder).iterdir() if path.suffix == ".toml")
    except OSError as error:
        raise Misconfigured(f"forms: the folder {folder} cannot be read ({error.strerror}).") from None
    for path in paths:
        if not NAME.fullmatch(path.stem):
            raise Misconfigured(f"{path}: the name of a form is 1-32 small letters, digits, dashes.")
        try:
            found[path.stem] = read(path.stem, path.read_text("utf-8"), str(path))
        except OSError as error:
            raise Misconfigured(f"{path}: cannot be read ({error.strerror}).") from None
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise Misconfigured(f"{path}, line {line}: expected UTF-8.") from None
    return Forms(found)


def read(name: str, text: str, where: str) -> Form:
    """A form from the text of its file.

    Args:
        where: what to call the file in messages.

    Raises:
        Misconfigured: as ``load`` says.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, line = _syntax(str(error), text)
        raise Misconfigured(f"{where}, line {line}: not valid TOML: {what}.") from None
    if "name" in raw:
        raise _refusal(where, text, ("name",), "a form is called what its file is called; there is no such key")
    try:
        form = msgspec.convert(raw | {"name": name}, Form)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        place = tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]`]+", path))
        unknown = _UNKNOWN.search(what)
        if "matching regex" in what:
            what = (
                "expected 1-32 small letters, digits, dashes" if "a-z" in what else "expected one line of text"
            )
        raise _refusal(where, text, place + ((unknown[1],) if unknown else ()), what) from None
    for place, what in _faults(form):
        raise _refusal(where, text, place, what)
    return form


def _refusal(where: str, text: str, place: _Place, what: str) -> Misconfigured:
    said = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    return Misconfigured(f"{where}, line {line_of(text, place)}: {said or 'the form'}: {what}.")


def _syntax(message: str, text: str) -> tuple[str, int]:
    what, _, place = message.partition(" (at ")
    line = re.match(r"line (\d+)", place)
    return what, int(line[1]) if line else len(text.splitlines())


# --- what the shapes alone do not say ------------------------------------------------------------------


def _faults(form: Form) -> Iterator[tuple[_Place, str]]:
    yield from _twice(form)
    yield from _fields(form)
    yield from _references(form)
    yield from _costs(form)


def _twice(form: Form) -> Iterator[tuple[_Place, str]]:
    lists: list[tuple[_Place, tuple[Any, ...]]] = [
        (("inquiries",), form.inquiries),
        (("groups",), form.groups),
        (("consents",), form.consents),
    ]
    lists += [(("groups", i, "fields"), group.fields) for i, group in enumerate(form.groups)]
    if form.product:
        lists.append((("product", "options"), form.product.options))
    if form.cost:
        lists += [(("cost", "classes"), form.cost.classes), (("cost", "packages"), form.cost.packages)]
    for i, group in enumerate(form.groups):
        options: list[tuple[_Place, tuple[Option, ...]]] = [
            (("groups", i, "fields", j, "options"), field.options) for j, field in enumerate(group.fields)
        ]
        lists += options
    for place, parts in lists:
        seen: set[str] = set()
        for number, part in enumerate(parts):
            if part.id in seen:
                yield (*place, number, "id"), f"{part.id!r} is there twice; expected another id"
            seen.add(part.id)


def _fields(form: Form) -> Iterator[tuple[_Place, str]]:
    upload = False
    for i, group in enumerate(form.groups):
        for j, field in enumerate(group.fields):
            place = ("groups", i, "fields", j)
            if (field.type == "choice") != bool(field.options):
                yield (*place, "type"), "expected options where the type is choice, and only there"
            if field.type == "file" and upload:
                yield (*place, "type"), "expected one field of type file in the whole form"
            upload = upload or field.type == "file"
        for name in set(group.one_of) - {field.id for field in group.fields}:
            yield ("groups", i, "one_of"), f"expected ids of this group's fields, not {name!r}"


def _references(form: Form) -> Iterator[tuple[_Place, str]]:
    groups = {group.id for group in form.groups}
    consents = {consent.id for consent in form.consents}
    for name in form.ask:
        if name not in groups:
            yield ("ask",), f"expected ids of groups, not {name!r}"
    for i, inquiry in enumerate(form.inquiries):
        for name in inquiry.ask:
            if name not in groups:
                yield ("inquiries", i, "ask"), f"expected ids of groups, not {name!r}"
        for name in inquiry.consents:
            if name not in consents:
                yield ("inquiries", i, "consents"), f"expected ids of consents, not {name!r}"
        if not form.asked(inquiry.id):
            yield ("inquiries", i), "expected at least one group in ask, here or at the top"
    kinds: list[str | None] = [inquiry.id for inquiry in form.inquiries] or [None]
    asked = {group.id for kind in kinds for group in form.asked(kind)}
    for i, group in enumerate(form.groups):
        if group.id not in asked:
            yield ("groups", i, "id"), f"{group.id!r} is never asked; expected it in an ask"


def _costs(form: Form) -> Iterator[tuple[_Place, str]]:
    if form.cost is None:
        return
    kinds = [inquiry.id for inquiry in form.inquiries]
    if not kinds:
        yield ("cost",), "expected inquiries, whose cost this tells"
    classes = {one.id for one in form.cost.classes}
    for i, package in enumerate(form.cost.packages):
        place = ("cost", "packages", i, "costs")
        for kind, name in package.costs.items():
            if kind not in kinds:
                yield (*place, kind), f"expected ids of inquiries, not {kind!r}"
            if name not in classes:
                yield (*place, kind), f"expected the id of a cost class, not {name!r}"
        for kind in kinds:
            if kind not in package.costs:
                yield place, f"expected a cost class for {kind!r}"
