"""Attempts to sign in are counted, for each client."""

from __future__ import annotations

import pytest

from secretsvc.tickets.web.session import EXTENSION, signed_in
from tests.harness import Backends, InProcess
from tests.tickets.people.steps import ANNA, FORM, PAGES, SESSION, Provider, settings_file, with_people


@pytest.mark.parametrize("what", ["link", "start", "back"])
def test_attempts_to_sign_in_are_limited(
    backs: Backends, provider: Provider, what: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = settings_file(tmp_path_factory.mktemp("limits"), provider.url)
    here = InProcess(with_people(backs.app(tickets_file=str(path), sign_in_limit="3")))
    for attempt in range(5):
        if what == "link":
            answer = here.send("POST", "/desk/sign-in/link", b"link=" + b"A" * 43, FORM)
        else:
            answer = here.send("GET", f"/desk/sign-in/{what}", None, PAGES)
        assert (answer.status == 429) == (attempt >= 3), answer.text
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert "Too many attempts to sign in from your address." in answer.text
    assert here.send("GET", "/desk/sign-in", None, PAGES).status == 200


def test_a_page_that_no_cookie_reaches_says_so(backs: Backends) -> None:
    here = InProcess(with_people(backs.app(public_url="http://desk.example")))
    answer = here.send("GET", "/desk/sign-in", None, PAGES)
    assert "Signing in does not work at http://desk.example" in answer.text
    assert "<textarea" not in answer.text
    for url in ("https://desk.example", "http://localhost:8000", "http://[::1]:8000"):
        found = InProcess(with_people(backs.app(public_url=url))).send("GET", "/desk/sign-in", None, PAGES)
        assert "does not work" not in found.text
        assert "<textarea" in found.text


def test_a_store_that_is_gone_is_told_and_signs_nobody_in(backs: Backends) -> None:
    here = InProcess(with_people(backs.app()))
    backs.store.pause()
    try:
        answer = here.send("POST", "/desk/sign-in/link", b"link=" + b"A" * 43, FORM)
        assert (answer.status, "set-cookie" in answer.headers) == (503, False)
        cookie = {**PAGES, "Cookie": f"{SESSION}=" + "A" * 43}
        found = here.app.test_client(use_cookies=False).get("/desk", headers=cookie)
        assert found.status_code == 503
    finally:
        backs.store.resume()


def test_a_session_counts_only_for_our_own_pages_where_something_changes(backs: Backends) -> None:
    app = with_people(backs.app(public_url="https://desk.example"))
    found = app.extensions[EXTENSION].sessions
    cookie = {"Cookie": f"{SESSION}={found.begin(ANNA)}"}
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://other.example"}
    cases = [
        ("GET", foreign, True),
        ("POST", foreign, False),
        ("PUT", foreign, False),
        ("DELETE", {}, False),
        ("POST", {"Origin": "http://desk.example"}, False),
        ("POST", {"Origin": "https://desk.example"}, True),
        ("POST", {"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ("POST", {"Sec-Fetch-Site": "same-site", "Origin": "https://desk.example"}, False),
    ]
    for method, headers, counts in cases:
        with app.test_request_context("/api/v1/secrets", method=method, headers={**cookie, **headers}):
            assert (signed_in() == ANNA) == counts, (method, headers)
