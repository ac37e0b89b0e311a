"""API tokens: who may do what without signing in.  Only their hashes are kept, in the store."""

from __future__ import annotations

import re
import secrets
import time
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .atrest import sha256
from .envelope import b64
from .errors import Invalid, Unauthorized
from .node import Node

TOKENS = "ss:tokens"
PREFIX = "sst_"
Role = Literal["agent", "customer"]


class ApiToken(msgspec.Struct, frozen=True):
    """What is known of a token.

    Attributes:
        name: chosen by the operator, unique.
        role: ``agent`` is staff: may create where only staff may, and collect answers.
        organisations: the organisations it may see, for the ticket module.
        created_at: seconds since 1970.
        id: a part of its hash, to name it in logs.
    """

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    role: Role
    organisations: tuple[str, ...] = ()
    created_at: int = 0
    id: str = ""

    @property
    def agent(self) -> bool:
        """Whether its holder is staff."""
        return self.role == "agent"


class Tokens:
    """The API tokens kept in the store."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def add(self, name: str, role: Role, organisations: tuple[str, ...] = ()) -> str:
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
        found = ApiToken(name, role, organisations, int(time.time()), b64(_hash(token))[:8])
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
