"""How the service is: for machines ``/healthz``, ``/readyz`` and ``/metrics``, for people ``/status``.

Whoever asks is answered though store and ledger are down; that is what they want to know.
"""

from __future__ import annotations

import contextlib
import ipaddress
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from flask import Blueprint, Flask, current_app, render_template, request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from .. import __version__
from ..cluster import Cluster
from ..errors import N_, NotFound, Unavailable
from ..node import Node
from . import metrics
from .application import Response
from .language import gettext
from .problems import wants_page
from .service import Service, service

PATIENCE = 1.0  # seconds after which no other server is asked
KEPT = 5.0  # seconds that an answer of the store about itself is told again
LATE = 60.0  # seconds that something may wait for the notifier until it counts as behind
# Loopback, private and link-local; other addresses that nobody routes may be somebody's nevertheless.
INSIDE = [
    ipaddress.ip_network(network)
    for network in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        *("::1", "fc00::/7", "fe80::/10"),
    )
]
OF_PROXIES = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via")
NAMES = {"store": N_("Store of sealed secrets"), "ledger": N_("Register of what was opened")}

sight = Blueprint("sight", __name__)


class Backlog(Protocol):
    """What waits to be told to tickets: see ``tickets.backlog``."""

    @property
    def at_work(self) -> bool:
        """Whether a notifier is at work."""

    @property
    def waiting(self) -> Mapping[str, int]:
        """How many tickets wait, by for what: a ``look``, or to be ``told`` at last."""

    @property
    def oldest(self) -> Mapping[str, float]:
        """For how many seconds the first of them has."""

    @property
    def deliveries(self) -> Mapping[tuple[str, str, str], int]:
        """How many there were, by desk, kind of place, and outcome."""


class Tickets(NamedTuple):
    """What there is to see of the ticket module.

    Attributes:
        tells: whether anybody is told anything: a helpdesk, a webhook, somebody by mail.
        backlog: asks what waits; raises ``Unavailable`` where that cannot be told.
    """

    tells: bool
    backlog: Callable[[], Backlog]


@dataclass(frozen=True)
class Known:
    """What the servers say of themselves, of a moment ago: bytes used and allowed, and the backlog."""

    memory: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    backlog: Backlog | None = None

    @property
    def full(self) -> bool:
        """Whether the store takes nothing new."""
        used, allowed = self.memory.get("store", (0, 0))
        return 0 < allowed <= used

    @property
    def behind(self) -> bool:
        """Whether tickets wait for what happened longer than they should."""
        return self.backlog is not None and max(self.backlog.oldest.values(), default=0.0) > LATE


class Sight:
    """Looks at everything a service stands on.

    Args:
        here: the service.
        tickets: the ticket module, if there is one.
    """

    def __init__(self, here: Service, tickets: Tickets | None) -> None:
        self.tickets = tickets
        self._here = here
        self._looking = threading.Lock()
        self._known, self._known_at = Known(), float("-inf")

    def up(self) -> dict[str, tuple[int, int]]:
        """How much of store and ledger answers just now, and how much there is of it."""
        return {"store": (int(self._here.store.node.is_up()), 1), "ledger": self._here.ledger.up()}

    def known(self) -> Known:
        """What they say of themselves, asked at most once in a few seconds and by one caller at a time."""
        if time.monotonic() - self._known_at < KEPT or not self._looking.acquire(blocking=False):
            return self._known
        try:
            self._known = self._ask()
            self._known_at = time.monotonic()
        finally:
            self._looking.release()
        return self._known

    def _ask(self) -> Known:
        servers = {"store": self._here.store.node}
        servers |= {f"ledger {number}": shard.node for number, shard in enumerate(self._here.ledger.shards, 1)}
        deadline, memory, backlog = time.monotonic() + PATIENCE, {}, None
        with contextlib.suppress(Unavailable):
            backlog = self.tickets.backlog() if self.tickets else None
        for name, node in servers.items():
            if time.monotonic() < deadline:
                with contextlib.suppress(Unavailable):
                    memory[name] = _memory(node)
        return Known(memory, backlog)

    def collect(self) -> Iterator[Metric]:
        """For Prometheus: what is looked up when it asks, rather than counted."""
        yield _gauge("info", "The version that answers", {(__version__,): 1.0}, "version")
        up = self.up()
        answering = {(name,): found for name, (found, _) in up.items()}
        yield _gauge("servers_up", "Servers that answer and are believed", answering, "server")
        yield _gauge("servers", "Servers that there are", {(n,): of for n, (_, of) in up.items()}, "server")
        known = self.known()
        memory = known.memory.items()
        used = {(name,): found[0] for name, found in memory}
        yield _gauge("server_memory_bytes", "Memory that a server uses for data", used, "server")
        allowed = {(name,): found[1] for name, found in memory if found[1]}
        yield _gauge("server_memory_limit_bytes", "Memory that a server may use", allowed, "server")
        if (backlog := known.backlog) is None:
            return
        yield _gauge("notifier_at_work", "Whether a notifier is at work", {(): float(backlog.at_work)})
        waiting = {(what,): found for what, found in backlog.waiting.items()}
        yield _gauge("notifier_waiting", "Tickets that wait for the notifier or their desk", waiting, "what")
        oldest = {(what,): found for what, found in backlog.oldest.items()}
        yield _gauge("notifier_oldest_seconds", "For how long the first of them has waited", oldest, "what")
        counted = CounterMetricFamily(
            "secretsvc_deliveries",
            "Attempts to tell a ticket's helpdesk or somebody else",
            labels=("desk", "place", "outcome"),
        )
        for labels, number in backlog.deliveries.items():
            counted.add_metric(labels, number)
        yield counted


