"""A form filled in on a page without script: what was posted of it, what is wrong with that, what it shows.

The server sees here what is typed.  It seals it at once and sends back nothing of what may be secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...envelope import Payload, write_answers
from ...errors import N_, Invalid
from ...web.bodies import Part, text_of
from ...web.language import current, gettext
from ..form import Form, Language
from ..formparts import Upload

# Fields of a page, beside those that each page has of its own: "field.<group>.<field>", "consents.<id>".
NAMES = ("step", "inquiry", "product", "package", "cost_accepted")
PREFIXES = ("field.", "consents.")
MAX_PARTS = 2000
LABELS = {
    "organisation": N_("For whom is this?"),
    "inquiry": N_("What is it about?"),
    "package": N_("Your service package"),
    "cost_accepted": N_("Cost"),
    "consents": N_("Please confirm"),
}

Facts = Mapping[str, Any]


def is_simple(form: Form) -> bool:
    """Whether a text or a file, as it is, answers a form: it asks for nothing else."""
    types = [field.type for group in form.groups for field in group.fields]
    choices = (form.product, form.inquiries, form.consents, form.cost, form.identity)
    return not any(choices) and len(set(types)) == len(types) and {"text", "file"}.issuperset(types)


@dataclass(frozen=True)
class Sheet:
    """What was posted of one form; ``package`` is what the ticket says."""

    form: Form
    package: str | None
    given: dict[str, Part]

    @property
    def inquiry(self) -> str | None:
        """The kind of inquiry that was chosen."""
        return text_of(self.given, "inquiry") or None

    @property
    def wants_kind(self) -> bool:
        """Whether the kind of inquiry is chosen first, or once more."""
        kinds = {kind.id for kind in self.form.inquiries}
        return bool(kinds) and (text_of(self.given, "step") == "kind" or self.inquiry not in kinds)

    def facts(self) -> dict[str, Any]:
        """What is said outside the sealed part, as the API takes it."""
        ticked = [name.removeprefix("consents.") for name in self.given if name.startswith("consents.")]
        found: dict[str, Any] = {"consents": ticked}
        for name in ("inquiry", "product", "package"):
            if value := text_of(self.given, name).strip():
                found[name] = value
        if "cost_accepted" in self.given:
            found["cost_accepted"] = True
        return found

    def judged(self, check: Callable[[Facts], Facts]) -> tuple[Payload, Facts]:
        """What is to be sealed, and what stands beside it.

        Args:
            check: what is kept of the facts, or Invalid.

        Raises:
            Invalid: naming everything that is missing or wrong, in the form's order.
        """
        wrong: list[tuple[str, str]] = []
        facts: Facts = {}
        answers: list[tuple[str, str]] = []
        try:
            facts = check(self.facts())
        except Invalid as error:
            wrong += error.errors
        try:
            answers = self.form.answers(self.inquiry, self._values(), self._upload())
        except Invalid as error:
            wrong += error.errors
        if wrong:
            raise Invalid(*sorted(wrong, key=lambda fault: self._place(fault[0])))
        return write_answers(dict(answers)), facts

    def _values(self) -> dict[str, str]:
        return {
            name.removeprefix("field."): text_of(self.given, name)
            for name, part in self.given.items()
            if name.startswith("field.") and part.filename is None
        }

    def _upload(self) -> Upload | None:
        files = [part for part in self.given.values() if part.filename is not None]
        return Upload(files[0].filename or "", files[0].content) if files else None

    def _place(self, name: str) -> int:
        """Where on the page something stands that was complained of."""
        fields = [f"{group.id}.{field.id}" for group in self.form.groups for field in group.fields]
        order = ["organisation", "inquiry", "product", *fields, "file", "fields"]
        ticks = [f"consents.{consent.id}" for consent in self.form.consents]
        order += [*ticks, "consents", "package", "cost_accepted"]
        return order.index(name) if name in order else len(order)

    # --- showing

    def shown(self, error: Invalid | None = None) -> dict[str, Any]:
        """All that the page shows of the form, with what was entered but for secrets, and what is wrong."""
        language: Language = "de" if current() == "de" else "en"
        form = self.form.shown(language, self.package)
        asked = {group.id for group in self.form.asked(self.inquiry)}
        due = {consent.id for consent in self.form.due(self.inquiry)}
        kinds = {kind["id"]: kind["label"] for kind in form["inquiries"]}
        faults = {name: gettext(message) for name, message in (error.errors if error else ())}
        return form | {
            "inquiry": self.inquiry,
            "kind": kinds.get(self.inquiry or ""),
            "groups": [group for group in form["groups"] if group["id"] in asked],
            "consents": [consent for consent in form["consents"] if consent["id"] in due],
            "charged": any(cost["charged"] for cost in self._costs(form)),
            "values": self._kept(),
            "faults": faults,
            "summary": [(name, self._label(name, form), message) for name, message in faults.items()],
        }

    def _costs(self, form: Mapping[str, Any]) -> list[dict[str, Any]]:
        packages = form["cost"]["packages"] if form["cost"] else []
        return [each["costs"][self.inquiry] for each in packages if self.inquiry in each["costs"]]

    def _kept(self) -> dict[str, str]:
        """What goes back into the page: no password, and no text that stands for one."""
        secret = {
            f"field.{group.id}.{field.id}"
            for group in self.form.groups
            for field in group.fields
            if field.type == "password"
            or (field.id in group.one_of and {"password", "file"} & {each.type for each in group.fields})
        }
        return {
            name: text_of(self.given, name)
            for name, part in self.given.items()
            if name not in secret and part.filename is None and self._is_ours(name)
        }

    @staticmethod
    def _is_ours(name: str) -> bool:
        return (name in NAMES and name != "step") or name.startswith(PREFIXES)

    def _label(self, name: str, form: Mapping[str, Any]) -> str:
        labels = {f"{field['id']}": field["label"] for group in form["groups"] for field in group["fields"]}
        labels |= {f"consents.{consent['id']}": consent["text"] for consent in form["consents"]}
        labels |= {"product": form["product"]["label"]} if form["product"] else {}
        return labels.get(name) or gettext(LABELS.get(name, N_("This form")))
