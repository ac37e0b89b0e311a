"""Logs: one JSON object a line, on standard error, without secrets.

A request is logged by its route's template, never by its path or query: a mail program that turned ``#`` into
``%23`` has put a link key into the path.  An exception is logged by its class and where it was raised, never by
its message or the values at hand.  Every line that is written while a request is answered has that request's
id, which is ours; nobody hears of it but who is told of a fault on our side.
"""

from __future__ import annotations

import ipaddress
import logging
import logging.config
import os
import time
import traceback
from functools import lru_cache
from typing import Any, Protocol

import msgspec
from flask import Flask, Response, g, has_app_context, request

from ..errors import SecretsvcError

REQUEST_ID = "X-Request-Id"
log = logging.getLogger("secretsvc.web")


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON: time, level, logger, message, and ``extra={"fields": {…}}``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
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


def configure(level: str) -> None:
    """Send everything at ``level`` and above to standard error as JSON."""
    logging.raiseExceptions = False  # a line that cannot be written would be told with all exceptions at hand
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": JsonFormatter}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
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
        g.request_id = os.urandom(8).hex()

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.began if "began" in g else 0.0
        method, route, status = request.method if request.url_rule else "-", route_of(), response.status_code
        problem = g.get("problem", "") if status >= 400 else ""
        count(method, route, status, seconds, problem, g.get("limit", "") if problem else "")
        if log.isEnabledFor(logging.INFO):
            fields = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 2)}
            if problem:
                fields["problem"] = problem
            if clients:
                fields["client"] = shortened(request.remote_addr)
            log.info("request", extra={"fields": fields})
        if status >= 500 and "request_id" in g:
            response.headers[REQUEST_ID] = g.request_id
        return response


def route_of() -> str:
    """The template of the route that answers the request at hand, or ``-``; of files without their hash."""
    rule = request.url_rule
    if rule is None:
        return "-"
    return "/static/<path:filename>" if rule.endpoint == "static" else rule.rule


def shortened(address: str | None) -> str:
    """The network that a client is in, too large to be one person's: a /24 or a /48; ``-`` if there is none."""
    try:
        ip = ipaddress.ip_address(address or "")
    except ValueError:
        return "-"
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 48), strict=False))


_encode = msgspec.json.Encoder(enc_hook=str).encode


@lru_cache(2)
def _second(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
