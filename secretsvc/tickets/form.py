"""A request form: what it asks, what must be ticked, and what its answers are.  Knows nothing of pages.

What is typed into the fields is sealed.  Product, kind of inquiry, ticks and cost stay outside the sealed part:
they are the ``Facts``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

from msgspec import Meta

from ..envelope import b64
from ..errors import N_, Invalid
from .formparts import (
    MISSING,
    MISSING_CHOICE,
    MISSING_TICK,
    NOT_ASKED,
    NOT_OFFERED,
    ONE_LINE,
    ONE_OF,
    TOO_LONG,
    Consent,
    Cost,
    CostClass,
    Facts,
    Field,
    Group,
    Id,
    Inquiry,
    Language,
    Line,
    Package,
    Part,
    Product,
    Text,
    Upload,
    fault_of,
    fault_of_file,
    said,
)

__all__ = ["Facts", "Form", "Language", "Upload"]


class Form(Part, frozen=True, kw_only=True):
    """A form as its file describes it; ``name`` is the file's.

    Attributes:
        version: changes with the texts, and is kept beside each answer.
        ask: groups that are always asked; without kinds of inquiry and without ``ask``, all.
        identity: whether the form shows how it was made sure who the customer is.
    """

    name: str
    version: Line
    title: Text
    intro: Text
    identity: bool = False
    product: Product | None = None
    ask: tuple[Id, ...] = ()
    inquiries: Annotated[tuple[Inquiry, ...], Meta(max_length=50)] = ()
    groups: Annotated[tuple[Group, ...], Meta(min_length=1, max_length=50)]
    consents: Annotated[tuple[Consent, ...], Meta(max_length=20)] = ()
    cost: Cost | None = None

    # --- showing

    def shown(self, language: Language, package: str | None = None) -> dict[str, Any]:
        """The form for a page or a program, ready for JSON.

        ``inquiries[].ask`` and ``.consents`` list everything that goes with a kind.  ``cost.packages`` holds
        the ticket's package alone, or all to pick from while ``cost.package`` is None.

        Args:
            package: what the ticket says; one that the form does not know counts as none.
        """
        inquiries = [
            {
                "id": inquiry.id,
                "label": inquiry.label.of(language),
                "ask": [group.id for group in self.asked(inquiry.id)],
                "consents": [consent.id for consent in self.due(inquiry.id)],
            }
            for inquiry in self.inquiries
        ]
        consents = [
            {"id": consent.id, "text": consent.text.of(language), "required": consent.required}
            for consent in self.consents
        ]
        return {
            "name": self.name,
            "version": self.version,
            "language": language,
            "title": self.title.of(language),
            "intro": self.intro.of(language),
            "identity": self.identity,
            "product": self._product(language),
            "groups": [group.shown(language) for group in self.groups],
            "inquiries": inquiries,
            "consents": consents,
            "cost": self._cost(language, package),
        }

    def _product(self, language: Language) -> dict[str, Any] | None:
        if self.product is None:
            return None
        texts = {"label": self.product.label.of(language), "help": said(self.product.help, language)}
        return texts | {"max": 200, "options": [option.shown(language) for option in self.product.options]}

    def _cost(self, language: Language, package: str | None) -> dict[str, Any] | None:
        if self.cost is None:
            return None
        known = self.package(package)
        texts = {
            one.id: {"id": one.id, "text": one.text.of(language), "charged": one.charged}
            for one in self.cost.classes
        }
        packages = [
            {
                "id": each.id,
                "label": each.label.of(language),
                "costs": {inquiry: texts[name] for inquiry, name in each.costs.items()},
            }
            for each in self.cost.packages
            if known in (None, each)
        ]
        return {"package": known.id if known else None, "packages": packages}

    def rows(self, language: Language) -> list[dict[str, Any]]:
        """Every field an answer can hold, in the form's order: ``{id, label, type, options}``.

        A label that stands in several groups has its group's title in front.  The answer of a ``file`` is two
        entries, ``<id>.name`` and ``<id>.base64``.
        """
        labels = [field.label.of(language) for group in self.groups for field in group.fields]
        return [
            {
                "id": id,
                "label": label if labels.count(label) == 1 else f"{group.title.of(language)}: {label}",
                "type": field.type,
                "options": [option.shown(language) for option in field.options],
            }
            for group, id, field in self._fields(self.groups)
            for label in [field.label.of(language)]
        ]

    def labels(self, language: Language) -> dict[str, str]:
        """What the fields are called, by their ids and in the form's order."""
        return {row["id"]: row["label"] for row in self.rows(language)}

    def asks_for(self, inquiry: str | None, language: Language) -> list[str]:
        """What the fields of one kind of inquiry are called, for notes; nothing of what they hold."""
        labels = self.labels(language)
        return [labels[id] for _, id, _ in self._fields(self.asked(inquiry))]

    def told(self, facts: Facts, package: str | None, language: Language) -> dict[str, Any]:
        """What was said outside the sealed part, in words, for agents; ready for JSON.

        Whatever the form no longer knows, changed since, is told by its id.  Kinds' ticks that were not made
        are told as well: an optional note that stays empty is an answer.

        Args:
            package: what the ticket said at that time.
        """
        options = {option.id: option.label for option in self.product.options} if self.product else {}
        kinds = {kind.id: kind.label for kind in self.inquiries}
        ticks = {consent.id: consent.text.of(language) for consent in self.due(facts.inquiry)}
        known = self.package(package) or self.package(facts.package)
        cost = self.cost_class(facts.inquiry, known.id if known else None)
        return {
            "product": _named(options, facts.product, language),
            "inquiry": _named(kinds, facts.inquiry, language),
            "consents": [
                {"id": id, "text": ticks.get(id, id), "ticked": id in facts.consents}
                for id in dict.fromkeys([*ticks, *facts.consents])
            ],
            "package": known.label.of(language) if known else facts.package,
            "cost": cost.text.of(language) if cost else None,
            "cost_accepted": facts.cost_accepted,
        }

    # --- what goes with a kind of inquiry

    def asked(self, inquiry: str | None) -> list[Group]:
        """The groups of fields for a kind of inquiry, in the form's order."""
        own = [id for kind in self.inquiries if kind.id == inquiry for id in kind.ask]
        everything = not self.inquiries and not self.ask
        return [group for group in self.groups if everything or group.id in self.ask or group.id in own]

    def due(self, inquiry: str | None) -> list[Consent]:
        """The ticks for a kind of inquiry, those that are not required among them."""
        claimed = {id for kind in self.inquiries for id in kind.consents}
        own = {id for kind in self.inquiries if kind.id == inquiry for id in kind.consents}
        return [consent for consent in self.consents if consent.id in own or consent.id not in claimed]

    def package(self, id: str | None) -> Package | None:
        """The package of this id, if the form knows it."""
        return next((each for each in self.cost.packages if each.id == id), None) if self.cost else None

    def cost_class(self, inquiry: str | None, package: str | None) -> CostClass | None:
        """What such a job costs; None where the form says nothing of cost, or not of these."""
        known = self.package(package)
        if self.cost is None or known is None:
            return None
        wanted = known.costs.get(inquiry or "")
        return next((each for each in self.cost.classes if each.id == wanted), None)

    def _fields(self, groups: Iterable[Group]) -> Iterator[tuple[Group, str, Field]]:
        for group in groups:
            for field in group.fields:
                yield group, f"{group.id}.{field.id}", field

    # --- judging

    def check_facts(self, facts: Facts, package: str | None = None) -> None:
        """Judge what an answer says outside its sealed part.

        Args:
            package: what the ticket says; the customer picks one where the form does not know it.

        Raises:
            Invalid: naming everything that is missing or unknown at once: ``product``, ``inquiry``,
                ``consents.<id>``, ``package``, ``cost_accepted``.  Of the caller's input nothing is repeated.
        """
        wrong = [*self._choices(facts), *self._ticks(facts), *self._costs(facts, package)]
        if wrong:
            raise Invalid(*wrong)

    def _choices(self, facts: Facts) -> Iterator[tuple[str, str]]:
        if self.product is None:
            if facts.product is not None:
                yield "product", NOT_ASKED
        elif not (facts.product or "").strip():
            yield "product", MISSING_CHOICE if self.product.options else MISSING
        elif self.product.options and facts.product not in {option.id for option in self.product.options}:
            yield "product", NOT_OFFERED
        elif len(facts.product or "") > 200:
            yield "product", TOO_LONG
        elif not (facts.product or "").isprintable():
            yield "product", ONE_LINE
        if not self.inquiries:
            if facts.inquiry is not None:
                yield "inquiry", NOT_ASKED
        elif not facts.inquiry:
            yield "inquiry", MISSING_CHOICE
        elif not self._knows(facts.inquiry):
            yield "inquiry", NOT_OFFERED

    def _knows(self, inquiry: str | None) -> bool:
        return any(kind.id == inquiry for kind in self.inquiries)

    def _ticks(self, facts: Facts) -> Iterator[tuple[str, str]]:
        due = self.due(facts.inquiry)
        for consent in due:
            if consent.required and consent.id not in facts.consents:
                yield f"consents.{consent.id}", MISSING_TICK
        if len(set(facts.consents)) < len(facts.consents):
            yield "consents", N_("Each of them once.")
        allowed = {consent.id for consent in (due if self._knows(facts.inquiry) else self.consents)}
        if not allowed.issuperset(facts.consents):
            yield "consents", NOT_ASKED

    def _costs(self, facts: Facts, package: str | None) -> Iterator[tuple[str, str]]:
        if self.cost is None:
            yield from [("package", NOT_ASKED)] if facts.package is not None else []
            yield from [("cost_accepted", NOT_ASKED)] if facts.cost_accepted is not None else []
            return
        known = self.package(package)
        if known is not None and facts.package not in (None, known.id):
            yield "package", N_("The ticket names another package.")
        elif known is None and not facts.package:
            yield "package", MISSING_CHOICE
        elif known is None and self.package(facts.package) is None:
            yield "package", NOT_OFFERED
        cost = self.cost_class(facts.inquiry, known.id if known else facts.package)
        if cost is not None and cost.charged and not facts.cost_accepted:
            yield "cost_accepted", N_("Please accept the cost note: this job is charged.")

    # --- answering where there is no script

    def answers(
        self, inquiry: str | None, values: Mapping[str, str], file: Upload | None = None
    ) -> list[tuple[str, str]]:
        """What is to be sealed, in the form's order, from what was typed; empty fields are left out.

        Line ends become ``\\n``.  A file becomes ``<id>.name`` and ``<id>.base64`` (base64url without padding).

        Args:
            inquiry: the kind, as ``check_facts`` has passed it.
            values: by field id.

        Raises:
            Invalid: naming each field that is missing, too long or not asked, and never what it holds.
        """
        found: list[tuple[str, str]] = []
        wrong: list[tuple[str, str]] = []
        groups = self.asked(inquiry)
        for _, id, field in self._fields(groups):
            given = file is not None if field.type == "file" else bool(values.get(id, "").strip())
            if not given:
                wrong += [(id, MISSING_CHOICE if field.type == "choice" else MISSING)] if field.required else []
            elif field.type == "file" and file is not None:
                wrong += [(id, fault)] if (fault := fault_of_file(field, file)) else []
                found += [(f"{id}.name", file.name), (f"{id}.base64", b64(file.content))]
            else:
                value = values[id].replace("\r\n", "\n").replace("\r", "\n")
                value = value if field.type in ("password", "text") else value.strip()
                wrong += [(id, fault)] if (fault := fault_of(field, value)) else []
                found.append((id, value))
        wrong += self._left_over(groups, values, file) + self._one_of(groups, {id for id, _ in found})
        if wrong:
            raise Invalid(*wrong)
        return found

    def _one_of(self, groups: list[Group], found: set[str]) -> list[tuple[str, str]]:
        given = found | {id.removesuffix(".base64") for id in found}
        wrong = []
        for group in groups:
            ids = [f"{group.id}.{id}" for id in group.one_of]
            if ids and not given.intersection(ids):
                wrong.append((ids[0], ONE_OF))
        return wrong

    def _left_over(
        self, groups: list[Group], values: Mapping[str, str], file: Upload | None
    ) -> list[tuple[str, str]]:
        asked = {id for _, id, _ in self._fields(groups)}
        known = {id for _, id, _ in self._fields(self.groups)}
        given = {id for id, value in values.items() if value.strip()}
        wrong = [(id if id in known else "fields", NOT_ASKED) for id in sorted(given - asked)]
        if file is not None and not any(field.type == "file" for _, _, field in self._fields(groups)):
            wrong.append(("file", NOT_ASKED))
        return wrong


def _named(names: Mapping[str, Text], id: str | None, language: Language) -> str | None:
    return names[id].of(language) if id is not None and id in names else id
