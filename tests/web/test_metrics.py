"""What /metrics says: right over several workers, nothing that a caller sent, and also when all is down."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

import secretsvc
from secretsvc.envelope import b64
from secretsvc.tickets import backlog
from secretsvc.tickets.model import Reference
from secretsvc.web import metrics, workers
from tests.faults.clusters import cluster
from tests.harness import (
    ROOT,
    Backends,
    Client,
    InProcess,
    Secret,
    Web,
    backends,
    new_idempotency_key,
    wait_until,
    web,
)
from tests.web.common import BROWSER, FORM, Asked, expire, staff, store, with_proof, wrong_password

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
DASHBOARD = ROOT / "docs" / "deploy" / "grafana.json"
ALERTS = ROOT / "docs" / "deploy" / "alerts.yaml"
PAGE = ROOT / "docs" / "metrics.md"


def read(client: Client | InProcess) -> Samples:
    """Every sample there is."""
    answer = client.get("/metrics")
    assert answer.status == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """One of them, by its full name without the prefix."""
    return samples[f"secretsvc_{name}", frozenset(labels.items())]


def total(samples: Samples, name: str, **labels: str) -> float:
    """All of a name that have these labels, added up."""
    wanted = set(labels.items())
    return sum(found for (each, has), found in samples.items() if each == f"secretsvc_{name}" and wanted <= has)


class Grown:
    """How much counts have grown since."""

    def __init__(self, client: Client | InProcess) -> None:
        self.client = client
        self.before = read(client)

    def by(self, name: str, **labels: str) -> float:
        return total(read(self.client), name, **labels) - total(self.before, name, **labels)


def a_bit_of_everything(here: InProcess, backs: Backends) -> list[str]:
    """A small load that touches every count there is; the words in it that no label may hold."""
    agent = staff(here)
    Secret.create(here).claim(here)
    guarded = store(here, with_proof())
    wrong_password(here, guarded, 5)
    assert here.send("POST", "/", b"secret=kanarie", FORM).status == 201
    asked = Asked.create(here, agent)
    assert asked.answer(here).status == 201
    assert Secret.create(here).call(here, "revoke", sender=True).status == 200
    late = Secret.create(here)
    expire(backs, late)
    assert late.claim(here).status == 410
    word = "kanarie" + os.urandom(6).hex()
    here.send("GET", f"/{word}?{word}")
    here.send(word.upper(), f"/{word}")
    here.send("GET", f"/s%23{word}")
    here.send("GET", "/", headers={"User-Agent": word, "X-Request-Id": word, "Accept-Language": word})
    here.get(f"/api/v1/secrets/{word}", Authorization=f"Bearer {word}")
    return [word, word.upper(), guarded.id, guarded.token, asked.id, late.id]


def test_what_becomes_of_secrets_is_counted_by_kind(here: InProcess) -> None:
    grown, agent = Grown(here), staff(here)
    for _ in range(3):
        secret = Secret.create(here)
        key = new_idempotency_key()
        assert secret.claim(here, key).status == 200
        assert secret.claim(here, key).status == 200
        assert secret.claim(here).status == 410
        assert here.post("/api/v1/secrets", secret.body).status == 201  # the very same: nothing new
    assert secret.call(here, "report").status == 200
    assert here.send("POST", "/", b"secret=a&password=b", FORM).status == 201
    assert Secret.create(here).call(here, "revoke", sender=True).status == 200
    asked = Asked.create(here, agent)
    assert asked.answer(here).status == 201
    assert here.post(f"/api/v1/secrets/{asked.id}/claim", {}, asked.holder | agent).status == 200
    assert grown.by("created_total", kind="secret", sealed_by="client", password="no") == 4
    assert grown.by("created_total", kind="secret", sealed_by="server", password="yes") == 1
    assert grown.by("created_total", kind="request") == 1
    assert grown.by("created_total") == 6
    assert grown.by("ended_total", kind="secret", end="opened") == 3
    assert grown.by("ended_total", kind="secret", end="revoked") == 1
    assert grown.by("ended_total", kind="request", end="opened") == 1
    assert grown.by("ended_total") == 5
    assert grown.by("repeats_total") == 3
    assert grown.by("answered_total") == 1
    assert grown.by("reported_total") == 1
    assert grown.by("time_to_open_seconds_count", kind="secret") == 3
    assert grown.by("time_to_open_seconds_bucket", kind="secret", le="10.0") == 3
    assert grown.by("refusals_total", type="opened") == 3


def test_passwords_and_their_slots_are_counted(backs: Backends) -> None:
    here = InProcess(backs.app(password_limit="8", argon2_slots="3"))
    grown = Grown(here)
    guarded = store(here, with_proof())
    wrong_password(here, guarded, 5)
    assert guarded.claim(here).status == 423
    assert with_limit_reached(here)
    assert grown.by("refusals_total", type="wrong-password") == 5
    assert grown.by("locked_total") == 1
    assert grown.by("refusals_total", type="locked") == 1
    assert grown.by("argon2_wait_seconds_count") >= 6
    assert value(read(here), "argon2_slots") == 3
    assert value(read(here), "argon2_slots_used") == 0
    assert grown.by("rate_limited_total", limit="password") == 1
    assert grown.by("rate_limited_total") == grown.by("refusals_total", type="rate-limited") == 1
    slots = here.service.vault.slots
    with slots.take(), slots.take(), slots.take():
        assert value(read(here), "argon2_slots_used") == 3
        slots.patience = 0.0
        assert here.post("/api/v1/secrets", with_proof().body).status in (429, 503)
    assert value(read(here), "argon2_slots_used") == 0


def with_limit_reached(here: InProcess) -> bool:
    """Create with passwords until that is refused."""
    return any(here.post("/api/v1/secrets", with_proof().body).status == 429 for _ in range(10))


def test_a_slot_that_is_refused_is_counted(backs: Backends) -> None:
    here = InProcess(backs.app(argon2_slots="1"))
    grown, slots = Grown(here), here.service.vault.slots
    slots.patience = 0.0
    with slots.take():
        assert here.post("/api/v1/secrets", with_proof().body).json["type"] == "busy"
    assert grown.by("argon2_refused_total") == grown.by("refusals_total", type="busy") == 1


def test_calls_to_store_and_ledger_are_timed_and_their_failures_counted(tmp_path: Path) -> None:
    with backends(tmp_path) as backs:
        here = InProcess(backs.app())
        grown = Grown(here)
        secret = Secret.create(here)
        assert secret.claim(here).status == 200
        assert grown.by("server_call_seconds_count", server="store") >= 3
        assert grown.by("server_call_seconds_count", server="ledger") >= 1
        assert grown.by("server_failures_total") == 0
        backs.ledger.kill()
        assert Secret.create(here).claim(here).status == 503
        assert grown.by("server_failures_total", server="ledger") >= 1
        assert grown.by("server_failures_total", server="store") == 0
        assert grown.by("refusals_total", type="ledger-unavailable") == 1
        found = read(here)
        assert (value(found, "servers_up", server="store"), value(found, "servers_up", server="ledger")) == (
            1,
            0,
        )
        backs.store.kill()
        found = read(here)
        assert (value(found, "servers_up", server="store"), value(found, "servers_up", server="ledger")) == (
            0,
            0,
        )
        assert value(found, "servers", server="ledger") == 1
        backs.store.start()
        backs.ledger.start()
        wait_until(lambda: value(read(here), "servers_up", server="ledger") == 1)


def test_the_memory_of_a_cluster_is_that_of_all_its_primaries(backs: Backends, tmp_path: Path) -> None:
    with cluster(tmp_path) as store:
        for member in store.primaries:
            with member.server.client() as one:
                one.config_set("maxmemory", "64mb")
        here = InProcess(backs.app(redis_url=store.url))
        found = read(here)
        assert len(store.primaries) == 3
        assert value(found, "server_memory_limit_bytes", server="store") == 3 * 64 * 2**20
        assert value(found, "server_memory_bytes", server="store") > 3 * 2**20
        assert here.get("/readyz").text == "store: ok\nledger: ok\n"


# --- labels --------------------------------------------------------------------------------------------


def test_no_label_holds_what_a_caller_sent(here: InProcess, backs: Backends) -> None:
    words = a_bit_of_everything(here, backs)
    text = here.get("/metrics").text
    assert [word for word in words if word in text] == []
    unmatched = {"method": "-", "route": "-", "status": "4xx"}
    assert value(read(here), "request_seconds_count", **unmatched) >= 2
    rules = {rule.rule for rule in here.app.url_map.iter_rules()} | {"-", "/static/<path:filename>"}
    for (name, labels), _ in read(here).items():
        if name == "secretsvc_request_seconds_count":
            assert dict(labels)["route"] in rules
            assert dict(labels)["method"] in ("-", "GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE")


def test_a_file_is_counted_without_the_hash_in_its_path(here: InProcess) -> None:
    icon = re.search(r'href="(/static/\w+/icon\.svg)"', here.get("/", **BROWSER).text)
    assert icon is not None
    grown = Grown(here)
    assert here.get(icon[1]).status == 200
    assert grown.by("request_seconds_count", route="/static/<path:filename>", status="2xx") == 1


# --- who may read --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "address", "head", "status"),
    [
        ("inside", "127.0.0.1", {}, 200),
        ("inside", "10.1.2.3", {}, 200),
        ("inside", "::ffff:192.168.1.1", {}, 200),
        ("inside", "fd00::1", {}, 200),
        ("inside", "8.8.8.8", {}, 404),
        ("inside", "2606:4700::1111", {}, 404),
        ("inside", "127.0.0.1", {"X-Forwarded-For": "10.0.0.1"}, 404),
        ("inside", "127.0.0.1", {"Forwarded": "for=10.0.0.1"}, 404),
        ("inside", "127.0.0.1", {"Via": "1.1 proxy"}, 404),
        ("inside", "127.0.0.1", {"X-Real-IP": "8.8.8.8"}, 404),
        ("inside", "127.0.0.1", {"Host": "secrets.example.org"}, 404),
        ("inside", "127.0.0.1", {"Host": "app:8000"}, 200),
        ("inside", "198.18.0.1", {}, 404),
        ("inside", "2001:0:4136:e378:8000:63bf:3fff:fdd2", {}, 404),
        ("anyone", "8.8.8.8", {"X-Forwarded-For": "8.8.8.8"}, 200),
        ("nobody", "127.0.0.1", {}, 404),
    ],
)
@pytest.mark.parametrize("proxies", ["0", "1"])
def test_metrics_are_for_the_inside(
    backs: Backends, setting: str, address: str, head: dict[str, str], status: int, proxies: str
) -> None:
    public = {"public_url": "https://secrets.example.org"}
    app = backs.app(metrics=setting, trusted_proxies=proxies, **public)
    answer = app.test_client().get("/metrics", headers=head, environ_base={"REMOTE_ADDR": address})
    assert answer.status_code == status
    unknown = app.test_client().get("/nothing-here", headers=head, environ_base={"REMOTE_ADDR": address})
    if status == 404:
        assert (answer.data, answer.headers["Content-Type"]) == (unknown.data, unknown.headers["Content-Type"])
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers


def test_reading_metrics_is_not_limited(backs: Backends) -> None:
    here = InProcess(backs.app(create_limit="1", password_limit="1", sign_in_limit="1"))
    assert {here.get("/metrics").status for _ in range(20)} == {200}


# --- several workers -----------------------------------------------------------------------------------


@contextmanager
def fleet(folder: Path, workers: int, **more: str) -> Iterator[tuple[Backends, Web]]:
    with backends(folder) as backs, web(backs, folder, workers=workers, **more) as running:
        wait_until(lambda: value(read(running.client()), "workers") == workers)
        yield backs, running


def children(running: Web) -> set[int]:
    found = subprocess.run(
        ["pgrep", "-P", str(running.process.pid)], capture_output=True, text=True, check=False
    )
    return {int(pid) for pid in found.stdout.split()}


def test_several_workers_add_up_and_one_that_is_killed_takes_nothing_back(tmp_path: Path) -> None:
    """Whichever worker is asked; and the one that takes a dead one's place goes on counting."""
    with fleet(tmp_path, 3) as (_, running):
        client = running.client()
        for _ in range(40):
            assert Secret.create(client).claim(client).status == 200

        def counted() -> tuple[float, float, float]:
            found = read(client)
            return (
                total(found, "created_total"),
                total(found, "ended_total", end="opened"),
                total(found, "request_seconds_count", method="POST", status="2xx"),
            )

        wait_until(lambda: counted() == (40, 40, 80))
        assert all(counted() == (40, 40, 80) for _ in range(10))
        assert value(read(client), "argon2_slots") == 6
        assert value(read(client), "worker_starts_total") == 3
        for dead in range(1, 4):
            victim = min(children(running))
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda dead=dead: value(read(client), "worker_starts_total") == 3 + dead)
            wait_until(lambda victim=victim: victim not in children(running))
            assert value(read(client), "workers") == 3
            assert value(read(client), "argon2_slots") == 6
            assert counted() == (40, 40, 80)
        before = value(read(client), "created_total", kind="secret", sealed_by="client", password="no")
        for _ in range(10):
            Secret.create(client)
        wait_until(lambda: total(read(client), "created_total") == before + 10)


