"""Logs: one JSON object a line, on standard error, without secrets.

A request is logged by its route's template, never by its path or query: a mail program that turned ``#`` into
``%23`` has put a link key into the path.  An exception is logged by its class and where it was raised, never by
its message or the values at hand.
"""

from __future__ import annotations

import json
import logging
import logging.config
import time
import traceback
from typing import Any

from flask import Flask, Response, g, request

from ..errors import SecretsvcError

log = logging.getLogger("secretsvc.web")


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON: time, level, logger, message, and ``extra={"fields": {…}}``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            if isinstance(record.exc_info[1], SecretsvcError):
                line["detail"] = record.exc_info[1].detail  # ours never hold what a caller sent
            line["at"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(record.exc_info[2])
            ]
        return json.dumps(line, ensure_ascii=False)


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


def log_requests(app: Flask) -> None:
    """Write one line for each request: method, route template, status, duration in ms."""

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        fields = {
            "method": request.method if request.url_rule else "-",
            "route": request.url_rule.rule if request.url_rule else "-",
            "status": response.status_code,
            "ms": round((time.perf_counter() - g.began) * 1000, 2) if "began" in g else None,
        }
        log.info("request", extra={"fields": fields})
        return response
