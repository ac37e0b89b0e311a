"""The service's other end of the wire, for the command line: HTTP with nothing but the standard library.

Everything is sealed and opened here; the service gets envelopes, proofs and tokens.  What it promises:

- The certificate is checked, no redirect is followed, no proxy is asked, and no part of an answer is waited
  for without end.
- Every call may be repeated, so a lost answer is: creating goes by id and body, a claim by its Idempotency-Key.
- An API token goes to the service it was made for and to no other, whatever a link says.
- What the service says is shown without control characters; a terminal might obey them.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlsplit

from . import envelope as format
from .envelope import ID_BYTES, TRAILING, WHITE_SPACE, b64, unb64
from .errors import BadLink, Damaged, EndedByOperator, Misconfigured, SecretsvcError
from .payload import Masked

TIMEOUT = 15.0  # seconds for connecting, and for each part of an answer
DESK_TIMEOUT = 100.0  # for parts of answers where the service asks a helpdesk first, up to three times
PATIENCE = 30.0  # seconds after which nothing is repeated any more; less than the usual retry window
MAX_ANSWER_BYTES = 96 * 2**20  # the largest envelope a service may be set to, as base64url
STATES = ("waiting", "sealed", "locked", "opened", "revoked", "expired")
IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9_-]{22,64}")
API = "/api/v1"


class Unreachable(SecretsvcError):
    """No answer.  ``in_doubt`` tells whether a call was sent that may have been decided."""

    kind = "unreachable"

    def __init__(self, detail: str, *, in_doubt: bool) -> None:
        super().__init__(detail)
        self.in_doubt = in_doubt


class NotTheService(SecretsvcError):
    """Something answered that is not a secretsvc of this version; ``in_doubt`` as above."""

    kind = "unexpected"
    in_doubt = False
    detail = "What answers there is not a secretsvc that this version understands."


class BadReceipt(SecretsvcError):
    """A receipt link that is cut or altered."""

    kind = "damaged"
    detail = "This receipt link is incomplete or damaged. Copy it again, whole, up to its last character."


class Problem(SecretsvcError):
    """The service refused; ``kind`` is the stable type it gave (RFC 9457).

    Attributes:
        in_doubt: whether a claim may have been decided all the same.
        tries_left: after a wrong password.
    """

    def __init__(self, kind: str, detail: str, *, in_doubt: bool, tries_left: int | None = None) -> None:
        super().__init__(detail)
        self.kind = kind  # type: ignore[misc]  # here it is the service that says the word
        self.in_doubt = in_doubt
        self.tries_left = tries_left


# --- links ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Origin:
    """Where a service is: scheme, host and port, and nothing after them."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read ``http(s)://host`` or ``http(s)://host:port``.

        Raises:
            Misconfigured: anything else; the input is not repeated.
        """
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").encode("idna").decode()
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        except (ValueError, KeyError):
            host, port = "", 0
        whole = f"{parts.scheme}://{parts.netloc}".lower() if host else ""
        if not re.fullmatch(r"[A-Za-z0-9._:-]+", host) or url.lower() != whole or "@" in url:
            raise Misconfigured("Expected http(s)://host or http(s)://host:port, with nothing after it.")
        return cls(parts.scheme, host, port)

    @property
    def url(self) -> str:
        """What a link on this origin begins with."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme] == self.port
        return f"{self.scheme}://{host}" if usual else f"{self.scheme}://{host}:{self.port}"

    @property
    def in_the_clear(self) -> bool:
        """Whether what is said can be read and altered on the way: http, and not to this machine itself."""
        if self.scheme == "https" or self.host == "localhost" or self.host.endswith(".localhost"):
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True


@dataclass(frozen=True, slots=True, repr=False)
class Handle(Masked):
    """What the calls about a secret need; ``key`` only where a link was read.

    Attributes:
        origin: the service, from the link itself.
        id: 16 bytes.
        token: 32 bytes, the link's or the receipt's.
        key: the link key, 32 bytes.
    """

    origin: Origin
    id: bytes
    token: bytes
    key: bytes | None = None


