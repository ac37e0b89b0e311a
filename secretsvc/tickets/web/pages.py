"""The pages of agents and organisations: a ticket's links and what became of them, and lists of them.

Without script the lists are read, and links withdrawn and unlocked; sending and asking take one, since the
browser seals.  Whatever is not theirs is not there: another organisation's ticket and no ticket are one page.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from ...errors import N_, Ended, Invalid, NotFound, SecretsvcError, Unauthorized
from ...tokens import Person
from ...web import problems
from ...web.bodies import read_form, text_of
from ...web.language import asked as language_asked
from ...web.language import current, gettext, here
from ...web.pages import CHOICES
from ...web.service import service
from .. import config, wording
from ..model import Reference
from ..service import Entry, Page
from ..wording import one_line
from .api import current_language, reference
from .lists import FILTERED_KINDS, FILTERED_STATES, listed, row
from .module import Module, module
from .session import refuse_other_sites
from .signin import HOME, PAGE

tickets_pages = Blueprint("tickets_pages", __name__)
tickets_pages.before_request(refuse_other_sites)

DAY = 86_400
LASTS = 3 * DAY  # what agents are offered first
IDENTITIES = (
    "not-checked",
    "phone-password",
    "known-address",
    "signed-in",
)  # that an agent can say
STATUSES = {"open": N_("open"), "solved": N_("solved"), "closed": N_("closed")}
_NUMBER_AT_END = re.compile(r"[0-9]{1,18}(?=/?$)")


class SignedOut(Unauthorized):
    """Nobody is signed in; a browser is sent where one can."""

    detail = N_("Please sign in first, or send an API token in X-API-Key.")


@tickets_pages.errorhandler(SecretsvcError)
def trouble(error: SecretsvcError) -> AnyResponse:
    """What went wrong, with the way back to the tickets; or the way to sign in."""
    if not problems.wants_page():
        return problems.line(error)
    if isinstance(error, SignedOut):
        wanted = request.full_path.rstrip("?") if request.method == "GET" else HOME
        return redirect(f"{PAGE}?{urlencode({'next': wanted} | _lang())}", 303)
    response = problems.page(error)
    title = gettext("There is no such ticket") if isinstance(error, NotFound) else None
    title = title or gettext(problems.status_of(error)[2])
    response.set_data(render_template("desk_trouble.html", title=title, sentences=_sentences(error)))
    return response


# --- the desk ------------------------------------------------------------------------------------------


@tickets_pages.get("/desk")
def home() -> str:
    """Where to go from here."""
    return _home(_person())


@tickets_pages.post("/desk")
def find() -> AnyResponse | tuple[str, int]:
    """To the ticket that an agent has typed or pasted: sent, since what was pasted belongs in no address."""
    person = _person()
    form = read_form("desk", "ticket")
    typed, desk = text_of(form, "ticket").strip(), text_of(form, "desk")
    try:
        found = _typed(person, typed, desk)
    except Invalid as error:
        return _home(person, sentence=_sentences(error)[0], typed=typed[:200], desk=desk), 422
    return redirect(here(f"/desk/{found.desk}/{found.number}"), 303)


@tickets_pages.get("/desk/<desk>/<number>")
def ticket(desk: str, number: str) -> str:
    """A ticket: two buttons for its agents, and what became of its links for all who may know."""
    person = _person()
    ours = module()
    page = ours.tickets.page(person, reference(desk, number))
    return render_template(
        "ticket.html",
        switchable=True,
        choices=[(seconds, gettext(words)) for seconds, words in CHOICES],
        chosen=LASTS,
        forms=ours.forms.titles(current_language()),
        identities=[(each, wording.identity(each, current_language())) for each in IDENTITIES],  # type: ignore[arg-type]
        **_ticket(ours, person, page),
    )


@tickets_pages.get("/desk/<desk>/<number>/trail")
def trail(desk: str, number: str) -> str:
    """The trail alone, as the page's script asks for it from time to time; ``?id=…`` names one of the links."""
    person = _person()
    ours = module()
    page = ours.tickets.page(person, reference(desk, number))
    return render_template("trail.html", **_ticket(ours, person, page, made=request.args.get("id", "")))


