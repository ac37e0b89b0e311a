"""Headers of every answer: nothing is cached, framed, sniffed or told to other sites."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# What a page uses comes from ourselves, as files: nothing inline, and no text is ever made into markup.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}

FILES = ("static", "pages.theme", "pages.logo")


def install(app: Flask, *, https: bool) -> None:
    """Set the headers on every answer; HSTS only where people come by https."""
    headers = dict(HEADERS)
    if https:
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    app.wsgi_app = _with(app.wsgi_app, list(headers.items()))  # type: ignore[method-assign,assignment]

    @app.after_request
    def set_cache_control(response: Response) -> Response:
        if response.status_code >= 400 or request.endpoint not in FILES:
            response.headers["Cache-Control"] = "no-store"
        elif request.endpoint == "static":
            response.cache_control.immutable = True  # its path changes with it
        return response


def _with(application: WSGIApplication, headers: list[tuple[str, str]]) -> WSGIApplication:
    """The same application, whose every answer has these headers too: once made, not once a request."""

    def wrapped(given: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, found: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*found, *headers], *more)

        return application(given, start)

    return wrapped
