"""Calls to an OpenID Connect provider: what it says of itself, its keys, and a code for tokens.

Each call has an end, in time and in size; none follows a redirect or heeds the environment's proxies.  What the
provider answers reaches no log and no message.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote_plus, urlsplit

import msgspec
import requests
from urllib3.exceptions import HTTPError

from ..errors import N_, Misconfigured, Unavailable
from . import config
from .claims import SignInRefused
from .config import SignIn
from .deadline import Deadline
from .guard import Guard, Session

SECONDS = 10.0  # for all calls of one step
MOST_BYTES = 256 * 1024
KEPT = 3600.0  # seconds for which what the provider says of itself, and its keys, are taken for true
AT_ONCE = 4  # steps that may wait for the provider in one process, so that it cannot hold up everybody
ANYWHERE = Guard(("0.0.0.0/0", "::/0"))  # the operator has named it, and it may be on a private network
LOOPBACK = ("localhost", "127.0.0.1", "::1")
REFUSED = N_("The sign-in service did not confirm who you are. Please sign in again.")
log = logging.getLogger(__name__)


class ProviderUnavailable(Unavailable):
    """The provider does not answer, or not in a way that can be used."""

    kind = "provider-unavailable"
    detail = N_("The sign-in service cannot be reached just now. Please try again.")
    retry_after = 10


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says of itself (OpenID Connect Discovery 1.0, 3), as far as we need it."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Tokens(msgspec.Struct, frozen=True):
    """What a code was worth."""

    id_token: str
    access_token: str

    def __repr__(self) -> str:
        return "<Tokens>"


class Provider:
    """The provider as this process knows it.

    Args:
        conf: where it is, and who we are there.

    Raises:
        Misconfigured: the secret cannot be read, or the issuer is neither https nor on this machine.
    """

    def __init__(self, conf: SignIn) -> None:
        parts = urlsplit(conf.issuer)
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise Misconfigured("sign_in.issuer: expected https, except for a provider on this machine.")
        self.conf = conf
        self.secret = config.secret(conf.client_secret_file, "sign_in.client_secret_file")
        self.schemes = ("https",) if parts.scheme == "https" else ("https", "http")
        self._waiting = threading.BoundedSemaphore(AT_ONCE)
        self.kept: dict[str, tuple[float, Any]] = {}

    @contextmanager
    def step(self) -> Iterator[Step]:
        """Calls that belong together and share one deadline.

        Raises:
            ProviderUnavailable: too many are waiting for it already.
        """
        if not self._waiting.acquire(timeout=1):
            raise ProviderUnavailable
        try:
            with Deadline(SECONDS) as deadline, Session(ANYWHERE, deadline) as session:
                session.verify = self.conf.ca_file or True
                yield Step(self, session, deadline)
        finally:
            self._waiting.release()


class Step:
    """Some calls to the provider; see ``Provider.step``."""

    def __init__(self, provider: Provider, session: requests.Session, deadline: Deadline) -> None:
        self._provider = provider
        self._conf = provider.conf
        self._session = session
        self._deadline = deadline

    def metadata(self) -> Metadata:
        """What it says of itself.

        Raises:
            ProviderUnavailable: nothing, or nothing that fits the issuer we were told.
        """
        found: Metadata | None = self._known("metadata")
        if found is None:
            where = self._conf.issuer.rstrip("/") + "/.well-known/openid-configuration"
            found = _decoded(self._call("GET", where), Metadata)
            self._check(found)
            self._keep("metadata", found)
        return found

    def keys(self, *, anew: bool = False) -> list[Any]:
        """Its public keys as JWKs, whatever else may stand there.

        Args:
            anew: ask again: it may have changed them.

        Raises:
            ProviderUnavailable: it does not tell.
        """
        found: list[Any] | None = None if anew else self._known("keys")
        if found is None:
            found = _decoded(self._call("GET", self.metadata().jwks_uri), dict[str, Any]).get("keys")
            if not isinstance(found, list):
                raise _unusable("its keys are no list")
            self._keep("keys", found)
        return found

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """What a code is worth (RFC 6749, 4.1.3; RFC 7636, 4.5).

        Raises:
            SignInRefused: nothing.
            ProviderUnavailable: it does not say, or refuses our own account.
        """
        about = self.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        secret = self._provider.secret
        auth: tuple[str, str] | None = (quote_plus(self._conf.client_id), quote_plus(secret))
        methods = about.token_endpoint_auth_methods_supported
        if "client_secret_basic" not in methods and "client_secret_post" in methods:
            form |= {"client_id": self._conf.client_id, "client_secret": secret}
            auth = None
        data = self._call("POST", about.token_endpoint, data=form, auth=auth, refusal=400)
        found: Tokens = _decoded(data, Tokens)
        return found

    def userinfo(self, access_token: str) -> dict[str, Any]:
        """What it says of the person at its userinfo endpoint.

        Raises:
            ProviderUnavailable: it has none, or does not answer.
        """
        where = self.metadata().userinfo_endpoint
        if where is None:
            raise _unusable("it has no userinfo endpoint")
        headers = {"Authorization": f"Bearer {access_token}"}
        found: dict[str, Any] = _decoded(self._call("GET", where, headers=headers), dict[str, Any])
        return found

    def _check(self, found: Metadata) -> None:
        if found.issuer != self._conf.issuer:
            raise _unusable("it names another issuer than sign_in.issuer")
        for url in (
            found.authorization_endpoint,
            found.token_endpoint,
            found.jwks_uri,
            found.userinfo_endpoint,
        ):
            parts = urlsplit(url or self._conf.issuer)
            if parts.scheme not in self._provider.schemes or not parts.hostname or parts.fragment:
                raise _unusable("one of its addresses is not https")

    def _call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        refusal: int = 0,
    ) -> bytes:
        """The body of an answer 200.

        Raises:
            SignInRefused: the status is ``refusal``.
            ProviderUnavailable: anything else.
        """
        try:
            answer = self._session.request(
                method,
                url,
                headers={"Accept": "application/json", "User-Agent": "secretsvc", **(headers or {})},
                data=data,
                auth=auth,
                timeout=self._deadline.left(),
                allow_redirects=False,
                stream=True,
            )
            with answer:
                body = _bounded(answer)
            self._deadline.left()  # an answer that was cut off can look like a whole one
        except (OSError, HTTPError, UnicodeError) as error:
            raise _unusable(f"no answer ({type(error).__name__})") from None
        if refusal and answer.status_code == refusal:
            raise SignInRefused(REFUSED, reason="the provider does not take the code")
        if answer.status_code != 200:
            raise _unusable(f"status {answer.status_code}")
        return body

    def _known(self, what: str) -> Any:
        until, found = self._provider.kept.get(what, (0.0, None))
        return found if time.monotonic() < until else None

    def _keep(self, what: str, found: Any) -> None:
        self._provider.kept[what] = (time.monotonic() + KEPT, found)


def _bounded(answer: requests.Response) -> bytes:
    body = b""
    for chunk in answer.iter_content(16_384):
        body += chunk
        if len(body) > MOST_BYTES:
            raise _unusable("its answer is too large")
    return body


def _decoded(data: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise _unusable("its answer is not what it must be") from None


def _unusable(what: str) -> ProviderUnavailable:
    log.warning("the sign-in provider: %s", what)
    return ProviderUnavailable()
