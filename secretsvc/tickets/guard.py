"""Which addresses outgoing webhooks may reach: the public internet, and the networks the operator allows.

Whoever chooses a webhook's target, or owns the name in it, must not be able to make us call into our own
network (OWASP: Server-Side Request Forgery).  So the name is resolved once, every address it has is checked,
and the connection goes to one of the addresses that were checked: a name that changes its answer between check
and connection gains nothing.  Host header, SNI and certificate stay with the name.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from ..errors import SecretsvcError
from .deadline import Deadline

# At debug level it writes each path it calls, and there are targets whose path is their password.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def _networks(*texts: str) -> Networks:
    return tuple(map(ipaddress.ip_network, texts))


# IPv4: everything is public but the special-purpose registry of IANA (RFC 6890 and later), all of it.
_SPECIAL_4 = _networks(
    "0.0.0.0/8",  # this network; 0.0.0.0 reaches ourselves
    "10.0.0.0/8",
    "100.64.0.0/10",  # carriers' NAT
    "127.0.0.0/8",
    "169.254.0.0/16",  # link-local, with the clouds' metadata services
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",  # documentation
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",  # relays of 6to4
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
)
# IPv6: nothing is public but global unicast, so ::, ::1, mapped, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48),
# fc00::/7, fe80::/10, site-local fec0::/10 and multicast fall away; and of global unicast, not what stands for
# something else.
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_6 = _networks(
    "2001::/23",  # Teredo, ORCHID, benchmarks: IETF's own
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4: an IPv4 address inside
    "2620:4f:8000::/48",
    "3fff::/20",  # documentation
)


class TargetError(SecretsvcError):
    """A webhook was not taken.  The message names no address, and nothing the target said."""

    kind = "target-failed"


class TargetRefused(TargetError):
    """The target is where webhooks may not go.  No connection was made."""

    kind = "target-refused"
    detail = "The target has an address that webhooks may not reach, unless allow_networks names its network."


class Guard:
    """Says which addresses may be reached.

    Args:
        allow: networks as CIDR; in these anything goes, private addresses and plain http too.
    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._allow = _networks(*allow)

    def check(self, ip: str, *, tls: bool) -> None:
        """Pass, or refuse.

        Args:
            ip: an address as text.
            tls: whether the connection will be https.

        Raises:
            TargetRefused: not there, or not without TLS.
        """
        address = ipaddress.ip_address(ip)
        # One inside another (mapped, 6to4, NAT64) is not unwrapped: the outer one has to be allowed itself.
        if any(address in network for network in self._allow):
            return
        if not _public(address):
            raise TargetRefused
        if not tls:
            raise TargetRefused("The target is outside of allow_networks, so its address must be https.")

    def connect(self, host: str, port: int, deadline: Deadline, *, tls: bool) -> socket.socket:
        """A connection to a host, every address of which may be reached.

        Raises:
            TargetRefused: one of them may not.
            OSError: no such name, or no connection, or not in time.
        """
        places = deadline.resolve(host, port)
        for place in places:
            self.check(place.ip, tls=tls)
        return deadline.connect(places)


def _public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_4)
    return address in _GLOBAL_6 and not any(address in network for network in _SPECIAL_6)


class Session(requests.Session):
    """A session for one exchange that goes through the guard and straight to the target.

    It knows no proxies, no ``.netrc`` and no environment, repeats nothing and follows no redirects.

    Args:
        guard: says where it may go.
        deadline: for all of it.
    """

    def __init__(self, guard: Guard, deadline: Deadline) -> None:
        super().__init__()
        self.trust_env = False
        for scheme in list(self.adapters):
            self.mount(scheme, _Adapter(guard, deadline))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere.  Asked even when redirects are off, and then reads the whole body of the one it got."""


class _Adapter(HTTPAdapter):
    def __init__(self, guard: Guard, deadline: Deadline) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)
        self.poolmanager.pool_classes_by_scheme = _pools(
            lambda host, port, tls: guard.connect(host, port, deadline, tls=tls)
        )


def _pools(connect: Callable[[str, int, bool], socket.socket]) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools, with the one step replaced that makes a connection."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self._dns_host, self.port, False)

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self._dns_host, self.port, True)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}
