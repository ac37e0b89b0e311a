"""Plain pages and plain curl: the same addresses, forms in, and out a page, a link or the secret's bytes.

Here the server seals and opens, and says so.  A page is for a browser that names ``text/html``; everybody else
gets text, one line for an error.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from flask import Blueprint, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from .. import serverside
from ..envelope import TRAILING, Payload, derive_handles, unb64
from ..errors import N_, Conflict, Damaged, Forbidden, Invalid, NotFound
from ..serverside import Wish
from ..settings import duration
from . import theme as themes
from .api import format_link_of, receipt_url, shown
from .application import Response
from .bodies import Part, idempotency_key, link_key, read_form, text_of
from .language import LANGUAGES, asked, current, gettext, speaking
from .problems import rfc3339, wants_page
from .service import service

pages = Blueprint("pages", __name__)

CHOICES = (  # seconds
    (3600, N_("1 hour")),
    (86_400, N_("1 day")),
    (3 * 86_400, N_("3 days")),
    (7 * 86_400, N_("7 days")),
    (14 * 86_400, N_("14 days")),
    (31 * 86_400, N_("31 days")),
)
HOW_TO_OPEN = """\
This is a one-time link. Nothing has been opened or used up by looking here.
The part after # never reaches this server, so curl has to send the whole link:

    printf %s "$LINK" | curl -F 'link=<-' {url}/open

The answer is the secret, byte for byte; the link works once. With a password add -F 'password=<file'.
Here the server opens it. To keep link and secret from the server, use the page in a browser or
'secretsvc open'.
"""
ALTERED = N_("A program on the way has altered this link: put # in place of %23 and open it again.")
# What a repeated create hears when its secret has ended meanwhile.
ENDED_BEFORE = {
    "opened": N_("This secret was created, and has been opened: its link opens nothing any more."),
    "revoked": N_("This secret was created, and has been withdrawn: its link opens nothing any more."),
    "expired": N_("This secret was created, and has run out: its link opens nothing any more."),
}
CACHED = {"Cache-Control": "no-cache"}
A_KEY = secrets.token_urlsafe(32)  # stands in prepared pages where each request gets one of its own
# Translators: keep the words in braces.
MESSAGE = N_(
    "Hello,\n\nhere is what you need, as a link that opens once:\n\n{link}\n\n"
    "It works until {time} or until it is opened, whichever comes first. "
    "Have your password manager ready before you open it."
)
MESSAGE_PASSWORD = N_("It also asks for a password, which I will tell you another way.")
HOW_TO_CREATE = """\
Send a secret, get a link that opens once:

    curl -F 'secret=<-' {url}/ < file        text from a file or pipe
    curl -F secret=@key.pem {url}/           a file, with its name

