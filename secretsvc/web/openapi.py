"""OpenAPI 3.1 of the API, made from the very types that read the bodies; served as JSON and as a page."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from flask import Flask, render_template

from ..errors import SecretsvcError
from ..settings import Settings
from . import api
from .application import Response
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
    violated_policies: list[str] | None = msgspec.field(default=None, name="violated-policies")


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
        "collected_by": {"type": "string", "description": "who picked an answer up; to the sender"},
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
# draft-ietf-httpapi-ratelimit-headers-10: lists of items, each named for a limit of the caller's address.
COUNTED = {
    "RateLimit-Policy": {"schema": {"type": "string"}, "description": 'as in "create";q=600;w=60'},
    "RateLimit": {"schema": {"type": "string"}, "description": 'what is left, as in "create";r=599'},
}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "required": True}}
API_KEY = {"name": "X-API-Key", "in": "header", "schema": {"type": "string"}, "description": "API token"}


class Part(NamedTuple):
    """What a module adds to the description.

    Attributes:
        bodies: the types that read bodies, described by their names.
        schemas: of answers, by name.
        paths: see ``call``.
    """

    bodies: tuple[type[msgspec.Struct], ...]
    schemas: dict[str, Any]
    paths: dict[str, Any]


def document(conf: Settings, *parts: Part) -> dict[str, Any]:
    """The whole description: the core's, and what else is handed in."""
    bodies = (
        api.SealedByClient,
        api.SealedByServer,
        api.NewRequest,
        api.Answer,
        api.Claim,
        api.Open,
        api.Nothing,
        Problem,
        *(body for part in parts for body in part.bodies),
    )
    _, schemas = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    schemas["Problem"]["properties"]["type"] = {"enum": sorted(KINDS)}
    schemas |= {"State": STATE, "Created": CREATED, "Opened": OPENED, "Envelope": ENVELOPE, "Asked": ASKED}
    paths = _paths()
    for part in parts:
        schemas |= part.schemas
        paths |= part.paths
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "secretsvc",
            "version": "1",
            "description": "Secrets whose links open exactly once. Binary values are base64url without padding "
            "(docs/format.md), times RFC 3339 in UTC, durations whole seconds.",
        },
        "servers": [{"url": conf.base_url}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths() -> dict[str, Any]:
    either = {"oneOf": [ref("SealedByClient"), ref("SealedByServer")]}
    secret, ask = "/api/v1/secrets/{id}", "/api/v1/requests/{id}"
    return {
        "/api/v1/secrets": {
            "post": call(
                "Store an envelope, or let the server seal a secret.",
                201,
                "Created",
                "400 401 403 404 409 413 415 422 429 503",
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
                body=ref("Claim"),
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
                body=ref("Nothing"),
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
                body=ref("Nothing"),
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
                body=ref("Nothing"),
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
                body=ref("Nothing"),
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
                body=ref("Open"),
                parameters=[KEY, API_KEY],
            )
        },
        "/api/v1/requests": {
            "post": call(
                "Ask somebody for a secret. For staff.",
                201,
                "Created",
                "400 401 403 404 409 413 415 422 429 503",
                body=ref("NewRequest"),
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
                body=ref("Answer"),
                parameters=[ID],
                bearer=True,
            )
        },
    }


def ref(name: str) -> dict[str, Any]:
    """A schema of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def call(
    what: str,
    ok: int,
    answer: str | None,
    errors: str,
    *,
    body: Any = None,
    optional: bool = False,
    parameters: list[Any],
    bearer: bool = False,
) -> dict[str, Any]:
    """A call and its answers.

    Args:
        what: in a sentence.
        ok: the status when all goes well, and
        answer: the schema of what comes with it; None for nothing.
        errors: the statuses of the problems there may be, apart by spaces.
        body: its schema; ``optional`` where it may be left out.
        bearer: whether it takes a secret's token.
    """
    found: dict[str, Any] = {
        "summary": what,
        "parameters": parameters,
        "responses": {str(ok): {"description": "done"}},
    }
    if answer is not None:
        found["responses"][str(ok)]["content"] = {"application/json": {"schema": ref(answer)}}
    for status in errors.split():
        found["responses"][status] = {
            "description": "problem",
            "content": {PROBLEM: {"schema": ref("Problem")}},
        }
        if status in ("429", "503"):
            found["responses"][status]["headers"] = RETRY_AFTER | (COUNTED if status == "429" else {})
    if body is not None:
        found["requestBody"] = {"required": not optional, "content": {"application/json": {"schema": body}}}
    if bearer:
        found["security"] = [{"token": []}]
    return found


def install(app: Flask, conf: Settings, *parts: Part) -> None:
    """Serve the description at ``/api/v1/openapi.json`` and a page to read it at ``/api``."""
    described = document(conf, *parts)
    encoded = msgspec.json.encode(described)

    @app.get("/api/v1/openapi.json")
    def openapi_json() -> Response:
        """The description as JSON."""
        return Response(encoded, mimetype="application/json")

    @app.get("/api")
    def openapi_page() -> str:
        """The description as a page."""
        return render_template("api.html", paths=described["paths"], schemas=described["components"]["schemas"])