def test_counts_are_there_for_others_without_a_worker_being_asked(tmp_path: Path) -> None:
    """Read from the files themselves: asking a worker would have it count what it has noted."""
    with fleet(tmp_path, 2) as (_, running):
        client = running.client()
        for _ in range(20):
            Secret.create(client)
        [folder] = [found for found in folders() if holds_open(running.process.pid, found)]

        def created() -> float:
            collected = MultiProcessCollector(None, str(folder)).collect()
            return sum(
                sample.value
                for metric in collected
                for sample in metric.samples
                if sample.name == "secretsvc_created_total"
            )

        wait_until(lambda: created() == 20)


def test_a_worker_that_died_in_a_computation_leaves_no_slot_taken(tmp_path: Path) -> None:
    with fleet(tmp_path, 1, argon2_memory_kib="262144", argon2_passes="16") as (_, running):
        client = running.client()
        pid = os.spawnl(
            os.P_NOWAIT,
            shutil.which("curl") or "curl",
            *("curl", "-s", "-o", "/dev/null", "-d", "plain&secret=a&password=b", running.url + "/"),
        )
        wait_until(lambda: value(read(client), "argon2_slots_used") == 1)
        os.kill(min(children(running)), signal.SIGKILL)
        os.waitpid(pid, 0)
        wait_until(lambda: value(read(client), "worker_starts_total") == 2)
        assert value(read(client), "argon2_slots_used") == 0


