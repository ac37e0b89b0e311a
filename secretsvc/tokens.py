"""API tokens: who may do what without signing in.  Only their hashes are kept, in the store."""

from __future__ import annotations

import re
import secrets
import time
from typing import Literal

import msgspec

from .atrest import sha256
from .envelope import b64
from .errors import Invalid, Unauthorized
from .node import Node

TOKENS = "ss:tokens"
PREFIX = "sst_"
Role = Literal["agent", "customer"]


class Person(msgspec.Struct, frozen=True):
    """Who is asking: the holder of an API token, or somebody who has signed in.

    Attributes:
        name: to call them by: a token's is chosen by the operator and unique.
        role: ``agent`` is staff: may create where only staff may, and collect answers.
        organisations: those a customer belongs to; agents see all.
        desks: where an agent works; empty for everywhere.
        id: a part of a token's hash, or of the hash of issuer and subject; names them in logs and in the store.
        email: where it is verified; it says whose tickets are one's own, and where to send notices.
    """

    name: str
    role: Role
    organisations: tuple[str, ...] = ()
    id: str = ""
    desks: tuple[str, ...] = ()
    email: str = ""

    @property
    def agent(self) -> bool:
        """Whether they are staff."""
        return self.role == "agent"

    def works_at(self, desk: str) -> bool:
        """Whether they are staff there."""
        return self.agent and (not self.desks or desk in self.desks)


class ApiToken(Person, frozen=True):
    """What is known of a token; ``created_at`` in seconds since 1970."""

    created_at: int = 0


class Tokens:
    """The API tokens kept in the store."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def add(
        self, name: str, role: Role, organisations: tuple[str, ...] = (), desks: tuple[str, ...] = ()
    ) -> str:
        """Make a token and return it: the only time it is seen.

        Raises:
            Invalid: the name is taken or malformed.
            StoreUnavailable: it cannot be kept.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            raise Invalid(("name", "1-64 letters, digits, dots, dashes, beginning with a letter or digit."))
        if any(known.name == name for known in self.all()):
            raise Invalid(("name", "There is a token of this name already."))
        token = PREFIX + b64(secrets.token_bytes(32))
        found = ApiToken(name, role, organisations, b64(_hash(token))[:8], desks, created_at=int(time.time()))
        self.node.command("HSET", TOKENS, _hash(token), msgspec.json.encode(found))
        return token

    def find(self, token: str) -> ApiToken:
        """The holder of a token.

        Raises:
            Unauthorized: nobody's.
        """
        if re.fullmatch(PREFIX + r"[A-Za-z0-9_-]{43}", token):
            found = self.node.command("HGET", TOKENS, _hash(token))
            if found:
                return msgspec.json.decode(found, type=ApiToken)
        raise Unauthorized("This API token is not valid here.")

    def all(self) -> list[ApiToken]:
        """All tokens, oldest first; never the tokens themselves."""
        found = [msgspec.json.decode(value, type=ApiToken) for value in self.node.command("HVALS", TOKENS)]
        return sorted(found, key=lambda token: (token.created_at, token.name))

    def revoke(self, name: str) -> bool:
        """Whether there was a token of this name; whatever bears it is now void."""
        rows = self.node.command("HGETALL", TOKENS).items()
        found = [key for key, value in rows if msgspec.json.decode(value, type=ApiToken).name == name]
        return bool(found) and bool(self.node.command("HDEL", TOKENS, *found))


def _hash(token: str) -> bytes:
    return sha256(token.encode())
