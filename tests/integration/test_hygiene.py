"""What has ended leaves the disk: every file of the store, its replicas' too, on real servers of both makes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from secretsvc import atrest, embedded
from secretsvc.connections import open_node
from secretsvc.errors import StoreUnavailable
from secretsvc.hygiene import Housekeeping
from tests.faults.clusters import cluster
from tests.faults.proxy import Proxy
from tests.faults.topology import replicated
from tests.harness import (
    ROOT,
    Backends,
    Client,
    InProcess,
    Secret,
    new_idempotency_key,
    settings_variable,
    wait_until,
    web,
)
from tests.harness import backends as fresh_backends
from tests.servers import ENGINES, Engine, Server, client, free_port, start_server
from tests.web.common import Asked, receipt_key, staff, with_proof
from tests.web.common import store as hand_in

Canaries = Mapping[str, bytes]


def canary(server: Server, secret: Secret | Asked) -> bytes:
    """48 bytes out of the middle of its record, as the store has it: random, and nowhere else."""
    with client(server.url) as store:
        record = store.get(receipt_key(secret.id) + ":r")
    assert isinstance(record, bytes)
    return record[60:108]


def on_disk(folder: Path, canaries: Canaries) -> dict[str, set[str]]:
    """Which of them are found in which file of a folder."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if here := {name for name, value in canaries.items() if value in content}:
                found[path.name] = here
    return found


def names_on_disk(folder: Path, canaries: Canaries) -> set[str]:
    while True:
        try:
            return set().union(*on_disk(folder, canaries).values())
        except FileNotFoundError:  # one was deleted while we looked
            continue


def keeping(url: str, every: int = 3600) -> Housekeeping:
    return Housekeeping(open_node(url, connections=2, unavailable=StoreUnavailable), every=every)


def rewrites(server: Server) -> int:
    with client(server.url) as store:
        return int(store.info("persistence")["aof_rewrites"])


def forget_when(server: Server) -> None:
    """As if the interval were over."""
    with client(server.url) as store:
        due = store.keys("ss:rewritten:*")
        assert due
        store.delete(*due)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = getattr(request, "param", "valkey")
    return found


both = pytest.mark.parametrize("engine", ENGINES, indirect=True)


@pytest.fixture
def own(tmp_path: Path, engine: Engine) -> Iterator[Backends]:
    """Servers of one's own, so that their files hold nothing else."""
    with fresh_backends(tmp_path / "servers", engine, transport="tcp") as found:
        yield found


def replica_of(primary: Server, engine: Engine, folder: Path, port: int | None = None) -> Server:
    """A replica in sync.  Redis keeps the RDB file of the full sync; Valkey 9 makes it the first of its own."""
    with client(primary.url) as asked:
        asked.config_set("repl-diskless-sync-delay", 0)
    port = port or urlsplit(primary.url).port
    replica = start_server(engine, transport="tcp", dir=folder, extra=[f"replicaof 127.0.0.1 {port}"])
    try:
        with client(replica.url) as asked:
            wait_until(lambda: asked.info("replication")["master_link_status"] == "up")
    except BaseException:
        replica.stop()
        raise
    wait_until(lambda: quiet(replica))
    assert (folder / "dump.rdb").exists() == (engine == "redis")
    return replica


def quiet(server: Server) -> bool:
    with client(server.url) as store:
        now = store.info("persistence")
    return not (now["aof_rewrite_in_progress"] or now["aof_rewrite_scheduled"] or now["rdb_bgsave_in_progress"])


# --- what is on the disk -------------------------------------------------------------------------------