def test_a_reload_keeps_the_counts_and_an_end_leaves_no_files(tmp_path: Path) -> None:
    with fleet(tmp_path, 2) as (_, running):
        client = running.client()
        for _ in range(5):
            Secret.create(client)
        wait_until(lambda: total(read(client), "created_total") == 5)
        old = children(running)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not old & children(running) and len(children(running)) == 2)
        wait_until(lambda: value(read(client), "workers") == 2)
        assert total(read(client), "created_total") == 5
        running.process.send_signal(signal.SIGTTOU)  # one worker less
        wait_until(lambda: len(children(running)) == 1)
        wait_until(lambda: value(read(client), "workers") == 1)
        assert value(read(client), "argon2_slots") == 2
        assert total(read(client), "created_total") == 5
        mine = [found for found in folders() if holds_open(running.process.pid, found)]
        assert len(mine) == 1
        assert {path.stat().st_mode & 0o077 for path in mine} == {0}
        assert len(list(mine[0].glob("*.db"))) <= 4 * 4  # of two workers, and of two while they were reloaded
    assert not mine[0].exists()


def folders() -> set[Path]:
    """Those of all services on this machine."""
    places = (Path("/dev/shm"), Path(tempfile.gettempdir()))
    return {found for place in places for found in place.glob(f"{workers.PREFIX}*")}


