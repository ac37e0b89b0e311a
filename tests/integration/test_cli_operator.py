"""The command line for the operator: keys, tokens, a new epoch; on the settings of the service."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from secretsvc import atrest, backends, embedded
from secretsvc.cli import main
from secretsvc.epochs import epoch_number
from secretsvc.errors import Misconfigured
from secretsvc.settings import Settings, variable
from tests.commandline import Cli, Terminal
from tests.harness import CHEAP, ROOT, Backends, Secret, web


@pytest.fixture
def alone(tmp_path: Path) -> Cli:
    """The embedded default, which does not run."""
    return Cli(tmp_path, {variable("data_dir"): str(tmp_path / "instance")})


def names(cli: Cli) -> list[str]:
    return [line.split("\t")[0] for line in cli.ok("keys", "list").line.splitlines()]


# --- keys ----------------------------------------------------------------------------------------------


def test_the_first_key_makes_the_keyring(alone: Cli, tmp_path: Path) -> None:
    assert alone.run("keys", "list").code == 2
    alone.ok("keys", "add")
    alone.ok("keys", "add")
    alone.ok("keys", "add", "by-hand")
    path = tmp_path / "instance" / "keyring"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keyring = atrest.load_keyring(path)
    first, second = keyring.names[2], keyring.names[1]
    assert second == f"{first}.2"
    shown = alone.ok("keys", "list")
    assert shown.line.splitlines() == ["by-hand\tseals, opens", f"{second}\topens", f"{first}\topens"]
    for line in path.read_text().splitlines():
        assert line.split(":")[1] not in shown.line + shown.err
    assert os.listdir(path.parent) == ["keyring"]


def test_rotation_old_secrets_open_until_their_key_is_dropped(own: Backends, cli: Cli, tmp_path: Path) -> None:
    with web(own, tmp_path) as running:
        read, unread = Secret.create(running.client()), Secret.create(running.client())
    cli.ok("keys", "add", "new")
    assert names(cli) == ["new", "test"]
    with web(own, tmp_path) as running:
        assert read.claim(running.client()).status == 200
        young = Secret.create(running.client())
    before = own.keyring.read_bytes()
    cli.ok("keys", "drop", "test", "--yes")
    assert names(cli) == ["new"]
    with web(own, tmp_path) as running:
        refused = unread.claim(running.client())
        assert (refused.status, refused.json["type"]) == (503, "key-missing")
        link = unread.link.replace("http://127.0.0.1", running.url)
        ended = cli.run("open", given=link)
        assert ended.code == 7
        assert young.claim(running.client()).status == 200
    own.keyring.write_bytes(before)  # the record is as it was: nothing was used up
    with web(own, tmp_path) as running:
        assert unread.unseal(unread.claim(running.client())) == b"hunter2"


def test_dropping_asks_and_never_takes_the_key_that_seals(own: Backends, cli: Cli) -> None:
    cli.ok("keys", "add", "new")
    before = own.keyring.read_bytes()
    assert cli.run("keys", "drop", "new", "--yes").code == 8
    assert cli.run("keys", "drop", "other", "--yes").code == 4
    assert cli.run("keys", "drop", "test").code == 8  # nobody to ask
    assert cli.run("keys", "drop", "test", given="y\n").code == 8  # a pipe is nobody
    with Terminal(cli, "keys", "drop", "test") as terminal:
        terminal.expect("[y/N] ")
        terminal.type("\n")
        assert terminal.ended()[0] == 8
    assert own.keyring.read_bytes() == before
    with Terminal(cli, "keys", "drop", "test") as terminal:
        terminal.expect("never be opened again, in backups too")
        terminal.expect("[y/N] ")
        terminal.type("y\n")
        assert terminal.ended()[0] == 0
    assert names(cli) == ["new"]


@pytest.mark.parametrize("name", ["test", "a:b", "x" * 17, "a b", "../x", ""])
def test_a_bad_name_changes_nothing(own: Backends, cli: Cli, name: str) -> None:
    before = own.keyring.read_bytes()
    if name:
        assert cli.run("keys", "add", name).code == 2
    else:
        own.keyring.chmod(0o644)
        assert cli.run("keys", "add").code == 2  # and a keyring that others can read is refused, not rewritten
    assert own.keyring.read_bytes() == before


def test_a_missing_keyring_beside_data_is_not_made_anew(alone: Cli, tmp_path: Path) -> None:
    (tmp_path / "instance" / "store").mkdir(parents=True)
    ended = alone.run("keys", "add")
    assert ended.code == 2
    assert "Bring it back" in ended.err
    assert not (tmp_path / "instance" / "keyring").exists()


def test_a_keyring_of_another_user_is_left_alone(
    own: Backends, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in own.environment().items():
        monkeypatch.setenv(name, value)
    before = own.keyring.read_bytes()
    monkeypatch.setattr(os, "geteuid", lambda: own.keyring.stat().st_uid + 1)
    assert main(["keys", "add"]) == 2
    assert "another user" in capsys.readouterr().err
    assert own.keyring.read_bytes() == before


def test_a_linked_keyring_stays_linked(own: Backends, cli: Cli, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(own.keyring)
    cli.settings[variable("keyring_file")] = str(link)
    cli.ok("keys", "add", "new")
    assert link.is_symlink()
    assert atrest.load_keyring(own.keyring).names == ["new", "test"]


def test_two_at_once_lose_no_key(cli: Cli) -> None:
    started = [cli.start("keys", "add", f"key{number}") for number in range(4)]
    for process in started:
        assert process.communicate(timeout=40) is not None
        assert process.returncode == 0
    assert sorted(names(cli)) == ["key0", "key1", "key2", "key3", "test"]


def test_relative_paths_count_from_the_service_not_from_here() -> None:
    found = backends.located(Settings(data_dir="instance", keyring_file="k"))
    assert (found.data_dir, found.keyring_path) == (str(ROOT / "instance"), ROOT / "k")
    assert backends.located(Settings(data_dir="/var/x")).keyring_path == Path("/var/x/keyring")


# --- tokens --------------------------------------------------------------------------------------------


def test_a_token_is_seen_once_and_works_until_revoked(own: Backends, cli: Cli, tmp_path: Path) -> None:
    added = cli.ok(
        "tokens", "add", "desk", "--role", "agent", "--organisation", "acme", "--organisation", "B & C"
    )
    token = added.line
    assert token.startswith("sst_")
    with web(own, tmp_path, create="staff") as running:
        person = Cli(tmp_path, {variable("server"): running.url, variable("api_key_file"): str(tmp_path / "t")})
        (tmp_path / "t").write_text(token)
        assert person.run("send", given="x").code == 0
        shown = cli.ok("tokens", "list")
        assert [shown.line.split("\t")[at] for at in (0, 1, 4)] == ["desk", "agent", "acme, B & C"]
        assert b'"name":"desk"' in cli.ok("tokens", "list", "--json").out
        assert token not in shown.line + shown.err
        cli.ok("tokens", "revoke", "desk")
        assert person.run("send", given="x").code == 8
    assert cli.run("tokens", "revoke", "desk").code == 4
    assert cli.ok("tokens", "list").out == b""


def test_a_token_that_could_not_be_shown_is_not_kept(cli: Cli) -> None:
    with Path("/dev/full").open("wb") as full:
        assert cli.run("tokens", "add", "desk", "--role", "agent", stdout=full).code == 9
    assert cli.ok("tokens", "list").out == b""


def test_names_are_checked(cli: Cli) -> None:
    cli.ok("tokens", "add", "desk", "--role", "agent")
    assert cli.run("tokens", "add", "desk", "--role", "customer").code == 8
    assert cli.run("tokens", "add", "a b", "--role", "customer").code == 8
    assert cli.run("tokens", "add", "b", "--role", "boss").code == 2
    assert cli.run("tokens", "add", "b", "--role", "agent", "--organisation", "a\nb").code == 2
    assert cli.run("tokens", "add", "b", "--role", "customer", "--desk", "rt").code == 2
    assert cli.run("tokens", "add", "b", "--role", "agent", "--desk", "R T").code == 2
    assert len(cli.ok("tokens", "list").line.splitlines()) == 1


def test_a_store_that_does_not_answer_is_exit_7_and_a_bad_setting_2(own: Backends, cli: Cli) -> None:
    own.store.stop()
    ended = cli.run("tokens", "list")
    assert ended.code == 7
    cli.settings["SECRETSVC_FROBNICATE"] = "1"
    assert cli.run("tokens", "list").code == 2


def test_the_embedded_pair_is_started_for_a_command_and_joined_where_it_runs(
    alone: Cli, tmp_path: Path
) -> None:
    folder = tmp_path / "instance"
    token = alone.ok("tokens", "add", "desk", "--role", "agent").line
    atrest.first_key(
        folder / "keyring", folder
    )  # as the service does at its start: the keyring is there already
    assert not (folder / "store" / "store.sock").exists()
    with embedded.Servers(folder):
        assert alone.ok("tokens", "list").line.startswith("desk\t")
        alone.ok("tokens", "revoke", "desk")
    assert alone.ok("tokens", "list").out == b""
    assert token


# --- a new epoch ---------------------------------------------------------------------------------------


def test_a_new_epoch_ends_what_is_unread_and_nothing_that_comes_after(
    own: Backends, cli: Cli, tmp_path: Path
) -> None:
    with web(own, tmp_path, workers=2) as running:
        client = running.client()
        unread, read = Secret.create(client), Secret.create(client)
        assert read.claim(client).status == 200
        assert cli.run("ledger", "new-epoch").code == 8  # nobody to ask
        assert unread.state(client).json["state"] == "sealed"
        with cli.start("ledger", "new-epoch", "--yes") as process:
            while process.poll() is None:  # so that no process has a reason to ask the ledger just then
                Secret.create(client)
        assert process.returncode == 0
        for _ in range(8):  # from the first one on, whichever process gets it
            young = Secret.create(client)
            assert young.claim(client).status == 200
        ended = unread.claim(client)
        assert (ended.status, ended.json["type"]) == (410, "ended-by-operator")
        opened = read.claim(client)
        assert (opened.status, opened.json["type"]) == (410, "opened")
    with web(own, tmp_path) as running:  # and the next start agrees
        assert Secret.create(running.client()).claim(running.client()).status == 200
        assert unread.claim(running.client()).status == 410


@pytest.mark.parametrize("what", ["emptied", "rolled back", "swapped"])
def test_it_works_where_the_service_refuses_to_start(
    own: Backends, cli: Cli, tmp_path: Path, what: str
) -> None:
    with web(own, tmp_path) as running:
        unread, read = Secret.create(running.client()), Secret.create(running.client())
        assert read.claim(running.client()).status == 200
    ledger = own.ledger.client()
    if what == "rolled back":
        ledger.set("ss:sequence", 0)
        ledger.delete(f"ss:e:{read.id}")
    else:
        ledger.flushall()
    if what == "swapped":
        ledger.hset("ss:epoch", mapping={"id": b"\0\0\0\1" + b"swapped!", "number": 1})
    with pytest.raises(Misconfigured):
        backends.connect(own.settings())
    cli.ok("ledger", "new-epoch", "--yes")
    store, register = backends.connect(own.settings())
    assert epoch_number(register.epoch(b"id")) == 2
    assert max(store.high_water(), key=epoch_number) == register.epoch(b"id")
    with web(own, tmp_path) as running:
        for secret in (unread, read):
            assert secret.claim(running.client()).status == 410
        assert Secret.create(running.client()).claim(running.client()).status == 200


def test_its_number_is_above_the_stores_and_the_nodes(own: Backends, cli: Cli) -> None:
    store, register = backends.connect(own.settings())
    register.shards[0].begin(7)
    cli.ok("ledger", "new-epoch", "--yes")
    store.raise_high_water(b"\0\0\0\x20" + b"laterone", 5)
    cli.ok("ledger", "new-epoch", "--yes")
    assert sorted(map(epoch_number, store.high_water())) == [1, 7, 8, 32, 33]
    assert epoch_number(register.shards[0].ask().epoch) == 33


def test_it_asks(own: Backends, cli: Cli) -> None:
    _, register = backends.connect(own.settings())
    with Terminal(cli, "ledger", "new-epoch") as terminal:
        terminal.expect("ends for good")
        terminal.type("y\n")
        assert terminal.ended()[0] == 0
    assert epoch_number(register.shards[0].ask().epoch) == 2


def test_the_embedded_ledger_takes_it_too(alone: Cli, tmp_path: Path) -> None:
    alone.ok("ledger", "new-epoch", "--yes")
    alone.ok("ledger", "new-epoch", "--yes")
    conf = Settings(data_dir=str(tmp_path / "instance"), **{name: int(value) for name, value in CHEAP.items()})
    with embedded.Servers(tmp_path / "instance"):
        _, register = backends.connect(conf)
        assert epoch_number(register.epoch(b"id")) == 2


def test_one_server_for_both_is_refused(own: Backends, cli: Cli) -> None:
    cli.settings[variable("ledger_urls")] = own.store.url + "?db=1"
    assert cli.run("ledger", "new-epoch", "--yes").code == 2
