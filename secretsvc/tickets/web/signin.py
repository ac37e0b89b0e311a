"""Signing in and out.

No GET signs anybody in but the provider's own answer, which works once and only in the browser that asked.  A
one-time link carries its token behind ``#``, and a person sends it: whatever follows links uses none up.
"""

from __future__ import annotations

import logging
import re

from flask import Blueprint, Flask, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from ...errors import N_, Damaged, Invalid, NotFound, SecretsvcError
from ...tokens import Person
from ...web import problems
from ...web.application import Response
from ...web.bodies import read_form, text_of
from ...web.language import gettext
from ...web.service import service
from ..claims import SignInRefused
from ..oidc import BEGUN_SECONDS, STALE
from .session import COOKIE, EXTENSION, People, cookies_work, people, refuse_other_sites, signed_in

sign_in = Blueprint("sign_in", __name__)
BROWSER_COOKIE = "__Host-secretsvc-sign-in"
PAGE = "/desk/sign-in"
BACK = "/desk/sign-in/back"  # where the provider sends people back to
HOME = "/desk"
FOR_SCRIPTS = N_("Sign in with a browser. Scripts send an API token in X-API-Key.")
# A path of ours that a person may go on to, with its query; nothing that a browser takes for another host.
_NEXT = re.compile(r"/(desk|s|r)(/[A-Za-z0-9._~:@%+-]+)*(\?[A-Za-z0-9._~:@%+=&-]*)?")
log = logging.getLogger("secretsvc.web")

sign_in.before_request(refuse_other_sites)


def install(app: Flask, found: People) -> None:
    """Let people sign in to this application, and its templates know who has."""
    app.extensions[EXTENSION] = found
    app.jinja_env.globals["signed_in"] = signed_in
    app.register_blueprint(sign_in)


@sign_in.errorhandler(SecretsvcError)
def trouble(error: SecretsvcError) -> Response:
    """What went wrong, on the page where it can be tried again."""
    if isinstance(error, SignInRefused):
        log.info("sign-in refused", extra={"fields": {"reason": error.reason}})
    if not problems.wants_page():
        return problems.line(error)
    response = problems.page(error)
    response.set_data(_page(sentences=problems.sentences(error)))
    return response


@sign_in.get(PAGE)
def page() -> Response:
    """Where to sign in, or who is signed in.  Uses nothing up."""
    if not problems.wants_page():
        return Response(gettext(FOR_SCRIPTS) + "\n", mimetype="text/plain")
    return Response(_page())


@sign_in.get(f"{PAGE}#<path:rest>")
@sign_in.get(f"{PAGE}%23<path:rest>")
def altered(rest: str) -> AnyResponse:
    """A mail program made ``%23`` of ``#``.  The link is not used up; its token has to leave the address."""
    raise Damaged(N_("A program on the way has altered this link: copy it from the message and paste it here."))


@sign_in.get(f"{PAGE}/start")
def start() -> AnyResponse:
    """Go to the provider.  Not a form: Chromium would hold its redirect against ``form-action``."""
    provider = people().provider
    if provider is None:
        raise NotFound(N_("There is no sign-in service here: use a one-time link."))
    service().limits.sign_in(request.remote_addr)
    begun = provider.begin(_next(request.args.get("next", "")))
    response = redirect(begun.url, 303)
    _set_cookie(response, BROWSER_COOKIE, begun.browser, BEGUN_SECONDS)
    return response


@sign_in.get(BACK)
def back() -> AnyResponse:
    """The provider's answer, once."""
    provider = people().provider
    if provider is None:
        raise NotFound(N_("There is no sign-in service here: use a one-time link."))
    service().limits.sign_in(request.remote_addr)
    answer = {name: values[0] for name, values in request.args.lists() if len(values) == 1}
    if len(answer) < len(request.args):  # one thing said twice
        raise SignInRefused(STALE, reason="a parameter twice")
    found = provider.finish(answer, request.cookies.get(BROWSER_COOKIE, ""))
    return _enter(found.person, found.next)


@sign_in.post(f"{PAGE}/link")
def redeem() -> AnyResponse:
    """Sign in by a one-time link, which is then used up."""
    service().limits.sign_in(request.remote_addr)
    form = read_form("link", "next")
    token = text_of(form, "link").strip().rpartition("#")[2]
    if not token:
        raise Invalid(("link", N_("Paste the whole sign-in link.")))
    return _enter(people().sessions.redeem(token), _next(text_of(form, "next")))


@sign_in.post("/desk/sign-out")
def sign_out() -> Response:
    """End this browser's session."""
    people().sessions.end(request.cookies.get(COOKIE, ""))
    response = Response(render_template("signed_out.html", provider=people().provider))
    response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="Lax")
    return response


def _enter(person: Person, next: str) -> AnyResponse:
    """Begin a session under a new token: one that was there before, whoever set it, is worth nothing."""
    here = people()
    here.sessions.end(request.cookies.get(COOKIE, ""))
    token = here.sessions.begin(person)
    here.entered(person)
    log.info("signed in", extra={"fields": {"person": person.id, "role": person.role}})
    response = redirect(next, 303)
    _set_cookie(response, COOKIE, token, here.sessions.seconds)
    response.delete_cookie(BROWSER_COOKIE, secure=True, httponly=True, samesite="Lax")
    return response


def _page(sentences: list[str] | None = None) -> str:
    return render_template(
        "signin.html",
        sentences=sentences or [],
        provider=people().provider,
        cookies_work=cookies_work(service().settings),
        next=_next(request.args.get("next", "")),
        switchable=request.endpoint == "sign_in.page",
    )


def _next(wanted: str) -> str:
    """A path of ours to go on to; where it is anything else, the first page of the desk."""
    fits = len(wanted) <= 500 and _NEXT.fullmatch(wanted) and not wanted.startswith((PAGE, "/desk/sign-out"))
    return wanted if fits else HOME


def _set_cookie(response: AnyResponse, name: str, value: str, seconds: int) -> None:
    # __Host- holds browsers to Secure, Path=/ and no Domain: no other host can set it.
    response.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="Lax")