def holds_open(pid: int, folder: Path) -> bool:
    """Whether this process has the folder's lock."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return any(str(link.readlink()) == str(folder / workers.LOCK) for link in links)


def test_the_folder_of_a_killed_service_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    living = workers.make_folder(str(tmp_path))
    script = f"from secretsvc.web import workers; print(workers.make_folder({str(tmp_path)!r}))"
    left = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    left_behind = Path(left.stdout.strip())
    assert left_behind.is_dir()
    other = tmp_path / f"{workers.PREFIX}not-ours"
    other.mkdir()
    workers.make_folder(str(tmp_path))
    assert not left_behind.exists()
    assert living.is_dir()
    assert other.is_dir()


def test_a_note_that_cannot_be_counted_stops_no_other(
    here: InProcess, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("canary")

    grown = Grown(here)
    for _ in range(3):
        metrics._note((fail, ()))
    assert here.get("/healthz").status == 200
    assert grown.by("request_seconds_count", route="/healthz") == 1
    assert "was not counted" in caplog.text


def test_counting_costs_a_request_little(say: Callable[[str], None]) -> None:
    """What a claim leaves to be counted, and counting it."""
    tally, calls = metrics.Tally(), metrics.Calls("store")
    receipt = type("Receipt", (), {"kind": "secret", "sealed_by": "client", "password": False, "created_at": 1})
    verdict = type("Verdict", (), {"word": "won", "state": "opened", "ended_at": 9})
    metrics.count()
    began = time.process_time()
    for _ in range(5_000):
        for _ in range(4):
            calls(0.001)
        tally.ended(receipt, verdict)  # type: ignore[arg-type]
        metrics.request("POST", "/api/v1/secrets/<id>/claim", 200, 0.002)
    noted = time.process_time() - began
    metrics.count()
    spent = time.process_time() - began
    say(f"a claim: {noted / 5_000 * 1e6:.1f} µs to note, {spent / 5_000 * 1e6:.1f} µs with counting it")
    assert spent / 5_000 < 200e-6


# --- the notifier, seen from here ----------------------------------------------------------------------


def test_what_waits_for_a_notifier_that_is_not_there_is_seen(here: InProcess) -> None:
    agent = staff(here)
    found = read(here)
    assert value(found, "notifier_at_work") == 0
    assert value(found, "notifier_waiting", what="look") == 0
    Secret.create(here)
    assert here.post("/api/v1/secrets", Secret.make(label="local:1").body, agent).status == 201
    assert here.post("/api/v1/secrets", Secret.make(label="local:2").body, agent).status == 201
    tickets = here.app.extensions["secretsvc.tickets"].tickets.store
    seen = backlog.look(tickets)
    assert (seen.at_work, seen.waiting) == (False, {"look": 2, "told": 0})
    assert 0 <= seen.oldest["look"] < 30
    tickets.node.command("ZADD", "ss:t:due", repr(time.time() - 1000), "local:3")
    tickets.node.command("ZREM", "ss:t:due", "local:1", "local:2")
    assert 995 < backlog.look(tickets).oldest["look"] < 1030
    tickets.note_open(Reference("local", "3"), time.time() - 500)
    tickets.lease("somebody", 15)
    tickets.count_delivery("rt", "note", "done")
    tickets.count_delivery("rt", "note", "done")
    tickets.count_delivery("rt", "hook", "not theirs")
    forget(here)
    found = read(here)
    assert value(found, "notifier_at_work") == 1
    assert value(found, "notifier_waiting", what="told") == 1
    assert 495 < value(found, "notifier_oldest_seconds", what="told") < 530
    assert value(found, "deliveries_total", desk="rt", place="note", outcome="done") == 2
    assert value(found, "deliveries_total", desk="rt", place="hook", outcome="not theirs") == 1
    tickets.note_open(Reference("local", "3"), None)
    assert backlog.look(tickets).waiting == {"look": 1, "told": 0}
    lasts = {key: tickets.node.command("TTL", key) for key in ("ss:t:told",)}
    assert min(lasts.values()) > 0


def forget(here: InProcess) -> None:
    """Have the servers asked anew."""
    here.app.extensions["secretsvc.sight"]._known_at = float("-inf")


def test_a_look_that_is_asked_for_again_is_not_taken_for_done(here: InProcess) -> None:
    """The notifier takes a ticket from the list only if nobody has asked for it meanwhile."""
    tickets = here.app.extensions["secretsvc.tickets"].tickets.store
    ticket = Reference("local", "7")
    tickets.look_at_once(ticket)
    [(found, was)] = tickets.due(time.time())
    assert (found, was < 0) == (ticket, True)
    tickets.look_at_once(ticket)
    tickets.look_next(ticket, was, None)
    [(_, now)] = tickets.due(time.time())
    assert now > was
    tickets.look_next(ticket, now, None)
    assert tickets.due(time.time()) == []


# --- the page, the dashboard and the alerts ------------------------------------------------------------


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all series of a service after a small load."""
    with backends(tmp_path_factory.mktemp("names")) as backs:
        for server in (backs.store, backs.ledger):
            server.client().config_set("maxmemory", "64mb")
        here = InProcess(backs.app())
        a_bit_of_everything(here, backs)
        here.app.extensions["secretsvc.tickets"].tickets.store.count_delivery("rt", "note", "done")
        return {name for name, _ in read(here)}


