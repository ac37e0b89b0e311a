"""Every way in which a desk fails to answer has its own name, comes in time, and tells nobody what it said."""

from __future__ import annotations

import email.utils
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from secretsvc.errors import DeskForbidden, DeskUnavailable, Misconfigured, TicketGone
from secretsvc.tickets.desks.calls import Calls, Refused
from secretsvc.tickets.desks.words import ended, ends, numbered, tag, tagged, when
from tests.servers import free_port, make_certificates
from tests.tickets.desks.strict import Strict, serving

AUTH = "Bearer canary-token"
SAID = {"error": "canary-answer"}


def call(url: str, *, seconds: float = 5, **more: Any) -> Any:
    given = {"headers": {"Authorization": AUTH}, **more}
    method = "POST" if given.get("writes") else "GET"
    return Calls("desk", url, seconds=seconds)(method, "/t/{}", "7", **given)


def test_an_answer_is_read_as_json(server: Strict) -> None:
    server.expect("GET /t/7?a%20b=c%26d", answer={"it": "is"}, authorization=AUTH)
    assert call(server.url, query={"a b": "c&d"}) == {"it": "is"}


def test_a_part_of_an_address_cannot_leave_its_place(server: Strict) -> None:
    server.expect("GET /t/..%2Fadmin%3Fx", answer=[], authorization=AUTH)
    Calls("desk", server.url, seconds=5)("GET", "/t/{}", "../admin?x", headers={"Authorization": AUTH})


@pytest.mark.parametrize("status", [401, 403])
def test_an_account_that_is_refused_is_forbidden(server: Strict, status: int) -> None:
    server.expect("GET /t/7", status=status, answer=SAID, authorization=AUTH)
    with pytest.raises(DeskForbidden, match="refuses our account"):
        call(server.url)


def test_only_a_tickets_own_address_makes_it_gone(server: Strict) -> None:
    server.expect("GET /t/7", status=404, answer=SAID, authorization=AUTH)
    with pytest.raises(TicketGone):
        call(server.url, of_ticket=True)
    server.expect("GET /t/7", status=404, answer=SAID, authorization=AUTH)
    with pytest.raises(Refused):
        call(server.url)


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_what_else_is_refused_says_so_to_the_adapter_alone(server: Strict, status: int) -> None:
    server.expect("GET /t/7", status=status, answer=SAID, authorization=AUTH)
    with pytest.raises(Refused) as caught:
        call(server.url)
    assert (caught.value.status, caught.value.answer) == (status, SAID)
    assert "canary" not in str(caught.value) + repr(caught.value) + caught.value.detail


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(server: Strict, status: int) -> None:
    server.expect(
        "POST /t/7", {}, status=status, authorization=AUTH, Location=f"{server.url}/elsewhere", answer="{}"
    )
    with pytest.raises(Refused):
        call(server.url, writes=True, body={})


def in_ten_minutes() -> str:
    return email.utils.formatdate(time.time() + 600, usegmt=True)


@pytest.mark.parametrize(
    ("said", "low", "high"),
    [
        ("17", 17, 17),
        ("0", 1, 1),
        ("999999999", 3600, 3600),
        ("99999999999999999999", 3600, 3600),
        ("date", 590, 600),
        ("Sun, 01 Nov 2020 00:00:00 GMT", 1, 1),
        ("soon", 30, 30),
        ("-5", 30, 30),
        ("", 30, 30),
    ],
)
def test_retry_after_is_honoured_within_bounds(server: Strict, said: str, low: int, high: int) -> None:
    after = in_ten_minutes() if said == "date" else said
    server.expect("POST /t/7", {}, status=429, authorization=AUTH, Retry_After=after, answer=SAID)
    with pytest.raises(DeskUnavailable) as caught:
        call(server.url, writes=True, body={})
    assert low <= caught.value.retry_after <= high
    assert not caught.value.unclear


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
@pytest.mark.parametrize("writes", [True, False])
def test_a_server_error_leaves_a_write_open(server: Strict, status: int, writes: bool) -> None:
    method, body = ("POST", {}) if writes else ("GET", None)
    server.expect(f"{method} /t/7", body, status=status, answer="<html>", authorization=AUTH)
    with pytest.raises(DeskUnavailable) as caught:
        call(server.url, writes=writes, body=body)
    assert caught.value.unclear is writes