@tickets_pages.post("/desk/<desk>/<number>/links/<ref>/<any(revoke, unlock):what>")
def act(desk: str, number: str, ref: str, what: str) -> AnyResponse:
    """End a link unread, or give all tries at its password back; then the ticket, which tells how it stands."""
    person, where = _person(), reference(desk, number)
    tickets = module().tickets
    with suppress(Ended):  # the ticket tells how
        (tickets.revoke if what == "revoke" else tickets.unlock)(person, where, ref)
    return redirect(here(f"/desk/{desk}/{number}") + "#trail-heading", 303)


@tickets_pages.post("/desk/<desk>/<number>/organisation")
def organisation(desk: str, number: str) -> AnyResponse:
    """Say whose ticket it is; empty for nobody's but the requester's."""
    person, where = _person(), reference(desk, number)
    name = text_of(read_form("organisation"), "organisation")
    if len(name) > 200 or not all(character.isprintable() for character in name):
        raise Invalid(("organisation", N_("A name has at most 200 characters, on one line.")))
    module().tickets.choose(person, where, name or None)
    return redirect(here(f"/desk/{desk}/{number}"), 303)


# --- organisations -------------------------------------------------------------------------------------


@tickets_pages.get("/desk/organisations")
def organisations() -> str:
    """The organisations whose lists this person may see, and whether they hear of new links."""
    person = _person()
    ours = module()
    names = sorted(ours.tickets.store.organisations()) if person.agent else list(person.organisations)
    found = [(name, one_line(name), ours.tickets.follows(person, name)) for name in names]
    mail = ours.config.mail is not None
    return render_template("organisations.html", switchable=True, organisations=found, mail=mail, person=person)


@tickets_pages.get("/desk/organisations/links")
def organisation_links() -> str:
    """The links of an organisation's tickets, a page at a time."""
    person = _person()
    ours = module()
    found = listed(ours.tickets, person, request.args)
    kept = {"organisation": found.organisation, "state": found.state, "kind": found.kind}
    kept = {name: value for name, value in kept.items() if value}

    def at(page: int) -> str:
        return f"/desk/organisations/links?{urlencode(kept | {'page': str(page)} | _lang())}"

    return render_template(
        "organisation.html",
        switchable=True,
        kept=urlencode(kept) + "&",
        found=found,
        name=one_line(found.organisation),
        rows=[(where, _row(ours, person, where, entry) | {"revocable": False}) for where, entry in found.rows],
        states={name: gettext(words) for name, words in FILTERED_STATES.items()},
        kinds={name: gettext(words) for name, words in FILTERED_KINDS.items()},
        before=at(found.page - 1) if found.page > 1 else None,
        after=at(found.page + 1) if found.more else None,
        lang=language_asked(),
        follows=ours.tickets.follows(person, found.organisation),
        mail=ours.config.mail is not None,
        person=person,
    )


@tickets_pages.post("/desk/organisations/follow")
def follow() -> AnyResponse:
    """Hear of every new link on an organisation's tickets, in a language, or with an empty one no longer."""
    person = _person()
    form = read_form("organisation", "language")
    language = text_of(form, "language") or None
    if language not in (None, "de", "en"):
        raise Invalid(("language", N_("Expected de or en.")))
    if language and module().config.mail is None:
        raise Invalid(("organisation", N_("This service sends no mails.")))
    module().tickets.follow(person, text_of(form, "organisation"), language=language)
    return redirect(here("/desk/organisations"), 303)


# --- what pages are made of ----------------------------------------------------------------------------


def _person() -> Person:
    found = service().caller()
    if found is None:
        raise SignedOut
    return found


