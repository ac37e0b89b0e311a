"""Sessions and one-time links: how they begin, whom they serve, and how they end."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import msgspec
import pytest

from secretsvc.tickets.sessions import LinkSpent, Sessions, first_link
from secretsvc.tokens import Person
from tests.harness import Backends, Client
from tests.tickets.people.conftest import Site
from tests.tickets.people.steps import ANNA, BROWSER, FORM, SESSION, TOKEN, Browser, Provider, come_back

SPENT = "This sign-in link was used before, has run out, or is not complete. Ask for a new one."
ELSEWHERE = "This form was sent from another site. Open this page and send it from here."


def redeem(browser: Browser, token: str, next: str = "/desk") -> None:
    answer = browser.post("/desk/sign-in/link", f"link={quote(token)}&next={quote(next)}")
    assert (answer.status, answer.location) == (303, next), answer.body


def everything(backs: Backends) -> bytes:
    """All names and values in the store."""
    store, found = backs.store.client(), b""
    for key in store.keys("*"):
        found += key + b" "
        match store.type(key):
            case b"string":
                found += store.get(key)
            case b"zset":
                found += b" ".join(store.zrange(key, 0, -1))
            case b"hash":
                found += b" ".join([part for pair in store.hgetall(key).items() for part in pair])
    return found


def test_a_one_time_link_signs_in_once(browser: Browser, site: Site) -> None:
    token = site.sessions.invite(ANNA)
    redeem(browser, f"{site.web.url}/desk/sign-in#{token}\n")
    assert browser.signed_in == "Anna"
    other = site.browser()
    answer = other.post("/desk/sign-in/link", f"link={token}")
    assert (answer.status, answer.alert) == (403, f"{SPENT}")
    assert not other.signed_in


def test_of_thirty_two_at_once_one_gets_in(site: Site) -> None:
    token = site.sessions.invite(ANNA)
    gate = threading.Barrier(32)

    def try_it(_: int) -> int:
        browser = site.browser()
        gate.wait()
        return browser.post("/desk/sign-in/link", f"link={token}").status

    with ThreadPoolExecutor(32) as pool:
        found = sorted(pool.map(try_it, range(32)))
    assert found == [303, *[403] * 31]


def test_looking_never_uses_a_link_up(browser: Browser, site: Site) -> None:
    token = site.sessions.invite(ANNA)
    client = Client(site.web.url)
    for path in ("/desk/sign-in", f"/desk/sign-in%23{token}", f"/desk/sign-in/link?link={token}"):
        for method in ("GET", "HEAD", "OPTIONS"):
            client.send(method, path, None, {"Accept": "text/html"})
    answer = browser.get(f"/desk/sign-in%23{token}")
    assert answer.status == 400
    assert token not in site.web.log.read_text()
    redeem(browser, token)


@pytest.mark.parametrize("text", ["", "x", "A" * 43, "A" * 44, "%00", "A" * 5000, "%23", "%FF"])
def test_what_is_no_link_is_refused_with_a_reason(browser: Browser, text: str) -> None:
    answer = browser.post("/desk/sign-in/link", f"link={text}")
    assert answer.status in (403, 422)
    assert answer.alert
    assert SESSION not in browser.cookies


def test_a_link_ends_with_its_time(site: Site) -> None:
    token = site.sessions.invite(ANNA, 1)
    kept = site.sessions.invite(ANNA)
    store = site.backs.store.client()
    deadline = time.monotonic() + 10
    while len(store.keys("ss:t:invite:*")) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(LinkSpent):
        site.sessions.redeem(token)
    assert site.sessions.redeem(kept) == ANNA


def test_the_cookie_is_for_this_host_and_its_requests_alone(browser: Browser, site: Site) -> None:
    redeem(browser, site.sessions.invite(ANNA))
    [kept] = [line for line in browser.set if line.startswith(f"{SESSION}=")]
    first, *rest = kept.split("; ")
    assert TOKEN.fullmatch(first.partition("=")[2])
    assert set(rest) - {part for part in rest if part.startswith("Expires=")} == {
        *("Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=36000")
    }


def test_the_cookie_of_a_sign_in_on_its_way_is_as_careful(browser: Browser, provider: Provider) -> None:
    browser.start()
    [kept] = browser.set
    assert kept.startswith(f"{BROWSER}=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"} <= set(kept.split("; "))


def test_a_session_ends_with_its_time(browser: Browser, site: Site) -> None:
    redeem(browser, site.sessions.invite(ANNA))
    store = site.backs.store.client()
    for key in store.keys("ss:t:session:*"):
        assert 0 < store.ttl(key) <= 36_000
        store.pexpire(key, 1)
    deadline = time.monotonic() + 5
    while store.keys("ss:t:session:*") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not browser.signed_in


def test_signing_out_ends_the_session_everywhere(browser: Browser, site: Site) -> None:
    redeem(browser, site.sessions.invite(ANNA))
    copy = Browser(browser.url, dict(browser.cookies))
    assert browser.get("/desk/sign-out").status == 405
    assert browser.signed_in
    answer = browser.post("/desk/sign-out")
    assert answer.status == 200
    assert SESSION not in browser.cookies
    assert not copy.signed_in


def test_whoever_signs_in_gets_a_new_session_and_loses_the_old_one(
    browser: Browser, site: Site, provider: Provider
) -> None:
    browser.cookies[SESSION] = planted = "A" * 43
    redeem(browser, site.sessions.invite(ANNA))
    first = browser.cookies[SESSION]
    assert first != planted
    assert site.sessions.find(planted) is None
    assert browser.sign_in().status == 303
    assert browser.cookies[SESSION] != first
    assert site.sessions.find(first) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "{own}"},
        {"Origin": "https://other.example"},
        {"Origin": "null"},
        {"Origin": "{own}.example"},
        {},
    ],
    ids=str,
)
def test_a_form_on_another_site_does_nothing(browser: Browser, site: Site, headers: dict[str, str]) -> None:
    redeem(browser, site.sessions.invite(ANNA))
    headers = {name: value.replace("{own}", site.web.url) for name, value in headers.items()}
    plain = {"Content-Type": FORM["Content-Type"], "Accept": "text/html"}
    token = site.sessions.invite(Person("Mallory", "agent", id="mallory"))
    for path, body in (("/desk/sign-out", ""), ("/desk/sign-in/link", f"link={token}")):
        answer = browser.post(path, body, **plain, **headers)
        assert (answer.status, answer.alert) == (403, ELSEWHERE)
    assert browser.signed_in == "Anna"
    assert site.sessions.redeem(token).name == "Mallory"


def test_our_own_pages_are_known_without_the_newer_header(browser: Browser, site: Site) -> None:
    token = site.sessions.invite(ANNA)
    plain = {"Content-Type": FORM["Content-Type"], "Accept": "text/html", "Origin": site.web.url}
    assert browser.post("/desk/sign-in/link", f"link={token}", **plain).status == 303


@pytest.mark.parametrize(
    "target",
    [
        *(
            "https://other.example/",
            "//other.example",
            "/\\other.example",
            "/desk//other.example",
            "/desk/..//x",
        ),
        *(
            "/desk\\..",
            "/desk@other.example",
            "/desk.example",
            "/deskother",
            "javascript:alert(1)",
            "/",
            "desk",
        ),
        *("/desk/x\r\nSet-Cookie: a=b", "/desk/x\n", "/desk/sign-in", "/desk/sign-out", "/api/v1/secrets"),
        *("/desk?next=//x/", "/desk#x", "/s\x00", "/desk/" + "x" * 500, "/desk/\u2028"),
    ],
)
def test_nobody_is_sent_elsewhere(browser: Browser, site: Site, provider: Provider, target: str) -> None:
    token = site.sessions.invite(ANNA)
    answer = browser.post("/desk/sign-in/link", f"link={token}&next={quote(target)}")
    assert (answer.status, answer.location) == (303, "/desk")
    assert browser.sign_in(quote(target, safe="")).location == "/desk"
    page = browser.get(f"/desk/sign-in?next={quote(target, safe='')}")
    assert 'name="next" value="/desk"' in page.body


@pytest.mark.parametrize(
    "target", ["/desk", "/desk/t/rt/4711", "/desk/organisations?page=2&state=open", "/s", "/r"]
)
def test_one_goes_on_to_where_one_wanted(browser: Browser, site: Site, provider: Provider, target: str) -> None:
    redeem(browser, site.sessions.invite(ANNA), target)
    assert browser.sign_in(quote(target, safe="")).location == target


def test_the_store_holds_nothing_that_signs_in(browser: Browser, site: Site, provider: Provider) -> None:
    unused = site.sessions.invite(ANNA)
    used = site.sessions.invite(ANNA)
    redeem(browser, used)
    other = site.browser()
    url = other.start()
    held = other.cookies[BROWSER]
    state = url.partition("state=")[2].partition("&")[0]
    stored = everything(site.backs)
    assert b"ss:t:session:" in stored
    assert b"ss:t:invite:" in stored
    assert b"ss:t:state:" in stored
    for value in (unused, used, browser.cookies[SESSION], held, state):
        assert TOKEN.fullmatch(value)
        assert value.encode() not in stored
    assert other.get(come_back(url)).status == 303
    assert other.cookies[SESSION].encode() not in everything(site.backs)


def test_everything_of_a_person_ends_at_once(site: Site) -> None:
    kim = Person("Kim", "customer", id="kim-id")
    mine = [site.sessions.begin(ANNA), site.sessions.begin(ANNA)]
    link = site.sessions.invite(ANNA)
    other = site.sessions.begin(kim)
    assert site.sessions.end_all(ANNA.id) >= 3
    assert [site.sessions.find(token) for token in mine] == [None, None]
    with pytest.raises(LinkSpent):
        site.sessions.redeem(link)
    assert site.sessions.find(other) == kim
    assert ANNA not in [entry.person for entry in site.sessions.all()]


def test_the_list_forgets_what_has_ended(site: Site) -> None:
    store = site.backs.store.client()
    before = set(store.zrange("ss:t:sessions", 0, -1))
    tokens = [site.sessions.begin(ANNA) for _ in range(3)]
    assert len(set(store.zrange("ss:t:sessions", 0, -1)) - before) == 3
    for token in tokens:
        site.sessions.end(token)
    store.zadd("ss:t:sessions", {"old-id ss:t:session:x": time.time() - 1})
    site.sessions.end(site.sessions.begin(ANNA))
    assert set(store.zrange("ss:t:sessions", 0, -1)) <= before


def test_the_first_link_is_given_until_somebody_has_signed_in(site: Site) -> None:
    site.backs.store.client().delete("ss:t:signed-in")
    earlier = first_link(site.sessions, "http://x")
    again = first_link(site.sessions, "http://x")
    assert earlier is not None
    assert again is not None
    with pytest.raises(LinkSpent):
        site.sessions.redeem(earlier.rpartition("#")[2])
    person = site.sessions.redeem(again.rpartition("#")[2])
    assert person.agent
    site.sessions.begin(person)
    assert first_link(site.sessions, "http://x") is None


def test_people_are_kept_as_they_are(site: Site) -> None:
    whole = Person("K", "customer", ("A", "B"), "id", (), "k@example.org")
    token = site.sessions.begin(whole)
    assert site.sessions.find(token) == whole
    assert msgspec.json.decode(msgspec.json.encode(whole), type=Person) == whole
    assert Sessions(site.sessions.node).find(token) == whole
