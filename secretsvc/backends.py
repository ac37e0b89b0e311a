"""Store and ledger as the settings name them: for the web processes, and for the operator's commands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from . import atrest, embedded
from .errors import LedgerUnavailable, Misconfigured, StoreUnavailable
from .ledger import RedisLedger, epoch_number
from .node import Node
from .settings import Settings, variable
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


def pair(conf: Settings) -> tuple[RedisStore, RedisLedger]:
    """Store and ledger, neither asked nor checked yet."""
    sockets = embedded.urls(Path(conf.data_dir))
    connections = conf.threads + 2
    store_url, ledger_url = conf.redis_url or sockets.store, conf.ledger_urls or sockets.ledger
    store = RedisStore(
        Node(store_url, connections=connections, unavailable=StoreUnavailable),
        retention=conf.receipt_retention,
    )
    return store, RedisLedger(Node(ledger_url, connections=connections, unavailable=LedgerUnavailable))


def connect(conf: Settings) -> tuple[RedisStore, RedisLedger]:
    """Store and ledger, checked: a server that could forget or revive secrets is refused.

    Raises:
        Misconfigured: naming the setting.
        Unavailable: one of them does not answer.
    """
    store, ledger = pair(conf)
    store.node.check_settings("store", variable("redis_url"), STORE)
    ledger.node.check_settings("ledger", variable("ledger_urls"), LEDGER)
    _refuse_one_for_both(store, ledger)
    if abs(store.node.time() - ledger.node.time()) > MAX_CLOCK_DIFFERENCE:
        raise Misconfigured(
            f"{variable('ledger_urls')}: the clocks of ledger and store differ by more than "
            f"{MAX_CLOCK_DIFFERENCE} seconds. Set them by NTP."
        )
    ledger.start(store.high_water())
    store.raise_high_water(*ledger.seen)
    return store, ledger


def _refuse_one_for_both(store: RedisStore, ledger: RedisLedger) -> None:
    if store.node.info("server")["run_id"] == ledger.node.info("server")["run_id"]:
        raise Misconfigured(f"{variable('ledger_urls')}: the ledger must not be the same server as the store.")


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
        stack.callback(ledger.node.close)
        stack.callback(store.node.close)
        if conf.embedded and not store.node.is_up():
            # Before there are data: the service does not start on a store whose keyring it never saw.
            atrest.first_key(conf.keyring_path, Path(conf.data_dir))
            stack.enter_context(embedded.Servers(Path(conf.data_dir), maxmemory_bytes=conf.embedded_memory))
        yield store, ledger


def new_epoch(store: RedisStore, ledger: RedisLedger) -> int:
    """End everything unread: begin an epoch later than any that ledger or store has seen; its number.

    Store and ledger agree afterwards, whatever became of the ledger before, and processes that run take it up
    with the next thing they ask the ledger.

    Raises:
        Unavailable: one of them does not answer; it may be repeated.
    """
    _refuse_one_for_both(store, ledger)
    known = [epoch for epoch in (ledger.ruling(), *store.high_water()) if epoch]
    number = max((epoch_number(epoch) for epoch in known), default=0) + 1
    epoch = ledger.begin_epoch(number)
    store.raise_high_water(epoch, 0)
    return epoch_number(epoch)
