"""An OpenID Connect provider as a process of its own, with keys of its own, that misbehaves when it is told to.

``python -m tests.tickets.people.provider PORT`` serves until its standard input ends.  ``POST /control`` takes
``{"mode": …, "claims": {…}}``; ``GET /control`` tells what it was asked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, redirect, request
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from werkzeug.serving import make_server

CLIENT_ID, CLIENT_SECRET = "secretsvc+desk", "a+secret/with:signs"
ANNA = {
    "sub": "4711",
    "name": "Anna Agent",
    "email": "anna@example.org",
    "email_verified": True,
    "realm_access": {"roles": ["offline", "desk-agent"]},
    "organisations": ["Example"],
}
PAGE = (
    "<!doctype html><title>Provider</title><link rel=icon href=data:,>"
    "<form method=post action='/login?{}'><button>Log in</button></form>"
)
TYPES = {"rsa": "RS256", "ec": "ES256"}


class Provider:
    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.release = threading.Event()
        self.key: Any = None
        self.new_key("rsa")
        self.reset()

    def new_key(self, kind: str) -> None:
        self.algorithm = TYPES[kind]
        self.key = RSAKey.generate_key(2048) if kind == "rsa" else ECKey.generate_key("P-256")
        self.key.ensure_kid()

    def reset(self) -> None:
        self.mode = ""
        self.claims: dict[str, Any] = dict(ANNA)
        self.userinfo: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.seen: list[dict[str, Any]] = []

    def public(self) -> dict[str, Any]:
        return self.key.as_dict(private=False, use="sig", alg=self.algorithm)

    def id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.origin,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **self.claims,
        }
        header = {"alg": self.algorithm, "kid": self.key.kid}
        key = self.key
        match self.mode:
            case "wrong issuer":
                claims["iss"] = self.origin + "/other"
            case "wrong audience":
                claims["aud"] = "somebody-else"
            case "wrong audience with our azp":
                claims |= {"aud": "somebody-else", "azp": CLIENT_ID}
            case "audiences without azp":
                claims["aud"] = [CLIENT_ID, "somebody-else"]
            case "wrong azp":
                claims |= {"aud": [CLIENT_ID, "somebody-else"], "azp": "somebody-else"}
            case "wrong nonce":
                claims["nonce"] = "another"
            case "no nonce":
                del claims["nonce"]
            case "expired":
                claims |= {"iat": now - 600, "exp": now - 120}
            case "no expiry":
                del claims["exp"]
            case "expiry no number":
                claims["exp"] = "tomorrow"
            case "issued tomorrow":
                claims |= {"iat": now + 86_400, "exp": now + 90_000}
            case "no subject":
                del claims["sub"]
            case "empty subject":
                claims["sub"] = ""
            case "wrong at_hash":
                claims["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAA"
            case "other key":
                key = RSAKey.generate_key(2048)
            case "none":
                return f"{_b64(json.dumps({'alg': 'none'}))}.{_b64(json.dumps(claims))}."
            case "hs256 with public key":
                return _mac(claims, self.key.as_pem(private=False))
            case "hs256 with client secret":
                return _mac(claims, CLIENT_SECRET.encode())
            case "altered":
                head, _, tail = jwt.encode(header, claims, key, [self.algorithm]).split(".")
                claims["sub"] = "4712"
                return f"{head}.{_b64(json.dumps(claims))}.{tail}"
            case "not a token":
                return "not a token"
        return jwt.encode(header, claims, key, [self.algorithm])


def make(provider: Provider) -> Flask:
    app = Flask(__name__)

    def huge() -> Iterator[bytes]:
        for _ in range(1000):
            provider.seen.append({"path": "64 KiB more"})
            yield b"[" * 65_536

    @app.get("/seen-elsewhere")
    def elsewhere() -> Any:
        provider.seen.append({"path": "elsewhere"})
        return {}

    def misbehaves(where: str) -> Response | None:
        provider.seen.append({"path": where, "form": request.form.to_dict(), "args": request.args.to_dict()})
        match provider.mode.removeprefix(f"{where} "):
            case "hangs":
                provider.release.wait(30)
            case "fails":
                return Response("provider-canary: a stack trace", 500)
            case "refuses":
                return Response('{"error": "invalid_grant", "error_description": "provider-canary"}', 400)
            case "refuses us":
                return Response('{"error": "invalid_client"}', 401)
            case "is huge":
                return Response(huge(), 200)
            case "is nonsense":
                return Response("<html>provider-canary", 200)
            case "is elsewhere":
                return Response("", 302, {"Location": f"{provider.origin}/seen-elsewhere"})
            case "drips":

                def drip() -> Any:
                    while not provider.release.wait(0.5):
                        yield b" "

                return Response(drip(), 200)
        return None

    @app.get("/.well-known/openid-configuration")
    def discovery() -> Any:
        return misbehaves("discovery") or {
            "issuer": provider.origin + ("/x" if provider.mode == "names another issuer" else ""),
            "authorization_endpoint": provider.origin + "/authorize",
            "token_endpoint": provider.origin + "/token",
            "jwks_uri": provider.origin + "/keys",
            "userinfo_endpoint": provider.origin + "/userinfo",
            "response_types_supported": ["code"],
            "authorization_response_iss_parameter_supported": True,
        }

    @app.get("/keys")
    def keys() -> Any:
        others = [{"kty": "oct", "k": "AAAA"}, "nonsense", {"kty": "RSA", "n": "x"}]
        return misbehaves("keys") or {"keys": [*others, provider.public()]}

    @app.get("/authorize")
    def authorize() -> Any:
        provider.seen.append({"path": "authorize", "args": request.args.to_dict()})
        return PAGE.format(urlencode(request.args))

    @app.post("/login")
    def login() -> Any:
        asked = request.args.to_dict()
        code = secrets.token_urlsafe(24)
        provider.codes[code] = asked
        answer = {"code": code, "state": asked["state"], "iss": provider.origin}
        match provider.mode:
            case "access denied":
                answer = {
                    "error": "access_denied",
                    "error_description": "provider-canary",
                    "state": asked["state"],
                    "iss": provider.origin,
                }
            case "wrong state":
                answer["state"] = secrets.token_urlsafe(32)
            case "no state":
                del answer["state"]
            case "no code":
                del answer["code"]
            case "wrong iss parameter":
                answer["iss"] = "https://other.example"
            case "no iss parameter":
                del answer["iss"]
        return redirect(f"{asked['redirect_uri']}?{urlencode(answer)}", 302)

    @app.post("/token")
    def token() -> Any:
        if (answer := misbehaves("token")) is not None:
            return answer
        asked = provider.codes.pop(request.form.get("code", ""), None)
        mine = request.authorization is not None and (
            request.authorization.username,
            request.authorization.password,
        ) == ("secretsvc%2Bdesk", "a%2Bsecret%2Fwith%3Asigns")
        if not mine:
            return {"error": "invalid_client"}, 401
        digest = hashlib.sha256(request.form["code_verifier"].encode()).digest()
        if (
            asked is None
            or request.form.get("grant_type") != "authorization_code"
            or asked["code_challenge_method"] != "S256"
            or asked["code_challenge"] != base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            or asked["redirect_uri"] != request.form["redirect_uri"]
        ):
            return {"error": "invalid_grant"}, 400
        return {
            "access_token": "access-canary",
            "token_type": "Bearer",
            "id_token": provider.id_token(asked["nonce"]),
        }

    @app.get("/userinfo")
    def userinfo() -> Any:
        if request.headers.get("Authorization") != "Bearer access-canary":
            return {}, 401
        return misbehaves("userinfo") or provider.userinfo

    @app.post("/control")
    def control() -> Any:
        told = request.get_json()
        provider.release.set()
        provider.release = threading.Event()
        provider.reset()
        provider.mode = told.get("mode", "")
        provider.claims |= told.get("claims", {})
        for name in told.get("without", ()):
            provider.claims.pop(name)
        provider.userinfo = told.get("userinfo", {})
        if "key" in told:
            provider.new_key(told["key"])
        return {}

    @app.get("/control")
    def seen() -> Any:
        return {"seen": provider.seen}

    return app


def _b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _mac(claims: dict[str, Any], key: bytes) -> str:
    """Signed by whoever knows this key: a public one, everybody."""
    text = f"{_b64(json.dumps({'alg': 'HS256'}))}.{_b64(json.dumps(claims))}"
    mac = base64.urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")).rstrip(b"=").decode()
    return f"{text}.{mac}"


def _end_with_caller() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    port = int(sys.argv[1])
    threading.Thread(target=_end_with_caller, daemon=True).start()
    make_server("127.0.0.1", port, make(Provider(f"http://127.0.0.1:{port}")), threaded=True).serve_forever()
