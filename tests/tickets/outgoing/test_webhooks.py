"""One attempt at a webhook: what is sent, and what becomes of each kind of answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import re
import resource
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from secretsvc.errors import Misconfigured, SecretsvcError
from secretsvc.tickets import config, outgoing
from secretsvc.tickets.outgoing import (
    TargetGone,
    TargetRefused,
    TargetUnavailable,
    Webhooks,
    retry_at,
    seconds_of,
)

from .conftest import new_secret
from .receivers import Flood, Receiver, Request, Server, certificates, drip, hang

Hooks = Callable[..., Webhooks]
HERE = "127.0.0.0/8"
DATA = {"ref": "7QK2", "desk": "rt", "ticket": "2", "organisation": "Kunde GmbH"}


def verified(secret: str, request: Request, now: float | None = None) -> bool:
    """A receiver's check after the standard's text, with nothing of ours in it."""
    assert secret.startswith("whsec_")
    headers = request.headers
    if abs((time.time() if now is None else now) - int(headers["webhook-timestamp"])) > 300:
        return False
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    mac = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), content, hashlib.sha256)
    expected = base64.b64encode(mac.digest()).decode()
    found = [item.split(",", 1) for item in headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(value, expected) for version, value in found)


def delivered(hooks: Hooks, *, keys: tuple[str, ...] = (), id: str = "evt_1", body: bytes = b"{}") -> Request:
    with Receiver() as target:
        hooks(target.url, HERE, keys=keys).deliver("t", id, body)
        [request] = target.requests
    return request


def refused_with(hooks: Hooks, status: str, *headers: str) -> TargetUnavailable:
    lines = "".join(f"{line}\r\n" for line in headers)
    with Receiver(f"HTTP/1.1 {status}\r\n{lines}Content-Length: 0\r\n\r\n".encode("latin-1")) as target:
        with pytest.raises(TargetUnavailable) as caught:
            hooks(target.url, HERE).deliver("t", "evt_1", b"{}")
        assert target.accepted == 1
    return caught.value


# --- what is sent ---------------------------------------------------------------------------------------


def test_a_receiver_that_follows_the_standard_accepts_the_signature(hooks: Hooks) -> None:
    secret = new_secret()
    body = outgoing.body("link.opened", 1_795_321_782, DATA)
    request = delivered(hooks, keys=(secret,), body=body)
    assert request.line == "POST /hook HTTP/1.1"
    assert request.body == body
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "evt_1"
    assert verified(secret, request)
    earlier = str(int(request.headers["webhook-timestamp"]) - 1)
    for changed in (
        Request(request.line, request.headers, body.replace(b"7QK2", b"7QK3")),
        Request(request.line, request.headers | {"webhook-id": "evt_2"}, body),
        Request(request.line, request.headers | {"webhook-timestamp": earlier}, body),
    ):
        assert not verified(secret, changed)
    assert not verified(new_secret(), request)
    assert not verified(secret, request, time.time() + 301)


def test_the_known_example_gets_the_known_signature() -> None:
    # The example that the standard's own libraries are tested with.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = outgoing._headers((key,), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_while_a_secret_changes_receivers_with_either_accept(hooks: Hooks) -> None:
    new, old = new_secret(), new_secret(64)
    request = delivered(hooks, keys=(new, old))
    signatures = request.headers["webhook-signature"].split(" ")
    assert [signature[:3] for signature in signatures] == ["v1,", "v1,"]
    assert verified(new, request)
    assert verified(old, request)
    newest = Request(request.line, request.headers | {"webhook-signature": signatures[0]}, request.body)
    assert (verified(new, newest), verified(old, newest)) == (True, False)


def test_a_repeat_keeps_id_and_body_and_has_its_own_time(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = new_secret()
    with Receiver() as target:
        attempts = hooks(target.url, HERE, keys=(secret,))
        now = time.time()
        for at in (now, now + 305):
            monkeypatch.setattr("secretsvc.tickets.outgoing.time.time", lambda at=at: at)
            attempts.deliver("t", "evt_1", b'{"a":1}')
        first, second = target.requests
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 305
    assert verified(secret, first, now)
    assert verified(secret, second, now + 305)


def test_an_event_has_type_time_and_data() -> None:
    sent = outgoing.body("link.opened", 1_795_321_782.9, DATA)
    assert json.loads(sent) == {"type": "link.opened", "timestamp": "2026-11-22T04:29:42Z", "data": DATA}
    with pytest.raises(ValueError, match="no such event"):
        outgoing.body("link.read", 0, DATA)  # type: ignore[arg-type]


def test_names_with_markup_and_line_ends_stay_data(hooks: Hooks) -> None:
    secret = new_secret()
    data = DATA | {"organisation": 'A\r\nwebhook-id: x\r\n\r\n"<b>\u2028\u202e\x00', "ticket": "1\n2"}
    request = delivered(hooks, keys=(secret,), body=outgoing.body("link.opened", 0, data))
    assert json.loads(request.body)["data"] == data
    assert request.headers["webhook-id"] == "evt_1"
    assert verified(secret, request)


@pytest.mark.parametrize("id", ["", "a.b", "a b", "a\r\nb", "a\nx: y", "ä", "a" * 256])
def test_an_id_that_could_move_the_seam_of_what_is_signed_is_refused(id: str, hooks: Hooks) -> None:
    with Receiver() as target:
        with pytest.raises(ValueError, match="no dot"):
            hooks(target.url, HERE).deliver("t", id, b"{}")
        assert target.accepted == 0


def test_a_body_of_20_kilobytes_is_refused(hooks: Hooks) -> None:
    assert len(delivered(hooks, body=b"x" * 19_999).body) == 19_999
    with Receiver() as target:
        with pytest.raises(ValueError, match="20,000"):
            hooks(target.url, HERE).deliver("t", "evt_1", b"x" * 20_000)
        assert target.accepted == 0


# --- what is answered -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_answer_of_the_200s_is_success(status: int, hooks: Hooks) -> None:
    with Receiver(f"HTTP/1.1 {status} Fine\r\nContent-Length: 0\r\n\r\n".encode()) as target:
        hooks(target.url, HERE).deliver("t", "evt_1", b"{}")
        assert len(target.requests) == 1


@pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 408, 409, 421, 422, 500, 501, 503, 599])
def test_every_other_answer_is_tried_again(status: int, hooks: Hooks) -> None:
    assert refused_with(hooks, f"{status} No").retry_after is None


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_target_under_load_says_when_to_come_back(status: int, hooks: Hooks) -> None:
    assert refused_with(hooks, f"{status} Later", "Retry-After: 120").retry_after == 120
    at = formatdate(time.time() + 600, usegmt=True)
    assert 595 <= (refused_with(hooks, f"{status} Later", f"Retry-After: {at}").retry_after or 0) <= 600


def test_gone_ends_it_until_the_next_start(hooks: Hooks, caplog: pytest.LogCaptureFixture) -> None:
    with Receiver(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n") as target:
        attempts = hooks(target.url, HERE)
        for id in ("evt_1", "evt_2"):
            with pytest.raises(TargetGone):
                attempts.deliver("t", id, b"{}")
        assert target.accepted == 1
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        with pytest.raises(TargetGone):
            hooks(target.url, HERE).deliver("t", "evt_3", b"{}")
        assert target.accepted == 2


def test_a_target_taken_out_of_the_settings_is_gone(hooks: Hooks) -> None:
    with pytest.raises(TargetGone, match="no longer configured"):
        hooks("https://hooks.test/").deliver("former", "evt_1", b"{}")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), (" 7 ", 7), ("86400", 86_400), ("86401", 86_400), ("9" * 5_000, 86_400), ("0" * 5_000, 0),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10), ("Thursday, 01-Jan-70 00:16:50 GMT", 10),
        ("Thu Jan  1 00:16:50 1970", 10), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("", None), ("-1", None), ("1.5", None), ("soon", None), ("²", None), ("٣", None), ("1e9", None),
        ("Thu, 99 Jan 1970 00:00:00 GMT", None), ("Thu, 01 Jan 1970 00:00:00 +99999999999", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_both_forms_and_bounded(text: str, seconds: int | None) -> None:
    assert seconds_of(text, now=1_000.0) == seconds


@profile(deadline=None)
@given(st.text(alphabet=st.characters(max_codepoint=255)))
def test_no_retry_after_breaks_anything(text: str) -> None:
    found = seconds_of(text)
    assert found is None or 0 <= found <= 86_400


@pytest.mark.parametrize(
    "answer",
    [
        hang,
        drip(b"HTTP/1.1 2"),
        drip(b"HTTP/1.1 200 OK\r\nX: "),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    ],
    ids=["hangs", "drips its status", "drips a header", "says continue for ever", "drips headers for ever"],
)
@pytest.mark.parametrize("tls", [False, True])
def test_a_target_that_takes_its_time_is_cut_off(
    answer: Callable[[Server, object], None], tls: bool, hooks: Hooks, tmp_path: Path
) -> None:
    ca, context = certificates(tmp_path / "tls", "127.0.0.1")
    with Receiver(answer, tls=context if tls else None) as target:  # type: ignore[arg-type]
        begun = time.monotonic()
        with pytest.raises(TargetUnavailable):
            hooks(target.url, HERE, seconds=1.0, ca=ca).deliver("t", "evt_1", b"{}")
        assert time.monotonic() - begun < 3
        assert len(target.requests) == 1


def test_a_target_that_never_finishes_its_handshake_is_cut_off(hooks: Hooks) -> None:
    class Silent(Server):
        def talk(self, connection: object) -> None:
            self.ended.wait(30)

    with Silent() as target:
        begun = time.monotonic()
        with pytest.raises(TargetUnavailable):
            hooks(f"https://127.0.0.1:{target.port}/", HERE, seconds=1.0).deliver("t", "evt_1", b"{}")
        assert 0.9 < time.monotonic() - begun < 3


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"HTTP/1.1 500 No\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"",
    ],
    ids=["till the end", "chunked", "failure", "redirect", "header", "status"],
)
def test_the_body_of_an_answer_is_not_read(head: bytes, hooks: Hooks) -> None:
    flood = Flood(head)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Receiver(flood) as target:
        try:
            hooks(target.url, HERE, seconds=5.0).deliver("t", "evt_1", b"{}")
        except TargetUnavailable:
            pass
        else:
            assert b" 200 " in head
        assert flood.done.wait(3), "it is still being read"
    # What the kernel takes into its buffers, and a little.
    assert flood.sent < 16_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16_000


@pytest.mark.parametrize(
    "answer",
    [b"", b"\r\n", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 99999 x\r\n\r\n", b"\xff" * 500,
     b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n", b"HTTP/1.1 -1 x\r\n\r\n"],
)  # fmt: skip
def test_nonsense_is_no_success(answer: bytes, hooks: Hooks) -> None:
    with Receiver(answer) as target:
        with pytest.raises(TargetUnavailable):
            hooks(target.url, HERE, seconds=3.0).deliver("t", "evt_1", b"{}")
        assert target.accepted == 1


def test_a_target_that_is_down_is_tried_again_later(hooks: Hooks) -> None:
    with Receiver() as target:
        attempts = hooks(target.url, HERE)
    with pytest.raises(TargetUnavailable):
        attempts.deliver("t", "evt_1", b"{}")


# --- nothing leaks --------------------------------------------------------------------------------------


def test_no_log_error_or_repr_holds_secret_signature_body_or_answer(
    hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = new_secret()
    said = b"HTTP/1.1 500 canary-reason\r\nRetry-After: canary-after\r\nX: canary-header\r\n\r\ncanary-answer"
    with Receiver(said) as target:
        attempts = hooks(target.url + "/canary-path", HERE, keys=(secret,))
        with pytest.raises(TargetUnavailable) as caught:
            attempts.deliver("t", "canary-id", b'{"data":"canary-body"}')
        [request] = target.requests
        assert request.line == "POST /hook/canary-path HTTP/1.1"
    shown = caplog.text + repr(caught.value) + repr(attempts._targets)
    assert caught.value.__cause__ is None
    raw = base64.b64decode(secret.removeprefix("whsec_"))
    for hidden in (secret[6:], repr(raw)[2:-1], request.headers["webhook-signature"][3:], "canary"):
        assert hidden not in shown


def test_an_error_names_the_target_and_no_address(hooks: Hooks) -> None:
    for url, kind in (
        ("https://127.0.0.1:9/inner", TargetRefused),
        ("https://nobody.invalid/inner", TargetUnavailable),
    ):
        with pytest.raises(kind) as caught:
            hooks(url).deliver("t", "evt_1", b"{}")
        assert isinstance(caught.value, SecretsvcError)
        assert re.match("Webhook t: ", caught.value.detail)
        assert "127.0" not in caught.value.detail
        assert "inner" not in caught.value.detail


# --- settings and plan ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    ["secret", "whsec_", "whsec_AAAA", new_secret(23), new_secret(65), "WHSEC_" + "A" * 43 + "=",
     "whsec_" + "!" * 44, new_secret() + "A", "x" + new_secret(), new_secret()[6:]],
    ids=range(10),
)  # fmt: skip
def test_a_secret_that_is_none_is_refused_at_start_and_not_printed(line: str, hooks: Hooks) -> None:
    with pytest.raises(Misconfigured, match=r"^webhooks\.t\.secret_file: ") as caught:
        hooks("https://hooks.test/", keys=(new_secret(), line))
    assert len(line) < 10 or line not in str(caught.value)


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    hook = config.Webhook(name="t", url="https://hooks.test/", secret_file=str(tmp_path / "none"))
    with pytest.raises(Misconfigured, match=r"webhooks\.t\.secret_file: .*none cannot be read"):
        Webhooks([hook])


def test_each_target_hears_of_the_desks_it_asks_for(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(new_secret())
    rows = [("all", ()), ("one", ("rt",)), ("two", ("rt", "zammad"))]
    found = Webhooks(
        config.Webhook(name=name, url="https://h.test/", secret_file=str(tmp_path / "key"), desks=desks)
        for name, desks in rows
    )
    assert found.targets == ("all", "one", "two")
    assert [found.wanting(desk) for desk in ("rt", "zammad", "local")] == [
        ("all", "one", "two"),
        ("all", "two"),
        ("all",),
    ]


def test_attempts_follow_the_plan_of_three_days_and_then_end() -> None:
    hour = 3_600
    plan = [0, 5, 300, 1_800, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour]
    for attempt, wait in enumerate(plan):
        times = [retry_at(attempt, 1_000.0) for _ in range(200)]
        assert all(at is not None and 1_000 + wait <= at <= 1_000 + wait * 1.1 for at in times)
        assert (len(set(times)) > 1) == (wait > 0)
    assert retry_at(len(plan), 1_000.0) is None
    assert retry_at(50, 1_000.0) is None