def read_link(text: str) -> Handle:
    """Read a link as people paste it (``docs/format.md``); here it must be whole, since it names the service.

    Raises:
        BadLink: cut or altered, or no link of a secretsvc.
    """
    key = format.read_link(text)
    handles = format.derive_handles(key)
    return Handle(_origin(text, "/s", BadLink), handles.id, handles.token, key)


def read_receipt(text: str) -> Handle:
    """Read a receipt link, by the same rules.

    Raises:
        BadReceipt: cut or altered, or another link.
    """
    origin = _origin(text, "/receipt", BadReceipt)
    try:
        held = unb64(_parts(text)[1], length=ID_BYTES + 32)
    except Damaged:
        raise BadReceipt from None
    return Handle(origin, held[:ID_BYTES], held[ID_BYTES:])


def read_any(text: str) -> Handle:
    """Read a link or a receipt link.

    Raises:
        BadLink, BadReceipt: as the one it looks like.
    """
    return read_receipt(text) if _parts(text)[0].endswith("/receipt") else read_link(text)


def _parts(text: str) -> tuple[str, str]:
    trimmed = text.strip(WHITE_SPACE).rstrip(TRAILING)
    address, _, fragment = re.sub("%(?:25)?23", "#", trimmed).partition("#")
    return address, fragment


def _origin(text: str, path: str, refusal: type[SecretsvcError]) -> Origin:
    address = _parts(text)[0]
    if not address.endswith(path):
        raise refusal
    try:
        return Origin.parse(address.removesuffix(path))
    except Misconfigured:
        raise refusal from None


# --- calls ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Answer(Masked):
    """What came back: status, headers in lower case, the JSON object in it where there was one, and the
    Idempotency-Key that was sent last.
    """

    status: int
    headers: Mapping[str, str]
    json: dict[str, Any] | None
    key: str | None = None


@dataclass(frozen=True)
class State:
    """How a secret stands, checked as far as we rely on it; ``fields`` is all that was said."""

    state: str
    kind: str
    password: bool
    size: int
    ended_at: str | None
    fields: dict[str, Any]


@dataclass(frozen=True, repr=False)
class Created(Masked):
    """A stored secret: where people reach the service, and the sender's own link."""

    public_url: str
    receipt_url: str
    fields: dict[str, Any]


class _NotSentError(Exception):
    """The service could not be reached; nothing can have happened."""


class _LostError(Exception):
    """The call was sent, at least in part, and no whole answer came back."""


