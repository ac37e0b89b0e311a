"""The ticket module's part of the JSON API: each view parses, calls one function of the rules, and renders."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from flask import Blueprint, request
from msgspec import Meta

from ...errors import N_, Damaged, Invalid, TicketGone
from ...model import Look
from ...tokens import Person
from ...web.api import (
    FACTS,
    Envelope,
    ExpiresIn,
    Name,
    Nothing,
    Token,
    Word,
    answer_envelope,
    find,
    format_link_of,
)
from ...web.application import Response
from ...web.bodies import bytes_of, idempotency_key, link_key, read_json, whole_body
from ...web.language import current
from ...web.problems import rfc3339
from ...web.service import service
from .. import notes, texts
from ..forms import Facts, Form
from ..model import Note, Reference
from ..orders import Order
from ..service import Entry, Page
from .lists import listed
from .module import may_order, module

tickets_api = Blueprint("tickets_api", __name__)
API = "/api/v1"

Language = Literal["de", "en"]
Text = Annotated[str, Meta(min_length=1, max_length=20_000)]
Organisation = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]


class Choose(msgspec.Struct, forbid_unknown_fields=True):
    """The organisation that a ticket belongs to; null for nobody's but the requester's."""

    organisation: Organisation | None


class Follow(msgspec.Struct, forbid_unknown_fields=True):
    """An organisation to hear of, in which language; null to hear no more."""

    organisation: Organisation
    language: Language | None


class Reply(msgspec.Struct, forbid_unknown_fields=True):
    """A reply for the desk to send to the customer: here the link passes through the server."""

    text: Text


class PickUp(msgspec.Struct, forbid_unknown_fields=True):
    """A pick-up link for an internal note."""

    link: Annotated[str, Meta(max_length=2000)]


class NewOrder(msgspec.Struct, forbid_unknown_fields=True):
    """What a customer hands in unasked, sealed to a pick-up link made for it, whose key comes along."""

    key: Token
    form: Name
    envelope: Envelope
    consents: Annotated[list[Name], Meta(max_length=20)]
    expires_in: ExpiresIn = 7 * 86_400
    organisation: Organisation | None = None
    cost_accepted: bool | None = None
    inquiry: Word | None = None
    product: Word | None = None
    package: Word | None = None
    language: Language | None = None


# --- who is asking, and what there is ------------------------------------------------------------------


@tickets_api.get(f"{API}/me")
def me() -> Response:
    """Who has signed in, or whose token this is."""
    here = module()
    person = here.person()
    found: dict[str, Any] = {
        "name": person.name,
        "role": person.role,
        "organisations": list(person.organisations),
        "orders": here.orders.taken and not person.agent,
    }
    if person.agent:
        found["desks"] = [name for name in here.tickets.desks if person.works_at(name)]
    return _json(found)


@tickets_api.get(f"{API}/forms")
def forms() -> Response:
    """The forms there are."""
    here = module()
    here.person()
    titles = here.forms.titles(_language())
    return _json({"forms": [{"name": name, "title": title} for name, title in titles.items()]})


@tickets_api.get(f"{API}/forms/<name>")
def form(name: str) -> Response:
    """One form, as a page shows it."""
    here = module()
    here.person()
    if name not in here.forms:
        raise TicketGone(N_("There is no form of this name here."))
    return _json(_shown(here.forms[name], None))


@tickets_api.get(f"{API}/requests/<id>/form")
def asked(id: str) -> Response:
    """What a request asks, by whom and for which ticket; for its customer, and for whoever picks it up."""
    here = module()
    look = find(id, "answerer", "link")
    form, receipt = here.form_of(look.receipt), look.receipt
    if form is None:
        raise TicketGone(N_("The form of this request is not known here any more."))
    view = here.tickets.vault.state(look)
    link, ticket = here.link_of(look), Reference.of(receipt.label)
    known = here.tickets.store.read(ticket).facts if ticket else None
    found: dict[str, Any] = {
        **_shown(form, here.package_of(receipt), receipt.language),
        "state": view.state,
        "expires_at": rfc3339(view.expires_at),
        "ticket": str(ticket) if ticket else receipt.label,
        "organisation": known.organisation if known else None,
        "asked_by": link.by if link else None,
        "checked": link.identity if link else None,
        "answered_for": receipt.expires_in,
        "facts": _told(form, look),
    }
    return _json({name: value for name, value in found.items() if value is not None})


# --- a ticket ------------------------------------------------------------------------------------------


@tickets_api.get(f"{API}/tickets/<desk>/<number>")
def ticket(desk: str, number: str) -> Response:
    """A ticket with its links."""
    here = module()
    person = here.person()
    return _json(shown(here.tickets.page(person, reference(desk, number)), person))


@tickets_api.post(f"{API}/tickets/<desk>/<number>/links/<ref>/revoke")
def revoke(desk: str, number: str, ref: str) -> Response:
    """End a link unread."""
    person, where = _staffed(desk, number)
    read_json(Nothing, empty=True)
    return _json(entry(module().tickets.revoke(person, where, ref), person))


@tickets_api.post(f"{API}/tickets/<desk>/<number>/links/<ref>/unlock")
def unlock(desk: str, number: str, ref: str) -> Response:
    """Give all tries at a link's password back."""
    person, where = _staffed(desk, number)
    read_json(Nothing, empty=True)
    return _json(entry(module().tickets.unlock(person, where, ref), person))


