"""Signing in at a provider: what lets somebody in, and everything that does not."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from secretsvc.tickets.sessions import person_id
from tests.tickets.people.conftest import Site
from tests.tickets.people.provider import CLIENT_ID
from tests.tickets.people.steps import BROWSER, SESSION, TOKEN, Browser, Provider, come_back, in_seconds

NOT_CONFIRMED = "The sign-in service did not confirm who you are. Please sign in again."
NOT_HERE = "This sign-in was not begun in this browser, or took too long. Please sign in again."
NOT_LET_IN = "The sign-in service did not let you in."
NOT_REACHED = "The sign-in service cannot be reached just now. Please try again."
NO_ROLE = "You are known, but you have no role here. Ask whoever manages your account to give you one."
UNREADABLE = "What the sign-in service says of your role, organisations or desks cannot be read."


def refused(browser: Browser, site: Site, status: int, words: str) -> None:
    """Going through with it ends on a page that says so, and with nobody signed in."""
    before = {entry for entry in site.sessions.all() if entry.kind == "session"}
    answer = browser.sign_in()
    assert (answer.status, answer.alert) == (status, words)
    assert "canary" not in answer.body
    assert "canary" not in site.web.log.read_text()
    assert SESSION not in browser.cookies
    assert not browser.signed_in
    assert {entry for entry in site.sessions.all() if entry.kind == "session"} == before


def test_an_agent_signs_in_and_is_who_the_provider_says(
    browser: Browser, site: Site, provider: Provider
) -> None:
    answer = browser.sign_in("/desk?state=open")
    assert (answer.status, answer.location) == (303, "/desk?state=open")
    assert browser.signed_in == "Anna Agent"
    person = site.sessions.find(browser.cookies[SESSION])
    assert person is not None
    assert (person.name, person.role, person.organisations) == ("Anna Agent", "agent", ("Example",))
    assert (person.email, person.id) == ("anna@example.org", person_id(provider.url, "4711"))
    assert BROWSER not in browser.cookies


def test_the_provider_is_asked_with_pkce_state_and_nonce_that_are_new_each_time(
    browser: Browser, site: Site, provider: Provider
) -> None:
    asked = []
    for _ in range(2):
        url = browser.start()
        query = {name: value[0] for name, value in parse_qs(urlsplit(url).query).items()}
        fixed = {"response_type", "client_id", "redirect_uri", "scope", "code_challenge_method"}
        assert {name: query.pop(name) for name in sorted(fixed)} == {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": f"{site.web.url}/desk/sign-in/back",
            "scope": "openid profile email",
            "code_challenge_method": "S256",
        }
        assert query.keys() == {"state", "nonce", "code_challenge"}
        assert all(TOKEN.fullmatch(value) for value in query.values())
        assert len(set(query.values())) == 3
        asked.append(query)
    assert not set(asked[0].values()) & set(asked[1].values())


def test_a_customer_signs_in_with_their_organisations(browser: Browser, site: Site, provider: Provider) -> None:
    more = {"realm_access": {"roles": "desk-customer"}, "organisations": ["One", "Two"], "name": "Kim\u202e\nX"}
    provider.tell(claims=more)
    assert browser.sign_in().status == 303
    person = site.sessions.find(browser.cookies[SESSION])
    assert person is not None
    assert (person.role, person.organisations, person.name) == ("customer", ("One", "Two"), "Kim X")


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_an_address_that_is_not_verified_does_not_count(
    browser: Browser, site: Site, provider: Provider, verified: object
) -> None:
    provider.tell(claims={"email_verified": verified})
    assert browser.sign_in().status == 303
    person = site.sessions.find(browser.cookies[SESSION])
    assert person is not None
    assert person.email == ""


def test_the_organisation_never_comes_from_the_address(
    browser: Browser, site: Site, provider: Provider
) -> None:
    provider.tell(claims={"realm_access": {"roles": ["desk-customer"]}}, without=["organisations"])
    assert browser.sign_in().status == 303
    person = site.sessions.find(browser.cookies[SESSION])
    assert person is not None
    assert (person.email, person.organisations) == ("anna@example.org", ())


@pytest.mark.parametrize(
    "mode",
    [
        *("wrong issuer", "wrong audience", "wrong audience with our azp", "audiences without azp"),
        *("wrong azp", "wrong nonce", "no nonce"),
        *("expired", "no expiry", "expiry no number", "issued tomorrow", "no subject", "empty subject"),
        *("wrong at_hash", "other key", "none", "hs256 with public key", "hs256 with client secret", "altered"),
        *("not a token", "no code", "wrong iss parameter", "no iss parameter", "token refuses"),
    ],
)
def test_what_the_provider_does_not_truly_confirm_is_refused(
    browser: Browser, site: Site, provider: Provider, mode: str
) -> None:
    provider.tell(mode)
    refused(browser, site, 403, NOT_CONFIRMED)
    provider.tell()
    assert browser.sign_in().status == 303


def test_a_provider_that_says_no_is_heard(browser: Browser, site: Site, provider: Provider) -> None:
    provider.tell("access denied")
    refused(browser, site, 403, NOT_LET_IN)


@pytest.mark.parametrize("mode", ["wrong state", "no state"])
def test_an_answer_that_nobody_asked_for_is_refused(
    browser: Browser, site: Site, provider: Provider, mode: str
) -> None:
    provider.tell(mode)
    refused(browser, site, 403, NOT_HERE)
    assert provider.seen("token") == []


@pytest.mark.parametrize("roles", [[], ["offline"], ["Desk-Agent"], ["desk-agent "], None, {}, ""])
def test_nobody_has_a_role_by_default(browser: Browser, site: Site, provider: Provider, roles: object) -> None:
    provider.tell(claims={"realm_access": {"roles": roles}})
    refused(browser, site, 403, UNREADABLE if roles == {} else NO_ROLE)
    provider.tell(without=["realm_access"])
    refused(browser, site, 403, NO_ROLE)


@pytest.mark.parametrize("organisations", [[1], [["x"]], 7, {"x": 1}, ["a\nb"], ["x" * 201], ["x"] * 501])
def test_organisations_that_cannot_be_read_let_nobody_in(
    browser: Browser, site: Site, provider: Provider, organisations: object
) -> None:
    provider.tell(claims={"organisations": organisations})
    refused(browser, site, 403, UNREADABLE)


def test_a_changed_key_is_asked_for_again(browser: Browser, provider: Provider) -> None:
    assert browser.sign_in().status == 303
    for kind in ("ec", "rsa"):
        provider.tell(key=kind)
        assert browser.sign_in().status == 303
        assert len(provider.seen("keys")) == 1
        assert browser.sign_in().status == 303
        assert len(provider.seen("keys")) == 1


@pytest.mark.parametrize(
    "mode", ["token fails", "token refuses us", "token is huge", "token is nonsense", "token is elsewhere"]
)
def test_a_provider_that_fails_is_told_apart_from_a_refusal(
    browser: Browser, site: Site, provider: Provider, mode: str
) -> None:
    provider.tell(mode)
    refused(browser, site, 503, NOT_REACHED)
    assert provider.seen("elsewhere") == []
    assert len(provider.seen("64 KiB more")) < 150  # what the wire holds by itself, and not all


@pytest.mark.parametrize("mode", ["token hangs", "token drips"])
def test_a_provider_that_hangs_holds_nobody_up_for_long(
    browser: Browser, site: Site, provider: Provider, mode: str
) -> None:
    provider.tell(mode)
    assert in_seconds(lambda: refused(browser, site, 503, NOT_REACHED)) < 14
    answer = site.browser().get("/desk/sign-in")
    assert answer.status == 200


def test_an_answer_works_once(browser: Browser, provider: Provider) -> None:
    back = come_back(browser.start())
    kept = dict(browser.cookies)
    assert browser.get(back).status == 303
    again = Browser(browser.url, kept)
    answer = again.get(back)
    assert (answer.status, answer.alert) == (403, NOT_HERE)
    assert SESSION not in again.cookies
    assert len(provider.seen("token")) == 1


def test_an_answer_works_only_in_the_browser_that_asked(
    browser: Browser, site: Site, provider: Provider
) -> None:
    back = come_back(browser.start())
    other = site.browser()
    other.start()
    answer = other.get(back)
    assert (answer.status, answer.alert) == (403, NOT_HERE)
    assert SESSION not in other.cookies
    assert provider.seen("token") == []


def test_an_answer_that_says_something_twice_is_refused(browser: Browser, provider: Provider) -> None:
    back = come_back(browser.start())
    state = re.search(r"state=([^&]*)", back)
    assert state is not None
    answer = browser.get(f"{back}&state={state[1]}")
    assert (answer.status, answer.alert) == (403, NOT_HERE)
    assert provider.seen("token") == []


def test_neither_code_nor_state_nor_tokens_reach_a_log(
    browser: Browser, site: Site, provider: Provider
) -> None:
    url = browser.start()
    begun = browser.cookies[BROWSER]
    back = come_back(url)
    assert browser.get(back).status == 303
    log = site.web.log.read_text()
    assert "/desk/sign-in/back" in log
    query = [value[0] for part in (url, back) for value in parse_qs(urlsplit(part).query).values()]
    secrets = {value for value in query if re.fullmatch(r"[A-Za-z0-9_-]{30,}", value)}
    assert len(secrets) == 4  # state, nonce, challenge, code
    for value in {*secrets, begun, browser.cookies[SESSION], "access-canary"}:
        assert value not in log
