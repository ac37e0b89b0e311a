"""Where a store or ledger is: the addresses that the settings name, read and checked.

==============================================  ===============================================================
``redis://[user:password@]host[:port][/db]``    one server; ``rediss://`` by TLS, ``unix:///path`` by its socket
``redis+sentinel://…host[:port],host/name``     the primary that these Sentinels know by this name
``redis+cluster://…host[:port],host``           a Redis Cluster that these nodes belong to
==============================================  ===============================================================

``rediss+sentinel://`` and ``rediss+cluster://`` speak TLS to all of them.  Options follow a ``?``: those of TLS
(``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``, ``ssl_cert_reqs``, ``ssl_check_hostname``), ``db`` for a
socket, and ``sentinel_username``, ``sentinel_password`` where the Sentinels ask for their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

Kind = Literal["server", "sentinel", "cluster"]
_TLS = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
_SENTINEL = {"sentinel_username", "sentinel_password"}
_CHOICES = {"ssl_check_hostname": ("true", "false"), "ssl_cert_reqs": ("required", "optional", "none")}
_PORTS = {"sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, repr=False)
class Location:
    """One store, or one node of the ledger.  Never shown: it may hold a password.

    Attributes:
        url: as it was given; all there is to know of a ``server``.
        hosts: names and ports of Sentinels or of nodes of a Cluster.
        name: what the Sentinels call their primary.
        options: for the connections to servers, by the names that redis-py has for them.
        sentinel_options: the same for the Sentinels.
    """

    kind: Kind
    url: str
    hosts: tuple[tuple[str, int], ...] = ()
    name: str = ""
    options: dict[str, str | bool] = field(default_factory=dict)
    sentinel_options: dict[str, str | bool] = field(default_factory=dict)


def parse(url: str) -> Location:
    """Read an address.

    Raises:
        ValueError: what is wrong with it, without quoting it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # it quotes what it does not like
        raise ValueError("expected an address; percent-encode what is special in user and password") from None
    base, _, kind = parts.scheme.partition("+")
    if base not in ("redis", "rediss", "unix") or kind not in ("", *_PORTS) or (base == "unix" and kind):
        raise ValueError(
            "expected redis://, rediss:// or unix://; for several servers redis+sentinel:// or redis+cluster://"
        )
    given = dict(parse_qsl(parts.query))
    allowed = (_TLS if base == "rediss" else set()) | (_SENTINEL if kind == "sentinel" else set())
    if unknown := set(given) - allowed - ({"db"} if base == "unix" else set()):
        raise ValueError(f"the option {sorted(unknown)[0]!r} is not known here")
    for name, choices in _CHOICES.items():
        if given.get(name, choices[0]) not in choices:
            raise ValueError(f"the option {name!r} is one of {', '.join(choices)}")
    if not re.fullmatch("[0-9]*", given.get("db", "")):
        raise ValueError("the option 'db' is a number")
    if not kind:
        if "," in parts.netloc or "," in parts.path:
            raise ValueError("one server is expected; for several use redis+sentinel:// or redis+cluster://")
        if base != "unix":
            _hosts(parts.netloc.rpartition("@")[2], 6379)
            if not re.fullmatch(r"/?[0-9]*", parts.path):
                raise ValueError("expected a number or nothing after the host")
        return Location("server", url)
    user, _, hosts = parts.netloc.rpartition("@")
    name = unquote(parts.path.strip("/"))
    if (kind == "sentinel") != bool(name):
        raise ValueError(
            "the Sentinels' name for the primary is missing, as in redis+sentinel://host:26379/name"
            if kind == "sentinel"
            else "a Cluster has no databases: nothing may follow the hosts"
        )
    username, _, password = user.partition(":")
    tls: dict[str, str | bool] = {name: value for name, value in given.items() if name in _TLS}
    if "ssl_check_hostname" in tls:
        tls["ssl_check_hostname"] = tls["ssl_check_hostname"] == "true"
    secure: dict[str, str | bool] = {"ssl": True, **tls} if base == "rediss" else {}
    named = {"username": username, "password": password}
    for_sentinels = {name.removeprefix("sentinel_"): given[name] for name in _SENTINEL & set(given)}
    return Location(
        "sentinel" if kind == "sentinel" else "cluster",
        url,
        _hosts(hosts, _PORTS[kind]),
        name,
        {**secure, **{key: unquote(value) for key, value in named.items() if value}},
        {**secure, **for_sentinels},
    )


def _hosts(text: str, port: int) -> tuple[tuple[str, int], ...]:
    found = []
    for each in text.split(","):
        match = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^\[\]:,\s]+)(?::([0-9]{1,5}))?", each)
        if not match or int(match[2] or port) > 65_535:
            raise ValueError("expected HOST or HOST:PORT")
        try:
            match[1].encode("idna")
        except UnicodeError:
            raise ValueError("expected HOST or HOST:PORT") from None
        found.append((match[1].strip("[]"), int(match[2] or port)))
    return tuple(found)