@tickets_api.post(f"{API}/tickets/<desk>/<number>/links/<ref>/note")
def note(desk: str, number: str, ref: str) -> Response:
    """Write a pick-up link into an internal note."""
    here = module()
    person, where = _staffed(desk, number)
    key = link_key(read_json(PickUp).link)
    language = here.config.desks[desk].language
    text = Note(
        f"{ref}.pick-up",
        notes.pick_up_subject(ref, language),
        notes.pick_up_text(format_link_of(service(), key), language),
    )
    here.tickets.note_pick_up(person, where, ref, key, text)
    return Response(status=204)


@tickets_api.post(f"{API}/tickets/<desk>/<number>/links/<ref>/reply")
def reply(desk: str, number: str, ref: str) -> Response:
    """Post a reply, as the agent has it on the screen; once for each link."""
    person, where = _staffed(desk, number)
    body = read_json(Reply)
    module().tickets.reply(person, where, ref, body.text)
    return Response(status=204)


@tickets_api.post(f"{API}/tickets/<desk>/<number>/organisation")
def organisation(desk: str, number: str) -> Response:
    """Say whose ticket it is."""
    here = module()
    person, where = _staffed(desk, number)
    body = read_json(Choose)
    here.tickets.choose(person, where, body.organisation)
    return _json(shown(here.tickets.page(person, where), person))


@tickets_api.get(f"{API}/tickets/<desk>/<number>/texts")
def reply_texts(desk: str, number: str) -> Response:
    """What an agent sends along with a link, in every language and format; the caller fills ``{link}``."""
    _staffed(desk, number)
    operator = service().settings.operator
    found = {
        kind: {
            language: {
                str(password).lower(): texts.templates(
                    kind, language, password=password, ticket=number, operator=operator
                )
                for password in ((False, True) if kind == "secret" else (False,))
            }
            for language in LANGUAGES
        }
        for kind in KINDS
    }
    return _json(found)


LANGUAGES: tuple[Language, ...] = ("de", "en")
KINDS: tuple[Literal["secret", "request"], ...] = ("secret", "request")

# --- organisations -------------------------------------------------------------------------------------


@tickets_api.get(f"{API}/organisations")
def organisations() -> Response:
    """The organisations that the caller may see."""
    here = module()
    person = here.person()
    names = sorted(here.tickets.store.organisations()) if person.agent else list(person.organisations)
    found = [{"name": name, "follows": here.tickets.follows(person, name)} for name in names]
    return _json({"organisations": found, "mail": here.config.mail is not None})


@tickets_api.get(f"{API}/organisations/links")
def organisation_links() -> Response:
    """The links of an organisation's tickets, a page at a time; ``?organisation=…&state=…&kind=…&page=…``."""
    here = module()
    person = here.person()
    found = listed(here.tickets, person, request.args)
    rows = [{"ticket": str(where), **entry(each, person)} for where, each in found.rows]
    return _json({"organisation": found.organisation, "links": rows, "page": found.page, "more": found.more})


@tickets_api.post(f"{API}/organisations/follow")
def follow() -> Response:
    """Hear of every new link on an organisation's tickets, or no longer."""
    here = module()
    person = here.person()
    body = read_json(Follow)
    if body.language is not None and here.config.mail is None:
        raise Invalid(("organisation", N_("This service sends no mails.")))
    here.tickets.follow(person, body.organisation, language=body.language)
    return Response(status=204)


# --- orders --------------------------------------------------------------------------------------------


@tickets_api.post(f"{API}/orders")
def order() -> Response:
    """Hand credentials in unasked: a ticket is opened for them."""
    here = module()
    person = here.person()
    key = idempotency_key()
    if key is None:
        raise Damaged(N_("Send an Idempotency-Key, the same for every try."), field="Idempotency-Key")
    body = read_json(NewOrder)
    here.check_form(body.form)
    form = here.forms[body.form]
    said = {name: value for name in FACTS if (value := getattr(body, name)) is not None}
    sealed = answer_envelope(service(), body.envelope)
    may_order()
    found = here.orders.place(
        person,
        Order(
            key=bytes_of(body.key, "key", length=32),
            idempotency_key=key,
            form=form.name,
            title=form.title.of(here.orders.language),
            organisation=body.organisation,
            envelope=lambda _: sealed,
            facts=here.order_facts(form, said),
            expires_in=body.expires_in,
            language=body.language or current_language(),
        ),
    )
    placed = {"ticket": str(found.ticket), "ref": found.ref, "expires_at": rfc3339(found.expires_at)}
    return _json(placed, 201)