Add -F 'password=<file' for a password, -F expires=3d for how long the link works.
Here the server seals it. To keep it from the server, use the page in a browser or 'secretsvc send'.
"""
POST_TO_LINK = "curl does not send the part of a link after #, so this said nothing about the secret and used \
nothing up. Use: printf %s \"$LINK\" | curl -F 'link=<-' {url}/open\n"


@pages.before_request
def refuse_other_sites() -> None:
    """A form on another site may not send for the person in this browser."""
    if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "none") not in (
        "none",
        "same-origin",
    ):
        raise Forbidden(N_("This form was sent from another site. Open this page and send it from here."))


@pages.get("/")
def create_page() -> Response:
    """The page, or for curl how to use it."""
    here = service()
    if not wants_page():
        return plain_text(HOW_TO_CREATE.format(url=here.settings.base_url))
    return prepared("create.html", _choices)


@pages.post("/")
def create() -> Response | tuple[str, int]:
    """Seal what the form brings; a link and a newline for curl, a page for a browser."""
    here = service()
    caller = here.creator()
    form = read_form(
        "secret", "file", "password", "expires", "language", "label", "plain", "idempotency_key", "newlines"
    )
    password = _password(form)
    if password:
        here.limit_password(opening=False)
    sealed = serverside.create(
        here.vault,
        Wish(
            payload_of(form),
            _duration(text_of(form, "expires")) or here.settings.default_expires_in,
            password=password,
            language=_language(text_of(form, "language")),
            label=here.label(text_of(form, "label") or None, caller),
            by=caller.name if caller else "",
        ),
        max_bytes=here.settings.max_secret_bytes,
        idempotency_key=_form_key(form),
        caller=caller.id if caller else "",
    )
    view = sealed.created.view
    if view.state not in ("sealed", "locked"):  # ended before this repeat, or by the operator just now
        raise Conflict(ENDED_BEFORE[view.state])
    link = format_link_of(here, sealed.key)
    if "plain" in form or not wants_page():
        return plain_text(link + "\n", 201)
    return render_template(
        "created.html",
        link=link,
        receipt=receipt_url(here, sealed.created),
        expires_at=view.expires_at,
        password=bool(password),
    ), 201


@pages.get("/s")
@pages.get("/open")
def open_page() -> Response:
    """The page to paste a link into, or for curl how to open it.  Opens nothing."""
    here = service()
    if not wants_page():
        return plain_text(HOW_TO_OPEN.format(url=here.settings.base_url))
    return prepared("open.html", _arrived if request.path == "/s" else dict)


@pages.post("/s")
def post_to_link() -> Response:
    """What the readers of an older service do: the key did not come along, so say what to do."""
    return plain_text(POST_TO_LINK.format(url=service().settings.base_url), 422)


@pages.post("/open")
def open_() -> Response | str:
    """Open the link: the bytes for curl, a page for a browser."""
    here = service()
    caller = here.opener()
    form = read_form("link", "password", "plain", "idempotency_key", "action")
    if "link" not in form:
        raise Invalid(("link", N_("Send the link you were given.")))
    key = link_key(text_of(form, "link"))
    if "action" in form:
        return _report(key, text_of(form, "action"), plain="plain" in form)
    password = _password(form)
    look = serverside.look(here.vault, key)
    if look.receipt.password and password:
        here.limit_password(opening=True)
    payload = serverside.open(
        here.vault,
        look,
        key,
        password=password,
        idempotency_key=_form_key(form),
        collector=here.collector(caller, look.receipt),
    )
    text = payload.text()
    # A page cannot hold a NUL: whoever reads it would see another character.
    if "plain" in form or not wants_page() or payload.name is not None or text is None or "\0" in text:
        return _bytes(payload)
    return render_template("opened.html", secret=text)


@pages.get("/receipt")
def receipt_page() -> Response:
    """The page to paste a receipt link into."""
    if not wants_page():
        return plain_text("This is a sender's receipt. 'secretsvc state' and 'secretsvc revoke' read it.\n")
    return prepared("receipt.html")


@pages.post("/receipt")
def receipt() -> Response | str:
    """How the secret stands, for its sender; with ``action`` revoke or unlock, that first."""
    here = service()
    form = read_form("receipt", "action", "plain")
    link, action = text_of(form, "receipt"), text_of(form, "action")
    id, token = _receipt_parts(link)
    look = here.vault.look(id, token, "sender")
    if action not in ("", "revoke", "unlock"):
        raise Invalid(("action", N_("Expected revoke or unlock.")))
    view = here.vault.state(look)
    ended = view.state in ("opened", "revoked", "expired")
    if action and not (ended and wants_page()):  # a page shows the end, and does not complain about it
        view = getattr(here.vault, action)(look)
    if "plain" in form or not wants_page():
        return plain_text("".join(f"{name}: {value}\n" for name, value in shown(view).items()))
    return render_template("receipt.html", view=view, receipt=link)


@pages.get("/s#<path:rest>")
@pages.get("/s%23<path:rest>")
@pages.get("/receipt#<path:rest>")
@pages.get("/receipt%23<path:rest>")
def altered_link(rest: str) -> tuple[Response, int]:
    """A mail program made ``%23`` of ``#``: the link's key is in the address now.  Nothing is opened.

    A page's script reads it from there; without one the reader has to.
    """
    if not wants_page():
        raise Damaged(ALTERED)
    if request.path.startswith("/receipt"):
        return prepared("receipt.html"), 400
    return prepared("open.html", altered), 400


@pages.get("/help")
def help() -> Response:
    """How it works, why, and for whom."""
    if not wants_page():
        url = service().settings.base_url
        return plain_text(HOW_TO_CREATE.format(url=url) + "\n" + HOW_TO_OPEN.format(url=url))
    return prepared("help.html")


@pages.get("/theme.css")
def theme() -> Response:
    """The operator's colours."""
    return Response(themes.current().css, mimetype="text/css", headers=CACHED)


@pages.get("/logo")
def logo() -> Response:
    """The operator's logo."""
    theme = themes.current()
    if not theme.logo:
        raise NotFound
    return Response(theme.logo, mimetype=theme.logo_type, headers=CACHED)


@pages.get("/.well-known/security.txt")
def security_txt() -> Response | AnyResponse:
    """Whom to tell about a hole (RFC 9116), where the operator has set a contact."""
    contact = service().settings.security_contact
    if not contact:
        return plain_text("The operator of this service has not set a security contact.\n", 404)
    expires = rfc3339(time.time() + 365 * 86_400)
    return plain_text(f"Contact: {contact}\nExpires: {expires}\n")


