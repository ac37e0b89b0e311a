"""What our application leaves out of Flask is nothing that anybody here relies on."""

from __future__ import annotations

import contextlib
from typing import Any

from flask import Blueprint, Flask, abort, after_this_request, request
from flask import Response as FlaskResponse

from secretsvc.web.application import Application
from tests.harness import Backends


def test_nothing_is_registered_that_would_not_be_called(backs: Backends) -> None:
    app = backs.app()
    assert not any(app.teardown_request_funcs.values())
    assert not app.teardown_appcontext_funcs
    assert not any(app.url_value_preprocessors.values())
    assert set(app.after_request_funcs) == {None}
    assert set(app.before_request_funcs) <= {None, *app.blueprints}
    assert not [name for name in app.blueprints if "." in name]  # one in another would have two to be asked
    assert not app.url_map.host_matching


def made(kind: type[Flask]) -> Flask:
    """An application of this kind that shows what comes of statuses, bodies, hooks and addresses."""
    app, some = kind(__name__), Blueprint("some", __name__)

    @app.before_request
    def before() -> str | None:
        return "before" if "before" in request.args else None

    @some.before_request
    def before_some() -> str | None:
        return "before some" if "some" in request.args else None

    @app.after_request
    def after(response: FlaskResponse) -> FlaskResponse:
        response.headers["X-After"] = request.endpoint or "-"
        return response

    @some.route("/<int:status>/<what>", methods=["GET", "POST"])
    def view(status: int, what: str) -> FlaskResponse:
        @after_this_request
        def also(response: FlaskResponse) -> FlaskResponse:
            response.headers["X-Also"] = what
            return response

        if what == "raise":
            abort(status)
        response = app.response_class(BODIES[what], status, {"Location": "/\xe4"} if status // 100 == 3 else {})
        if what == "closes":
            response.call_on_close(lambda: closed.append(status))
        return response

    closed: list[int] = []
    app.register_blueprint(some)
    app.config["closed"] = closed
    return app


BODIES: dict[str, Any] = {
    "bytes": b"abc",
    "text": "\xe4bc",
    "none": b"",
    "texts": ["a", "b"],
    "parts": [b"a", b"b"],
    "part": [b"a"],
    "closes": b"abc",
}


def test_answers_are_those_of_flask() -> None:
    flasks, ours = made(Flask), made(Application)
    asked = [
        (method, f"/{status}/{what}")
        for status in (200, 201, 202, 204, 206, 301, 304, 400, 404, 418, 500, 503)
        for what in (*BODIES, *(("raise",) if status >= 400 else ()))
        for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT")
    ]
    asked += [
        ("GET", path) for path in ("/nope", "/200/bytes?before", "/200/bytes?some", "/200/bytes/", "/200")
    ]
    for asking in asked:
        one, other = (_answer(app, *asking) for app in (flasks, ours))
        assert other == one, asking
    assert ours.config["closed"] == flasks.config["closed"] != []


def _answer(app: Flask, method: str, path: str) -> tuple[str, list[tuple[str, str]], bytes]:
    found = app.test_client().open(path, method=method)
    with contextlib.closing(found):
        return found.status, sorted(found.headers), found.data
