"""Headers of every answer: nothing is cached, framed, sniffed or told to other sites."""

from __future__ import annotations

from flask import Flask, Response, request

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

    @app.after_request
    def set_headers(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        if response.status_code >= 400 or request.endpoint not in FILES:
            response.headers["Cache-Control"] = "no-store"
        elif request.endpoint == "static":
            response.cache_control.immutable = True  # its path changes with it
        return response
