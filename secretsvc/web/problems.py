"""One table from errors to HTTP, and the two ways of saying them: problem+json, and a line or page of text."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec
from flask import Flask, current_app, g, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, RequestEntityTooLarge

from .. import errors
from ..errors import N_, SecretsvcError
from .application import Response
from .language import gettext, size

log = logging.getLogger("secretsvc.web")

# The first class that fits wins.  Status, stable type where it differs from the error's own kind, title.
TABLE: tuple[tuple[type[SecretsvcError], int, str | None, str], ...] = (
    (errors.BadPassword, 422, "invalid", N_("Invalid")),
    (errors.BadHeader, 422, "invalid", N_("Invalid")),
    (errors.FormatError, 400, "damaged", N_("Damaged")),
    (errors.Invalid, 422, None, N_("Invalid")),
    (errors.TooLarge, 413, None, N_("Too large")),
    (errors.UnsupportedMediaType, 415, None, N_("Unsupported media type")),
    (errors.Unauthorized, 401, None, N_("Unauthorized")),
    (errors.Forbidden, 403, None, N_("Forbidden")),
    (errors.WrongPassword, 403, None, N_("Wrong password")),
    (errors.NotFound, 404, None, N_("Not found")),
    (errors.NotAnswered, 409, None, N_("Not answered yet")),
    (errors.TicketClosed, 409, None, N_("Ticket closed")),
    (errors.Conflict, 409, None, N_("Conflict")),
    (errors.Opened, 410, None, N_("Opened before")),
    (errors.Revoked, 410, None, N_("Revoked")),
    (errors.Expired, 410, None, N_("Expired")),
    (errors.EndedByOperator, 410, None, N_("Ended by the operator")),
    (errors.Locked, 423, None, N_("Locked")),
    (errors.RateLimited, 429, None, N_("Too many requests")),
    (errors.Unavailable, 503, None, N_("Unavailable")),
)
FIELDS: dict[type[SecretsvcError], str] = {
    errors.BadPassword: "password",
    errors.BadHeader: "name",
    errors.BadLink: "link",
}
# What the pages call the fields of their forms.
LABELS = {
    "secret": N_("Secret"),
    "file": N_("File"),
    "name": N_("File name"),
    "password": N_("Password"),
    "expires": N_("The link works for"),
    "language": N_("Language"),
    "link": N_("The whole link"),
    "receipt": N_("Your receipt link"),
}
CLAIMANT = "Idempotency-Key"


class WrongMethod(SecretsvcError):
    """An address that exists, asked in a way it does not answer."""

    kind = "method-not-allowed"
    detail = N_("This address does not answer that method.")


class Unexpected(SecretsvcError):
    """A bug of ours; told without details."""

    kind = "internal-error"
    detail = N_("Something went wrong on our side. Please try again, and tell the operator if it stays.")


def rfc3339(seconds: float | None) -> str | None:
    """A time as the API says it, in UTC."""
    # (``strftime`` would take five times as long.)
    return None if seconds is None else f"{datetime.fromtimestamp(int(seconds), UTC).isoformat()[:19]}Z"


def status_of(error: SecretsvcError) -> tuple[int, str, str]:
    """Status, stable type and title."""
    if isinstance(error, WrongMethod):
        return 405, error.kind, N_("Method not allowed")
    for cls, status, kind, title in TABLE:
        if isinstance(error, cls):
            return status, kind or error.kind, title
    return 500, error.kind, N_("Internal error")


def fields_of(error: SecretsvcError) -> list[dict[str, str]]:
    """Which inputs are at fault, each with what is wrong with it."""
    if isinstance(error, errors.Invalid):
        return [{"field": field, "message": message} for field, message in error.errors]
    field = getattr(error, "field", None) or FIELDS.get(type(error))
    return [{"field": field, "message": error.detail}] if field else []


def problem(error: SecretsvcError) -> Response:
    """RFC 9457 ``application/problem+json``."""
    status, kind, title = status_of(error)
    body: dict[str, Any] = {"type": kind, "title": title, "status": status, "detail": error.detail}
    if isinstance(error, errors.Ended):
        body["state"] = error.state
        body["ended_at"] = rfc3339(error.ended_at)
    if isinstance(error, errors.WrongPassword) and error.tries_left is not None:
        body["state"] = "sealed" if error.tries_left else "locked"
        body["tries_left"] = error.tries_left
    if isinstance(error, errors.Locked):
        body["state"] = "locked"
    if isinstance(error, errors.RateLimited) and error.limit:
        body["violated-policies"] = [error.limit]  # as the draft on RateLimit headers has it
    if found := fields_of(error):
        body["errors"] = found
    return _with_headers(
        Response(msgspec.json.encode(body), status, mimetype="application/problem+json"), error
    )


def line(error: SecretsvcError) -> Response:
    """One line of text, for curl; what a caller's field name brought along cannot make it two."""
    text = "".join(character if character.isprintable() else "?" for character in error.detail)
    if isinstance(error, errors.Ended) and error.ended_at:
        text += f" ({error.state} at {rfc3339(error.ended_at)})"
    if isinstance(error, errors.Unavailable) and error.claimant:
        text += f" Send it again with the header '{CLAIMANT}: {error.claimant}'."
    return _with_headers(Response(text + "\n", status_of(error)[0], mimetype="text/plain"), error)