def install(app: Flask, here: Service, tickets: Tickets | None) -> None:
    """Serve all that.

    Args:
        here: the service.
        tickets: the ticket module, if there is one.
    """
    app.extensions["secretsvc.sight"] = Sight(here, tickets)
    app.register_blueprint(sight)


@sight.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return _text("ok\n")


@sight.get("/readyz")
def readyz() -> Response:
    """Store and ledger answer too; says which does not, and is ready with a part of the ledger's nodes.

    A full store and tickets that wait are said and change nothing: what can be opened, can be opened.
    """
    found, known = _sight().up(), _sight().known()
    words = {
        name: "ok" if up == of else f"{up} of {of}" if up else "unavailable" for name, (up, of) in found.items()
    }
    if words["store"] == "ok" and known.full:
        words["store"] = "full"
    if known.behind:
        words["notifier"] = "behind"
    text = "".join(f"{name}: {word}\n" for name, word in words.items())
    return _text(text, 200 if all(up for up, _ in found.values()) else 503)


@sight.get("/status")
def status() -> Response | str:
    """How the service is, for people; ``/readyz`` is for machines."""
    if not wants_page():
        return readyz()
    found, known = _sight().up(), _sight().known()
    conf = service().settings
    up = all(up for up, _ in found.values())
    whole = all(up == of for up, of in found.values())
    does = [
        (gettext(N_("Creating links")), "off" if conf.create == "nobody" else _word(up and not known.full)),
        (gettext(N_("Opening links")), "off" if conf.open == "nobody" else _word(up, whole)),
    ]
    if (tickets := _sight().tickets) and tickets.tells:
        does.append((gettext(N_("Messages to tickets")), "late" if up and known.behind else _word(up)))
    parts = [(gettext(NAMES[name]), _word(bool(up), up == of)) for name, (up, of) in found.items()]
    if known.full and parts[0][1] == "yes":
        parts[0] = (parts[0][0], "full")
    return render_template("status.html", switchable=True, does=does, parts=parts, now=time.time())


@sight.get("/metrics")
def exposition() -> Response:
    """For Prometheus, from inside."""
    if not _may_read_metrics():
        raise NotFound
    looked_up = CollectorRegistry()
    looked_up.register(_sight())
    text = generate_latest(metrics.all_workers()) + generate_latest(looked_up)
    return Response(text, content_type=CONTENT_TYPE_PLAIN_0_0_4)


def _may_read_metrics() -> bool:
    """Whether the setting lets them; ``inside`` is a private address that did not come through a proxy."""
    who = service().settings.metrics
    if who != "inside":
        return who == "anyone"
    if any(name in request.headers for name in OF_PROXIES):
        return False
    public = urlsplit(service().settings.public_url).netloc
    if public and request.host == public:  # as people ask; whoever reads metrics asks the process itself
        return False
    try:
        ip = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return any(ip in network for network in INSIDE)


def _memory(node: Node) -> tuple[int, int]:
    """Bytes used and allowed, 0 for any number of them; of a Cluster's primaries together."""
    if isinstance(node, Cluster):
        client = node.client
        told = node.guarded(lambda: client.info("memory", target_nodes="primaries"))
        each = [told] if "used_memory" in told else list(told.values())  # of one, it stands for itself
    else:
        each = [node.info("memory")]
    return sum(int(found["used_memory"]) for found in each), sum(int(found["maxmemory"]) for found in each)


def _word(works: bool, whole: bool = True) -> str:
    return "no" if not works else "yes" if whole else "partly"


def _gauge(name: str, says: str, found: Mapping[Any, float], *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"secretsvc_{name}", says, labels=labels)
    for values, value in found.items():
        family.add_metric(values, value)
    return family


def _sight() -> Sight:
    return cast(Sight, current_app.extensions["secretsvc.sight"])


def _text(text: str, status: int = 200) -> Response:
    return Response(text, status, mimetype="text/plain")
