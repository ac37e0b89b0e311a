"""Access tokens for a client's own credentials (RFC 6749, 4.4), kept until they expire or are refused."""

from __future__ import annotations

import threading
import time

import msgspec

from .calls import Calls, shaped

UNTOLD = 1800  # seconds that a token is used which does not say how long it lasts


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


class ClientTokens:
    """The tokens of one client; one at a time, for all threads.

    Args:
        calls: to the server that gives them.
        route: where it does.
    """

    def __init__(self, calls: Calls, route: str, client_id: str, client_secret: str, scope: str) -> None:
        self._calls = calls
        self._route = route
        self._client = {"client_id": client_id, "client_secret": client_secret, "scope": scope}
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0  # by the monotonic clock

    def token(self, *, refused: str = "") -> str:
        """A token that should be valid, and is not the one that was refused.

        Raises:
            DeskUnavailable: no answer.
            Refused: the client is.
        """
        with self._lock:
            if not self._token or self._token == refused or time.monotonic() > self._until:
                body = {"grant_type": "client_credentials", **self._client}
                answer = shaped(self._calls("POST", self._route, headers={}, body=body), _Token)
                seconds = UNTOLD if answer.expires_in is None else answer.expires_in
                self._token = answer.access_token
                self._until = time.monotonic() + seconds - min(60, seconds / 2)
            return self._token
