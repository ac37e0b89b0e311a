"""The page on which a customer answers a request.

With script the browser seals.  Without, the server does, and says so: it sees the request link, which reads
nothing, shows the form a step at a time, and keeps nothing readable.  curl answers what asks for a text or a
file.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from flask import Blueprint, g, render_template
from werkzeug.wrappers import Response as AnyResponse

from ... import serverside
from ...envelope import Payload, RequestLink, read_request_link
from ...errors import (
    N_,
    BadRequestLink,
    Conflict,
    Damaged,
    Ended,
    Invalid,
    SecretsvcError,
    TooLarge,
    Unavailable,
)
from ...model import Look, View
from ...web import problems
from ...web.application import Response
from ...web.bodies import Part, read_form, text_of
from ...web.language import asked as language_asked
from ...web.pages import ALTERED, altered, payload_of, plain_text, prepared, refuse_other_sites
from ...web.service import service
from ..form import Form
from ..model import Reference
from .module import module
from .sheet import MAX_PARTS, NAMES, PREFIXES, Sheet, is_simple

answering = Blueprint("answering", __name__)
answering.before_request(refuse_other_sites)

HOW_TO_ANSWER = """\
Somebody asks you for a secret. Hand it in with the whole request link:

    curl -F 'link=<link' -F 'secret=<-' {url}/r < file

Here the server seals it. To keep it from the server, use the page in a browser.
A request for more than a text or a file is answered in a browser.
"""
ASKS_FOR_MORE = N_("This request has a form with several fields: open its link in a browser and fill it in.")


@answering.get("/r")
def request_page() -> Response:
    """The page to answer a request on, or for curl how."""
    if not problems.wants_page():
        return plain_text(HOW_TO_ANSWER.format(url=service().settings.base_url))
    return prepared("request.html")


@answering.get("/r#<path:rest>")
@answering.get("/r%23<path:rest>")
def altered_link(rest: str) -> tuple[Response, int]:
    """A mail program made ``%23`` of ``#``.  The script repairs that; without one the reader has to."""
    if not problems.wants_page():
        raise Damaged(ALTERED)
    return prepared("request.html", altered), 400


@answering.post("/r")
def answer_request() -> AnyResponse | str | tuple[str, int]:
    """Show what is asked, or seal the answer to it here, for those who cannot."""
    given = read_form(
        "link", "secret", "file", "plain", "newlines", *NAMES, prefixes=PREFIXES, max_parts=MAX_PARTS
    )
    browser = "plain" not in given and problems.wants_page()
    asked = _link(text_of(given, "link"))
    look = service().vault.look(asked.id, asked.answer_token(), "answerer")
    if browser and look.receipt.language and not language_asked():
        g.language = look.receipt.language
    try:
        form = module().form_of(look.receipt)
        if form is None or is_simple(form):
            return _simple(given, asked, look, browser=browser)
        return _sheet(form, given, asked, look, browser=browser)
    except (Conflict, Ended) as error:
        if not browser:
            raise
        return _over(error)


def _simple(
    given: dict[str, Part], asked: RequestLink, look: Look, *, browser: bool
) -> AnyResponse | str | tuple[str, int]:
    """A text or a file, as it is."""
    if browser and not {"secret", "file"} & given.keys():
        return _form(given, look)
    try:
        return _hand_in(payload_of(given), {"consents": []}, asked, look, browser=browser)
    except (Invalid, TooLarge, Unavailable) as error:
        if not browser:
            raise
        return _again(error, _form(given, look, error))


def _sheet(
    form: Form, given: dict[str, Part], asked: RequestLink, look: Look, *, browser: bool
) -> AnyResponse | str | tuple[str, int]:
    """A form, a step at a time."""
    here = module()
    if not browser and not any(name.startswith(PREFIXES) for name in given):
        raise Invalid(("secret", ASKS_FOR_MORE))
    sheet = Sheet(form, here.package_of(look.receipt), given)
    if browser and (sheet.wants_kind or text_of(given, "step") != "hand-in"):
        return _form(given, look, sheet=sheet)
    try:
        payload, _ = sheet.judged(lambda said: here.facts(look, said))
        return _hand_in(payload, sheet.facts(), asked, look, browser=browser)
    except (Invalid, TooLarge, Unavailable) as error:
        if not browser:
            raise
        return _again(error, _form(given, look, error, sheet=sheet))


def _hand_in(
    payload: Payload, said: dict[str, Any], asked: RequestLink, look: Look, *, browser: bool
) -> Response | tuple[str, int]:
    here = service()
    facts = msgspec.json.encode(module().facts(look, said)).decode()
    limit = here.settings.max_secret_bytes
    view = serverside.answer(here.vault, look, asked, payload, max_bytes=limit, facts=facts)
    if not browser:
        return plain_text("Handed in.\n", 201)
    return render_template("handed_in.html", now=time.time(), **told(look, view)), 201


def told(look: Look, view: View | None = None) -> dict[str, Any]:
    """Who asks, and for what: for the page, beside the form."""
    here, receipt = module(), look.receipt
    view = view or here.tickets.vault.state(look)
    ticket, link = Reference.of(receipt.label), here.link_of(look)
    return {
        "ticket": ticket.number if ticket else receipt.label,
        "organisation": here.tickets.store.read(ticket).facts.organisation if ticket else None,
        "asked_by": link.by if link else None,
        "checked": link.identity if link else None,
        "state": view.state,
        "expires_at": view.expires_at,
    }


# --- pages ---------------------------------------------------------------------------------------------


def _form(
    given: dict[str, Part], look: Look, error: SecretsvcError | None = None, *, sheet: Sheet | None = None
) -> str:
    """The form of a request that waits for its answer.

    Raises:
        Ended, Conflict: it does not.
    """
    here, about = module(), told(look)
    if about["state"] in ("sealed", "opened"):
        raise Conflict(N_("This request has been answered already."))
    if about["state"] != "waiting":
        here.tickets.vault.ends.truth(look)
    form = here.form_of(look.receipt)
    invalid = error if isinstance(error, Invalid) else None
    language_form = sheet.shown(invalid) if sheet else form and Sheet(form, None, {}).shown()
    return render_template(
        "answer.html",
        link=text_of(given, "link").strip(),
        form=language_form,
        simple=sheet is None,
        wants_kind=sheet.wants_kind if sheet else False,
        sentences=problems.sentences(error) if error and (not sheet or not invalid) else [],
        **about,
    )


def _again(error: SecretsvcError, page: str) -> AnyResponse:
    """The form once more, with the status and the headers of what was wrong."""
    response = problems.line(error)
    response.set_data(page)
    response.mimetype = "text/html"
    return response


def _over(error: SecretsvcError) -> AnyResponse:
    """A request that takes no answer any more."""
    response = problems.line(error)
    response.set_data(render_template("request_over.html", answered=isinstance(error, Conflict)))
    response.mimetype = "text/html"
    return response


def _link(text: str) -> RequestLink:
    try:
        return read_request_link(text)
    except BadRequestLink as error:
        raise Damaged(error.detail, field="link") from None
