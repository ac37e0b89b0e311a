"""Signing in at an OpenID Connect provider: authorization code with PKCE, state and nonce.

Sources: OpenID Connect Core 1.0, 3.1; RFC 7636; RFC 9207; RFC 9700.  A sign-in that has begun is kept in the
store for ten minutes under the hash of its state, and belongs to the browser that began it.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from ..atrest import sha256
from ..envelope import b64
from ..errors import N_
from ..node import Node
from ..tokens import Person
from . import claims
from .claims import SignInRefused
from .config import SignIn
from .provider import REFUSED, Provider, ProviderUnavailable, Step, Tokens

BEGUN_SECONDS = 600
LEEWAY = 60  # seconds by which two clocks may differ
# Asymmetric ones alone: with "none" or a MAC over the public key, anybody could sign.
ALGORITHMS = tuple(f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512))
MOST_KEYS = 30
MIN_RSA_BITS = 2048
STALE = N_("This sign-in was not begun in this browser, or took too long. Please sign in again.")
DENIED = N_("The sign-in service did not let you in.")
log = logging.getLogger(__name__)


class _Begun(msgspec.Struct, frozen=True):
    """A sign-in on its way: the hash of the browser's own value, and what the tokens have to fit."""

    browser: str
    nonce: str
    verifier: str
    next: str


@dataclass(frozen=True)
class Start:
    """Where to send the person, and the value that their browser has to bring back."""

    url: str
    browser: str


@dataclass(frozen=True)
class SignedIn:
    """Who has come back, and the path they wanted to."""

    person: Person
    next: str


class SignIns:
    """Signing in at one provider.

    Args:
        conf: its settings.
        node: the store's server.
        redirect_uri: where the provider sends people back to.

    Raises:
        Misconfigured: see ``Provider``.
    """

    def __init__(self, conf: SignIn, node: Node, redirect_uri: str) -> None:
        self.conf = conf
        self.node = node
        self.redirect_uri = redirect_uri
        self.provider = Provider(conf)

    @property
    def host(self) -> str:
        """The provider's, to call it by."""
        return urlsplit(self.conf.issuer).hostname or ""

    def begin(self, next: str) -> Start:
        """Begin a sign-in.

        Args:
            next: the path to go on to.

        Raises:
            ProviderUnavailable: the provider does not say where to go.
        """
        with self.provider.step() as step:
            where = step.metadata().authorization_endpoint
        state, browser, nonce, verifier = (b64(secrets.token_bytes(32)) for _ in range(4))
        begun = _Begun(_hash(browser), nonce, verifier, next)
        self.node.command("SET", _key(state), msgspec.json.encode(begun), "EX", BEGUN_SECONDS)
        query = {
            "response_type": "code",
            "client_id": self.conf.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(dict.fromkeys(("openid", *self.conf.scopes))),
            "state": state,
            "nonce": nonce,
            "code_challenge": create_s256_code_challenge(verifier),
            "code_challenge_method": "S256",
        }
        return Start(f"{where}{'&' if '?' in where else '?'}{urlencode(query)}", browser)

    def finish(self, answer: Mapping[str, str], browser: str) -> SignedIn:
        """Take what the provider sent the browser back with; works once.

        Args:
            answer: the query's parameters.
            browser: the value that ``begin`` gave this browser.

        Raises:
            SignInRefused: this is nobody we let in.
            ProviderUnavailable: the provider does not confirm just now.
        """
        begun = self._take(answer.get("state", ""), browser)
        with self.provider.step() as step:
            required = step.metadata().authorization_response_iss_parameter_supported
            self._check_answer(answer, required)
            tokens = step.exchange(answer["code"], begun.verifier, self.redirect_uri)
            found = self._claims(step, tokens, begun.nonce)
        return SignedIn(claims.person(self.conf, found), begun.next)

    def _take(self, state: str, browser: str) -> _Begun:
        known = re.fullmatch(r"[A-Za-z0-9_-]{43}", state) is not None
        found = self.node.command("GETDEL", _key(state)) if known else None
        if not found:
            raise SignInRefused(STALE, reason="unknown state")
        begun = msgspec.json.decode(found, type=_Begun)
        if not hmac.compare_digest(begun.browser, _hash(browser)):
            raise SignInRefused(STALE, reason="another browser")
        return begun

    def _check_answer(self, answer: Mapping[str, str], required: bool) -> None:
        if ("iss" in answer or required) and answer.get("iss") != self.conf.issuer:
            raise SignInRefused(REFUSED, reason="the answer is another issuer's")
        if answer.get("error") in ("server_error", "temporarily_unavailable"):
            raise ProviderUnavailable
        if "error" in answer:
            raise SignInRefused(DENIED, reason="the provider said no")
        if not re.fullmatch(r"[!-~]{1,4096}", answer.get("code", "")):
            raise SignInRefused(REFUSED, reason="no code")

    def _claims(self, step: Step, tokens: Tokens, nonce: str) -> dict[str, Any]:
        """What the provider says of the person, by a token that was checked."""
        token = _verified(step, tokens.id_token)
        wanted = {
            "iss": {"essential": True, "value": self.conf.issuer},
            "aud": {"essential": True, "value": self.conf.client_id},
        }
        params = {"nonce": nonce, "client_id": self.conf.client_id, "access_token": tokens.access_token}
        checked = CodeIDToken(token.claims, token.header, wanted, params)
        try:
            checked.validate(leeway=LEEWAY)
        except (JoseError, TypeError, ValueError) as error:
            what = f"{type(error).__name__} {getattr(error, 'claim', '')}".strip()  # the library's own words
            raise SignInRefused(REFUSED, reason=f"id token: {what}") from None
        found = dict(checked)
        if not found["sub"] or len(found["sub"]) > 255:
            raise SignInRefused(REFUSED, reason="id token: no subject")
        if self.conf.userinfo:
            more = step.userinfo(tokens.access_token)
            if more.get("sub") != found["sub"]:
                raise SignInRefused(REFUSED, reason="userinfo is about somebody else")
            found = {**more, **found}
        return found


def _verified(step: Step, text: str) -> jwt.Token:
    """A token that one of the provider's keys has signed; its keys are asked for again before it is refused."""
    for anew in (False, True):
        for key in _keys(step.keys(anew=anew)):
            try:
                return jwt.decode(text, key, algorithms=ALGORITHMS)
            except (JoseError, ValueError, TypeError, KeyError, RecursionError):
                continue
    raise SignInRefused(REFUSED, reason="id token: no valid signature")


def _keys(found: list[Any]) -> Iterator[RSAKey | ECKey]:
    """Those that may sign."""
    kinds: dict[Any, type[RSAKey | ECKey]] = {"RSA": RSAKey, "EC": ECKey}
    for each in found[:MOST_KEYS]:
        if not isinstance(each, dict) or each.get("use", "sig") != "sig" or each.get("kty") not in kinds:
            continue
        if len(str(each.get("n", ""))) * 6 < MIN_RSA_BITS and each["kty"] == "RSA":
            continue
        public = {name: value for name, value in each.items() if name in ("kty", "n", "e", "crv", "x", "y")}
        try:
            key = kinds[each["kty"]].import_key(public)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        yield key


def _key(state: str) -> str:
    return f"ss:t:state:{_hash(state)}"


def _hash(text: str) -> str:
    return b64(sha256(text.encode("utf-8", "surrogatepass")))
