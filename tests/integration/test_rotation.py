"""Rotating master keys with the operator's commands, and web processes restarted as the README says."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from secretsvc import atrest
from secretsvc.envelope import b64, unb64
from secretsvc.settings import variable
from tests.commandline import Cli
from tests.harness import Backends, Client, Secret, new_idempotency_key, wait_until, web
from tests.web.common import Asked, is_problem, receipt_key, with_proof, wrong_password
from tests.web.common import store as hand_in


def listed(cli: Cli) -> dict[str, str]:
    """What ``keys list`` shows: what each key does, by its name and in their order."""
    return dict(line.split("\t") for line in cli.ok("keys", "list").line.splitlines())


def sealed_with(own: Backends, secret: Secret | Asked) -> str:
    """The name of the key that sealed its record."""
    found = own.store.client().hmget(receipt_key(secret.id), "rk", "k")
    return (found[0] or found[1]).decode()


def agent(cli: Cli, name: str = "anna") -> dict[str, str]:
    """The header of a new agent."""
    return {"X-API-Key": cli.ok("tokens", "add", name, "--role", "agent").line}


# --- one service ---------------------------------------------------------------------------------------


def test_a_rotation_ends_what_the_dropped_key_sealed_and_nothing_else(
    own: Backends, cli: Cli, tmp_path: Path
) -> None:
    staff, wish = agent(cli), {"secret": "x", "expires_in": 3600}
    key = new_idempotency_key()
    with web(own, tmp_path) as running:
        client = running.client()
        read, early, unread, revoked = (Secret.create(client) for _ in range(4))
        guarded = hand_in(client, with_proof())
        asked, waiting = Asked.create(client, staff), Asked.create(client, staff)
        assert client.post("/api/v1/secrets", wish, {"Idempotency-Key": key}).status == 201
        assert read.claim(client).status == 200

    cli.ok("keys", "add", "new")
    assert listed(cli) == {"new": "seals, opens", "test": "opens"}
    with web(own, tmp_path) as running:
        client = running.client()
        young = Secret.create(client)
        assert (sealed_with(own, young), sealed_with(own, unread)) == ("new", "test")
        assert early.unseal(early.claim(client)) == early.content  # the old key still opens
        assert client.post("/api/v1/secrets", unread.body).json["receipt_token"] == unread.receipt_token
        answer = {"envelope": asked.sealed(), "consents": []}
        assert asked.answer(client, answer).status == 201  # the answer is new, and so is its key
        assert sealed_with(own, asked) == "new"

    cli.ok("keys", "drop", "test", "--yes")
    store = own.store.client()
    ours = (unread, guarded, waiting, revoked)
    before = {secret.id: [store.dump(receipt_key(secret.id) + end) for end in ("", ":r")] for secret in ours}
    with web(own, tmp_path) as running:
        client = running.client()
        # What it sealed cannot be opened, and nothing is used up in trying: no try, no record, no end.
        is_problem(unread.claim(client), 503, "key-missing")
        is_problem(guarded.claim(client), 503, "key-missing")
        is_problem(waiting.answer(client), 503, "key-missing")
        assert not own.ledger.client().exists(f"ss:e:{unread.id}")
        for secret in ours:
            assert before[secret.id] == [store.dump(receipt_key(secret.id) + end) for end in ("", ":r")]
        # A repeat of a create can no longer be told from another body: refused, and nothing is made anew.
        is_problem(client.post("/api/v1/secrets", unread.body), 409, "conflict")
        is_problem(client.post("/api/v1/secrets", wish, {"Idempotency-Key": key}), 409, "conflict")
        is_problem(asked.answer(client, answer), 503, "key-missing")
        # Links of receipts need no key, and the truth needs none.
        assert unread.state(client, sender=True).json["state"] == "sealed"
        assert revoked.call(client, "revoke", sender=True).json["state"] == "revoked"
        is_problem(read.claim(client), 410, "opened")
        is_problem(revoked.claim(client), 410, "revoked")
        # The new key's own, made before and after, are as if nothing had been.
        assert young.unseal(young.claim(client)) == young.content
        found = client.post(f"/api/v1/secrets/{asked.id}/claim", {}, {**asked.holder, **staff})
        assert asked.unseal(found) == b"hunter2"
        late = Secret.create(client)
        assert late.unseal(late.claim(client)) == late.content


def test_a_key_that_comes_back_opens_again_what_it_sealed(own: Backends, cli: Cli, tmp_path: Path) -> None:
    with web(own, tmp_path) as running:
        unread, guarded = Secret.create(running.client()), hand_in(running.client(), with_proof())
    cli.ok("keys", "add", "new")
    kept = own.keyring.read_bytes()
    cli.ok("keys", "drop", "test", "--yes")
    with web(own, tmp_path) as running:
        for _ in range(6):  # more often than there are tries at a password
            is_problem(unread.claim(running.client()), 503, "key-missing")
            is_problem(guarded.claim(running.client()), 503, "key-missing")
    own.keyring.write_bytes(kept)
    with web(own, tmp_path) as running:
        assert wrong_password(running.client(), guarded).json["tries_left"] == 4
        assert unread.unseal(unread.claim(running.client())) == unread.content
        assert guarded.claim(running.client()).status == 200


def test_a_store_restored_from_before_the_drop_opens_nothing(
    own: Backends, cli: Cli, tmp_path: Path, full: bool, say: Callable[[str], None]
) -> None:
    count = 100 if full else 20
    with web(own, tmp_path) as running:
        client = running.client()
        unread, read = ([Secret.create(client) for _ in range(count)] for _ in range(2))
        cli.ok("keys", "add", "new")
    own.store.stop()
    shutil.copytree(own.store.dir, tmp_path / "backup", ignore=shutil.ignore_patterns("*.sock"))
    own.store.start()
    old = atrest.load_keyring(own.keyring).get("test")
    with web(own, tmp_path) as running:
        for secret in read:
            assert secret.claim(running.client()).status == 200
    cli.ok("keys", "drop", "test", "--yes")
    assert b64(old) not in own.keyring.read_text()

    own.store.stop()
    shutil.rmtree(own.store.dir / "appendonlydir")
    shutil.copytree(tmp_path / "backup", own.store.dir, dirs_exist_ok=True)
    own.store.start()
    store, keyring = own.store.client(), atrest.load_keyring(own.keyring)
    refused = {"key-missing": 0, "opened": 0}
    with web(own, tmp_path) as running:
        for secret in unread + read:
            record = store.get(receipt_key(secret.id) + ":r")
            assert record  # it is all there again
            answer = secret.claim(running.client())
            assert "envelope" not in answer.json
            refused[answer.json["type"]] += 1
            # Nor does the record open by hand: under the keys there are, it is noise.
            binding = _binding(store.hgetall(receipt_key(secret.id)), secret, keyring.newest)
            with pytest.raises(atrest.RecordDamaged):
                atrest.unseal_record(keyring, binding, record)
    assert refused == {"key-missing": count, "opened": count}
    # And that was for want of the key alone.
    record, fields = store.get(receipt_key(unread[0].id) + ":r"), store.hgetall(receipt_key(unread[0].id))
    with_old = atrest.Keyring({"test": old})
    assert atrest.unseal_record(with_old, _binding(fields, unread[0], "test"), record or b"") == unb64(
        unread[0].body["envelope"]
    )
    say(f"{2 * count} secrets of a restored store: {refused}")


def _binding(fields: dict[bytes, bytes], secret: Secret, name: str) -> atrest.Binding:
    return atrest.Binding(
        key_name=name,
        id=unb64(secret.id),
        kind="secret",
        token_hash=fields[b"t"],
        answer_hash=fields[b"a"],
        expires_at=int(fields[b"x"]),
        epoch=fields[b"l"],
    )


def test_a_reloaded_service_seals_with_the_new_key_and_refuses_nobody(
    own: Backends, cli: Cli, tmp_path: Path
) -> None:
    with web(own, tmp_path, workers=2) as running:
        client = running.client()
        old = Secret.create(client)
        cli.ok("keys", "add", "new")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: all(sealed_with(own, Secret.create(client)) == "new" for _ in range(8)))
        assert old.unseal(old.claim(client)) == old.content


# --- several servers -----------------------------------------------------------------------------------


class Fleet:
    """Several web servers on one store, each with a copy of the keyring."""

    def __init__(self, backs: Backends, folder: Path, stack: ExitStack, names: str) -> None:
        self.backs, self.folder, self.names = backs, folder, names
        self._stacks = {name: stack.enter_context(ExitStack()) for name in names}
        self.clients: dict[str, Client] = {}
        for name in names:
            self.give(name)
            self.restart(name)

    def give(self, name: str) -> None:
        """Copy the keyring there."""
        place = self.folder / f"keyring-{name}"
        place.write_bytes(self.backs.keyring.read_bytes())
        place.chmod(0o600)

    def restart(self, name: str) -> None:
        self._stacks[name].close()
        place = str(self.folder / f"keyring-{name}")
        running = self._stacks[name].enter_context(web(self.backs, self.folder, keyring_file=place))
        self.clients[name] = running.client()

    def refused(self) -> dict[str, int]:
        """What each server says to what each one seals: how many of each refusal."""
        found: dict[str, int] = {}
        for sealing in self.clients.values():
            for opening in self.clients.values():
                secret = Secret.create(sealing)
                again = opening.post("/api/v1/secrets", secret.body)  # the lost answer's repeat, elsewhere
                for answer in (again, secret.claim(opening)):
                    if answer.status not in (200, 201):
                        found[answer.json["type"]] = found.get(answer.json["type"], 0) + 1
        return found


def test_a_key_that_all_servers_know_before_one_seals_with_it_refuses_nobody(
    own: Backends, cli: Cli, tmp_path: Path, full: bool, say: Callable[[str], None]
) -> None:
    checked = 0
    with ExitStack() as stack:
        fleet = Fleet(own, tmp_path, stack, "abc" if full else "ab")
        early = Secret.create(fleet.clients["a"])

        def roll() -> None:
            nonlocal checked
            for name in fleet.names:
                fleet.give(name)
            for name in fleet.names:
                fleet.restart(name)
                assert fleet.refused() == {}
                checked += 2 * len(fleet.names) ** 2

        cli.ok("keys", "add", "--last", "new")
        assert listed(cli) == {"test": "seals, opens", "new": "opens"}
        roll()
        assert sealed_with(own, Secret.create(fleet.clients["a"])) == "test"
        cli.ok("keys", "promote", "new")
        assert listed(cli) == {"new": "seals, opens", "test": "opens"}
        roll()
        assert {sealed_with(own, Secret.create(client)) for client in fleet.clients.values()} == {"new"}
        assert early.unseal(early.claim(fleet.clients["b"])) == early.content
    say(f"{checked} calls between restarts, none refused")


def test_a_key_that_one_server_does_not_know_yet_is_a_503_there_and_costs_nothing(
    own: Backends, cli: Cli, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        fleet = Fleet(own, tmp_path, stack, "ab")
        cli.ok("keys", "add", "new")
        fleet.give("a")
        fleet.restart("a")
        secret = Secret.create(fleet.clients["a"])
        is_problem(secret.claim(fleet.clients["b"]), 503, "key-missing")
        assert fleet.refused() == {"conflict": 1, "key-missing": 1}
        fleet.give("b")
        fleet.restart("b")
        assert secret.unseal(secret.claim(fleet.clients["b"])) == secret.content
        assert fleet.refused() == {}


# --- the commands --------------------------------------------------------------------------------------


def test_promoting_changes_the_order_and_no_key(own: Backends, cli: Cli) -> None:
    cli.ok("keys", "add", "--last", "one")
    cli.ok("keys", "add", "--last", "two")
    before = set(own.keyring.read_text().splitlines())
    assert list(listed(cli)) == ["test", "one", "two"]
    cli.ok("keys", "promote", "two")
    cli.ok("keys", "promote", "two")
    assert list(listed(cli)) == ["two", "test", "one"]
    assert set(own.keyring.read_text().splitlines()) == before
    assert own.keyring.stat().st_mode & 0o777 == 0o600
    assert cli.run("keys", "promote", "three").code == 4
    assert cli.run("keys", "add", "--last", "one").code == 2
    assert cli.run("keys", "drop", "two", "--yes").code == 8  # it seals
    cli.ok("keys", "drop", "one", "--yes")
    assert list(listed(cli)) == ["two", "test"]


def test_the_first_key_seals_even_if_it_is_added_last(tmp_path: Path) -> None:
    alone = Cli(tmp_path, {variable("data_dir"): str(tmp_path / "instance")})
    said = alone.ok("keys", "add", "--last", "only").err
    assert "to seal with 'only'" in said
    assert listed(alone) == {"only": "seals, opens"}
    assert "to open with 'next'" in alone.ok("keys", "add", "--last", "next").err
    assert os.listdir(tmp_path / "instance") == ["keyring"]
