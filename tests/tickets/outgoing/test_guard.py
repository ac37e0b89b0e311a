"""Where webhooks may go.  A listening socket that nobody may reach counts whoever comes."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from secretsvc.errors import Misconfigured
from secretsvc.tickets.guard import Guard
from secretsvc.tickets.outgoing import TargetRefused, TargetUnavailable, Webhooks

from .conftest import Names
from .receivers import Receiver, certificates

Hooks = Callable[..., Webhooks]
INSIDE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1",
    "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.170", "192.0.2.1",
    "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1", "100::1", "2001::1", "2001:0:7f00:1::1",
    "2001:10::1", "2001:db8::1", "2002:7f00:1::1", "2002:a00:1::1", "3fff::1", "5f00::1", "4000::1", "fc00::1",
    "fd12:3456:789a::1", "fe80::1", "febf::1", "fec0::1", "feff::1", "ff02::1", "ff0e::1",
]  # fmt: skip
OUTSIDE = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
    "128.0.0.1", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
    "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700:4700::1111", "2a00:1450:4001::1", "3ffe::1",
]  # fmt: skip


@pytest.fixture
def trap() -> Iterator[Receiver]:
    """Must never be reached."""
    with Receiver() as found:
        yield found


@pytest.mark.parametrize("ip", INSIDE)
def test_no_webhook_reaches_an_inner_or_reserved_address(ip: str) -> None:
    for tls in (True, False):
        with pytest.raises(TargetRefused):
            Guard().check(ip, tls=tls)


@pytest.mark.parametrize("ip", OUTSIDE)
def test_the_public_internet_is_reached_by_https_alone(ip: str) -> None:
    Guard().check(ip, tls=True)
    with pytest.raises(TargetRefused, match="https"):
        Guard(["10.0.0.0/8"]).check(ip, tls=False)


@profile(deadline=None)
@given(st.ip_addresses())
def test_what_python_calls_not_global_is_never_reached(address: ipaddress.IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        with pytest.raises(TargetRefused):
            Guard().check(str(address), tls=True)


@profile(deadline=None)
@given(st.ip_addresses(v=4))
def test_no_ipv4_address_is_reached_in_the_clothes_of_ipv6(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for form in (
        0xFFFF << 32 | number,
        number,
        0x64FF9B << 96 | number,
        0x2002 << 112 | number << 80 | 1,
        0x20010000 << 96 | (number ^ 0xFFFFFFFF),
    ):
        with pytest.raises(TargetRefused):
            Guard(["0.0.0.0/0"]).check(str(ipaddress.IPv6Address(form)), tls=True)


@pytest.mark.parametrize(
    ("allow", "ip"),
    [("10.0.0.0/8", "10.1.2.3"), ("127.0.0.0/8", "127.0.0.1"), ("::1/128", "::1"), ("fd00::/8", "fd00::7")],
)
def test_the_operator_opens_a_network_and_no_more(allow: str, ip: str) -> None:
    Guard([allow]).check(ip, tls=False)
    for other in ("192.168.0.1", "169.254.169.254", "fe80::1", "::ffff:10.1.2.3"):
        with pytest.raises(TargetRefused):
            Guard([allow]).check(other, tls=True)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "2130706433", "0x7f000001", "0x7f.1",
        "0177.0.0.1", "017700000001", "0", "0.0.0.0", "127.0.0.1.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
        "127。0。0。1", "①②⑦.0.0.1", "%31%32%37.0.0.1",
    ],
)  # fmt: skip
def test_no_spelling_of_this_machine_reaches_it(host: str, hooks: Hooks, trap: Receiver) -> None:
    for scheme in ("https", "http"):
        target = hooks(f"{scheme}://{host}:{trap.port}/", "10.0.0.0/8")
        with pytest.raises((TargetRefused, TargetUnavailable)):
            target.deliver("t", "evt_1", b"{}")
    assert trap.accepted == 0


@pytest.mark.parametrize("host", ["[::1]", "[0:0:0:0:0:0:0:1]", "[::]"])
def test_no_spelling_of_this_machine_reaches_it_by_ipv6(host: str, hooks: Hooks) -> None:
    with Receiver(host="::1") as trap:
        with pytest.raises(TargetRefused):
            hooks(f"https://{host}:{trap.port}/").deliver("t", "evt_1", b"{}")
        assert trap.accepted == 0
        # The trap would have noticed.
        hooks(trap.url, "::1/128").deliver("t", "evt_1", b"{}")
        assert trap.accepted == 1


def test_one_inner_address_among_good_ones_refuses_the_name(hooks: Hooks, names: Names, trap: Receiver) -> None:
    with Receiver(host="127.0.0.2", port=trap.port) as good:
        for answer in (["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "fe80::1"]):
            names["hooks.test"] = [answer]
            with pytest.raises(TargetRefused):
                hooks(f"http://hooks.test:{trap.port}/", "127.0.0.2/32").deliver("t", "evt_1", b"{}")
        assert (good.accepted, trap.accepted) == (0, 0)


def test_a_name_that_changes_after_the_check_gains_nothing(hooks: Hooks, names: Names, trap: Receiver) -> None:
    with Receiver(host="127.0.0.2", port=trap.port) as good:
        for round in range(1, 21):
            names["hooks.test"] = [["127.0.0.2"], ["127.0.0.1"]]
            target = hooks(f"http://hooks.test:{trap.port}/", "127.0.0.2/32")
            target.deliver("t", f"evt_{round}", b"{}")
            assert (good.accepted, len(names.asked)) == (round, 2 * round - 1)
            # The next attempt looks anew, and is refused.
            with pytest.raises(TargetRefused):
                target.deliver("t", f"evt_{round}", b"{}")
    assert trap.accepted == 0


def test_the_operators_network_is_reached_in_the_clear(hooks: Hooks) -> None:
    with Receiver() as target:
        hooks(target.url, "127.0.0.0/8").deliver("t", "evt_1", b"{}")
        assert [request.line for request in target.requests] == ["POST /hook HTTP/1.1"]


def test_http_with_no_network_allowed_is_refused_at_start(hooks: Hooks) -> None:
    with pytest.raises(Misconfigured, match=r"^webhooks\.t\.url: http is only"):
        hooks("http://hooks.test/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, hooks: Hooks, trap: Receiver) -> None:
    answer = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {trap.url}\r\nContent-Length: 0\r\n\r\n".encode()
    with Receiver(answer) as target:
        with pytest.raises(TargetUnavailable, match=f"status {status}"):
            hooks(target.url, "127.0.0.0/8").deliver("t", "evt_1", b"{}")
        assert (target.accepted, trap.accepted) == (1, 0)


def test_no_proxy_and_no_netrc_of_the_environment_is_used(
    hooks: Hooks, trap: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password something\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Receiver() as target:
        hooks(target.url, "127.0.0.0/8").deliver("t", "evt_1", b"{}")
        assert (target.accepted, trap.accepted) == (1, 0)
        assert "authorization" not in target.requests[0].headers


def test_name_and_certificate_stay_those_of_the_target(hooks: Hooks, names: Names, tmp_path: Path) -> None:
    names["hooks.test"] = [["127.0.0.1"]]
    ca, context = certificates(tmp_path / "tls", "hooks.test")
    with Receiver(tls=context) as target:
        url = f"https://hooks.test:{target.port}/hook"
        hooks(url, "127.0.0.0/8", ca=ca).deliver("t", "evt_1", b"{}")
        assert target.names == ["hooks.test"]
        assert target.requests[0].headers["host"] == f"hooks.test:{target.port}"


@pytest.mark.parametrize("wrong", ["name", "authority", "address"])
def test_nothing_is_sent_to_a_target_with_the_wrong_certificate(
    wrong: str, hooks: Hooks, names: Names, tmp_path: Path
) -> None:
    names["hooks.test"] = [["127.0.0.1"]]
    certified = {"name": "other.test", "authority": "hooks.test", "address": "127.0.0.1"}[wrong]
    ca, context = certificates(tmp_path / "tls", certified)
    with Receiver(tls=context) as target:
        url = f"https://hooks.test:{target.port}/hook"
        with pytest.raises(TargetUnavailable, match="TLS"):
            hooks(url, "127.0.0.0/8", ca=None if wrong == "authority" else ca).deliver("t", "evt_1", b"{}")
        assert (target.accepted, target.requests) == (1, [])


def test_a_name_nobody_has_is_tried_again_later(hooks: Hooks, names: Names) -> None:
    for host in ("nobody.test", "a" * 64 + ".test", "a..test"):
        with pytest.raises(TargetUnavailable):
            hooks(f"https://{host}/").deliver("t", "evt_1", b"{}")


def test_a_resolver_that_hangs_is_not_waited_for(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as waiting:

        def slow(*_: object, **__: object) -> list[object]:
            waiting.ended.wait(30)
            return []

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        begun = time.monotonic()
        with pytest.raises(TargetUnavailable):
            hooks("https://hooks.test/", seconds=0.5).deliver("t", "evt_1", b"{}")
        assert 0.4 < time.monotonic() - begun < 3


def test_the_next_address_is_tried_when_one_does_not_answer(hooks: Hooks, names: Names) -> None:
    with Receiver() as target:
        names["hooks.test"] = [["127.0.0.3", "127.0.0.1"]]
        hooks(f"http://hooks.test:{target.port}/", "127.0.0.0/8").deliver("t", "evt_1", b"{}")
        assert target.accepted == 1


def test_a_target_with_a_thousand_addresses_does_not_make_us_call_them_all(hooks: Hooks, names: Names) -> None:
    with Receiver() as target:
        names["hooks.test"] = [[f"127.0.3.{n}" for n in range(1, 100)] + ["127.0.0.1"]]
        with pytest.raises(TargetUnavailable):
            hooks(f"http://hooks.test:{target.port}/", "127.0.0.0/8").deliver("t", "evt_1", b"{}")
        assert target.accepted == 0