@both
def test_what_has_ended_is_in_no_file_of_store_and_replica_and_what_is_unread_in_all(
    own: Backends, engine: Engine, tmp_path: Path, say: Callable[[str], None]
) -> None:
    here = InProcess(own.app(retry_window="1"))
    agent, store = staff(here), own.store.client()
    store.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")  # it does not come round to dropping anything
    opened, repeated, revoked, expired, unread = (Secret.create(here) for _ in range(5))
    guarded, asked = hand_in(here, with_proof()), Asked.create(here, agent)
    assert asked.answer(here).status == 201
    every = {
        "opened": opened,
        "repeated": repeated,
        "revoked": revoked,
        "expired": expired,
        "answered": asked,
        "unread": unread,
        "guarded": guarded,
    }
    canaries = {name: canary(own.store, secret) for name, secret in every.items()}
    store.bgsave()  # the primary has an RDB file, too
    wait_until(lambda: quiet(own.store) and (own.store.dir / "dump.rdb").exists())
    with replica_of(own.store, engine, tmp_path / "replica") as replica:
        assert opened.claim(here).status == 200
        assert repeated.claim(here, new_idempotency_key()).status == 200
        assert revoked.call(here, "revoke", sender=True).status == 200
        assert here.post(f"/api/v1/secrets/{asked.id}/claim", {}, {**asked.holder, **agent}).status == 200
        store.pexpire(receipt_key(expired.id) + ":r", 1)
        wait_until(lambda: not store.exists(receipt_key(repeated.id) + ":r"))  # its window is over
        before = {place: on_disk(place, canaries) for place in (own.store.dir, replica.dir)}
        for files in before.values():
            assert set().union(*files.values()) == set(canaries)
        assert {"dump.rdb"} < set(before[own.store.dir])

        assert keeping(own.store.url).look() == 4
        left = {"unread", "guarded"}
        for place in before:
            wait_until(lambda place=place: names_on_disk(place, canaries) == left)
            assert {frozenset(found) for found in on_disk(place, canaries).values()} == {frozenset(left)}
            assert not list(place.rglob("temp-*"))
        counts = [len(files) for files in before.values()]
        say(f"{engine}: ended ciphertext in {counts} files of primary and replica before, [0, 0] after")

    own.store.restart()  # on those files
    assert unread.unseal(unread.claim(here)) == unread.content
    assert guarded.claim(here).status == 200
    assert opened.claim(here).status == 410


@both
def test_thousands_that_expired_in_one_second_are_not_written_out_again(
    own: Backends, engine: Engine, full: bool, say: Callable[[str], None]
) -> None:
    count = 20_000 if full else 3_000
    store = own.store.client()
    store.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    canaries = {str(number): os.urandom(48) for number in range(count)}
    with store.pipeline(transaction=False) as pipe:
        for name, value in canaries.items():
            pipe.set(f"ss:{{{name}}}:r", value, px=50)
        pipe.execute()
    wait_until(lambda: not store.exists("ss:{0}:r"))
    assert store.dbsize() > count - 10
    # On its own the server writes them all out again: that is why they are asked for first.
    store.bgrewriteaof()
    wait_until(lambda: rewrites(own.store) == 1 and quiet(own.store))
    assert len(names_on_disk(own.store.dir, canaries)) > count - 10
    assert keeping(own.store.url).look() == 1
    wait_until(lambda: names_on_disk(own.store.dir, canaries) == set())
    say(f"{engine}: {count} expired records written out by a rewriting alone, 0 after a look")


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_every_server_behind_sentinels_or_in_a_cluster_is_told(
    kind: str, tmp_path: Path, full: bool, say: Callable[[str], None]
) -> None:
    count = 200 if full else 90  # of so many, each of three servers gets some
    folder = tmp_path / "store"
    several = cluster(folder, replicas=True) if kind == "cluster" else replicated(folder, replicas=2)
    atrest.save_keyring(tmp_path / "keyring", {"test": os.urandom(32)})
    with several as found, start_server(dir=tmp_path / "ledger") as ledger:
        members = found.members
        backs = Backends(members[0].server, ledger, tmp_path / "keyring")
        here = InProcess(backs.app(redis_url=found.url))
        secrets = [Secret.create(here) for _ in range(count)]
        canaries = {}
        for number, secret in enumerate(secrets):
            record = here.service.store.node.command("GET", receipt_key(secret.id) + ":r")
            canaries[f"{'read' if number % 2 else 'unread'} {number}"] = record[60:108]
        read = {name: value for name, value in canaries.items() if name.startswith("read")}
        for secret in secrets[1::2]:
            assert secret.claim(here).status == 200
        folders = [member.server.dir for member in members]
        wait_until(lambda: all(names_on_disk(folder, read) for folder in folders))  # a replica's, too
        before = [len(names_on_disk(folder, read)) for folder in folders]
        assert keeping(found.url).look() == 2 * len(members)
        assert keeping(found.url).look() == 0
        wait_until(lambda: not any(names_on_disk(folder, read) for folder in folders))
        everywhere = set().union(*(names_on_disk(folder, canaries) for folder in folders))
        assert everywhere == set(canaries) - set(read)
        for secret in secrets[::2]:
            assert secret.unseal(secret.claim(here)) == secret.content
        say(f"{kind}: ended ciphertext on its {len(members)} servers before {before}, after none")


