"""OpenAPI 3.1 of the API, made from the very types that read the bodies; served as JSON and as a page."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Flask, Response, render_template

from ..errors import SecretsvcError
from ..settings import Settings
from . import api
from .problems import TABLE

PROBLEM = "application/problem+json"
B64_16 = {"type": "string", **api.B64_16}
B64_32 = {"type": "string", **api.B64_32}
TIME = {"type": "string", "format": "date-time"}
STATES = ["waiting", "sealed", "locked", "opened", "revoked", "expired"]


def _kinds(error: type[SecretsvcError]) -> set[str]:
    """The stable types of an error and of all below it in the tree."""
    own = {error.kind} if hasattr(error, "kind") else set()
    return own.union(*(_kinds(below) for below in error.__subclasses__()))


KINDS = {"method-not-allowed", "internal-error"}.union(
    *({kind} if kind else _kinds(cls) for cls, _, kind, _ in TABLE)
)


class Problem(msgspec.Struct, forbid_unknown_fields=True):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    state: str | None = None
    ended_at: str | None = None
    tries_left: int | None = None
    errors: list[dict[str, str]] | None = None


STATE = {
    "type": "object",
    "required": ["id", "kind", "state", "password", "size", "created_at", "expires_at"],
    "additionalProperties": False,
    "properties": {
        "id": B64_16,
        "kind": {"enum": ["secret", "request"]},
        "state": {"enum": STATES},
        "password": {"type": "boolean"},
        "size": {"type": "integer", "minimum": 0, "description": "bytes of the envelope"},
        "created_at": TIME,
        "expires_at": TIME,
        "language": {"enum": ["de", "en"]},
        "ended_at": TIME,
        "ended_by": {"const": "operator", "description": "where a new epoch ended it; told as revoked"},
        "reported_at": TIME,
        "tries_left": {"type": "integer", "minimum": 0, "description": "to the sender"},
    },
}
CREATED = {
    "type": "object",
    "required": ["id", "state", "created_at", "expires_at", "sealed_by", "receipt_token", "receipt_url"],
    "additionalProperties": False,
    "properties": {
        "id": B64_16,
        "state": {"enum": STATES},
        "created_at": TIME,
        "expires_at": TIME,
        "sealed_by": {"enum": ["client", "server"]},
        "receipt_token": B64_32,
        "receipt_url": {"type": "string", "format": "uri"},
        "link": {"type": "string", "format": "uri", "description": "only where the server sealed"},
    },
}
OPENED = {
    "type": "object",
    "required": ["secret", "encoding"],
    "additionalProperties": False,
    "properties": {
        "secret": {"type": "string"},
        "encoding": {"enum": ["utf-8", "base64"], "description": "base64: base64url without padding"},
        "name": {"type": "string"},
        "type": {"type": "string"},
    },
}
ENVELOPE = {
    "type": "object",
    "required": ["envelope"],
    "additionalProperties": False,
    "properties": {"envelope": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}},
}
ASKED = {
    "type": "object",
    "required": ["form", "language", "expires_at", "state"],
    "additionalProperties": False,
    "properties": {
        "form": {"type": "string"},
        "language": {"enum": ["de", "en"]},
        "expires_at": TIME,
        "state": {"enum": STATES},
        "label": {"type": "string"},
    },
}
ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "22 characters",
}
KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{22,64}$"},
    "description": "22-64 base64url characters or a UUID, from a good random source",
}
API_KEY = {"name": "X-API-Key", "in": "header", "schema": {"type": "string"}, "description": "API token"}


def document(conf: Settings) -> dict[str, Any]:
    """The whole description."""
    bodies = (
        api.SealedByClient,
        api.SealedByServer,
        api.NewRequest,
        api.Answer,
        api.Claim,
        api.Open,
        api.Nothing,
        Problem,
    )
    _, schemas = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    schemas["Problem"]["properties"]["type"] = {"enum": sorted(KINDS)}
    schemas |= {"State": STATE, "Created": CREATED, "Opened": OPENED, "Envelope": ENVELOPE, "Asked": ASKED}
    ref = {name: {"$ref": f"#/components/schemas/{name}"} for name in schemas}
    either = {"oneOf": [ref["SealedByClient"], ref["SealedByServer"]]}
    secret, ask = "/api/v1/secrets/{id}", "/api/v1/requests/{id}"

    def call(
        what: str, ok: int, answer: str | None, errors: str, *, body: Any = None, **more: Any
    ) -> dict[str, Any]:
        return _call(what, ok, ref[answer] if answer else None, errors, ref["Problem"], body=body, **more)

    return {
        "openapi": "3.1.0",
        "info": {
            "title": "secretsvc",
            "version": "1",
            "description": "Secrets whose links open exactly once. Binary values are base64url without padding "
            "(docs/format.md), times RFC 3339 in UTC, durations whole seconds.",
        },
        "servers": [{"url": conf.base_url}],
        "paths": {
            "/api/v1/secrets": {
                "post": call(
                    "Store an envelope, or let the server seal a secret.",
                    201,
                    "Created",
                    "400 401 403 409 413 415 422 429 503",
                    body=either,
                    parameters=[KEY, API_KEY],
                )
            },
            secret: {
                "get": call(
                    "How a secret stands; consumes nothing. For the holder of the link or of the receipt.",
                    200,
                    "State",
                    "401 404 503",
                    parameters=[ID],
                    bearer=True,
                )
            },
            f"{secret}/claim": {
                "post": call(
                    "The one opening, for the link's holder; answers to requests also take an agent's token.",
                    200,
                    "Envelope",
                    "400 401 403 404 409 410 413 415 422 423 429 503",
                    body=ref["Claim"],
                    optional=True,
                    parameters=[ID, KEY, API_KEY],
                    bearer=True,
                )
            },
            f"{secret}/done": {
                "post": call(
                    "The claimant has it: nobody can fetch it again. With the Idempotency-Key of the claim.",
                    204,
                    None,
                    "400 401 404 409 410 413 415 422 503",
                    body=ref["Nothing"],
                    optional=True,
                    parameters=[ID, KEY | {"required": True}],
                    bearer=True,
                )
            },
            f"{secret}/report": {
                "post": call(
                    "That was not me: once, and only when opened. For the link's holder.",
                    200,
                    "State",
                    "400 401 404 409 413 415 422 503",
                    body=ref["Nothing"],
                    optional=True,
                    parameters=[ID],
                    bearer=True,
                )
            },
            f"{secret}/revoke": {
                "post": call(
                    "End it unread. For the sender, with the receipt token.",
                    200,
                    "State",
                    "400 401 404 410 413 415 422 503",
                    body=ref["Nothing"],
                    optional=True,
                    parameters=[ID],
                    bearer=True,
                )
            },
            f"{secret}/unlock": {
                "post": call(
                    "Give all tries back. For the sender, with the receipt token.",
                    200,
                    "State",
                    "400 401 404 409 410 413 415 422 503",
                    body=ref["Nothing"],
                    optional=True,
                    parameters=[ID],
                    bearer=True,
                )
            },
            "/api/v1/open": {
                "post": call(
                    "Open a link on the server, for scripts: link, secret and password pass through it.",
                    200,
                    "Opened",
                    "400 401 403 404 409 410 413 415 422 423 429 503",
                    body=ref["Open"],
                    parameters=[KEY, API_KEY],
                )
            },
            "/api/v1/requests": {
                "post": call(
                    "Ask somebody for a secret. For staff.",
                    201,
                    "Created",
                    "400 401 403 409 413 415 422 429 503",
                    body=ref["NewRequest"],
                    parameters=[API_KEY | {"required": True}],
                )
            },
            ask: {
                "get": call(
                    "What is asked. For the holder of the request link.",
                    200,
                    "Asked",
                    "401 404 503",
                    parameters=[ID],
                    bearer=True,
                )
            },
            f"{ask}/answer": {
                "post": call(
                    "The one answer, sealed to the agent's link.",
                    201,
                    "State",
                    "400 401 404 409 410 413 415 422 503",
                    body=ref["Answer"],
                    parameters=[ID],
                    bearer=True,
                )
            },
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def install(app: Flask, conf: Settings) -> None:
    """Serve the description at ``/api/v1/openapi.json`` and a page to read it at ``/api``."""
    described = document(conf)
    encoded = msgspec.json.encode(described)

    @app.get("/api/v1/openapi.json")
    def openapi_json() -> Response:
        """The description as JSON."""
        return Response(encoded, mimetype="application/json")

    @app.get("/api")
    def openapi_page() -> str:
        """The description as a page."""
        return render_template("api.html", paths=described["paths"], schemas=described["components"]["schemas"])


def _call(
    what: str,
    ok: int,
    answer: Any,
    errors: str,
    problem: Any,
    *,
    body: Any = None,
    optional: bool = False,
    parameters: list[Any],
    bearer: bool = False,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "summary": what,
        "parameters": parameters,
        "responses": {str(ok): {"description": "done"}},
    }
    if answer is not None:
        found["responses"][str(ok)]["content"] = {"application/json": {"schema": answer}}
    for status in errors.split():
        found["responses"][status] = {"description": "problem", "content": {PROBLEM: {"schema": problem}}}
    if body is not None:
        found["requestBody"] = {"required": not optional, "content": {"application/json": {"schema": body}}}
    if bearer:
        found["security"] = [{"token": []}]
    return found
