"""From what a provider says of a person to who they are here.  Nobody has a role by default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import N_, Forbidden
from ..tokens import Person, Role
from .config import SignIn
from .sessions import person_id

MOST = 500  # entries of a list
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_EMAIL = re.compile(r"[^@\s<>]{1,64}@[^@\s<>]{1,190}")


class SignInRefused(Forbidden):
    """This sign-in goes no further; nobody is signed in.

    ``reason`` is a word of ours for the log: never anything that the provider or the browser said.
    """

    def __init__(self, detail: str, *, reason: str) -> None:
        super().__init__(detail)
        self.reason = reason


def person(conf: SignIn, claims: Mapping[str, Any]) -> Person:
    """Who this is.

    The issuer and its subject make the identity, never a name or an address.  An e-mail address counts where
    the provider has verified it, and says nothing about the organisation.

    Args:
        claims: of a token that was checked: ``iss`` and ``sub`` are there.

    Raises:
        SignInRefused: they have no role here, or a claim is not of the form it must have.
    """
    id = person_id(claims["iss"], claims["sub"])
    role = _role(conf, claims)
    return Person(
        name=_name(conf, claims) or f"{'Agent' if role == 'agent' else 'Customer'} {id[:8]}",
        role=role,
        organisations=_words(claims, conf.organisations_claim),
        id=id,
        desks=_desks(conf, claims) if role == "agent" else (),
        email=_email(claims),
    )


def at(claims: Mapping[str, Any], path: str) -> Any:
    """What stands at a path, or None: a claim of just this name, else each part inside the one before."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _role(conf: SignIn, claims: Mapping[str, Any]) -> Role:
    said = _words(claims, conf.role_claim)
    if any(word in conf.agents for word in said):
        return "agent"
    if any(word in conf.customers for word in said):
        return "customer"
    raise SignInRefused(
        N_("You are known, but you have no role here. Ask whoever manages your account to give you one."),
        reason="no role",
    )


def _desks(conf: SignIn, claims: Mapping[str, Any]) -> tuple[str, ...]:
    if not conf.desks_claim:
        return ()
    found = _words(claims, conf.desks_claim)
    if not found:  # an empty list would mean: everywhere
        raise SignInRefused(
            N_("You are an agent, but of no desk here. Ask whoever manages your account to name yours."),
            reason="no desk",
        )
    return found


def _words(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """A claim's values, from a text or a list of texts; none where it is absent."""
    found = at(claims, path)
    if found is None or found == "":
        return ()
    values = [found] if isinstance(found, str) else found
    if not isinstance(values, list) or len(values) > MOST or not all(map(_is_word, values)):
        raise SignInRefused(
            N_("What the sign-in service says of your role, organisations or desks cannot be read."),
            reason="malformed claim",
        )
    return tuple(dict.fromkeys(values))


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and not _CONTROLS.search(value)


def _name(conf: SignIn, claims: Mapping[str, Any]) -> str:
    for path in (conf.name_claim, "preferred_username"):
        found = at(claims, path)
        if isinstance(found, str) and (name := " ".join(_CONTROLS.sub(" ", found).split())):
            return name[:80]
    return ""


def _email(claims: Mapping[str, Any]) -> str:
    found = claims.get("email")
    # Only JSON's own true: some providers send the text "false", too.
    verified = claims.get("email_verified") is True
    return found if verified and isinstance(found, str) and _EMAIL.fullmatch(found) else ""
