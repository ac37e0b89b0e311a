"""The ticket module as the web finds it, and what it says to calls of the core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from flask import current_app, request

from ...envelope import b64
from ...errors import N_, Forbidden, Invalid, Unauthorized
from ...model import Look, Receipt
from ...tokens import Person
from ...web.service import service
from ..config import Config
from ..forms import Facts, Form, Forms
from ..links import Link
from ..model import Reference
from ..notifier import Notifier
from ..orders import Orders
from ..service import Tickets


@dataclass(frozen=True)
class Module:
    """One running ticket module: made by ``app``, read by its views."""

    config: Config
    tickets: Tickets
    forms: Forms
    orders: Orders
    notifier: Notifier
    session: Callable[[], Person | None]

    # --- web.service.Desks

    def signed_in(self) -> Person | None:
        """Whose session the request at hand belongs to, if it comes from our own pages."""
        return self.session()

    def covers(self, person: Person, label: str | None) -> bool:
        """Whether they are staff where this label belongs."""
        ticket = Reference.of(label)
        return person.agent if ticket is None else person.works_at(ticket.desk)

    def check_form(self, name: str) -> None:
        """Refuse a form that nobody knows.

        Raises:
            Invalid: naming the field.
        """
        if name not in self.forms:
            raise Invalid(("form", N_("There is no form of this name here.")))

    def facts(self, look: Look, said: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is kept of an answer outside its sealed part.

        Raises:
            Invalid: naming everything that the form misses.
        """
        form = self.form_of(look.receipt)
        if form is None:
            return said
        link = self.link_of(look)
        if look.receipt.state == "waiting":  # else it is told what has become of the request
            form.check_facts(msgspec.convert(said, Facts), self.package_of(look.receipt))
        return _kept(form, said, link.identity if link else None)

    def order_facts(self, form: Form, said: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same of an order, whose customer has signed in.

        Raises:
            Invalid: naming everything that the form misses.
        """
        form.check_facts(msgspec.convert(said, Facts), None)
        return _kept(form, said, "signed-in")

    # --- for the views

    def form_of(self, receipt: Receipt) -> Form | None:
        """The form of a request; None where it is not known here any more."""
        return self.forms.get(receipt.form or "")

    def package_of(self, receipt: Receipt) -> str | None:
        """The package that the request's ticket names, as the forms call it."""
        ticket = Reference.of(receipt.label)
        if ticket is None or ticket.desk not in self.tickets.desks:
            return None
        found = self.tickets.store.read(ticket).facts.package
        return self.config.desks[ticket.desk].packages.get(found or "", found)

    def link_of(self, look: Look) -> Link | None:
        """What is kept of the link of a secret with a ticket's label."""
        ticket = Reference.of(look.receipt.label)
        if ticket is None:
            return None
        return self.tickets.store.read(ticket).links.get(b64(look.id))

    def person(self) -> Person:
        """Who is asking.

        Raises:
            Unauthorized: nobody has signed in, and no API token came along.
        """
        found = service().caller()
        if found is None:
            raise Unauthorized(N_("Please sign in first, or send an API token in X-API-Key."))
        return found


def _kept(form: Form, said: Mapping[str, Any], identity: str | None) -> Mapping[str, Any]:
    kept = {**said, "form": form.name, "version": form.version}
    return kept if identity is None else {**kept, "identity": identity}


def module() -> Module:
    """The ticket module of the request at hand."""
    return cast(Module, current_app.extensions["secretsvc.tickets"])


def may_order() -> None:
    """Count an order against its address's limit, where anything is created at all.

    Raises:
        Forbidden, RateLimited: not here, or not now.
    """
    here = service()
    if here.settings.create == "nobody":
        raise Forbidden(N_("Nothing can be created here: this service only opens links."))
    here.limits.create(request.remote_addr, here.size())
