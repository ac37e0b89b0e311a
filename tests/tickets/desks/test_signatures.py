"""Webhooks count only with a signature that fits, and, where it is signed, a time that is near."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path

import pytest

from secretsvc.errors import HookRefused, Misconfigured
from secretsvc.tickets.desks.signatures import (
    check_standard,
    check_zammad,
    check_zendesk,
    plain_keys,
    standard_keys,
)

# The example of the Standard Webhooks specification.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = 1614265330
BODY = b'{"test": 2432232314}'
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(AT),
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
Keep = Callable[[str, str], str]


@pytest.fixture
def keys(kept: Keep) -> tuple[bytes, ...]:
    return standard_keys(kept("hook", SECRET), "desks.rt.webhook_secret_file")


def test_the_specifications_example_is_taken(keys: tuple[bytes, ...]) -> None:
    assert check_standard(keys, HEADERS, BODY, AT) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_one_of_several_signatures_is_enough_while_keys_change(kept: Keep) -> None:
    new = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    keys = standard_keys(kept("hook", f"{new}\n{SECRET}\n"), "place")
    several = "v1a,xyz v1,AAAA " + HEADERS["webhook-signature"]
    assert check_standard(keys, {**HEADERS, "webhook-signature": several}, BODY, AT)


@pytest.mark.parametrize("off", [301, -301])
def test_more_than_five_minutes_is_too_old(keys: tuple[bytes, ...], off: int) -> None:
    assert check_standard(keys, HEADERS, BODY, AT + (300 if off > 0 else -300))
    with pytest.raises(HookRefused):
        check_standard(keys, HEADERS, BODY, AT + off)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_other"},
        {"webhook-id": ""},
        {"webhook-id": "a.b"},
        {"webhook-id": "x" * 201},
        {"webhook-timestamp": str(AT + 1)},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "٣"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v2," + HEADERS["webhook-signature"][3:]},
        {"webhook-signature": HEADERS["webhook-signature"][3:]},
        {"webhook-signature": "v1,ä"},
    ],
)
def test_what_was_altered_is_refused(keys: tuple[bytes, ...], change: dict[str, str]) -> None:
    with pytest.raises(HookRefused):
        check_standard(keys, {**HEADERS, **change}, BODY, AT)
    with pytest.raises(HookRefused):
        check_standard(keys, {}, BODY, AT)
    with pytest.raises(HookRefused):
        check_standard(keys, HEADERS, BODY + b" ", AT)


def test_without_a_key_everything_is_refused() -> None:
    assert standard_keys("", "place") == plain_keys("", "place") == ()
    for check in (check_standard, check_zendesk):
        with pytest.raises(HookRefused):
            check((), HEADERS, BODY, AT)
    with pytest.raises(HookRefused):
        check_zammad((), {"x-hub-signature": "sha1=", "x-zammad-delivery": "1"}, BODY)


@pytest.mark.parametrize("line", ["whsec_", "whsec_AAAA", "xyz", "whsec_" + "A" * 400, "x" + SECRET])
def test_a_malformed_secret_is_named_by_its_place_and_not_shown(kept: Keep, line: str) -> None:
    with pytest.raises(Misconfigured, match=r"desks\.rt\.webhook_secret_file") as caught:
        standard_keys(kept("hook", line), "desks.rt.webhook_secret_file")
    assert line not in str(caught.value).replace("whsec_ and", "")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"desks\.z\.webhook_secret_file"):
        plain_keys(str(tmp_path / "none"), "desks.z.webhook_secret_file")


ZENDESK_AT = "2026-11-22T04:29:42Z"
ZENDESK_NOW = 1795321782


def zendesk(body: bytes, secret: bytes = b"zen-secret", at: str = ZENDESK_AT) -> dict[str, str]:
    signature = base64.b64encode(hmac.new(secret, at.encode() + body, hashlib.sha256).digest()).decode()
    return {"x-zendesk-webhook-signature": signature, "x-zendesk-webhook-signature-timestamp": at}


def test_zendesk_signs_time_and_body_with_nothing_between() -> None:
    headers = zendesk(b"{}")
    first = check_zendesk((b"other", b"zen-secret"), headers, b"{}", ZENDESK_NOW)
    assert first == check_zendesk((b"zen-secret",), headers, b"{}", ZENDESK_NOW + 300)
    later = zendesk(b"{}", at="2026-11-22T04:29:43Z")
    assert first != check_zendesk((b"zen-secret",), later, b"{}", ZENDESK_NOW)
    for wrong in (
        zendesk(b"{}", b"wrong"),
        zendesk(b"{ }"),
        {},
        {**headers, "x-zendesk-webhook-signature": ""},
    ):
        with pytest.raises(HookRefused):
            check_zendesk((b"zen-secret",), wrong, b"{}", ZENDESK_NOW)
    with pytest.raises(HookRefused):
        check_zendesk((b"zen-secret",), headers, b"{}", ZENDESK_NOW + 301)
    for at in ("yesterday", "", "1970-01-01T00:00:00Z", "9" * 50, "2026-11-22T04:29:42Zä"):
        with pytest.raises(HookRefused):
            check_zendesk((b"zen-secret",), zendesk(b"{}", at=at), b"{}", ZENDESK_NOW)


def test_zammad_signs_the_body_alone() -> None:
    signature = "sha1=" + hmac.new(b"zam-secret", b"{}", hashlib.sha1).hexdigest()
    headers = {"x-hub-signature": signature, "x-zammad-delivery": "f1a2"}
    assert check_zammad((b"zam-secret",), headers, b"{}") == "f1a2"
    refused = (
        {**headers, "x-hub-signature": signature[5:]},
        {**headers, "x-hub-signature": "sha1=" + "0" * 40},
        {**headers, "x-zammad-delivery": ""},
        {**headers, "x-zammad-delivery": "x" * 201},
        {"x-hub-signature": signature},
        {},
    )
    for each in refused:
        with pytest.raises(HookRefused):
            check_zammad((b"zam-secret",), each, b"{}")
    with pytest.raises(HookRefused):
        check_zammad((b"zam-secret",), headers, b"{ }")
