"""The page on which a signed-in customer hands something in without being asked.

The pick-up link goes through this server into a note for support: so it could read what is handed in, with
script too, and the page says so.
"""

from __future__ import annotations

import secrets
import time
from urllib.parse import urlencode

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from ... import envelope as format
from ...envelope import Payload
from ...errors import (
    N_,
    Conflict,
    Damaged,
    Forbidden,
    Invalid,
    SecretsvcError,
    TicketGone,
    TooLarge,
    Unavailable,
)
from ...tokens import Person
from ...web import problems
from ...web.bodies import Part, idempotency_key, read_form, text_of
from ...web.language import gettext, here
from ...web.pages import plain_text
from ...web.service import service
from ..form import Form
from ..orders import Order, Placed
from .api import current_language
from .module import may_order, module
from .session import refuse_other_sites
from .sheet import MAX_PARTS, NAMES, PREFIXES, Facts, Sheet
from .signin import PAGE as SIGN_IN

ordering = Blueprint("ordering", __name__)
ordering.before_request(refuse_other_sites)

PAGE = "/desk/order"
FOR_PEOPLE = N_("Orders are placed in a browser, by signed-in customers. Programs use POST /api/v1/orders.")
HANDED_IN_BEFORE = N_("This order was handed in before; what you sent now was not added to it.")


@ordering.get(PAGE)
def order_page() -> AnyResponse | str:
    """Choose a form, then fill it in."""
    if not problems.wants_page():
        return plain_text(gettext(FOR_PEOPLE) + "\n")
    person = service().caller()
    if person is None:
        wanted = request.full_path.rstrip("?")
        return redirect(f"{SIGN_IN}?{urlencode({'next': wanted})}", 303)
    refuse(person)
    desk, name = module(), request.args.get("form", "")
    if not name:
        return render_template("order.html", switchable=True, forms=desk.forms.titles(current_language()))
    return _page(person, Sheet(_form(name), None, {}), key=secrets.token_urlsafe(32))


@ordering.post(PAGE)
def order() -> AnyResponse | str | tuple[str, int]:
    """The next step where no script runs, and in the end the order."""
    person = service().caller()
    if person is None:
        raise Forbidden(N_("Your session has ended. Go back, sign in in another tab, and send it once more."))
    refuse(person)
    names = ("form", "organisation", "idempotency_key", *NAMES)
    given = read_form(*names, prefixes=PREFIXES, max_parts=MAX_PARTS)
    form = _form(text_of(given, "form"))
    key = idempotency_key(text_of(given, "idempotency_key"))
    if key is None:  # pragma: no cover - a text is judged, not passed over
        raise Damaged(field="idempotency_key")
    sheet = Sheet(form, None, given)
    if sheet.wants_kind or text_of(given, "step") != "hand-in":
        return _page(person, sheet, key=key)
    try:
        placed = _place(person, sheet, key)
    except Conflict:
        ticket = module().orders.placed(person, key)
        sentence = gettext(HANDED_IN_BEFORE)
        return render_template("ordered.html", ticket=ticket, sentence=sentence), 409
    except (Invalid, TooLarge, Unavailable) as error:
        response = problems.line(error)
        response.set_data(_page(person, sheet, error, key=key))
        response.mimetype = "text/html"
        return response
    return render_template(
        "ordered.html", ticket=placed.ticket.number, expires_at=placed.expires_at, now=time.time()
    ), 201


def refuse(person: Person) -> None:
    """Turn away whoever cannot order here, whatever they would choose.

    Raises:
        Forbidden: saying why.
    """
    module().orders.allowed(person, next(iter(person.organisations), None))


def _place(person: Person, sheet: Sheet, key: str) -> Placed:
    """Seal it here, and hand it in.

    The link key comes from the master key and the form's own key, so that the same page sent twice makes one
    request and one note.  After a change of the master key in between there would be two notes, one of them
    leading to nothing; the ticket stays one.
    """
    here, desk = service(), module()
    organisation = text_of(sheet.given, "organisation") or None
    payload, facts = _judged(person, organisation, sheet)
    if len(payload.content) > here.settings.max_secret_bytes:
        raise TooLarge(here.settings.max_secret_bytes, field="secret")
    keyring = here.vault.keyring
    may_order()
    return desk.orders.place(
        person,
        Order(
            key=keyring.derive(keyring.newest, b"order", key.encode(), person.id.encode()),
            idempotency_key=key,
            form=sheet.form.name,
            title=sheet.form.title.of(desk.orders.language),
            organisation=organisation,
            envelope=lambda link: format.seal_answer(link, payload),
            facts=facts,
            language=current_language(),
        ),
    )


def _judged(person: Person, organisation: str | None, sheet: Sheet) -> tuple[Payload, Facts]:
    """All that is wrong with it at once, the organisation too."""
    desk = module()
    wrong: list[tuple[str, str]] = []
    try:
        desk.orders.allowed(person, organisation)
    except Invalid as error:
        wrong += error.errors
    try:
        found = sheet.judged(lambda said: desk.order_facts(sheet.form, said))
    except Invalid as error:
        raise Invalid(*wrong, *error.errors) from None
    if wrong:
        raise Invalid(*wrong)
    return found


def _form(name: str) -> Form:
    forms = module().forms
    if name not in forms:
        raise TicketGone(N_("There is no form of this name here."))
    return forms[name]


def _page(person: Person, sheet: Sheet, error: SecretsvcError | None = None, *, key: str) -> str:
    invalid = error if isinstance(error, Invalid) else None
    return render_template(
        "order.html",
        switchable=request.method == "GET",
        form=sheet.shown(invalid),
        organisations=person.organisations,
        chosen=_chosen(person, sheet.given),
        key=key,
        wants_kind=sheet.wants_kind,
        posted=request.method == "POST",
        sentences=problems.sentences(error) if error and not invalid else [],
        back=here(PAGE),
    )


def _chosen(person: Person, given: dict[str, Part]) -> str:
    """The organisation that goes with it: chosen, or the only one there is."""
    chosen = text_of(given, "organisation")
    if not chosen and len(person.organisations) == 1:
        return person.organisations[0]
    return chosen if chosen in person.organisations else ""
