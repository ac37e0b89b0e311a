"""Logs: one JSON object a line, on standard error, without secrets.

A request is logged by its route's template, never by its path or query: a mail program that turned ``#`` into
``%23`` has put a link key into the path.  An exception is logged by its class and where it was raised, never by
its message or the values at hand.  Every line that is written while a request is answered has that request's
id, which is ours; nobody hears of it but who is told of a fault on our side.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import logging.config
import os
import random
import sys
import time
import traceback
from functools import lru_cache
from typing import Any, Protocol

import msgspec
from flask import Flask, Request, Response, g, has_app_context, request

from ..errors import SecretsvcError

REQUEST_ID = "X-Request-Id"
log = logging.getLogger("secretsvc.web")


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON: time, level, logger, message, and ``extra={"fields": {…}}``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = _line(record.created, record.levelname.lower(), record.name, record.getMessage())
        if has_app_context() and (id := g.get("request_id")):
            line["request"] = id
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            if isinstance(record.exc_info[1], SecretsvcError):
                line["detail"] = record.exc_info[1].detail  # ours never hold what a caller sent
            line["at"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(record.exc_info[2])
            ]
        return _encode(line).decode()


class Lines(logging.Handler):
    """Writes lines to standard error, each by one call, so that those of several workers do not mix."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            self.write(self.format(record).encode())
        except Exception:
            self.handleError(record)

    def write(self, line: bytes) -> None:
        """Write a line, if that can be done."""
        if sys.__stderr__ is None:  # it was closed when we began: number 2 is something else by now
            return
        with contextlib.suppress(OSError):
            os.write(2, line + b"\n")


LINES = Lines()


def configure(level: str) -> None:
    """Send everything at ``level`` and above to standard error as JSON."""
    logging.raiseExceptions = False  # a line that cannot be written would be told with all exceptions at hand
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"stderr": {"()": lambda: LINES}},
            "root": {"level": level.upper(), "handlers": ["stderr"]},
        }
    )


class Count(Protocol):
    """Whoever counts requests: see ``metrics.request``."""

    def __call__(self, method: str, route: str, status: int, seconds: float, problem: str, limit: str) -> None:
        """A request was answered."""


def log_requests(app: Flask, count: Count, *, clients: bool = False) -> None:
    """Write one line for each request, and have it counted.

    Method, route template, status, duration in ms, and the type of the problem, if it was one.

    Args:
        app: whose requests.
        count: called before the line is written.  (Handed in: the web server's own process writes logs, too,
            and has nothing to count.)
        clients: whether to log where they come from: an IPv4 address's /24, an IPv6 address's /48.
    """

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()
        g.request_id = f"{random.getrandbits(64):016x}"  # a name, no secret

    @app.after_request
    def end(response: Response) -> Response:
        given, known = request._get_current_object(), g._get_current_object()  # type: ignore[attr-defined]
        began: float = known.get("began", 0.0)
        seconds = time.perf_counter() - began if began else 0.0
        method, route, status = given.method if given.url_rule else "-", route_of(given), response.status_code
        problem = known.get("problem", "") if status >= 400 else ""
        count(method, route, status, seconds, problem, known.get("limit", "") if problem else "")
        if log.isEnabledFor(logging.INFO):
            with contextlib.suppress(Exception):  # it is answered already, whatever becomes of the line
                client = shortened(given.remote_addr) if clients else ""
                write_request(known.get("request_id"), method, route, status, seconds, problem, client)
        if status >= 500 and "request_id" in known:
            response.headers[REQUEST_ID] = known.request_id
        return response


def write_request(
    id: str | None, method: str, route: str, status: int, seconds: float, problem: str, client: str
) -> None:
    """Write the line of a request; what is empty is left out.

    By hand: a record of it would cost half of all that ours adds to the simplest request.
    """
    line = _line(time.time(), "info", log.name, "request")
    if id:
        line["request"] = id
    line |= {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 2)}
    if problem:
        line["problem"] = problem
    if client:
        line["client"] = client
    LINES.write(_encode(line))


def route_of(given: Request) -> str:
    """The template of the route that answers a request, or ``-``; of files without their hash."""
    rule = given.url_rule
    if rule is None:
        return "-"
    return "/static/<path:filename>" if rule.endpoint == "static" else rule.rule


def shortened(address: str | None) -> str:
    """The network that a client is in, too large to be one person's: a /24 or a /48; ``-`` if there is none."""
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])  # a scope may be any text
    except ValueError:
        return "-"
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 48), strict=False))


def _line(seconds: float, level: str, logger: str, message: str) -> dict[str, Any]:
    """What every line begins with."""
    at = f"{_second(int(seconds))}.{int(seconds % 1 * 1000):03d}Z"
    return {"time": at, "level": level, "logger": logger, "message": message}


_encode = msgspec.json.Encoder(enc_hook=str).encode


@lru_cache(2)
def _second(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