class Client:
    """The API of one service.

    Args:
        origin: where it is.
        api_key: an API token for this very service, or None.
    """

    def __init__(self, origin: Origin, *, api_key: str | None = None) -> None:
        self.origin = origin
        self._api_key = api_key
        # SSL_CERT_FILE and SSL_CERT_DIR are OpenSSL's own and work here.
        self._tls = ssl.create_default_context() if origin.scheme == "https" else None

    def create(self, key: bytes, body: dict[str, Any]) -> Created:
        """Store an envelope; the same body twice is one secret.

        Args:
            key: the link key.
            body: the fields of ``POST /api/v1/secrets`` but id and token.

        Raises:
            Problem, Unreachable, NotTheService: nothing was stored, or nobody holds its link.
            EndedByOperator: the operator began a new epoch of the ledger at this very moment.
        """
        return self._created("/secrets", format.derive_handles(key), body)

    def ask(self, key: bytes, body: dict[str, Any]) -> Created:
        """Store a request, to be answered once by its request link; the same body twice is one request.

        Args:
            key: the link key, whose link is the agent's pick-up link.
            body: the fields of ``POST /api/v1/requests`` but id and tokens.

        Raises:
            Problem, Unreachable, NotTheService, EndedByOperator: as ``create``.
        """
        handles = format.derive_handles(key)
        request = format.RequestLink(handles.id, format.request_public_key(key))
        return self._created("/requests", handles, {"answer_token": b64(request.answer_token()), **body})

    def staff(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, status: int = 200
    ) -> dict[str, Any]:
        """A call about tickets, by the API token: the JSON object of the answer, empty for 204.

        Args:
            path: after ``/api/v1``.
            status: the one expected.

        Raises:
            Problem, Unreachable, NotTheService.
        """
        return self._fields(self._call(method, path, body=body, staff=True, timeout=DESK_TIMEOUT), status)

    def _created(self, path: str, handles: format.Handles, body: dict[str, Any]) -> Created:
        body = {"id": b64(handles.id), "token": b64(handles.token), **body}
        found = self._fields(self._call("POST", path, body=body, staff=True), 201)
        if found.get("state") in ("opened", "revoked", "expired"):
            raise EndedByOperator("It was stored and has ended at once. Please send it again.", ended_at=0)
        try:
            held = handles.id + unb64(found["receipt_token"], length=32)
            public_url, _, shown = found["receipt_url"].partition("/receipt#")
            if shown != b64(held):
                raise NotTheService
            public = Origin.parse(public_url)
        except (KeyError, TypeError, AttributeError, Damaged, Misconfigured):
            raise NotTheService from None
        # A service reached by https has no business with http links; its public URL is not set then.
        base = self.origin if (self.origin.scheme, public.scheme) == ("https", "http") else public
        return Created(base.url, f"{base.url}/receipt#{b64(held)}", found)

    def state(self, handle: Handle) -> State:
        """How a secret stands; consumes nothing.

        Raises:
            Problem, Unreachable, NotTheService.
        """
        return _state(self._fields(self._call("GET", _path(handle), handle=handle)))

    def claim(self, handle: Handle, proof: bytes | None, key: str, *, staff: bool) -> tuple[bytes, str]:
        """The one opening: the envelope, and the Idempotency-Key it was claimed with.

        Args:
            handle: of the link.
            proof: where there is a password.
            key: an Idempotency-Key; the service may name another one, which is used from then on.
            staff: whether the API token is needed: answers to requests are for agents.

        Raises:
            Problem, Unreachable: with ``in_doubt`` the same key may still get it.
            NotTheService.
        """
        body = {} if proof is None else {"proof": b64(proof)}
        answer = self._call("POST", f"{_path(handle)}/claim", handle=handle, body=body, key=key, staff=staff)
        found = self._fields(answer)
        try:
            return unb64(found["envelope"]), answer.key or key
        except (KeyError, TypeError, Damaged):
            strange = NotTheService()
            strange.in_doubt = True
            raise strange from None

    def done(self, handle: Handle, key: str) -> None:
        """Say that the secret has arrived, which closes the retry window; failing at that costs nothing.

        Raises:
            Problem, Unreachable.
        """
        self._fields(self._call("POST", f"{_path(handle)}/done", handle=handle, key=key, patience=3.0), 204)

    def end(self, handle: Handle, what: str) -> State:
        """``revoke`` or ``unlock``, by the receipt.

        Raises:
            Problem, Unreachable, NotTheService.
        """
        return _state(self._fields(self._call("POST", f"{_path(handle)}/{what}", handle=handle)))

    # --- inside ------------------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        path: str,
        *,
        handle: Handle | None = None,
        body: dict[str, Any] | None = None,
        key: str | None = None,
        staff: bool = False,
        patience: float | None = None,
        timeout: float = TIMEOUT,
    ) -> Answer:
        """Send it, and again while the answer is lost or says "later"; ``patience`` in seconds, else PATIENCE.

        A service that cannot be reached at the first try is told at once: nothing is in doubt then.
        """
        headers = {"Accept": "application/json", "User-Agent": "secretsvc"}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        if handle is not None:
            headers["Authorization"] = f"Bearer {b64(handle.token)}"
        if staff and self._api_key is not None:
            headers["X-API-Key"] = self._api_key
        deadline = time.monotonic() + (PATIENCE if patience is None else patience)
        pause, in_doubt = 0.2, False
        while True:
            if key is not None:
                headers["Idempotency-Key"] = key
            wait, failed = pause, ""
            answer = None
            try:
                answer = self._once(method, API + path, data, headers, timeout)
                if answer.status < 500:
                    return replace(answer, key=key)
                in_doubt |= _unclear(answer)
                key = _named(answer) or key
                wait = max(pause, _retry_after(answer))
            except _NotSentError as error:
                failed = str(error)
                if not in_doubt:
                    raise Unreachable(failed, in_doubt=False) from None
            except _LostError:
                in_doubt, failed = True, "The service did not answer."
            if time.monotonic() + wait > deadline:
                if answer is None:
                    raise Unreachable(failed, in_doubt=in_doubt)
                raise _problem(answer, in_doubt=in_doubt)
            time.sleep(wait)
            pause = min(2 * pause, 5.0)

    def _once(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str], timeout: float
    ) -> Answer:
        connection: http.client.HTTPConnection
        host, port = self.origin.host, self.origin.port
        if self._tls is not None:
            connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=self._tls)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        try:
            try:
                connection.connect()
                connection.sock.settimeout(timeout)
            except ssl.SSLCertVerificationError:
                raise _NotSentError("The certificate of the service is not trusted here.") from None
            except (OSError, UnicodeError):
                raise _NotSentError("The service cannot be reached.") from None
            try:
                connection.request(method, path, data, headers)
                return _read(connection.getresponse())
            except (OSError, http.client.HTTPException, ValueError, RecursionError):
                raise _LostError from None
        finally:
            connection.close()

    def _fields(self, answer: Answer, status: int = 200) -> dict[str, Any]:
        """The JSON object of an answer with the status expected; everything else is raised."""
        if answer.status == status:
            if answer.json is None and status != 204:
                raise NotTheService
            return answer.json or {}
        raise _problem(answer, in_doubt=False)