# --- webhooks of the desks -----------------------------------------------------------------------------


@tickets_api.post("/desk/<desk>/hook")
def hook(desk: str) -> Response:
    """A desk says that a ticket has changed: a hint, to look at it."""
    here = module()
    if desk not in here.tickets.desks:
        raise TicketGone
    headers = {name.lower(): value for name, value in request.headers.items()}
    here.tickets.hinted(desk, headers, whole_body())
    return Response(status=204)


# --- shapes --------------------------------------------------------------------------------------------


def reference(desk: str, number: str) -> Reference:
    """The ticket of an address.

    Raises:
        TicketGone: not one.
    """
    found = Reference.of(f"{desk}:{number}")
    if found is None:
        raise TicketGone
    return found


def _staffed(desk: str, number: str) -> tuple[Person, Reference]:
    """Who is asking, and for which ticket of a desk of theirs; before a look at the body.

    Raises:
        Unauthorized, TicketGone: nobody, or there is no such ticket for them.
    """
    here = module()
    person, where = here.person(), reference(desk, number)
    here.tickets.staffed(person, where)
    return person, where


def shown(page: Page, person: Person) -> dict[str, Any]:
    """A ticket with the API's field names; what customers need not know is left out."""
    facts = page.facts
    found: dict[str, Any] = {
        "ticket": str(page.ticket),
        "desk": page.ticket.desk,
        "number": page.ticket.number,
        "status": facts.status,
        "organisation": facts.organisation,
        "frozen_at": rfc3339(facts.frozen_at),
        "links": [entry(each, person) for each in page.entries],
    }
    if person.agent:
        conf = module().config.desks[page.ticket.desk]
        found |= {
            "requester": facts.requester,
            "requester_name": facts.requester_name,
            "language": facts.language,
            "package": facts.package,
            "suggested": page.suggested,
            "confirm": page.confirm,
            "shared": conf.shared and facts.organisation is not None,
            "notes": module().tickets.desks[page.ticket.desk].notes,
        }
    return {name: value for name, value in found.items() if value is not None}


def entry(entry: Entry, person: Person) -> dict[str, Any]:
    """A link with the API's field names: nothing that opens, nothing that it is stored under."""
    link, progress = entry.link, entry.progress
    found: dict[str, Any] = {
        "ref": link.ref,
        "kind": link.kind,
        "state": progress.state,
        "created_at": rfc3339(link.created_at),
        "expires_at": rfc3339(progress.expires_at or link.expires_at),
        "by": link.by or None,
        "password": link.password,
        "form": link.form,
        "order": link.order or None,
        "identity": link.identity,
        "events": [
            {"type": event.word, "at": rfc3339(event.at), **({"by": event.by} if event.by else {})}
            for event in progress.events
        ],
    }
    if person.agent and progress.facts is not None:
        found["facts"] = msgspec.json.decode(progress.facts)
    return {name: value for name, value in found.items() if value is not None}


def current_language() -> Language:
    """The language of whoever asks."""
    return "de" if current() == "de" else "en"


def _language() -> Language:
    found = request.args.get("language", current_language())
    if found not in ("de", "en"):
        raise Invalid(("language", N_("Expected de or en.")))
    return "de" if found == "de" else "en"


def _shown(form: Form, package: str | None, language: str | None = None) -> dict[str, Any]:
    spoken = _spoken(language)
    return {**form.shown(spoken, package), "rows": form.rows(spoken)}


def _spoken(language: str | None) -> Language:
    """What the caller asks for, else what the link says, else what the caller prefers."""
    if language is None or "language" in request.args:
        return _language()
    return "de" if language == "de" else "en"


def _told(form: Form, look: Look) -> dict[str, Any] | None:
    """What an answer says outside its sealed part, in words, for the agents of its desk."""
    here, receipt = module(), look.receipt
    caller = service().caller()
    if receipt.facts is None or look.role != "link" or caller is None or not here.covers(caller, receipt.label):
        return None
    kept = msgspec.json.decode(receipt.facts)
    said = msgspec.convert({name: kept[name] for name in FACTS if name in kept}, Facts)
    return form.told(said, here.package_of(receipt), _spoken(receipt.language))


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, mimetype="application/json")