@pytest.mark.parametrize("how", ["hang", "drip", "drip-head"])
def test_a_call_ends_in_time_however_slowly_the_desk_answers(server: Strict, how: Any) -> None:
    server.expect("POST /t/7", {}, answer='{"it": "is"}', authorization=AUTH, how=how)
    began = time.monotonic()
    with pytest.raises(DeskUnavailable) as caught:
        call(server.url, writes=True, body={}, seconds=0.6)
    assert time.monotonic() - began < 2
    assert caught.value.unclear


@pytest.mark.parametrize("how", ["cut", "hang-up", "endless"])
def test_an_answer_that_is_not_whole_leaves_a_write_open(server: Strict, how: Any) -> None:
    server.expect("POST /t/7", {}, answer='{"it": "is"}', authorization=AUTH, how=how)
    began = time.monotonic()
    with pytest.raises(DeskUnavailable) as caught:
        call(server.url, writes=True, body={}, seconds=20)
    assert caught.value.unclear
    assert time.monotonic() - began < 10  # not for want of time: it is known to be broken, or to be too long


def test_an_answer_that_is_not_json_leaves_a_write_open(server: Strict) -> None:
    server.expect("POST /t/7", {}, answer="<html>", authorization=AUTH)
    with pytest.raises(DeskUnavailable) as caught:
        call(server.url, writes=True, body={})
    assert caught.value.unclear


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_without_a_connection_nothing_was_done(host: str) -> None:
    with pytest.raises(DeskUnavailable) as caught:
        call(f"http://{host}:{free_port()}", writes=True, body={})
    assert not caught.value.unclear


def test_nothing_of_the_environment_changes_the_way(
    server: Strict, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login canary password canary\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server.expect("GET /t/7", answer=[])
    assert call(server.url, headers={}) == []


def test_logs_name_the_route_and_nothing_that_was_said(
    server: Strict, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "secretsvc")
    server.expect("POST /t/7", {"canary": "value"}, status=422, answer=SAID, authorization=AUTH)
    with pytest.raises(Refused):
        call(server.url, writes=True, body={"canary": "value"})
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("secretsvc")]
    assert ours == ["desk desk: POST /t/{}: 422"]


def test_a_desks_certificate_is_checked_by_the_ca_in_the_settings(tmp_path: Path) -> None:
    ca, certificate, key = make_certificates(tmp_path / "tls")
    other, _, _ = make_certificates(tmp_path / "other")
    with serving((certificate, key)) as server:
        for wrong in ("", str(other)):
            with pytest.raises(DeskUnavailable):
                Calls("desk", server.url, seconds=5, ca_file=wrong)("GET", "/t", headers={})
        server.expect("GET /t", answer=["it is"])
        assert Calls("desk", server.url, seconds=5, ca_file=str(ca))("GET", "/t", headers={}) == ["it is"]


def test_a_missing_ca_file_is_named() -> None:
    with pytest.raises(Misconfigured, match=r"desks\.desk\.ca_file"):
        Calls("desk", "https://127.0.0.1", seconds=1, ca_file="/nowhere/ca.pem")


@pytest.mark.parametrize("number", ["", "0", "01", "1 OR 1=1", "1'", "x", "-1", "1.5", "٣", "1" * 20, "1\n"])
def test_what_is_no_number_is_no_ticket(number: str) -> None:
    with pytest.raises(TicketGone):
        numbered(number)


@pytest.mark.parametrize("marker", ["", "a b", "a'b", "a%", "a_b", "a)", "ä", "a" * 101])
def test_a_marker_that_could_mean_something_else_is_refused(marker: str) -> None:
    with pytest.raises(ValueError, match="marker"):
        tag(marker)


def test_a_marker_stands_whole_at_the_end_of_a_long_subject() -> None:
    found = tagged("long\r\nBcc: x " * 50, "7QK2.opened-note", 200)
    assert found.endswith(" (7QK2.opened-note)")
    assert len(found) == 200
    assert "\n" not in found
    assert "\r" not in found


def test_a_marker_is_found_in_a_line_of_its_own_alone() -> None:
    text = ended("Opened.", "7QK2.opened-note")
    assert ends(text + "\n-- \nsent by us", "7QK2.opened-note")
    assert not ends(text, "7QK2.opened")
    assert not ends("Opened (7QK2.opened-note).", "7QK2.opened-note")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-22T04:29:42Z", 1795321782),
        ("2026-11-22T05:29:42+01:00", 1795321782),
        ("2026-11-22 04:29:42", 1795321782),
        ("1970-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
        ("Not set", None),
    ],
)
def test_times_are_read_as_utc(text: str | None, at: int | None) -> None:
    assert when(text) == at