def _sentences(error: SecretsvcError) -> list[str]:
    """What went wrong; the forms here are so short that no field needs to be named."""
    if isinstance(error, Invalid):
        return [gettext(message) for _, message in error.errors]
    return problems.sentences(error)


def _lang() -> dict[str, str]:
    asked = language_asked()
    return {"lang": asked} if asked else {}


def _home(person: Person, **values: Any) -> str:
    ours = module()
    return render_template(
        "desk_home.html",
        switchable=True,
        person=person,
        desks=[name for name in ours.tickets.desks if person.works_at(name)],
        organisations=[(name, one_line(name)) for name in person.organisations],
        orders=ours.orders.taken and not person.agent,
        **values,
    )


def _typed(person: Person, typed: str, desk: str) -> Reference:
    """The ticket that was meant: ``rt:4711``, its address in the helpdesk, or a number at the chosen desk.

    Raises:
        Invalid: naming the field and what was expected.
    """
    ours = module()
    desks = [name for name in ours.tickets.desks if person.works_at(name)]
    found = Reference.of(typed)
    if found is None and re.match(r"https?://", typed):
        desk, typed = _of_address(ours, desks, typed)
    elif found is None and not desk and len(desks) == 1:
        desk = desks[0]
    found = found or Reference.of(f"{desk}:{typed.removeprefix('#')}")
    if found is None:
        raise Invalid(("ticket", N_("Type the ticket's number, or desk:number as in rt:4711.")))
    if found.desk not in desks:
        raise Invalid(("desk", N_("There is no desk of this name here, or it is not yours.")))
    return found


def _of_address(ours: Module, desks: list[str], typed: str) -> tuple[str, str]:
    """Desk and number of a ticket's address in its helpdesk."""
    try:
        host = urlsplit(typed).hostname
    except ValueError:
        host = None
    for name in desks:
        conf = ours.config.desks[name]
        if not isinstance(conf, config.Remote) or urlsplit(conf.url).hostname != host:
            continue
        if isinstance(conf, config.Zammad):  # an id stands there, which may be another one's number
            raise Invalid(
                ("ticket", N_("Zammad's addresses do not hold the ticket's number: type the number."))
            )
        number = _NUMBER_AT_END.search(typed)
        if number:
            return name, number[0]
    raise Invalid(("ticket", N_("This is not the address of a ticket at one of your desks: type the number.")))


def _row(ours: Module, person: Person, where: Reference, entry: Entry) -> dict[str, Any]:
    facts = ours.tickets.store.read(where).facts if person.agent and entry.progress.facts else None
    return row(
        entry,
        ours.forms.get(entry.link.form or ""),
        staff=person.works_at(where.desk),
        language=current_language(),
        package=_package(ours, where, facts.package) if facts else None,
    )


def _package(ours: Module, where: Reference, package: str | None) -> str | None:
    conf = ours.config.desks.get(where.desk)
    return conf.packages.get(package or "", package) if conf else package


def _ticket(ours: Module, person: Person, page: Page, made: str = "") -> dict[str, Any]:
    """What a ticket's page says."""
    where, facts = page.ticket, page.facts
    staff, conf = person.works_at(where.desk), ours.config.desks[where.desk]
    refs = [each.link.ref for each in page.entries if made and each.link.id == made]
    return {
        "ticket": where,
        "base": f"/desk/{where.desk}/{where.number}",
        "staff": staff,
        "status": gettext(STATUSES[facts.status]),
        "facts": facts,
        "organisation": one_line(facts.organisation or ""),
        "shared": conf.shared and facts.organisation is not None,
        "notes": ours.tickets.desks[where.desk].notes,
        "suggested": page.suggested,
        "confirm": page.confirm,
        "known": sorted(ours.tickets.store.organisations()) if staff and facts.frozen_at is None else [],
        "line": one_line,
        "customers_language": facts.language or current(),
        "rows": [_row(ours, person, where, each) for each in page.entries],
        "made": refs[0] if refs else "",
    }
