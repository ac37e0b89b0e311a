"""The command line for people: end to end, exactly once, and nothing lost by what goes wrong on this side."""

from __future__ import annotations

import json
import os
import resource
import signal
import ssl
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secretsvc import client as protocol
from secretsvc import envelope, errors
from secretsvc.backends import pair
from secretsvc.cli.ends import CODES, EXIT_CODES
from secretsvc.client import Client, Origin, Unreachable, read_link
from secretsvc.envelope import Payload, b64, unb64
from secretsvc.tokens import Tokens
from secretsvc.web import problems
from tests.commandline import Cli, Terminal, Wire, command_lines, reply
from tests.harness import ROOT, Backends, Secret, Web, wait_until, web
from tests.servers import free_port, make_certificates

CANARY = "canary-Zq8-secret"
PASSWORD = "canary-Pw7-Sesam"
BYTES = b"\xff\xfe\x00 " + bytes(range(256)) * 7 + b"\r\n\n"


@pytest.fixture(scope="module")
def running(servers: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One web process for all the tests here: none of them empties the servers."""
    servers.clear()
    with web(servers, tmp_path_factory.mktemp("web")) as found:
        yield found


@pytest.fixture
def cli(running: Web, tmp_path: Path) -> Cli:
    folder = tmp_path / "home"
    folder.mkdir()
    return Cli(folder, {"SECRETSVC_SERVER": running.url})


@pytest.fixture
def wire(running: Web) -> Iterator[Wire]:
    with Wire(running.port) as found:
        yield found


def link_at(running: Web | Wire, secret: Secret) -> str:
    return envelope.format_link(running.url, secret.key)


def tokens_of(servers: Backends) -> Tokens:
    return Tokens(pair(servers.settings())[0].node)


def make(running: Web, content: bytes = CANARY.encode(), **more: str) -> Secret:
    return Secret.create(running.client(), content, **more)


def state_of(running: Web, secret: Secret) -> str:
    found: str = secret.state(running.client()).json["state"]
    return found


def taken(running: Web, link: str) -> Payload:
    """What a link holds, taken out past the command line."""
    key = envelope.read_link(link)
    handles = envelope.derive_handles(key)
    headers = {"Authorization": f"Bearer {b64(handles.token)}"}
    answer = running.client().post(f"/api/v1/secrets/{b64(handles.id)}/claim", {}, headers)
    assert answer.status == 200, answer.text
    return envelope.unseal(key, unb64(answer.json["envelope"]))


def write(folder: Path, name: str, content: bytes | str) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


# --- send and open -------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"hunter2", b"\n", "Grüße\n".encode(), BYTES, os.urandom(300_000)])
def test_a_secret_comes_out_byte_for_byte(cli: Cli, content: bytes) -> None:
    sent = cli.ok("send", given=content)
    assert sent.out.count(b"\n") == 1
    assert cli.ok("open", given=sent.out).out == content


def test_it_opens_once_and_then_tells_the_truth(cli: Cli) -> None:
    link = cli.ok("send", given=CANARY).out
    assert cli.ok("open", given=link).out == CANARY.encode()
    second = cli.run("open", given=link)
    assert (second.code, second.out) == (5, b"")
    assert "(opened at 20" in second.err
    assert CANARY not in second.err


def test_a_file_keeps_its_name_but_no_folder_and_only_if_wanted(cli: Cli, running: Web) -> None:
    path = write(cli.folder, "schlüssel.pem", BYTES)
    assert taken(running, cli.ok("send", path).line) == Payload(BYTES, "schlüssel.pem")
    assert taken(running, cli.ok("send", path, "--no-name").line) == Payload(BYTES)
    with Path(path).open("rb") as file:  # a pipe or a redirection has no name
        assert (
            taken(running, cli.ok("send", "/dev/stdin", stdin=subprocess.PIPE, given=BYTES).line).name is None
        )
        assert taken(running, cli.ok("send", "-", stdin=file).line).name is None


def test_a_name_that_the_format_refuses_is_refused_here(cli: Cli) -> None:
    ended = cli.run("send", write(cli.folder, "a\u202efdp.exe", b"x"))
    assert ended.code == 3
    assert "--no-name" in ended.err


def test_an_empty_secret_is_refused(cli: Cli) -> None:
    assert cli.run("send").code == 3
    assert cli.run("send", write(cli.folder, "empty", b"")).code == 3


def test_the_service_never_sees_secret_key_or_password(cli: Cli, wire: Wire) -> None:
    cli.settings["SECRETSVC_SERVER"] = wire.url
    password = write(cli.folder, "pw", PASSWORD)
    sent = cli.ok("send", "--password-file", password, given=CANARY)
    key = envelope.read_link(sent.line)
    opened = cli.ok("open", "--password-file", password, given=envelope.format_link(wire.url, key))
    assert opened.out == CANARY.encode()
    said = b"".join(wire.requests)
    id = b64(envelope.derive_handles(key).id).encode()
    assert [id in request for request in wire.requests] == [True] * 4  # create, state, claim, done
    for canary in (CANARY.encode(), PASSWORD.encode(), b64(key).encode(), key):
        assert canary not in said


def test_nothing_secret_is_in_the_process_list(cli: Cli, wire: Wire, servers: Backends) -> None:
    cli.settings["SECRETSVC_SERVER"] = wire.url
    token = tokens_of(servers).add("cli-canary", "agent")
    files = {"pw": PASSWORD, "token": token, "secret": CANARY}
    paths = {name: write(cli.folder, name, content) for name, content in files.items()}
    link = ""
    commands: tuple[tuple[bytes, list[str], Callable[[], str]], ...] = (
        (
            b"POST /api/v1/secrets ",
            ["send", paths["secret"], "--password-file", paths["pw"], "--api-key-file", paths["token"]],
            lambda: "",
        ),
        (b"/claim ", ["open", "--password-file", paths["pw"]], lambda: link),
    )
    for what, arguments, given in commands:
        wire.reached.clear()
        go = wire.hold(what)
        with cli.start(*arguments) as process:
            assert process.stdin is not None
            process.stdin.write(given().encode())
            process.stdin.close()
            assert wire.reached.wait(20)
            shown = command_lines(process.pid)
            go.set()
            assert process.stdout is not None
            out = process.stdout.read().decode()
        assert process.returncode == 0
        assert arguments[0].encode() in shown
        link = link or envelope.format_link(wire.url, envelope.read_link(out))
        for canary in (CANARY, PASSWORD, token, link.partition("#")[2]):
            assert canary.encode() not in shown
    assert any(token.encode() in request for request in wire.requests)  # it was used, all the same


@pytest.mark.parametrize("command", ["send", "open", "state", "revoke", "unlock"])
def test_a_link_on_the_command_line_is_refused_and_not_repeated(cli: Cli, running: Web, command: str) -> None:
    secret = make(running)
    for text in (link_at(running, secret), "s%23" + b64(secret.key)):
        ended = cli.run(command, text)
        assert ended.code == 2
        assert "command line" in ended.err
        assert b64(secret.key) not in ended.err
    assert state_of(running, secret) == "sealed"


@pytest.mark.parametrize(
    "arguments",
    [
        [CANARY],
        [f"--{CANARY}"],
        ["send", CANARY],
        ["send", "x", CANARY],
        ["send", "--language", CANARY],
        ["send", "--expires", CANARY],
        ["send", "--password", CANARY],
        ["send", "--password-file", CANARY],
        ["send", "--server", CANARY, "/dev/null"],
        ["open", CANARY],
        ["open", "--key", CANARY],
        ["keys", CANARY],
    ],
)
def test_what_was_typed_is_never_repeated(cli: Cli, arguments: list[str]) -> None:
    ended = cli.run(*arguments)
    assert ended.code in (2, 3)
    assert ended.err.startswith("secretsvc: ")
    assert CANARY not in ended.err


def test_expires_and_language_arrive(cli: Cli) -> None:
    link = cli.ok("send", "--expires", "90m", "--language", "de", given="x").out
    found = json.loads(cli.ok("state", "--json", given=link).out)
    times = [
        time.mktime(time.strptime(found[name], "%Y-%m-%dT%H:%M:%SZ")) for name in ("created_at", "expires_at")
    ]
    assert times[1] - times[0] == 90 * 60
    assert found["language"] == "de"


def test_the_receipt_goes_to_stderr_or_a_new_file_or_json(cli: Cli) -> None:
    plain = cli.ok("send", given="x")
    receipt = plain.err.split()[-1]
    assert "/receipt#" in receipt
    assert cli.ok("state", given=receipt).out.startswith(b"state: sealed\n")

    path = cli.folder / "receipt"
    kept = cli.ok("send", "--receipt", str(path), given="x")
    assert kept.err == ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cli.ok("revoke", str(path)).out.startswith(b"state: revoked\n")
    before = path.read_bytes()
    again = cli.run("send", "--receipt", str(path), given="x")
    assert (again.code, again.out) == (9, b"")
    assert path.read_bytes() == before

    found = json.loads(cli.ok("send", "--json", given="x").out)
    assert {"link", "receipt", "id", "state", "created_at", "expires_at"} == set(found)
    assert cli.ok("open", given=found["link"]).out == b"x"
    assert "opened" in cli.ok("state", given=found["receipt"]).line


def test_a_refused_send_leaves_no_receipt_file(cli: Cli) -> None:
    path = cli.folder / "receipt"
    cli.settings["SECRETSVC_SERVER"] = f"http://127.0.0.1:{free_port()}"
    assert cli.run("send", "--receipt", str(path), given="x").code == 7
    assert not path.exists()


def test_a_link_that_could_not_be_written_comes_with_its_receipt(cli: Cli) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = cli.run("send", "--json", given=CANARY, stdout=full)
    assert ended.code == 9
    assert cli.ok("revoke", given=ended.err.split()[-1]).out.startswith(b"state: revoked\n")


# --- passwords -----------------------------------------------------------------------------------------


def test_a_wrong_password_does_not_use_it_up(cli: Cli, running: Web) -> None:
    right, wrong = write(cli.folder, "right", PASSWORD + "\n"), write(cli.folder, "wrong", "nein")
    link = cli.ok("send", "--password-file", right, given=CANARY).out
    refused = cli.run("open", "--password-file", wrong, given=link)
    assert refused.code == 6
    assert "Tries left: 4" in refused.err
    assert "--key" not in refused.err
    none = cli.run("open", given=link)
    assert none.code == 6
    assert "--password-file" in none.err
    # one final newline is the file's, not the password's
    assert (
        cli.ok("open", "--password-file", write(cli.folder, "same", PASSWORD), given=link).out
        == CANARY.encode()
    )


def test_locked_and_unlocked_by_the_receipt(servers: Backends, tmp_path: Path) -> None:
    with web(servers, tmp_path, password_tries="1") as running:
        cli = Cli(tmp_path, {"SECRETSVC_SERVER": running.url})
        right, wrong = write(tmp_path, "right", PASSWORD), write(tmp_path, "wrong", "nein")
        receipt = str(tmp_path / "receipt")
        link = cli.ok("send", "--password-file", right, "--receipt", receipt, given=CANARY).out
        assert cli.run("open", "--password-file", wrong, given=link).code == 6
        locked = cli.run("open", "--password-file", right, given=link)
        assert locked.code == 6
        assert "locked" in locked.err
        assert "state: locked" in cli.ok("state", given=link).line
        assert cli.ok("unlock", receipt).out.startswith(b"state: sealed\n")
        assert cli.ok("open", "--password-file", right, given=link).out == CANARY.encode()
        assert cli.run("unlock", receipt).code == 5


def test_an_empty_password_is_not_taken_for_none(cli: Cli) -> None:
    for content in (b"", b"\n", b"\r\n"):
        assert cli.run("send", "--password-file", write(cli.folder, "pw", content), given="x").code == 3


def test_asked_twice_when_sending_and_again_after_a_wrong_one(cli: Cli) -> None:
    with Terminal(cli, "send", "--ask-password", stdin=CANARY.encode()) as terminal:
        for prompt in ("Password: ", "The same again: "):
            terminal.expect(prompt)
            terminal.type(PASSWORD + "\n")
        code, shown = terminal.ended()
        assert code == 0
        assert PASSWORD not in shown
        link = shown.strip().splitlines()[-1]
    with Terminal(cli, "open", stdin=link.encode()) as terminal:
        terminal.expect("Password: ")
        terminal.type("falsch\n")
        terminal.expect("Tries left: 4")
        terminal.expect("Password: ")
        terminal.type(PASSWORD + "\n")
        assert terminal.ended() == (0, f"\n{CANARY}\n")


def test_two_different_passwords_send_nothing(cli: Cli, wire: Wire) -> None:
    cli.settings["SECRETSVC_SERVER"] = wire.url
    with Terminal(cli, "send", "--ask-password", stdin=b"x") as terminal:
        terminal.expect("Password: ")
        terminal.type("one\n")
        terminal.expect("The same again: ")
        terminal.type("two\n")
        assert terminal.ended()[0] == 3
    assert wire.requests == []


def test_nobody_to_ask_is_an_error_and_standard_input_no_password(cli: Cli) -> None:
    assert cli.run("send", "--ask-password", given=CANARY).code == 2


# --- at a terminal -------------------------------------------------------------------------------------


def test_a_link_is_pasted_without_being_shown(cli: Cli, running: Web) -> None:
    link = link_at(running, make(running))
    with Terminal(cli, "open") as terminal:
        terminal.expect("not shown): ")
        terminal.type(link + "\n")
        code, shown = terminal.ended()
    assert (code, shown.strip()) == (0, CANARY)


def test_a_typed_secret_loses_its_last_newline_and_a_cut_line_is_refused(cli: Cli, running: Web) -> None:
    with Terminal(cli, "send") as terminal:
        terminal.expect("Ctrl-D:")
        terminal.type("zwei\nZeilen\n\x04")
        terminal.expect("http://")
        code, shown = terminal.ended()
        assert code == 0
    assert taken(running, shown.strip().splitlines()[-1]).content == b"zwei\nZeilen"
    with Terminal(cli, "send") as terminal:
        terminal.expect("Ctrl-D:")
        terminal.type("x" * 5000 + "\n\x04")
        terminal.expect("A terminal cuts lines")
        assert terminal.ended()[0] == 3


@pytest.mark.parametrize("content", [BYTES, b"\x1b]0;title\x07", b"carriage\rreturn"])
def test_what_a_terminal_cannot_show_is_saved_where_the_person_says(
    cli: Cli, running: Web, content: bytes
) -> None:
    secret = make(running, content)
    taken_name = write(cli.folder, "there", b"before")
    with Terminal(cli, "open", stdin=link_at(running, secret).encode()) as terminal:
        terminal.expect("Save as")
        terminal.type(taken_name + "\n")
        terminal.expect("there already")
        terminal.type("new\n")
        code, shown = terminal.ended()
        assert code == 0, shown
    assert (cli.folder / "new").read_bytes() == content
    assert Path(taken_name).read_bytes() == b"before"


def test_a_named_file_given_up_at_the_terminal_can_be_fetched_again(cli: Cli) -> None:
    link = cli.ok("send", write(cli.folder, "key.pem", CANARY)).out
    with Terminal(cli, "open", stdin=link) as terminal:
        terminal.expect("named 'key.pem'")
        terminal.expect("Save as")
        terminal.type("\n")
        code, shown = terminal.ended()
    assert code == 9
    assert CANARY not in shown
    key = shown.split("--key ")[1].split()[0]
    assert cli.run("open", given=link).code == 5
    assert cli.ok("open", "--key", key, given=link).out == CANARY.encode()


# --- outputs -------------------------------------------------------------------------------------------


def test_an_output_file_is_new_private_and_complete(cli: Cli, running: Web) -> None:
    secret = make(running, BYTES)
    ended = cli.ok("open", "-o", "out", given=link_at(running, secret))
    assert ended.out == b""
    path = cli.folder / "out"
    assert path.read_bytes() == BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret.claim(running.client()).status == 410


def no_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


@pytest.mark.parametrize("why", ["there", "link", "folder", "room", "closed", "unread"])
def test_an_output_that_cannot_be_written_costs_nothing(cli: Cli, running: Web, why: str) -> None:
    secret = make(running)
    link = link_at(running, secret)
    there = write(cli.folder, "there", b"before")
    (cli.folder / "link").symlink_to("nowhere")
    if why == "room":
        ended = cli.run("open", "-o", "new", given=link, preexec_fn=no_room)
    elif why == "closed":
        ended = cli.run("open", given=link, stdout=None, preexec_fn=lambda: os.close(1))
    elif why == "unread":
        reading, writing = os.pipe()
        os.close(reading)
        ended = cli.run("open", given=link, stdout=writing)
        os.close(writing)
    else:
        ended = cli.run("open", "-o", {"folder": "nowhere/x"}.get(why, why), given=link)
    assert ended.code == 9
    assert "--key" not in ended.err
    assert state_of(running, secret) == "sealed"
    assert Path(there).read_bytes() == b"before"
    assert sorted(os.listdir(cli.folder)) == ["link", "there"]
    assert cli.ok("open", given=link).out == CANARY.encode()


def test_what_could_not_be_written_is_fetched_again_with_the_key(cli: Cli, running: Web) -> None:
    secret = make(running)
    link = link_at(running, secret)
    with Path("/dev/full").open("wb") as full:
        failed = cli.run("open", given=link, stdout=full)
    assert failed.code == 9
    assert CANARY not in failed.err
    key = failed.err.split("--key ")[1].split()[0]
    assert state_of(running, secret) == "opened"
    assert cli.run("open", "--key", "A" * 32, given=link).code == 5
    assert cli.ok("open", "--key", key, given=link).out == CANARY.encode()
    assert cli.run("open", "--key", key, given=link).code == 5  # it has arrived, and the service was told


def test_done_is_said_only_when_all_is_written(cli: Cli, running: Web, wire: Wire) -> None:
    link = link_at(wire, make(running))
    go = wire.hold(b"/done ")
    with cli.start("open", "-o", "out") as process:
        assert process.stdin is not None
        process.stdin.write(link.encode())
        process.stdin.close()
        assert wire.reached.wait(20)
        assert (cli.folder / "out").read_bytes() == CANARY.encode()
        go.set()
    assert process.returncode == 0
    with Path("/dev/full").open("wb") as full:
        assert cli.run("open", given=link_at(wire, make(running)), stdout=full).code == 9
    assert len(wire.said(b"/claim ")) == 2
    assert len(wire.said(b"/done ")) == 1


def test_a_signal_in_the_middle_cleans_up_and_tells_the_key(cli: Cli, running: Web, wire: Wire) -> None:
    secret = make(running)
    link = link_at(wire, secret)
    go = wire.hold(b"/claim ")
    with cli.start("open", "-o", "out") as process:
        assert process.stdin is not None
        process.stdin.write(link.encode())
        process.stdin.close()
        assert wire.reached.wait(20)
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        said = process.stderr.read().decode()
    go.set()
    assert process.returncode == 128 + signal.SIGTERM
    assert not (cli.folder / "out").exists()
    wait_until(lambda: state_of(running, secret) == "opened")
    key = said.split("--key ")[1].split()[0]
    assert cli.ok("open", "--key", key, given=link).out == CANARY.encode()


# --- what is lost on the way ---------------------------------------------------------------------------


def test_a_lost_answer_to_a_claim_does_not_cost_the_secret(cli: Cli, running: Web, wire: Wire) -> None:
    secret = make(running)
    wire.lose(b"/claim ")
    assert cli.ok("open", given=link_at(wire, secret)).out == CANARY.encode()
    claims = wire.said(b"/claim ")
    assert len(claims) == 2
    assert claims[0] == claims[1]  # the same key
    assert cli.run("open", given=link_at(running, secret)).code == 5


def test_a_lost_answer_to_a_create_makes_one_secret(cli: Cli, running: Web, wire: Wire) -> None:
    cli.settings["SECRETSVC_SERVER"] = wire.url
    wire.lose(b"POST /api/v1/secrets ", times=2)
    sent = cli.ok("send", given=CANARY)
    creates = wire.said(b"POST /api/v1/secrets ")
    assert len(creates) == 3
    assert len(set(creates)) == 1
    assert cli.ok("open", given=sent.out).out == CANARY.encode()


def test_lost_answers_to_done_and_revoke_change_nothing(cli: Cli, running: Web, wire: Wire) -> None:
    secret = make(running)
    wire.lose(b"/done ")
    assert cli.ok("open", given=link_at(wire, secret)).out == CANARY.encode()
    assert len(wire.said(b"/done ")) == 2
    cli.settings["SECRETSVC_SERVER"] = running.url
    receipt = cli.ok("send", given="x").err.split()[-1].replace(str(running.port), str(wire.port))
    wire.lose(b"/revoke ")
    assert "revoked" in cli.ok("revoke", given=receipt).line


def test_later_is_waited_for_with_the_key_the_service_names(cli: Cli, running: Web, wire: Wire) -> None:
    problem = json.dumps({"type": "ledger-unavailable", "title": "", "status": 503, "detail": "Later."})
    wire.answer(b"/claim ", reply(503, problem, Retry_After="1", Idempotency_Key="N" * 32))
    began = time.monotonic()
    assert cli.ok("open", given=link_at(wire, make(running))).out == CANARY.encode()
    assert time.monotonic() - began >= 1
    first, second = (
        request.lower().partition(b"idempotency-key: ")[2][:32] for request in wire.said(b"/claim ")
    )
    assert first != second == b"n" * 32
    assert b"idempotency-key: " + b"n" * 32 in wire.said(b"/done ")[0].lower()


def test_much_later_is_not_waited_for(cli: Cli, running: Web, wire: Wire) -> None:
    problem = {"type": "key-missing", "title": "", "status": 503, "detail": "The key is gone."}
    wire.answer(b"/claim ", reply(503, json.dumps(problem), Retry_After="60"), times=9)
    began = time.monotonic()
    ended = cli.run("open", given=link_at(wire, make(running)))
    assert ended.code == 7
    assert "The key is gone." in ended.err
    assert "--key" not in ended.err  # nothing was decided
    assert time.monotonic() - began < 10
    assert len(wire.said(b"/claim ")) == 1


def test_repeating_has_an_end_and_then_the_key_is_told(
    running: Web, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "PATIENCE", 1.0)
    handle = read_link(link_at(wire, make(running)))
    wire.lose(b"/claim ", times=99)
    began = time.monotonic()
    with pytest.raises(Unreachable) as lost:
        Client(handle.origin).claim(handle, None, "K" * 32, staff=False)
    assert lost.value.in_doubt
    assert time.monotonic() - began < 5
    assert 2 <= len(wire.said(b"/claim ")) < 9


def test_a_service_that_is_not_there_is_told_at_once(cli: Cli, running: Web) -> None:
    secret = make(running)
    began = time.monotonic()
    ended = cli.run("open", given=f"http://127.0.0.1:{free_port()}/s#{b64(secret.key)}")
    assert ended.code == 7
    assert time.monotonic() - began < 10


def test_a_redirect_is_never_followed(cli: Cli, running: Web, wire: Wire) -> None:
    secret = make(running)
    wire.answer(b"GET ", reply(302, "", "text/html", Location=f"{running.url}/api/v1/secrets/{secret.id}"))
    assert cli.run("open", given=link_at(wire, secret)).code == 1
    assert len(wire.requests) == 1
    assert state_of(running, secret) == "sealed"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (reply(404, "<h1>Not here</h1>", "text/html"), 1),
        (reply(200, "{}", "application/json"), 1),
        (reply(200, "[" * 5000, "application/json"), 7),
        (reply(200, '{"state":"sealed","kind":"x","password":false,"size":9}', "application/json"), 8),
        (reply(200, '{"state":"new","kind":"secret","password":false,"size":9}', "application/json"), 1),
        (reply(200, '{"state":"sealed","kind":"secret","password":false,"size":1e9}', "application/json"), 1),
        (reply(429, "slow", "text/plain"), 7),
        (reply(403, json.dumps({"type": "for\x1bbidden", "detail": f"\x1b[2J{CANARY}\u202e"})), 1),
    ],
)
def test_answers_that_no_service_of_ours_gives(cli: Cli, wire: Wire, answer: bytes, code: int) -> None:
    wire.answer(b"GET ", answer, times=1)
    wire.answer(b"GET ", reply(503, "", "text/plain", Retry_After="99"), times=1)
    ended = cli.run("open", given=f"{wire.url}/s#{b64(os.urandom(32))}")
    assert (ended.code, ended.out) == (code, b"")
    assert ended.err[:-1].isprintable()
    assert wire.said(b"/claim ") == []


def test_certificates_are_checked(cli: Cli, running: Web, tmp_path: Path) -> None:
    ca, certificate, key = make_certificates(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Wire(running.port, tls=context) as wire:
        cli.settings["SECRETSVC_SERVER"] = wire.url
        refused = cli.run("send", given=CANARY)
        assert refused.code == 7
        assert "certificate" in refused.err
        assert wire.requests == []
        cli.settings["SSL_CERT_FILE"] = str(ca)
        sent = cli.ok("send", given=CANARY)
        # the service believes in http; a link must not lead there from https
        assert sent.line.startswith(f"{wire.url}/s#")
        assert cli.ok("open", given=sent.out).out == CANARY.encode()
        wrong_host = sent.line.replace("127.0.0.1", "127.0.0.2")
        assert cli.run("state", given=wrong_host).code == 7


# --- links, state, revoke ------------------------------------------------------------------------------


def test_links_are_read_as_people_paste_them(cli: Cli, running: Web) -> None:
    for shape in ("  {}\r\n", "{}).", "{}", "\ufeff{}"):
        secret = make(running)
        link = link_at(running, secret).replace("#", "%23" if shape == "{}" else "#")
        assert cli.ok("open", given=shape.format(link)).out == CANARY.encode()


@pytest.mark.parametrize(
    "broken", ["{cut}", "", "no link", "{key}", "{url}/x#{key}", "ftp://h/s#{key}", "\xff"]
)
def test_a_damaged_link_is_exit_3_and_sends_nothing(cli: Cli, running: Web, wire: Wire, broken: str) -> None:
    secret = make(running)
    link = link_at(wire, secret)
    text = broken.format(cut=link[:-1], key=b64(secret.key), url=wire.url).encode("latin-1")
    for command in ("open", "state", "revoke"):
        ended = cli.run(command, given=text)
        assert ended.code == 3, command
        assert b64(secret.key) not in ended.err
    assert wire.requests == []


def test_another_key_is_exit_4(cli: Cli, running: Web) -> None:
    ended = cli.run("open", given=f"{running.url}/s#{b64(os.urandom(32))}")
    assert ended.code == 4
    assert cli.run("revoke", given=f"{running.url}/receipt#{b64(os.urandom(48))}").code == 4


def test_state_and_revoke(cli: Cli) -> None:
    path = str(cli.folder / "receipt")
    link = cli.ok("send", "--receipt", path, given=CANARY).out
    for given in (link, Path(path).read_bytes()):
        assert cli.ok("state", given=given).out.startswith(b"state: sealed\n")
    found = json.loads(cli.ok("state", "--json", path).out)
    assert (found["state"], found["password"], found["kind"]) == ("sealed", False, "secret")
    for _ in range(2):  # may be repeated
        assert cli.ok("revoke", path).out.startswith(b"state: revoked\n")
    assert cli.ok("state", given=link).out.startswith(b"state: revoked\n")
    ended = cli.run("open", given=link)
    assert ended.code == 5
    assert "(revoked at 20" in ended.err
    assert cli.run("revoke", given=link).code == 3  # a link is no receipt


def test_revoking_too_late_tells_that_it_was_opened(cli: Cli) -> None:
    sent = cli.ok("send", given="x")
    cli.ok("open", given=sent.out)
    ended = cli.run("revoke", given=sent.err.split()[-1])
    assert ended.code == 5
    assert "opened" in ended.err


# --- API tokens ----------------------------------------------------------------------------------------


def test_staff_only_create_takes_an_agents_token(servers: Backends, tmp_path: Path) -> None:
    tokens = tokens_of(servers)
    agent, customer = tokens.add("cli-agent", "agent"), tokens.add("cli-customer", "customer")
    with web(servers, tmp_path, create="staff") as running:
        cli = Cli(tmp_path, {"SECRETSVC_SERVER": running.url})
        assert cli.run("send", given="x").code == 8
        assert cli.run("send", "--api-key-file", write(tmp_path, "customer", customer), given="x").code == 8
        cli.settings["SECRETSVC_API_KEY_FILE"] = write(tmp_path, "agent", agent + "\n")
        assert cli.ok("open", given=cli.ok("send", given="x").out).out == b"x"


def test_an_answer_to_a_request_is_for_agents_and_the_token_for_its_own_service(
    cli: Cli, running: Web, wire: Wire, servers: Backends
) -> None:
    token = tokens_of(servers).add("cli-asker", "agent")
    path = write(cli.folder, "token", token)
    key = envelope.new_key()
    handles = envelope.derive_handles(key)
    request = envelope.RequestLink(handles.id, envelope.request_public_key(key))
    asked = {
        "id": b64(handles.id),
        "token": b64(handles.token),
        "answer_token": b64(request.answer_token()),
        "form": "text",
        "expires_in": 3600,
    }
    client = running.client()
    assert client.post("/api/v1/requests", asked, {"X-API-Key": token}).status == 201
    link = envelope.format_link(running.url, key)
    assert cli.run("open", "--api-key-file", path, given=link).code == 7  # not answered yet

    answer = {"envelope": b64(envelope.seal_answer(request, Payload(BYTES))), "consents": []}
    bearer = {"Authorization": f"Bearer {b64(request.answer_token())}"}
    assert client.post(f"/api/v1/requests/{asked['id']}/answer", answer, bearer).status == 201
    assert cli.run("open", given=link).code == 8
    elsewhere = cli.run("open", "--api-key-file", path, given=envelope.format_link(wire.url, key))
    assert elsewhere.code == 8
    assert wire.said(b"GET ")
    assert not any(b"x-api-key" in request.lower() for request in wire.requests)
    assert cli.ok("open", "--api-key-file", path, given=link).out == BYTES


def test_a_token_is_not_sent_over_plain_http_to_another_machine(cli: Cli) -> None:
    path = write(cli.folder, "token", "sst_" + "x" * 43)
    ended = cli.run("send", "--server", "http://192.0.2.1", "--api-key-file", path, given="x")
    assert ended.code == 8
    assert "https" in ended.err


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("http://192.0.2.1", True),
        ("http://example.org:81", True),
        ("https://example.org", False),
        ("http://127.0.0.5:8000", False),
        ("http://[::1]", False),
        ("http://localhost", False),
    ],
)
def test_plain_http_to_another_machine_is_known(url: str, clear: bool) -> None:
    origin = Origin.parse(url)
    assert origin.in_the_clear is clear
    assert origin.url == url


def test_every_kind_of_problem_has_an_exit_code() -> None:
    kinds = {kind or getattr(error, "kind", None) for error, _, kind, _ in problems.TABLE} - {None}
    # What the ticket module has of its own stays with its notifier and its sign-in; calls raise the tree's.
    known = [each for each in subclasses(errors.SecretsvcError) if ".tickets." not in each.__module__]
    raised = {error.kind for error in known if hasattr(error, "kind")}
    assert len(kinds) >= 15
    assert (kinds | raised) - {"unexpected"} <= set(CODES)
    said = (ROOT / "docs" / "cli.md").read_text()
    for line in EXIT_CODES.splitlines()[2:]:
        code, meaning = line.split(maxsplit=1)
        assert f"| {code} | {meaning} |" in said


def subclasses(cls: type[errors.SecretsvcError]) -> set[type[errors.SecretsvcError]]:
    found = set(cls.__subclasses__())
    return found.union(*map(subclasses, found)) if found else found