def _path(handle: Handle) -> str:
    return f"/secrets/{b64(handle.id)}"


def _read(response: http.client.HTTPResponse) -> Answer:
    content = response.read(MAX_ANSWER_BYTES + 1)
    headers = {name.lower(): value for name, value in response.getheaders()}
    if len(content) > MAX_ANSWER_BYTES:
        return Answer(response.status, headers, None)
    if response.length:  # asked for an amount, http.client takes a cut body for a whole one
        raise _LostError
    found = None
    if re.match(r"application/(problem\+)?json\b", headers.get("content-type", "")):
        found = json.loads(content)  # a ValueError is an answer that was cut: lost
    return Answer(response.status, headers, found if isinstance(found, dict) else None)


def _state(found: dict[str, Any]) -> State:
    state, kind, ended_at = found.get("state"), found.get("kind"), found.get("ended_at")
    password, size = found.get("password"), found.get("size")
    if state not in STATES or not isinstance(kind, str) or not isinstance(password, bool):
        raise NotTheService
    if type(size) is not int or not 0 <= size <= MAX_ANSWER_BYTES:
        raise NotTheService
    ended = plain(ended_at) if isinstance(ended_at, str) else None
    return State(state, kind, password, size, ended, found)


def _problem(answer: Answer, *, in_doubt: bool) -> SecretsvcError:
    body = answer.json or {}
    kind, detail, state, at = (body.get(name) for name in ("type", "detail", "state", "ended_at"))
    if not isinstance(kind, str) or not isinstance(detail, str):
        if answer.status >= 500 or answer.status == 429:
            return Problem("unavailable", f"The service is not available ({answer.status}).", in_doubt=in_doubt)
        return NotTheService(f"{NotTheService.detail} (It answered {answer.status}.)")
    if answer.status == 410 and isinstance(state, str) and isinstance(at, str):
        detail += f" ({state} at {at})"
    if answer.status in (429, 503) and (seconds := _retry_after(answer)):
        detail += f" (again in {seconds:.0f} s)"
    tries_left = body.get("tries_left")
    return Problem(
        plain(kind),
        plain(detail),
        in_doubt=in_doubt,
        tries_left=tries_left if isinstance(tries_left, int) else None,
    )


def _unclear(answer: Answer) -> bool:
    """Whether this 5xx leaves open what was decided: it names a key, or is none the rules give."""
    known = answer.json is not None and answer.json.get("type") not in (None, "internal-error")
    return _named(answer) is not None or not known


def _named(answer: Answer) -> str | None:
    key = answer.headers.get("idempotency-key", "")
    return key if IDEMPOTENCY_KEY.fullmatch(key) else None


def _retry_after(answer: Answer) -> float:
    said = answer.headers.get("retry-after", "")
    return float(said) if re.fullmatch(r"\d{1,5}", said) else 0.0


def plain(text: str) -> str:
    """A line of what others said, fit for a terminal: no control or direction characters, not too long."""
    return "".join(c if c.isprintable() else "?" for c in text)[:400]
