"""Whose session a request belongs to, and whether it comes from our own pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from flask import current_app, g, request

from ...errors import N_, Forbidden
from ...settings import Settings
from ...tokens import Person
from ...web.service import service
from ..oidc import SignIns
from ..provider import LOOPBACK
from ..sessions import Sessions

EXTENSION = "secretsvc.people"
COOKIE = "__Host-secretsvc"
SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class People:
    """How people sign in: made by ``app``, read by the views.

    Attributes:
        sessions: who is signed in.
        provider: where else people sign in; None for one-time links alone.
        entered: is told whoever has signed in.
    """

    sessions: Sessions
    provider: SignIns | None = None
    entered: Callable[[Person], None] = lambda person: None


def people() -> People:
    """The people of the application at hand."""
    return cast(People, current_app.extensions[EXTENSION])


def signed_in() -> Person | None:
    """Whose session the request at hand belongs to.

    None as well for a request that changes something and does not come from our own pages: the browser sends
    the cookie along, but the person in front of it may not know.

    Raises:
        StoreUnavailable: it cannot be looked up.
    """
    if "Cookie" not in request.headers:
        return None  # as scripts are; reading no cookies takes as long as reading some
    if "person" not in g:
        token = request.cookies.get(COOKIE, "")
        counts = bool(token) and (request.method in SAFE or from_our_pages())
        g.person = None  # for the page that says so, if it cannot be looked up
        g.person = people().sessions.find(token) if counts else None
    return cast("Person | None", g.person)


def from_our_pages() -> bool:
    """Whether a page of ours has sent this request, or the person themselves.

    Our pages ask for no referrer, so their forms say ``Origin: null``; browsers say ``Sec-Fetch-Site`` besides,
    which no page can set.  Where it is missing, only our own origin will do.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    return request.headers.get("Origin") == service().settings.base_url


def refuse_other_sites() -> None:
    """Pass what changes nothing, and what our own pages send.

    Raises:
        Forbidden: another site has sent it.
    """
    if request.method not in SAFE and not from_our_pages():
        raise Forbidden(N_("This form was sent from another site. Open this page and send it from here."))


def cookies_work(conf: Settings) -> bool:
    """Whether browsers keep our cookie: over https, and on the machine itself."""
    return conf.https or urlsplit(conf.base_url).hostname in LOOPBACK
