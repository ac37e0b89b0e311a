"""The application, which also switches scripts off for a browser that asks for it by a header.

The browser does it: a policy's ``sandbox`` leaves a page its forms and links, and its ``noscript``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

import app as composition

ASK = "X-Without-Script"
SANDBOX = "sandbox allow-downloads allow-forms allow-same-origin allow-top-navigation"


def create_app() -> Flask:
    """The service of these tests."""
    found = composition.create_app()
    found.wsgi_app = with_sandbox(found.wsgi_app)  # type: ignore[method-assign]
    return found


def with_sandbox(inner: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    asked = "HTTP_" + ASK.upper().replace("-", "_")

    def outer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, ("Content-Security-Policy", SANDBOX)], *more)

        return inner(environ, start if asked in environ else start_response)

    return outer
