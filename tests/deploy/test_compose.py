"""compose.yaml: what it promises, read from it; and all of it, run without containers."""

from __future__ import annotations

import http.client
import re
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from secretsvc import settings
from secretsvc.web import gunicorn_conf
from tests.deploy.composed import Composed, composed, read
from tests.harness import ROOT, Answer, Client, Secret, wait_until
from tests.integration.test_acl import allowed


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    folder = tmp_path_factory.mktemp("composed")
    for each in [folder, *folder.parents][:3]:  # pytest's own; another user has to come through
        each.chmod(each.stat().st_mode | 0o011)
    with composed(folder) as found:
        yield found


class Tls(Client):
    """Through the proxy, trusting its certificate."""

    def __init__(self, running: Composed) -> None:
        super().__init__(f"http://localhost:{running.ports['proxy']}")
        self.trust = ssl.create_default_context(cafile=str(running.ca))

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=10, context=self.trust)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


def test_a_secret_goes_through_all_of_it_once(running: Composed) -> None:
    client = Tls(running)
    secret = Secret.create(client, b"through compose")
    claimed = secret.claim(client)
    assert secret.unseal(claimed) == b"through compose"
    assert (secret.claim(client).status, secret.claim(running.client("app-2")).status) == (410, 410)
    assert running.client("app-1").get("/readyz").text == "store: ok\nledger: ok\n"


def test_only_the_proxy_is_asked_from_outside_and_tells_nothing_of_the_inside(running: Composed) -> None:
    client = Tls(running)
    assert client.get("/metrics").status == client.get("/readyz").status == 404
    inside = running.client("app-1")
    wait_until(lambda: "secretsvc_notifier_at_work 1.0" in inside.get("/metrics").text)
    plain = Client(f"http://localhost:{running.plain_port}")
    assert plain.get("/s").headers["location"] == "https://localhost/s"
    assert plain.post("/").status == 403


def test_one_web_server_after_the_other_may_go(running: Composed) -> None:
    client = Tls(running)
    for name in ("app-1", "app-2"):
        assert running.stop(name) == 0
        for _ in range(6):
            assert Secret.create(client).claim(client).status == 200
        running.start(name)


def test_a_stranger_in_the_network_of_the_servers_may_do_nothing_but_ask_whether_they_are_there(
    running: Composed,
) -> None:
    from tests.servers import client

    for name in ("store", "ledger-1", "ledger-2", "ledger-3"):
        with client(f"redis://127.0.0.1:{running.ports[name]}") as stranger:
            assert stranger.ping()
            for command in ("GET a", "KEYS *", "FLUSHALL", "CONFIG GET *", "ACL LIST", "INFO"):
                with pytest.raises(Exception, match="no permissions"):
                    stranger.execute_command(*command.split())


def test_what_is_made_for_it_is_for_nobody_else(running: Composed) -> None:
    made = running.folder / "secrets"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    acl = (made / "store.acl").read_text()
    password = re.search(r"secretsvc:([\w-]{43})@store", (made / "servers.env").read_text())
    assert password
    assert password[1] not in acl
    rights = [word for word in allowed()[2:] if word not in ("resetchannels", "-@all")]
    assert acl.splitlines()[1].split()[-len(rights) :] == rights
    assert acl.splitlines()[0] == "user default on nopass resetchannels -@all +ping"


def test_every_container_is_shut_in() -> None:
    file = read()
    for name, service in file["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert service["mem_limit"], name
        assert service["logging"]["options"]["max-size"], name
        assert ("ports" in service) == (name == "proxy")
        assert "privileged" not in service
        assert (service.get("user") or "image") in ("image", "999:999", "101:101")
    assert file["networks"]["data"]["internal"]
    assert file["networks"]["web"]["internal"]
    for name in ("store", "ledger-1", "ledger-2", "ledger-3"):
        assert file["services"][name]["networks"] == ["data"]
    assert "data" not in file["services"]["proxy"]["networks"]
    volumes = [each for name in file["services"] for each in file["services"][name].get("volumes", [])]
    assert len(volumes) == len(set(volumes) - {"./docs/deploy/redis-ledger.conf:/etc/redis/ledger.conf:ro"}) + 3


def test_a_stop_leaves_time_for_the_requests_in_progress() -> None:
    for name in ("app-1", "app-2"):
        grace = int(read()["services"][name]["stop_grace_period"].removesuffix("s"))
        assert grace > gunicorn_conf.graceful_timeout
    unit = (ROOT / "docs" / "deploy" / "secretsvc.service").read_text()
    patience = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.M)
    assert patience
    assert int(patience[1]) > gunicorn_conf.graceful_timeout


@pytest.mark.parametrize(
    "path", ["compose.yaml", "docs/deploy/secretsvc.service", "docs/deploy/secretsvc-notifier.service",
             "docs/deploy/prepare.sh", "docs/deployment.md", "Dockerfile"],
)  # fmt: skip
def test_only_settings_that_exist_are_named(path: str) -> None:
    named = set(re.findall(r"\bSECRETSVC_[A-Z0-9_]+", (ROOT / path).read_text()))
    known = {settings.variable(name) for name in settings.Settings.__struct_fields__}
    assert named - {"SECRETSVC_IMAGE"} <= known


def test_every_file_that_is_mounted_is_there() -> None:
    for service in read()["services"].values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).is_file(), source
        for name in service.get("secrets", []):
            assert name in read()["secrets"]
    assert Path(read()["secrets"]["keyring"]["file"]).name == "keyring"
