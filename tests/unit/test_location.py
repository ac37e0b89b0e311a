"""Addresses of store and ledger are read as they are meant, and refused in words without being quoted."""

from __future__ import annotations

import pytest

from secretsvc.location import parse

REFUSED = {
    "http://host": "expected redis://",
    "host:6379": "expected redis://",
    "redis+replica://host": "expected redis://",
    "unix+sentinel:///run/s/main": "expected redis://",
    "redis://one,two": "one server is expected",
    "redis://host:66000": "expected HOST or HOST:PORT",
    "redis://host:port": "expected HOST or HOST:PORT",
    "redis:///0": "expected HOST or HOST:PORT",
    "redis://host/main": "a number or nothing",
    "redis://host/0?timeout=1": "'timeout' is not known",
    "redis://host/0?ssl_ca_certs=/ca": "'ssl_ca_certs' is not known",  # it would not be used: this is no TLS
    "redis+cluster://host/0": "no databases",
    "redis+cluster://host?sentinel_password=x": "'sentinel_password' is not known",
    "redis+sentinel://host:26379": "name for the primary is missing",
    "redis+sentinel://host,/main": "expected HOST or HOST:PORT",
    "redis+sentinel://a b/main": "expected HOST or HOST:PORT",
    "redis+sentinel://host/main?password=x": "'password' is not known",
}


@pytest.mark.parametrize(
    "url", ["redis://u:p%40@host:1/2", "rediss://[::1]:6379?ssl_ca_certs=/ca", "unix:///a/b?db=1"]
)
def test_one_server_is_left_to_its_client(url: str) -> None:
    where = parse(url)
    assert (where.kind, where.url, where.hosts) == ("server", url, ())


def test_sentinels_with_all_that_may_be_said() -> None:
    where = parse(
        "rediss+sentinel://app:p%40ss,w@one:1,two,[2001:db8::1]:3/my%20main"
        "?ssl_ca_certs=/ca.pem&sentinel_username=s&sentinel_password=geheim"
    )
    assert (where.kind, where.name) == ("sentinel", "my main")
    assert where.hosts == (("one", 1), ("two", 26379), ("2001:db8::1", 3))
    tls = {"ssl": True, "ssl_ca_certs": "/ca.pem"}
    assert where.options == {**tls, "username": "app", "password": "p@ss,w"}
    assert where.sentinel_options == {**tls, "username": "s", "password": "geheim"}


def test_a_cluster_with_as_little_as_can_be_said() -> None:
    where = parse("redis+cluster://one,two:7001")
    assert (where.kind, where.hosts, where.options) == ("cluster", (("one", 6379), ("two", 7001)), {})


def test_a_password_alone_is_the_default_users() -> None:
    assert parse("redis+cluster://:geheim@one").options == {"password": "geheim"}


@pytest.mark.parametrize(("url", "reason"), REFUSED.items())
def test_what_is_wrong_is_said(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(url)


def test_no_address_is_ever_shown() -> None:
    for url in ("redis://:geheim@host", "redis+sentinel://:geheim@host/main", "redis+cluster://:geheim@host"):
        assert "geheim" not in repr(parse(url))
    with pytest.raises(ValueError, match="expected HOST") as refused:
        parse("redis://:geheim@host:port")
    assert "geheim" not in str(refused.value)