def page(error: SecretsvcError) -> Response:
    """A page, for a browser."""
    status, kind, title = status_of(error)
    if isinstance(error, errors.WrongPassword) and error.tries_left == 0:
        kind = "locked"
    text = render_template(
        "error.html",
        title=gettext(title),
        kind=kind,
        sentences=sentences(error),
        ended_at=error.ended_at if isinstance(error, errors.Ended) else None,
        claimant=error.claimant if isinstance(error, errors.Unavailable) else None,
        wait=isinstance(error, errors.RateLimited | errors.Unavailable),
    )
    return _with_headers(Response(text, status, mimetype="text/html"), error)


def sentences(error: SecretsvcError) -> list[str]:
    """What went wrong, in the reader's language; a field is named as its label does."""
    if isinstance(error, errors.Invalid):
        return [f"{gettext(LABELS.get(field, field))}: {gettext(message)}" for field, message in error.errors]
    if isinstance(error, errors.TooLarge):
        said = gettext("This is too large: at most %(limit)s are possible here.")
        return [said % {"limit": size(min(error.limit, app_limit()))}]
    if isinstance(error, errors.WrongPassword):
        left = gettext("Wrong passwords left before it locks: %(count)s") % {"count": error.tries_left}
        return [gettext("Wrong password. Nothing was opened."), *([left] if error.tries_left else [])]
    return [gettext(error.detail)]


def app_limit() -> int:
    """The largest secret: what people mean by the size of a form."""
    limit: int = current_app.config["MAX_SECRET_BYTES"]
    return limit


def wants_page() -> bool:
    """Whether a browser asks: it names text/html, curl does not."""
    return "text/html" in request.headers.get("Accept", "") and "plain" not in request.args


def answer(error: SecretsvcError) -> Response:
    """The error in the way that fits the address and whoever asks."""
    if request.path.startswith("/api/"):
        return problem(error)
    return page(error) if wants_page() else line(error)


def install(app: Flask) -> None:
    """Answer every error with the table, Werkzeug's own and unforeseen ones too."""

    @app.errorhandler(SecretsvcError)
    def ours(error: SecretsvcError) -> Response:
        return answer(error)

    @app.errorhandler(HTTPException)
    def werkzeugs(error: HTTPException) -> Response:
        if isinstance(error, RequestEntityTooLarge):
            limit = request.max_content_length or app.config["MAX_CONTENT_LENGTH"]
            return answer(errors.TooLarge(limit, field="body"))
        if isinstance(error, MethodNotAllowed):
            response = answer(WrongMethod())
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
            return response
        if error.code == 404:
            return answer(errors.NotFound())
        if isinstance(error, InternalServerError) and not isinstance(error.original_exception, HTTPException):
            return unforeseen(error.original_exception or error)
        return answer(errors.Damaged(N_("The request is malformed.")))

    @app.errorhandler(Exception)
    def unforeseen(error: BaseException) -> Response:
        log.error("unforeseen", exc_info=error)
        try:
            return answer(Unexpected())
        except Exception as second:  # the page itself may be what is broken
            log.error("unforeseen", exc_info=second)  # noqa: TRY400 - where it was raised is logged, no message
            return line(Unexpected())


def _with_headers(response: Response, error: SecretsvcError) -> Response:
    g.problem, g.limit = status_of(error)[1], getattr(error, "limit", "")  # for log and metrics
    if isinstance(error, errors.Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.RateLimited | errors.Unavailable):
        response.headers["Retry-After"] = str(max(1, error.retry_after))
    if isinstance(error, errors.Unavailable) and error.claimant:
        response.headers[CLAIMANT] = error.claimant
    return response
