"""From claims to a person."""

from __future__ import annotations

from typing import Any

import pytest

from secretsvc.tickets.claims import SignInRefused, person
from secretsvc.tickets.config import SignIn
from secretsvc.tickets.sessions import person_id

WHO = {"iss": "https://provider.example", "sub": "4711", "role": "agent"}


def conf(**more: Any) -> SignIn:
    return SignIn(issuer=WHO["iss"], client_id="x", client_secret_file="x", **more)


def test_identity_is_issuer_and_subject_and_nothing_else() -> None:
    mine = person(conf(), WHO).id
    assert mine == person(conf(), {**WHO, "name": "Other", "email": "x@example.org"}).id
    assert mine != person(conf(), {**WHO, "sub": "4712"}).id
    assert mine != person(conf(), {**WHO, "iss": "https://other.example"}).id
    assert person_id("ab", "c") != person_id("a", "bc")


def test_a_claim_may_be_named_as_a_web_address() -> None:
    found = person(conf(role_claim="https://example.org/role"), {**WHO, "https://example.org/role": ["agent"]})
    assert found.agent


def test_an_agent_without_a_desk_is_not_an_agent_everywhere() -> None:
    claims = {**WHO, "desks": ["rt"]}
    assert person(conf(desks_claim="desks"), claims).desks == ("rt",)
    for nothing in ([], "", None):
        with pytest.raises(SignInRefused, match="of no desk"):
            person(conf(desks_claim="desks"), {**claims, "desks": nothing})
    assert person(conf(), claims).desks == ()


def test_an_agent_who_is_a_customer_too_is_an_agent() -> None:
    assert person(conf(), {**WHO, "role": ["customer", "agent"]}).agent


def test_whoever_has_no_name_is_called_by_their_role_and_id() -> None:
    found = person(conf(), {**WHO, "name": "\x00 \u202e", "preferred_username": 7})
    assert found.name == f"Agent {found.id[:8]}"
    assert person(conf(), {**WHO, "preferred_username": "anna"}).name == "anna"
    assert len(person(conf(), {**WHO, "name": "x" * 1000}).name) == 80


@pytest.mark.parametrize("email", ["x", "a@b@c", "a b@example.org", "<a@example.org>", "a@" + "b" * 300, 7])
def test_what_is_no_address_does_not_count(email: object) -> None:
    assert person(conf(), {**WHO, "email": email, "email_verified": True}).email == ""