@pages.get("/favicon.ico")
def favicon() -> AnyResponse:
    """The one icon there is."""
    return redirect(url_for("static", filename="icon.svg"))


def prepared(name: str, values: Callable[[], dict[str, Any]] = dict) -> Response:
    """A page that says the same to everybody: put together once for each language, not once for each request.

    Its address may be asked for in another language.  A form in it has an Idempotency-Key of its own each time.
    To whoever sends a cookie it may say more, as who they are: for them it is made anew.

    Args:
        name: of the template.
        values: what it is filled with, always with the same; one function for each variant of a page.
    """
    ready = current_app.extensions.setdefault("secretsvc.pages", {})
    which = (name, values, current(), asked())
    for_all = "Cookie" not in request.headers
    parts = ready.get(which) if for_all else None
    if parts is None:
        text = render_template(name, switchable=True, idempotency_key=A_KEY, **values())
        parts = text.encode().split(A_KEY.encode())
        if for_all:
            ready[which] = parts
    return Response(secrets.token_urlsafe(32).encode().join(parts), mimetype="text/html")


def _choices() -> dict[str, Any]:
    choices = [(seconds, gettext(words)) for seconds, words in CHOICES]
    chosen = _nearest(service().settings.default_expires_in)
    return {"choices": choices, "chosen": chosen, "messages": _messages()}


def _arrived() -> dict[str, Any]:
    return {"arrived": True}


def altered() -> dict[str, Any]:
    """What a page is filled with whose link has arrived with ``%23`` in it."""
    return {"arrived": True, "altered": gettext(ALTERED)}


def _messages() -> list[dict[str, str]]:
    """What a sender may send along with a link, in every language; the script fills the {slots}."""
    found = []
    for code in LANGUAGES:
        with speaking(code):
            found.append({"language": code, "text": gettext(MESSAGE), "password": gettext(MESSAGE_PASSWORD)})
    return found


def _report(key: bytes, action: str, *, plain: bool) -> Response:
    """ "That was not me", from the page of an opened link."""
    if action != "report":
        raise Invalid(("action", N_("Expected report.")))
    here = service()
    handles = derive_handles(key)
    view = here.vault.report(here.vault.look(handles.id, handles.token, "link"))
    if plain or not wants_page():
        return plain_text("".join(f"{name}: {value}\n" for name, value in shown(view).items()))
    return prepared("reported.html")


def payload_of(form: dict[str, Part]) -> Payload:
    """The secret in a form: a text, or a file with its name.

    Raises:
        Invalid: neither, or both.
    """
    given = [name for name in ("secret", "file") if name in form and form[name].content]
    if not given:
        raise Invalid(("secret", N_("There is nothing in it.")))
    if len(given) == 2:
        raise Invalid(("file", N_("Send a text or a file, not both.")))
    part = form[given[0]]
    content = part.content
    if "newlines" in form and part.filename is None:
        content = content.replace(b"\r\n", b"\n")  # a browser sends every line break of a text field as CRLF
    return Payload(content, part.filename or None, part.type if part.filename else None)


def _password(form: dict[str, Part]) -> str:
    """Without one final newline, which a file has and nobody can type into a page."""
    return re.sub(r"\r?\n\Z", "", text_of(form, "password"))


def _duration(text: str) -> int | None:
    try:
        return duration(text) if text else None
    except ValueError:
        raise Invalid(("expires", N_("Expected 60 seconds to 31 days, as in 30m, 12h or 3d."))) from None


def _nearest(seconds: int) -> int:
    return min((choice for choice, _ in CHOICES), key=lambda choice: abs(choice - seconds))


def _language(text: str) -> str | None:
    if text not in ("", "de", "en"):
        raise Invalid(("language", N_("Expected de or en.")))
    return text or None


def _form_key(form: dict[str, Part]) -> str | None:
    given = text_of(form, "idempotency_key") if "idempotency_key" in form else None
    return idempotency_key(given)


def _receipt_parts(link: str) -> tuple[bytes, bytes]:
    try:
        raw = unb64(link.strip().rstrip(TRAILING).replace("%23", "#", 1).rpartition("#")[2], length=48)
    except Damaged:
        raise Damaged(N_("This receipt link is incomplete. Copy it again, whole."), field="receipt") from None
    return raw[:16], raw[16:]


def plain_text(text: str, status: int = 200) -> Response:
    """A text, for whoever asks for no page."""
    return Response(text, status, mimetype="text/plain")


def _bytes(payload: Payload) -> Response:
    is_text = payload.name is None and payload.text() is not None
    response = Response(payload.content, mimetype="text/plain" if is_text else "application/octet-stream")
    if payload.name is not None:
        name: Any = quote(payload.name, safe="")
        response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
    return response