def used_in(expression: str) -> set[str]:
    return set(re.findall(r"\bsecretsvc_[a-z0-9_]+", expression))


def test_the_dashboard_draws_only_what_there_is(names: set[str]) -> None:
    board = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len(panels) >= 12
    assert board["schemaVersion"] >= 38
    assert board["templating"]["list"][0]["type"] == "datasource"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    drawn: set[str] = set()
    for panel in panels:
        assert panel["type"] in ("timeseries", "stat", "heatmap", "barchart", "table")
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert panel["targets"]
        for target in panel["targets"]:
            used = used_in(target["expr"])
            assert used, target["expr"]
            assert used <= names, used - names
            drawn |= used
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in drawn}
    unseen = {re.sub(r"_(bucket|count|sum)$", "", name) for name in names} - families
    assert unseen <= {"secretsvc_servers"}, unseen


def test_the_alerts_ask_only_for_what_there_is(names: set[str]) -> None:
    text = ALERTS.read_text()
    assert len(re.findall(r"^ *- alert: ", text, re.M)) >= 5
    assert used_in(text)
    assert used_in(text) <= names


def test_the_page_lists_every_metric(names: set[str]) -> None:
    listed = set(re.findall(r"^\| `(secretsvc_[a-z0-9_]+)", PAGE.read_text(), re.M))
    assert listed == {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}
    for alert in re.findall(r"^ *- alert: (\w+)", ALERTS.read_text(), re.M):
        assert alert in PAGE.read_text()


def test_the_version_is_said_once() -> None:
    assert f'\nversion = "{secretsvc.__version__}"\n' in (ROOT / "pyproject.toml").read_text()


def test_metrics_name_no_secret(here: InProcess, backs: Backends) -> None:
    """A closer look at one: whatever it is made of, in no form."""
    secret = store(here, with_proof())
    wrong_password(here, secret)
    text = here.get("/metrics").text
    for word in (secret.id, secret.token, b64(secret.key), secret.receipt_token, secret.proof):
        assert word is not None
        assert word not in text
