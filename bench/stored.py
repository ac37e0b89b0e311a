"""What a secret takes: in the store while it is unread, in store and ledger once it is opened, on disk."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from cryptography.fernet import Fernet

import app as composition
from bench.rows import SECRET_BYTES, content
from bench.servers import Machine, backends
from secretsvc import envelope
from secretsvc.envelope import Payload
from secretsvc.vault import New, Vault
from tests.servers import ENGINES, Server, start_server

EXPIRES_IN = 7 * 86_400  # the default


@dataclass(frozen=True)
class Stored:
    """Bytes for each secret of 32 bytes, on average over many.

    Attributes:
        record, receipt, opened, entry: the key alone, as ``MEMORY USAGE`` has it: both of an unread secret, the
            receipt of an opened one, and the ledger's entry.
        unread, ended, ledger: by how much the server's memory in use has grown, tables of keys included.
        aof_create, aof_open, aof_ledger: by how much the append-only file has grown.
        net_create, net_open, net_ledger: what went over the network, both ways together.
    """

    record: float
    receipt: float
    unread: float
    opened: float
    ended: float
    entry: float
    ledger: float
    aof_create: float
    aof_open: float
    aof_ledger: float
    net_create: float
    net_open: float
    net_ledger: float


def news(count: int) -> Iterator[New]:
    """Secrets sealed here, ready to be stored."""
    for _ in range(count):
        key = envelope.new_key()
        handles = envelope.derive_handles(key)
        sealed = envelope.seal(key, Payload(content().encode()))
        yield New(id=handles.id, token=handles.token, expires_in=EXPIRES_IN, envelope=sealed)


def open_all(vault: Vault, created: Iterable[New]) -> None:
    """Claim each as a browser does, and say done."""
    for number, new in enumerate(created):
        key = f"{number:032d}"
        vault.claim(vault.look(new.id, new.token, "link", record=True), key=key)
        vault.done(vault.look(new.id, new.token, "link"), key)


def used(server: Server) -> tuple[int, int, int]:
    """Bytes of memory in use, clients left out; of the append-only file; received and sent until now."""
    info: dict[str, Any] = server.client().info()
    clients = info.get("mem_clients_normal", 0) + info.get("mem_aof_buffer", 0)
    network = info["total_net_input_bytes"] + info["total_net_output_bytes"]
    return info["used_memory"] - clients, info["aof_current_size"], network


def measure(engine: Any, count: int) -> Stored:
    """Store that many, open them all, and look at the servers before and after."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        backs = stack.enter_context(backends(Machine(Path(name), engine=engine, fsync="everysec"), Path(name)))
        service = composition.make_service(backs.settings())
        stack.callback(service.ledger.close)
        stack.callback(service.store.node.close)
        created = list(news(count))
        service.vault.create(next(news(1)))  # the scripts are loaded with the first
        at_first, ledger_first = used(backs.store), used(backs.ledger)
        for new in created:
            service.vault.create(new)
        unread = used(backs.store)
        receipt, record = usage(backs.store, "ss:{*}"), usage(backs.store, "ss:{*}:r")
        looked = used(backs.store)[2]
        open_all(service.vault, created)
        ended, ledger = used(backs.store), used(backs.ledger)
        return Stored(
            record=record,
            receipt=receipt,
            unread=(unread[0] - at_first[0]) / count,
            opened=usage(backs.store, "ss:{*}"),
            ended=(ended[0] - at_first[0]) / count,
            entry=usage(backs.ledger, "ss:e:*"),
            ledger=(ledger[0] - ledger_first[0]) / count,
            aof_create=(unread[1] - at_first[1]) / count,
            aof_open=(ended[1] - unread[1]) / count,
            aof_ledger=(ledger[1] - ledger_first[1]) / count,
            net_create=(unread[2] - at_first[2]) / count,
            net_open=(ended[2] - looked) / count,
            net_ledger=(ledger[2] - ledger_first[2]) / count,
        )


def usage(server: Server, pattern: str, sample: int = 500) -> float:
    """``MEMORY USAGE`` of some keys, on average; those of a receipt do not match its record."""
    client = server.client()
    found = []
    for key in client.scan_iter(pattern, count=1000):
        if pattern.endswith(":r") or not key.endswith(b":r"):
            found.append(client.memory_usage(key, samples=0) or 0)
        if len(found) == sample:
            break
    return statistics.mean(found)


def snappass(engine: Any, count: int) -> float:
    """The same growth for a secret as SnapPass stores it."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        start_server(engine, transport="tcp", dir=Path(name), appendfsync="everysec") as server,
        redis.Redis.from_url(server.url) as client,
    ):
        client.ping()
        before = used(server)[0]
        for number in range(count):
            secret = Fernet(Fernet.generate_key()).encrypt(content().encode())
            client.setex(f"snappass{number:032x}", EXPIRES_IN, secret)
        return (used(server)[0] - before) / count


def lines(count: int, engines: Sequence[str] = ENGINES) -> list[str]:
    """The figures of each make of server, as a table."""
    found = {engine: measure(engine, count) for engine in engines}
    others = {engine: snappass(engine, count) for engine in engines}
    head = "".join(f"{engine:>10}" for engine in engines)
    title = f"bytes for each secret of {SECRET_BYTES} bytes, {count} of them"
    rows = [
        ("unread: growth of the store", "unread"),
        ("  its record (MEMORY USAGE)", "record"),
        ("  its receipt (MEMORY USAGE)", "receipt"),
        ("opened: growth of the store", "ended"),
        ("  its receipt (MEMORY USAGE)", "opened"),
        ("opened: growth of the ledger", "ledger"),
        ("  its entry (MEMORY USAGE)", "entry"),
        ("append-only file: create", "aof_create"),
        ("append-only file: claim and done", "aof_open"),
        ("append-only file: the ledger", "aof_ledger"),
        ("network to and from the store: create", "net_create"),
        ("network to and from the store: claim and done", "net_open"),
        ("network to and from the ledger: claim and done", "net_ledger"),
    ]
    made = [f"{title:52}{head}"]
    for label, name in rows:
        made.append(f"{label:52}" + "".join(f"{getattr(found[engine], name):10.0f}" for engine in engines))
    made.append(
        f"{'SnapPass, unread: growth of the store':52}" + "".join(f"{others[e]:10.0f}" for e in engines)
    )
    return made