# --- who, and how often --------------------------------------------------------------------------------


def test_of_many_processes_one_does_it_once_in_an_interval(
    own: Backends, full: bool, say: Callable[[str], None]
) -> None:
    rounds, many = (20, 16) if full else (4, 8)
    for number in range(rounds):
        start = threading.Barrier(many)
        keepers = [keeping(own.store.url, every=100) for _ in range(many)]

        def look(keeper: Housekeeping, start: threading.Barrier = start) -> int:
            start.wait()
            return keeper.look()

        with ThreadPoolExecutor(many) as pool:
            assert sum(pool.map(look, keepers)) == 1
        assert sum(keeper.look() for keeper in keepers) == 0
        assert rewrites(own.store) == number + 1
        store = own.store.client()
        assert [0 < store.ttl(key) <= 100 for key in store.keys("ss:rewritten:*")] == [True]
        forget_when(own.store)
    say(f"{rounds} intervals with {many} at once: {rounds} rewritings")


@both
def test_no_rdb_file_is_made_where_there_is_none(own: Backends) -> None:
    assert keeping(own.store.url).look() == 1
    assert not list(own.store.dir.rglob("*dump*"))
    own.store.client().config_set("save", "3600 1")
    assert keeping(own.store.url).look() == 1  # that is the RDB file: the other is not due
    assert (own.store.dir / "dump.rdb").exists()


# --- when it fails -------------------------------------------------------------------------------------


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        r.getMessage() for r in caplog.records if r.name == "secretsvc.hygiene" and r.levelname == "WARNING"
    ]


def test_a_refused_command_is_a_warning_soon_tried_again_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = re.search(r"`(~ss:\* [^`]*)`", (ROOT / "README.md").read_text())
    assert line
    assert "+bgrewriteaof" in line[1]
    user = f"user app on >pw resetchannels -@all {line[1]} -bgrewriteaof"
    with start_server("redis", transport="tcp", dir=tmp_path, extra=[user, "save 3600 1"]) as server:
        url, store = server.url.replace("://", "://app:pw@"), server.client()
        assert keeping(url).look() == 1  # the RDB file
        assert warnings(caplog) == ["a file was not written anew: what has ended stays in it"]
        assert rewrites(server) == 0
        (claim,) = store.keys("ss:rewritten:*:BGREWRITEAOF")
        assert 0 < store.ttl(claim) <= 60
        store.delete(claim)
        store.execute_command("ACL", "SETUSER", "app", "+bgrewriteaof")  # now it is the line of the README
        caplog.clear()
        assert keeping(url).look() == 1
        assert rewrites(server) == 1
        assert not caplog.records


