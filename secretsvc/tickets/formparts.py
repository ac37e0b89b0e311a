"""What request forms are made of: texts, fields, groups, ticks, costs, as their files write them.

Also what can be wrong with one value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..errors import N_, BadHeader
from ..payload import Masked, Payload

Language = Literal["de", "en"]
Id = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$(?!\n)")]
Line = Annotated[str, Meta(min_length=1, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
FieldType = Literal["line", "text", "password", "file", "choice"]
# Characters, for files bytes.
LONGEST: Mapping[FieldType, int] = {"line": 255, "text": 10_000, "password": 1024, "file": 65_536, "choice": 32}
MISSING = N_("Please fill this in.")
MISSING_CHOICE = N_("Please choose.")
MISSING_TICK = N_("Please tick this: without it we cannot begin.")
ONE_OF = N_("Please fill in at least one of these.")
TOO_LONG = N_("This is too long.")
NOT_OFFERED = N_("This is not among the choices.")
NOT_ASKED = N_("This form does not ask for that.")
ONE_LINE = N_("Only one line here, without control characters.")


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a form's file: read-only, and nothing in it goes unnoticed."""


class Text(Part, frozen=True, kw_only=True):
    """A text in both languages."""

    de: Annotated[str, Meta(min_length=1)]
    en: Annotated[str, Meta(min_length=1)]

    def of(self, language: Language) -> str:
        """The text in one language, without white space around it."""
        return (self.de if language == "de" else self.en).strip()


class Option(Part, frozen=True, kw_only=True):
    """One of several to choose from."""

    id: Id
    label: Text

    def shown(self, language: Language) -> dict[str, str]:
        """Ready for JSON."""
        return {"id": self.id, "label": self.label.of(language)}


class Field(Part, frozen=True, kw_only=True):
    """One thing to fill in.

    Attributes:
        type: ``line``, ``text`` for several lines, ``password``, ``file``, or ``choice`` among ``options``.
        max: the most characters; of a file, bytes.  Without one, what ``LONGEST`` says.
    """

    id: Id
    label: Text
    type: FieldType = "line"
    help: Text | None = None
    required: bool = False
    max: Annotated[int, Meta(ge=1, le=2**20)] | None = None
    options: tuple[Option, ...] = ()

    @property
    def longest(self) -> int:
        """The most characters; of a file, bytes."""
        return self.max or LONGEST[self.type]


class Group(Part, frozen=True, kw_only=True):
    """Fields that are asked together.

    Attributes:
        one_of: ids of fields of which at least one must be filled in.
    """

    id: Id
    title: Text
    help: Text | None = None
    one_of: tuple[Id, ...] = ()
    fields: Annotated[tuple[Field, ...], Meta(min_length=1, max_length=30)]

    def shown(self, language: Language) -> dict[str, Any]:
        """Ready for JSON; fields by the ids they have in answers."""
        fields: list[dict[str, Any]] = []
        for field in self.fields:
            told: dict[str, Any] = {
                "id": f"{self.id}.{field.id}",
                "label": field.label.of(language),
                "type": field.type,
            }
            told |= {"help": said(field.help, language), "required": field.required, "max": field.longest}
            fields.append(told | {"options": [option.shown(language) for option in field.options]})
        one_of = [f"{self.id}.{id}" for id in self.one_of]
        texts = {"title": self.title.of(language), "help": said(self.help, language)}
        return {"id": self.id, **texts, "one_of": one_of, "fields": fields}


class Inquiry(Part, frozen=True, kw_only=True):
    """A kind of inquiry.

    Attributes:
        ask: groups asked besides those that are always asked.
        consents: ticks that belong to this kind; a tick that no kind names belongs to all.
    """

    id: Id
    label: Text
    ask: tuple[Id, ...] = ()
    consents: tuple[Id, ...] = ()


class Product(Part, frozen=True, kw_only=True):
    """What it is about: a choice, or without options a line to be typed."""

    label: Text
    help: Text | None = None
    options: tuple[Option, ...] = ()


class Consent(Part, frozen=True, kw_only=True):
    """A note to tick; one that is not required stands apart."""

    id: Id
    text: Text
    required: bool = True


class CostClass(Part, frozen=True, kw_only=True):
    """What a job costs, in words; what is charged has to be accepted."""

    id: Id
    text: Text
    charged: bool = True


class Package(Part, frozen=True, kw_only=True):
    """A service package, with the cost class of each kind of inquiry."""

    id: Id
    label: Text
    costs: dict[str, Id]


class Cost(Part, frozen=True, kw_only=True):
    """Cost notes by package and kind of inquiry."""

    classes: Annotated[tuple[CostClass, ...], Meta(min_length=1)]
    packages: Annotated[tuple[Package, ...], Meta(min_length=1)]


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an answer says outside its sealed part.

    Attributes:
        consents: ids of what was ticked.
        package: as picked by the customer, where the ticket names none that the form knows.
    """

    consents: list[str]
    cost_accepted: bool | None = None
    inquiry: str | None = None
    product: str | None = None
    package: str | None = None


class Upload(Masked):
    """A file that was handed in, with the name its sender gave it."""

    __slots__ = ("content", "name")

    def __init__(self, name: str, content: bytes) -> None:
        self.name, self.content = name, content


def said(text: Text | None, language: Language) -> str:
    """A text that may be absent."""
    return text.of(language) if text else ""


def fault_of(field: Field, value: str) -> str | None:
    """What is wrong with what was typed into a field, if anything."""
    if len(value) > field.longest:
        return TOO_LONG
    if field.type == "choice":
        return None if value in {option.id for option in field.options} else NOT_OFFERED
    if any("\ud800" <= character <= "\udfff" for character in value):
        return N_("This holds a character that cannot be written.")
    if field.type != "text" and any(character < " " or "\x7f" <= character <= "\x9f" for character in value):
        return ONE_LINE
    return None


def fault_of_file(field: Field, file: Upload) -> str | None:
    """What is wrong with a file, if anything."""
    if len(file.content) > field.longest:
        return N_("This file is too large.")
    try:
        Payload(b"", name=file.name)
    except BadHeader:
        return N_("The name of this file is not allowed: please give it another.")
    return None
