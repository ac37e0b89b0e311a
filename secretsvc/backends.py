"""Store and ledger as the settings name them: for the web processes, and for the operator's commands."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec

from . import atrest, embedded
from .connections import open_node
from .errors import LedgerUnavailable, Misconfigured, StoreUnavailable
from .ledger import RedisLedger
from .node import Node
from .settings import Settings, variable
from .shard import Shard
from .store import RedisStore

# What a server must be set to.  A ledger with its log cut short must not start as if nothing were missing.
STORE = {
    "appendonly": ("yes",),
    "appendfsync": ("always", "everysec"),
    "maxmemory-policy": ("noeviction",),
}
LEDGER = {
    **STORE,
    "appendfsync": ("always",),
    "aof-load-truncated": ("no",),
    "no-appendfsync-on-rewrite": ("no",),
}
MAX_CLOCK_DIFFERENCE = 5  # seconds
HOME = Path(__file__).resolve().parent.parent
log = logging.getLogger(__name__)


def pair(conf: Settings) -> tuple[RedisStore, RedisLedger]:
    """Store and ledger, neither asked nor checked yet."""
    sockets = embedded.urls(Path(conf.data_dir))
    connections = conf.threads + 2
    store = RedisStore(
        open_node(conf.redis_url or sockets.store, connections=connections, unavailable=StoreUnavailable),
        retention=conf.receipt_retention,
        replicas=conf.wait_replicas,
    )

    def shard(number: int, url: str) -> Shard:
        return Shard(
            lambda prove: open_node(url, connections=connections, unavailable=LedgerUnavailable, prove=prove),
            name=f"Node {number} of the ledger" if len(urls) > 1 else "The ledger",
            marks=store,
        )

    urls = conf.ledgers or (sockets.ledger,)
    shards = [shard(number, url) for number, url in enumerate(urls, 1)]
    return store, RedisLedger(shards, store, lambda each: _check_ledger(conf, store, shards, each))


def connect(conf: Settings) -> tuple[RedisStore, RedisLedger]:
    """Store and ledger, checked: a server that could forget or revive secrets is refused.

    Raises:
        Misconfigured: naming the setting.
        Unavailable: the store, or all of the ledger, does not answer.
    """
    store, ledger = pair(conf)
    with contextlib.ExitStack() as refused:
        refused.callback(ledger.close)
        refused.callback(store.node.close)
        for server in store.node.each_server():
            try:
                with _overridable(conf):
                    server.check_settings("store", variable("redis_url"), STORE)
            except StoreUnavailable:
                if not server.replica:
                    raise
                log.warning("a replica of the store does not answer, so its settings were not checked")
        ledger.start()
        refused.pop_all()
    return store, ledger


def _check_ledger(conf: Settings, store: RedisStore, shards: list[Shard], shard: Shard) -> None:
    """Refuse a node of the ledger that could forget, that is the store, or whose clock is off."""
    with _overridable(conf):
        shard.node.check_settings("ledger", variable("ledger_urls"), LEDGER)
        replication = shard.node.info("replication")
        if replication["role"] != "master" or replication["connected_slaves"] != "0":
            raise Misconfigured(
                f"{variable('ledger_urls')}: the ledger has or is a replica. One that takes over has forgotten "
                "what it was told last, and would decide it again."
            )
    _refuse_one_for_both(store, shards, shard)
    if abs(store.node.time() - shard.node.time()) > MAX_CLOCK_DIFFERENCE:
        raise Misconfigured(
            f"{variable('ledger_urls')}: the clocks of ledger and store differ by more than "
            f"{MAX_CLOCK_DIFFERENCE} seconds. Set them by NTP."
        )


@contextlib.contextmanager
def _overridable(conf: Settings) -> Iterator[None]:
    """A server's own settings are refused, or where the operator accepts them, complained of."""
    try:
        yield
    except Misconfigured as error:
        if not conf.accept_unsafe_servers:
            override = f"{variable('accept_unsafe_servers')}=true"
            raise Misconfigured(f"{error.detail} (To run on it nevertheless: {override}.)") from None
        log.warning("accepted by %s: %s", variable("accept_unsafe_servers"), error.detail)


def _refuse_one_for_both(store: RedisStore, shards: list[Shard], shard: Shard) -> None:
    """The ledger must outlive what happens to the store, and one node must not answer for two."""
    mine = _run_id(shard.node)
    for server in store.node.each_server():
        with contextlib.suppress(StoreUnavailable):
            if _run_id(server) == mine:
                raise Misconfigured(
                    f"{variable('ledger_urls')}: the ledger must not be the same server as the store."
                )
    for other in shards:
        with contextlib.suppress(LedgerUnavailable):
            if other is not shard and _run_id(other.node) == mine:
                raise Misconfigured(f"{variable('ledger_urls')}: two of its addresses are one server.")


def _run_id(node: Node) -> str:
    return node.info("server")["run_id"]


# --- for the operator's commands -----------------------------------------------------------------------


def located(conf: Settings) -> Settings:
    """The settings with paths as the service reads them: relative ones count from beside ``app.py``."""
    if not (HOME / "app.py").exists():
        return conf
    keyring = str(HOME / conf.keyring_file) if conf.keyring_file else ""
    return msgspec.structs.replace(conf, data_dir=str(HOME / conf.data_dir), keyring_file=keyring)


@contextlib.contextmanager
def running(conf: Settings) -> Iterator[tuple[RedisStore, RedisLedger]]:
    """Store and ledger that answer; the embedded pair is started for as long as this takes if it does not run.

    The ledger's past is not checked: this also has to work where the service refuses to start.

    Raises:
        Misconfigured: the embedded pair cannot be started.
        Unavailable: from whatever is done with them.
    """
    store, ledger = pair(conf)
    with contextlib.ExitStack() as stack:
        stack.callback(ledger.close)
        stack.callback(store.node.close)
        if conf.embedded and not store.node.is_up():
            # Before there are data: the service does not start on a store whose keyring it never saw.
            atrest.first_key(conf.keyring_path, Path(conf.data_dir))
            stack.enter_context(embedded.Servers(Path(conf.data_dir), maxmemory_bytes=conf.embedded_memory))
        yield store, ledger


def new_epoch(store: RedisStore, ledger: RedisLedger, *, lost: bool) -> int:
    """See ``RedisLedger.new_epoch``; on servers that are not each other.

    Raises:
        Misconfigured: naming what is wrong; nothing was changed.
        Unavailable: the store or a node does not answer; it may be repeated.
    """
    for shard in ledger.shards:
        _refuse_one_for_both(store, list(ledger.shards), shard)
    return ledger.new_epoch(lost=lost)
