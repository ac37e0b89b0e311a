"""Flask, without what it does at every request for others.

Here no function is a coroutine and nobody listens to signals or teardowns, sessions are our own
(``tickets.sessions``), there is one host, and most answers are some bytes of known length.  To ask after all of
that took two thirds of Flask's time.  What is overridden is what Flask offers for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, cast

import flask
from flask.globals import request_ctx
from flask.sessions import NullSession, SessionInterface, SessionMixin
from werkzeug.routing import MapAdapter, RequestRedirect

from ..errors import NotFound

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

NO_SESSION = NullSession()


class Response(flask.Response):
    """Flask's, which sends bytes that are all there as they are."""

    def __call__(self, given: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Werkzeug would look for what may have to be mended, as in a redirect, or left out, as for HEAD."""
        status, parts = self.status_code, self.response
        if (
            (status in (200, 201) or status >= 400)
            and (type(parts) is list and len(parts) == 1 and type(parts[0]) is bytes)
            and "Content-Length" in self.headers
            and given["REQUEST_METHOD"] != "HEAD"
            and not self._on_close
        ):
            start_response(self.status, self.headers.to_wsgi_list())
            return cast("list[bytes]", parts)
        return super().__call__(given, start_response)


class NoSessions(SessionInterface):
    """Flask's own sessions: there are none."""

    def open_session(self, app: flask.Flask, request: flask.Request) -> SessionMixin:
        """One that cannot be written to."""
        return NO_SESSION

    def is_null_session(self, obj: object) -> bool:
        """It is."""
        return True


class Application(flask.Flask):
    """A Flask application of ours."""

    response_class = Response
    session_interface = NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: none is a coroutine."""
        return func

    def create_url_adapter(self, request: flask.Request | None) -> MapAdapter | None:
        """What finds the route of a request, whatever host it names."""
        if request is None:
            return None
        return MapAdapter(
            self.url_map,
            "",
            request.root_path,
            "",
            request.scheme,
            request.path,
            request.method,
            request.query_string.decode("latin-1"),
        )

    def raise_routing_exception(self, request: flask.Request) -> NoReturn:
        """No redirect: Werkzeug would send ``//s`` to ``/s`` at whatever host the request claims."""
        if isinstance(request.routing_exception, RequestRedirect):
            raise NotFound
        raise request.routing_exception  # type: ignore[misc]

    def preprocess_request(self) -> Any:
        """Call what is asked before a route is, of the application's and of the blueprint's own."""
        rule = request_ctx.request.url_rule
        blueprint = rule.endpoint.rpartition(".")[0] if rule else ""
        for name in (None, blueprint):
            for before in self.before_request_funcs.get(name, ()):
                if (found := before()) is not None:
                    return found
        return None

    def process_response(self, response: flask.Response) -> flask.Response:
        """Call what is to be done to every answer."""
        for after in request_ctx._after_request_functions:
            response = cast(flask.Response, after(response))
        for after in reversed(self.after_request_funcs[None]):
            response = cast(flask.Response, after(response))
        return response

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        """Nothing."""

    def do_teardown_appcontext(self, exc: BaseException | None = None) -> None:
        """Nothing."""
