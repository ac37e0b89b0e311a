"""The smallest applications there can be, for gunicorn to serve: what ours is measured against.

``flask_trip:app`` and the like stand for ``bench.baselines:flask_trip()``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import redis
from flask import Flask, Response, jsonify, request


def flask_trip() -> Flask:
    """Views that parse JSON and make one Redis round trip; nothing is checked, encrypted, or kept track of.

    Create is one ``SET key value EX seconds`` of what came, read is one ``GET key`` of it.  They get the bodies
    and headers that the service gets, and answer as many fields.
    """
    app = Flask(__name__)
    store = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])

    @app.post("/api/v1/secrets")
    def create() -> tuple[Response, int]:
        data = request.get_json()
        store.set(data["id"], data["envelope"], ex=data["expires_in"])
        return jsonify(id=data["id"], state="sealed", expires_in=data["expires_in"]), 201

    @app.post("/api/v1/secrets/<id>/claim")
    def read(id: str) -> Response:
        request.get_json()
        return jsonify(envelope=store.get(id).decode())  # type: ignore[union-attr]

    return app


def flask_constant() -> Flask:
    """A view that answers the same few bytes to everybody."""
    app = Flask(__name__)

    @app.get("/")
    def constant() -> str:
        return "hello\n"

    return app


def wsgi_constant() -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """The same without Flask."""

    def constant(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
        return [b"hello\n"]

    return constant


def snappass_alike() -> Flask:
    """What SnapPass 1.6 does for a create and a read, for where its package cannot be had.

    Its two store calls each (SETEX; GET and DELETE), Fernet under a fresh key, a form as input, its kind of
    token in the path; its templates are replaced by one of a few lines.
    """
    import uuid

    from cryptography.fernet import Fernet
    from flask import render_template_string

    app = Flask(__name__)
    store = redis.StrictRedis.from_url(os.environ["BENCH_REDIS_URL"])

    @app.post("/")
    def create() -> Response:
        seconds = {"two weeks": 1209600, "week": 604800, "day": 86400, "hour": 3600}[
            request.form["ttl"].lower()
        ]
        name, key = "snappass" + uuid.uuid4().hex, Fernet.generate_key()
        store.setex(name, seconds, Fernet(key).encrypt(request.form["password"].encode()))
        return jsonify(link=f"{request.url_root}{name}~{key.decode()}", ttl=seconds)

    @app.post("/<token>")
    def read(token: str) -> str:
        name, _, key = token.partition("~")
        found = store.get(name)
        store.delete(name)
        secret = Fernet(key).decrypt(found).decode()  # type: ignore[arg-type]
        return render_template_string("<title>Secret</title><textarea>{{ secret }}</textarea>", secret=secret)

    return app
