"""Who is signed in: sessions, and one-time links that begin one.

A session's token and a link's token are 32 random bytes.  The store holds their SHA-256 alone, under which the
person stands; so whoever reads the store, or a copy of it, can sign in as nobody.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import Literal

import msgspec

from ..atrest import sha256
from ..envelope import b64
from ..errors import N_, Forbidden
from ..node import Node
from ..tokens import Person

HOURS = 10.0
INVITE_SECONDS = 86_400
INDEX = "ss:t:sessions"  # who has sessions and links, by the time they end
EVER = "ss:t:signed-in"  # whether anybody has ever signed in
FIRST_NAME = "First agent"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
Kind = Literal["session", "invite"]


class LinkSpent(Forbidden):
    """A sign-in link that is unknown: used before, too old, or not whole."""

    def __init__(self) -> None:
        super().__init__(
            N_("This sign-in link was used before, has run out, or is not complete. Ask for a new one."),
            field="link",
        )


@dataclass(frozen=True)
class Entry:
    """A session or link that is not over yet.

    Attributes:
        kind: ``session``, or ``invite`` for a link that nobody has used.
        person: whose it is.
        ends_at: seconds since 1970.
    """

    kind: Kind
    person: Person
    ends_at: int


class Sessions:
    """Sessions and one-time sign-in links in the store.

    Args:
        node: the store's server.
        hours: how long a session lasts, whether it is used or not.
    """

    def __init__(self, node: Node, hours: float = HOURS) -> None:
        self.node = node
        self.seconds = max(1, int(hours * 3600))

    def begin(self, person: Person) -> str:
        """Begin a session; its token, which is seen here and in the person's cookie alone."""
        token = self._keep("session", person, self.seconds)
        self.node.command("SET", EVER, 1)
        return token

    def find(self, token: str) -> Person | None:
        """Whose session this is, or None: it is over, or never was one."""
        found = self.node.command("GET", _key("session", token)) if _TOKEN.fullmatch(token) else None
        return msgspec.json.decode(found, type=Person) if found else None

    def end(self, token: str) -> None:
        """End a session, if it is one."""
        if _TOKEN.fullmatch(token):
            self._take("session", token)

    def invite(self, person: Person, seconds: int = INVITE_SECONDS) -> str:
        """Make a one-time sign-in link; its token."""
        return self._keep("invite", person, seconds)

    def redeem(self, token: str) -> Person:
        """Whom a sign-in link lets in; from then on, nobody.

        Raises:
            LinkSpent: nobody.
        """
        person = self._take("invite", token) if _TOKEN.fullmatch(token) else None
        if person is None:
            raise LinkSpent
        return person

    def end_all(self, person_id: str) -> int:
        """End all of a person's sessions and unused links; how many there were."""
        ended = 0
        for member in self.node.command("ZRANGE", INDEX, 0, -1):
            id, _, key = member.decode().partition(" ")
            if id == person_id:
                ended += self.node.command("DEL", key)
                self.node.command("ZREM", INDEX, member)
        return ended

    def all(self) -> list[Entry]:
        """Everything that is not over yet, what ends first before the rest."""
        found = []
        flat = self.node.command("ZRANGE", INDEX, 0, -1, "WITHSCORES")
        for member, ends_at in zip(flat[::2], flat[1::2], strict=True):
            key = member.decode().partition(" ")[2]
            if value := self.node.command("GET", key):
                kind: Kind = "session" if key.startswith("ss:t:session:") else "invite"
                found.append(Entry(kind, msgspec.json.decode(value, type=Person), int(float(ends_at))))
        return found

    def anybody_ever(self) -> bool:
        """Whether anybody has ever signed in."""
        return bool(self.node.command("EXISTS", EVER))

    def _keep(self, kind: Kind, person: Person, seconds: int) -> str:
        token = b64(secrets.token_bytes(32))
        key, now = _key(kind, token), int(time.time())
        # Listed before it is there: what is not listed could not be ended by anybody.
        self.node.command("ZREMRANGEBYSCORE", INDEX, "-inf", now)
        self.node.command("ZADD", INDEX, now + seconds, f"{person.id} {key}")
        self.node.command("SET", key, msgspec.json.encode(person), "EX", seconds)
        return token

    def _take(self, kind: Kind, token: str) -> Person | None:
        key = _key(kind, token)
        found = self.node.command("GETDEL", key)
        if not found:
            return None
        person = msgspec.json.decode(found, type=Person)
        self.node.command("ZREM", INDEX, f"{person.id} {key}")
        return person


def person_id(issuer: str, subject: str) -> str:
    """A person's id: 96 bits of the hash of who says so, and what they call them.

    Args:
        issuer: the provider's; empty for the operator, who calls people by name.
        subject: the provider's own name for them.
    """
    return b64(sha256(msgspec.json.encode([issuer, subject]))[:12])


def link(base_url: str, token: str) -> str:
    """A one-time sign-in link: its token stands where browsers send it to nobody."""
    return f"{base_url}/desk/sign-in#{token}"


def first_link(sessions: Sessions, base_url: str) -> str | None:
    """A sign-in link for the first agent, or None where somebody has signed in before.

    One that was made earlier and not used is void then.
    """
    if sessions.anybody_ever():
        return None
    first = Person(FIRST_NAME, "agent", id=person_id("", FIRST_NAME))
    sessions.end_all(first.id)
    return link(base_url, sessions.invite(first))


def _key(kind: Kind, token: str) -> str:
    return f"ss:t:{kind}:{b64(sha256(token.encode()))}"