@both
def test_a_rewriting_that_fails_on_the_way_is_noticed(own: Backends, caplog: pytest.LogCaptureFixture) -> None:
    store, keeper = own.store.client(), keeping(own.store.url)
    store.execute_command("CONFIG", "SET", "rdb-key-save-delay", "1000000")  # a second for each key
    store.mset({f"key{number}": "x" for number in range(30)})
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(keeper.look)
        wait_until(lambda: store.info("persistence")["aof_rewrite_in_progress"])
        (child,) = subprocess.run(
            ["pgrep", "-P", str(own.store.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        os.kill(int(child), signal.SIGKILL)
        assert looking.result(20) == 0
    assert warnings(caplog) == ["a file was not written anew: what has ended stays in it"]
    store.execute_command("CONFIG", "SET", "rdb-key-save-delay", "0")
    forget_when(own.store)
    assert keeper.look() == 1


def test_a_replica_that_hangs_keeps_no_other_from_it(
    own: Backends, engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with replica_of(own.store, engine, tmp_path / "replica") as replica:
        done = rewrites(replica)
        replica.pause()
        try:
            assert keeping(own.store.url).look() == 2
            assert warnings(caplog) == ["a file was not written anew: what has ended stays in it"] * 2
        finally:
            replica.resume()
        wait_until(lambda: keeping(own.store.url).look() == 2)  # its own two, for they are due still
        assert rewrites(replica) == done + 1
        assert rewrites(own.store) == 1


@both
def test_a_replica_that_lags_is_waited_for(own: Backends, engine: Engine, tmp_path: Path) -> None:
    here, store = InProcess(own.app()), own.store.client()
    store.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
    expired, unread = Secret.create(here), Secret.create(here)
    canaries = {"expired": canary(own.store, expired), "unread": canary(own.store, unread)}
    store.pexpire(receipt_key(expired.id) + ":r", 1)
    with (
        Proxy(own.store.url) as between,
        replica_of(own.store, engine, tmp_path / "replica", between.port) as replica,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = replica.client()
        done = rewrites(replica)
        between.partition(b"PSYNC")  # it does not hear that the primary has dropped anything
        looking = pool.submit(keeping(own.store.url).look)
        wait_until(lambda: len(store.keys("ss:rewritten:*")) == 3)  # its turn has come
        calls = asked.info("commandstats")["cmdstat_info"]["calls"]
        wait_until(lambda: asked.info("commandstats")["cmdstat_info"]["calls"] > calls + 100)
        assert rewrites(replica) == done
        between.heal()
        assert looking.result(30) == 4
        wait_until(lambda: names_on_disk(replica.dir, canaries) == {"unread"})


def test_a_store_that_is_gone_is_a_warning(own: Backends, caplog: pytest.LogCaptureFixture) -> None:
    keeper = keeping(own.store.url)
    own.store.kill()
    assert keeper.look() == 0
    assert warnings(caplog)
    own.store.start()
    wait_until(lambda: keeper.look() == 1)


# --- by itself -----------------------------------------------------------------------------------------


def until_gone(running: Client, server: Server, folder: Path) -> None:
    """Open one secret and leave another; the first one's ciphertext goes, and nobody has asked for it."""
    read, unread = Secret.create(running), Secret.create(running)
    canaries = {"read": canary(server, read), "unread": canary(server, unread)}
    assert names_on_disk(folder, canaries) == {"read", "unread"}
    assert read.claim(running).status == 200
    with client(server.url) as store:
        store.delete(*store.keys("ss:rewritten:*"), "none")
    wait_until(lambda: names_on_disk(folder, canaries) == {"unread"}, 30)
    assert unread.unseal(unread.claim(running)) == unread.content


def test_the_web_workers_do_it_by_themselves(tmp_path: Path) -> None:
    with fresh_backends(tmp_path / "servers") as own:
        with web(own, tmp_path, workers=2, rewrite_every="60") as running:
            until_gone(running.client(), own.store, own.store.dir)
            assert running.stop() == 0  # the threads end with the workers
        assert "housekeeping" not in running.log.read_text()
        own.app()
        assert "housekeeping" not in {thread.name for thread in threading.enumerate()}


def test_the_embedded_default_does_it_too(tmp_path: Path) -> None:
    folder, port = tmp_path / "instance", free_port()
    values = {"data_dir": str(folder), "bind": f"127.0.0.1:{port}", "workers": "1", "rewrite_every": "60"}
    own = {k: v for k, v in os.environ.items() if not k.startswith("SECRETSVC_")}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py")],
            env={**own, **{settings_variable(name): value for name, value in values.items()}},
            stdout=log,
            stderr=log,
        )
    try:
        running = Client(f"http://127.0.0.1:{port}")
        wait_until(lambda: running.get("/healthz").status == 200)
        until_gone(running, Server(embedded.urls(folder).store, folder, "", ""), folder)
        assert not list(folder.rglob("*.rdb.*")) + list(folder.rglob("dump.rdb"))
    finally:
        process.terminate()
        assert process.wait(40) == 0


def test_what_a_killed_rewriting_leaves_goes_with_the_next_start_of_the_embedded_store(tmp_path: Path) -> None:
    folder = tmp_path / "instance"
    with ExitStack() as stack:
        stack.enter_context(embedded.Servers(folder))
        with client(embedded.urls(folder).store) as store:
            for number in range(60):
                store.set(f"key{number}", os.urandom(2**20))
            pid = store.info("server")["process_id"]
            store.bgrewriteaof()
            wait_until(lambda: list((folder / "store").glob("temp-*")))
            os.kill(pid, signal.SIGKILL)
    assert list((folder / "store").glob("temp-*"))
    with embedded.Servers(folder):
        assert not list((folder / "store").glob("temp-*"))
        with client(embedded.urls(folder).store) as store:
            assert store.dbsize() == 60
