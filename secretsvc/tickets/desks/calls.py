"""Calls to a helpdesk: one question, one answer, in bounded time, and every failure under its own name.

Nothing is repeated here and no redirect is followed.  Logs name the route, never what stood in it or came back.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
import requests
import urllib3

from ...errors import N_, DeskForbidden, DeskUnavailable, Misconfigured, TicketGone
from ..deadline import Deadline
from ..guard import Guard, Session
from ..outgoing import seconds_of

MAX_ANSWER = 8 * 2**20  # bytes
LONGEST_WAIT = 3600  # seconds that a Retry-After may make us wait
REFUSES = N_("The helpdesk refuses what we ask of it. Please tell the operator.")
T = TypeVar("T")
log = logging.getLogger(__name__)


class Refused(DeskForbidden):
    """The desk refuses our account, or what we ask: the operator's part, unless the adapter knows better.

    Attributes:
        status: the HTTP status.
        answer: what the desk says, to be read by the adapter alone; no part of any text.
    """

    def __init__(self, status: int, answer: Any = None) -> None:
        super().__init__(None if status in (401, 403) else REFUSES)
        self.status = status
        self.answer = answer


class Calls:
    """Calls to one desk.

    Args:
        desk: its name, for logs.
        url: what all addresses begin with.
        seconds: for one call, however slowly the desk answers.
        ca_file: certificate authorities to trust instead of the usual ones.

    Raises:
        Misconfigured: there is no such file.
    """

    def __init__(self, desk: str, url: str, *, seconds: float, ca_file: str = "") -> None:
        if ca_file and not Path(ca_file).is_file():
            raise Misconfigured(f"desks.{desk}.ca_file: {ca_file} is not a file.")
        self._desk = desk
        self._url = url.rstrip("/")
        self._seconds = seconds
        self._verify = ca_file or True

    def __call__(
        self,
        method: str,
        route: str,
        *parts: str | int,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
        body: Any = None,
        writes: bool = False,
        of_ticket: bool = False,
    ) -> Any:
        """What the desk answers, read as JSON.

        Args:
            route: the path, with ``{}`` where the parts go; the only part of the address that is logged.
            headers: what proves who we are.
            body: sent as JSON.
            writes: whether it changes something there, so that a lost answer leaves it open.
            of_ticket: whether a 404 says that the ticket is gone; else the address is wrong.

        Raises:
            DeskUnavailable, TicketGone: see ``model.Desk``.
            Refused: any other answer than success.
        """
        url = self._url + route.format(*(quote(str(part), safe="") for part in parts))
        if query:
            url += "?" + urlencode(query, quote_via=quote)
        way = _Way()
        try:
            with Deadline(self._seconds) as deadline:
                status, retry_after, content = self._exchange(way, deadline, method, url, headers, body)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            log.warning("desk %s: %s %s: no answer (%s)", self._desk, method, route, type(error).__name__)
            raise DeskUnavailable(unclear=writes and way.connected) from None
        log.info("desk %s: %s %s: %d", self._desk, method, route, status)
        if not 200 <= status < 300:
            raise _failure(status, retry_after, content, writes=writes, of_ticket=of_ticket)
        try:
            return msgspec.json.decode(content)
        except msgspec.DecodeError:
            log.warning("desk %s: %s %s: the answer is not JSON", self._desk, method, route)
            raise DeskUnavailable(unclear=writes) from None

    def _exchange(
        self, way: _Way, deadline: Deadline, method: str, url: str, headers: Mapping[str, str], body: Any
    ) -> tuple[int, str, bytes]:
        data = None if body is None else msgspec.json.encode(body)
        sent = {
            **headers,
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # so that the answer is as long as it is on the wire
            "User-Agent": "secretsvc",
            **({} if data is None else {"Content-Type": "application/json"}),
        }
        with Session(way, deadline) as session:
            answer = session.request(
                method,
                url,
                data=data,
                headers=sent,
                timeout=self._seconds,
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            )
            try:
                content = _limited(answer.raw.stream(65_536, decode_content=False))
            finally:
                answer.close()
            deadline.left()  # a connection that was cut looks like the end of an answer of unknown length
        return answer.status_code, answer.headers.get("Retry-After", ""), content


def _limited(chunks: Iterator[bytes]) -> bytes:
    found = bytearray()
    for chunk in chunks:
        found += chunk
        if len(found) > MAX_ANSWER:
            raise ValueError("the answer is too long")
    return bytes(found)


class _Way(Guard):
    """The way to the desk: the operator chose it, so it may be anywhere.  Says whether it led there."""

    connected = False

    def connect(self, host: str, port: int, deadline: Deadline, *, tls: bool) -> socket.socket:
        found = deadline.connect(deadline.resolve(host, port))
        self.connected = True
        return found


def _failure(status: int, retry_after: str, content: bytes, *, writes: bool, of_ticket: bool) -> Exception:
    if status == 404 and of_ticket:
        return TicketGone()
    if status in (408, 429) or status >= 500:
        wait = seconds_of(retry_after)
        return DeskUnavailable(
            retry_after=None if wait is None else min(max(wait, 1), LONGEST_WAIT),
            unclear=writes and status != 429,
        )
    try:
        return Refused(status, msgspec.json.decode(content))
    except msgspec.DecodeError:
        return Refused(status)


def shaped(answer: Any, kind: type[T], *, writes: bool = False) -> T:
    """An answer as the shape it should have.

    Raises:
        DeskUnavailable: it has another.
    """
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError:
        log.warning("a desk's answer is not of the shape of %s", kind)
        raise DeskUnavailable(unclear=writes) from None
