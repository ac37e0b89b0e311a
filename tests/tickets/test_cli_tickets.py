"""The command line for tickets: links in replies, credentials from customers, a trail; sealed end to end."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from secretsvc import client as protocol
from secretsvc import envelope
from secretsvc.backends import pair
from secretsvc.cli.inputs import sealed
from secretsvc.client import Client, Created, Origin, Problem, Unreachable
from secretsvc.envelope import Payload, b64
from secretsvc.tickets.model import Reference
from secretsvc.tickets.remote import Remote
from secretsvc.tickets.service import BUSY
from secretsvc.tickets.wording import moment
from secretsvc.tokens import Tokens
from tests.commandline import Cli, Terminal, Wire, reply
from tests.harness import ROOT, Backends, Web, wait_until, web
from tests.servers import free_port
from tests.tickets.notifying import write_config
from tests.tickets.rt.instance import RT

CANARY = "canary-Zq8-secret"
PASSWORD = "canary-Pw7-Sesam"
LINK = re.compile(r"http://127\.0\.0\.1:[0-9]+/[sr]#[A-Za-z0-9_-]+")
NUMBERS = count(4711)


@pytest.fixture(scope="module")
def running(servers: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One web process with the desk ``local`` for all the tests here; each has a ticket of its own."""
    servers.clear()
    with web(servers, tmp_path_factory.mktemp("web"), password_tries="1") as found:
        yield found


@pytest.fixture(scope="module")
def tokens(servers: Backends, running: Web) -> Tokens:
    return Tokens(pair(servers.settings())[0].node)


@pytest.fixture(scope="module")
def agent(tokens: Tokens) -> str:
    """The API token of anna, an agent of all desks."""
    return tokens.add("anna", "agent")


@pytest.fixture
def cli(running: Web, agent: str, tmp_path: Path) -> Cli:
    """The command line of anna."""
    return told(Cli(tmp_path / "home"), running.url, agent)


def told(cli: Cli, url: str, token: str) -> Cli:
    cli.folder.mkdir(exist_ok=True)
    file = write(cli.folder.parent, f"token-{token[-8:]}", token + "\n")
    cli.settings |= {"SECRETSVC_SERVER": url, "SECRETSVC_API_KEY_FILE": file}
    return cli


@pytest.fixture
def wire(running: Web) -> Iterator[Wire]:
    with Wire(running.port) as found:
        yield found


@pytest.fixture
def which() -> str:
    """A ticket that nothing has been made for yet."""
    return f"local:{next(NUMBERS)}"


def write(folder: Path, name: str, content: str) -> str:
    path = folder / name
    path.write_text(content)
    return str(path)


def link_in(out: bytes) -> str:
    """The one link in a text; HTML says it twice."""
    [found] = set(LINK.findall(out.decode()))
    return str(found)


def trail(cli: Cli, which: str) -> list[dict[str, Any]]:
    """The ticket's links as the command line lists them."""
    found: list[dict[str, Any]] = json.loads(cli.ok("ticket", "list", which, "--json").out)["links"]
    return found


def hand_in(running: Web, link: str, content: bytes = CANARY.encode()) -> None:
    """What the customer's browser does with a request link."""
    request = envelope.read_request_link(link)
    answer = {"envelope": b64(envelope.seal_answer(request, Payload(content))), "consents": []}
    bearer = {"Authorization": f"Bearer {b64(request.answer_token())}"}
    sent = running.client().post(f"/api/v1/requests/{b64(request.id)}/answer", answer, bearer)
    assert sent.status == 201, sent.text


# --- send ----------------------------------------------------------------------------------------------


def test_a_reply_holds_a_link_that_opens_once_and_the_ticket_tells(cli: Cli, which: str) -> None:
    sent = cli.ok("ticket", "send", which, given=CANARY)
    [ref] = re.findall(r"^reference on the ticket: (\w{6})\n$", sent.err)
    link = link_in(sent.out)
    assert f"\n\n{link}\n\n".encode() in sent.out
    assert which.partition(":")[2].encode() in sent.out
    assert [(row["ref"], row["state"], row["by"]) for row in trail(cli, which)] == [(ref, "sealed", "anna")]
    assert cli.ok("open", given=link).out == CANARY.encode()
    assert cli.run("open", given=link).code == 5
    assert [event["type"] for event in trail(cli, which)[0]["events"]] == ["created", "opened"]


@pytest.mark.parametrize(("language", "greeting"), [("de", "Guten Tag,"), ("en", "Hello,")])
@pytest.mark.parametrize("format", ["plain", "markdown", "html"])
def test_the_reply_is_in_the_customers_language_and_the_desks_format(
    cli: Cli, which: str, language: str, greeting: str, format: str
) -> None:
    chosen = ("--language", language, "--format", format, "--expires", "3h")
    sent = cli.ok("ticket", "send", which, *chosen, given=CANARY)
    link = link_in(sent.out)
    frame = {
        "plain": (greeting, f"\n\n{link}\n"),
        "markdown": (greeting, f"\n\n<{link}>\n"),
        "html": (f"<p>{greeting}</p>", f'<p><a href="{link}">{link}</a></p>'),
    }
    begins, holds = frame[format]
    text = sent.out.decode()
    assert text.startswith(begins)
    assert holds in text
    found = json.loads(cli.ok("state", "--json", given=link).out)
    assert found["language"] == language  # of the page behind the link, too
    until = datetime.fromisoformat(found["expires_at"]).timestamp()
    assert until - datetime.fromisoformat(found["created_at"]).timestamp() == 3 * 3600
    assert moment(until, "de" if language == "de" else "en") in text
    assert "{" not in text


def test_without_a_language_the_text_is_english_and_the_page_the_browsers(cli: Cli, which: str) -> None:
    sent = cli.ok("ticket", "send", which, given=CANARY)
    assert sent.out.startswith(b"Hello,")
    assert "language" not in json.loads(cli.ok("state", "--json", given=link_in(sent.out)).out)


def test_the_reply_speaks_of_a_password_only_where_there_is_one(cli: Cli, which: str) -> None:
    file = write(cli.folder, "pw", PASSWORD)
    with_one = cli.ok("ticket", "send", which, "--password-file", file, given=CANARY)
    assert b"password. It is not in this message" in with_one.out
    assert PASSWORD not in with_one.out.decode() + with_one.err
    assert b"password. It is not" not in cli.ok("ticket", "send", which, given=CANARY).out
    assert cli.run("open", given=link_in(with_one.out)).code == 6
    assert cli.ok("open", "--password-file", file, given=link_in(with_one.out)).out == CANARY.encode()
    assert [row["password"] for row in trail(cli, which)].count(True) == 1


def test_the_link_alone_and_all_of_it_as_json(cli: Cli, which: str) -> None:
    alone = cli.ok("ticket", "send", which, "--link-only", given=CANARY)
    assert LINK.fullmatch(alone.line)
    assert cli.ok("open", given=alone.out).out == CANARY.encode()
    file = write(cli.folder, "key.pem", CANARY)
    found = json.loads(cli.ok("ticket", "send", which, file, "--json").out)
    assert set(found) == {"ticket", "ref", "link", "expires_at", "text"}
    assert found["link"] in found["text"]
    until = {row["ref"]: row["expires_at"] for row in trail(cli, which)}
    assert until[found["ref"]] == found["expires_at"]
    assert cli.ok("open", given=found["link"]).out == CANARY.encode()
    assert cli.run("ticket", "send", which, "--json", "--link-only", given=CANARY).code == 2


def test_the_password_is_asked_for_after_the_ticket_is_known(cli: Cli, which: str) -> None:
    with Terminal(cli, "ticket", "send", which, "--ask-password", stdin=CANARY.encode()) as terminal:
        for prompt in ("Password: ", "The same again: "):
            terminal.expect(prompt)
            terminal.type(PASSWORD + "\n")
        code, shown = terminal.ended()
    assert code == 0
    assert PASSWORD not in shown
    file = write(cli.folder, "pw", PASSWORD)
    assert cli.ok("open", "--password-file", file, given=link_in(shown.encode())).out == CANARY.encode()
    with Terminal(cli, "ticket", "send", "nowhere:1", "--ask-password") as terminal:
        code, shown = terminal.ended()
    assert code == 4
    assert "Password" not in shown
    assert "Type or paste" not in shown


# --- ask -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "greeting"), [("de", "Guten Tag,"), ("en", "Hello,")])
def test_a_customer_hands_in_and_the_agent_picks_up_once(
    cli: Cli, running: Web, which: str, language: str, greeting: str
) -> None:
    asked = cli.ok("ticket", "ask", which, "--form", "text", "--language", language)
    assert asked.out.startswith(greeting.encode())
    link = link_in(asked.out)
    assert "/r#" in link
    pick_up = asked.err.split()[-1]
    assert "/s#" in pick_up
    assert cli.run("open", given=pick_up).code == 7  # not answered yet
    hand_in(running, link)
    assert cli.ok("open", given=pick_up).out == CANARY.encode()
    assert cli.run("open", given=pick_up).code == 5
    [row] = trail(cli, which)
    assert (row["form"], row["state"], row["identity"]) == ("text", "opened", "not-checked")
    assert [event["type"] for event in row["events"]] == ["created", "submitted", "collected"]
    assert row["events"][-1]["by"] == "anna"


def test_picking_up_is_for_agents(cli: Cli, running: Web, tokens: Tokens, which: str) -> None:
    asked = cli.ok("ticket", "ask", which, "--form", "text")
    hand_in(running, link_in(asked.out))
    pick_up = asked.err.split()[-1]
    customer, elsewhere = (
        tokens.add("pick-up-customer", "customer", ("Kunde GmbH",)),
        tokens.add("pick-up-elsewhere", "agent", desks=("rt",)),
    )
    for token in (customer, elsewhere):
        path = write(cli.folder, "other-token", token)
        assert cli.run("open", "--api-key-file", path, given=pick_up).code == 8
    assert cli.ok("open", given=pick_up).out == CANARY.encode()


def test_the_pick_up_file_is_new_and_private(cli: Cli, running: Web, which: str) -> None:
    path = cli.folder / "pick-up"
    asked = cli.ok("ticket", "ask", which, "--form", "text", "--pick-up", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    pick_up = path.read_text()
    assert pick_up.strip() not in asked.out.decode() + asked.err
    again = cli.run("ticket", "ask", which, "--form", "text", "--pick-up", str(path))
    assert (again.code, again.out) == (9, b"")
    assert path.read_text() == pick_up
    assert len(trail(cli, which)) == 1
    hand_in(running, link_in(asked.out))
    assert cli.ok("open", str(path)).out == CANARY.encode()


def test_asking_as_json_and_how_the_customer_was_identified(cli: Cli, running: Web, which: str) -> None:
    how = ("--identity", "phone-password", "--expires", "2h")
    found = json.loads(cli.ok("ticket", "ask", which, "--form", "server-order", *how, "--json").out)
    assert set(found) == {"ticket", "ref", "link", "expires_at", "text", "pick_up"}
    request = envelope.read_request_link(found["link"])
    bearer = {"Authorization": f"Bearer {b64(request.answer_token())}"}
    shown = running.client().get(f"/api/v1/requests/{b64(request.id)}/form", **bearer).json
    assert (shown["ticket"], shown["asked_by"], shown["checked"]) == (which, "anna", "phone-password")
    assert shown["expires_at"] == found["expires_at"]
    [row] = trail(cli, which)
    assert (row["ref"], row["identity"]) == (found["ref"], "phone-password")
    kept = ("--pick-up", str(cli.folder / "pick-up"), "--json")
    assert "pick_up" not in json.loads(cli.ok("ticket", "ask", which, "--form", "text", *kept).out)


def test_a_form_that_is_not_there_is_refused_with_those_that_are(cli: Cli, which: str) -> None:
    path = cli.folder / "pick-up"
    ended = cli.run("ticket", "ask", which, "--form", CANARY, "--pick-up", str(path))
    assert ended.code == 8
    assert "server-order" in ended.err
    assert CANARY not in ended.err
    assert not path.exists()
    assert trail(cli, which) == []


def test_a_desk_without_notes_is_told_before_anything_is_asked(cli: Cli, which: str) -> None:
    ended = cli.run("ticket", "ask", which, "--form", "text", "--note")
    assert (ended.code, ended.out) == (8, b"")
    assert "no notes" in ended.err
    assert trail(cli, which) == []


def test_the_reference_told_is_the_new_links_own_even_within_a_second(
    agent: str, running: Web, which: str
) -> None:
    remote = Remote(Client(Origin.parse(running.url), api_key=agent), Reference.read(which))

    def make(expires_in: int = 3600) -> Created:
        key = envelope.new_key()
        more = {"expires_in": expires_in, "label": which}
        return remote.client.create(key, sealed(key, Payload(b"x"), "") | more)

    for _ in range(20):
        before = remote.page()[0]
        first, between, second = make(), remote.page()[0], make()
        if first.fields["expires_at"] == second.fields["expires_at"]:
            break
    both = {row.ref for row in remote.page()[0].links} - {row.ref for row in before.links}
    [late] = remote.refs(second, "secret", between)
    assert late in both - {row.ref for row in between.links}
    assert set(remote.refs(second, "secret", before)) == both  # whose is whose, nobody could say
    assert len(both) == 2
    [other] = remote.refs(make(7200), "secret", before)
    assert other not in both
    assert remote.refs(second, "request", before) == []


# --- list, revoke, unlock ------------------------------------------------------------------------------


def test_the_list_tells_the_latest_link_first(cli: Cli, which: str) -> None:
    assert cli.ok("ticket", "list", which).line == f"{which}\topen"
    cli.ok("ticket", "send", which, given=CANARY)
    sent = time.time()
    wait_until(lambda: int(time.time()) > int(sent))  # within a second nothing is the latest
    cli.ok("ticket", "ask", which, "--form", "access", "--identity", "known-address")
    lines = [line.split("\t") for line in cli.ok("ticket", "list", which).line.split("\n")]
    assert [line[1:3] for line in lines if line[0] not in ("", which)] == [
        ["request", "waiting"],
        ["secret", "sealed"],
    ]
    assert lines[1][4:] == ["access", "known-address"]
    assert lines[2][2:] == ["created", "anna"]
    assert datetime.fromisoformat(lines[2][1]).year >= 2024


def test_revoking_by_reference(cli: Cli, which: str) -> None:
    found = json.loads(cli.ok("ticket", "send", which, "--json", given=CANARY).out)
    for ref in (found["ref"], found["ref"].lower()):  # may be repeated
        assert cli.ok("ticket", "revoke", which, ref).out.startswith(
            f"{found['ref']}\tsecret\trevoked".encode()
        )
    assert cli.run("open", given=found["link"]).code == 5
    opened = json.loads(cli.ok("ticket", "send", which, "--json", given=CANARY).out)
    cli.ok("open", given=opened["link"])
    late = cli.run("ticket", "revoke", which, opened["ref"])
    assert late.code == 5
    assert "opened" in late.err


def test_unlocking_by_reference(cli: Cli, which: str) -> None:
    right, wrong = write(cli.folder, "right", PASSWORD), write(cli.folder, "wrong", "nein")
    sent = cli.ok("ticket", "send", which, "--password-file", right, "--json", given=CANARY)
    found = json.loads(sent.out)
    assert cli.run("open", "--password-file", wrong, given=found["link"]).code == 6
    assert trail(cli, which)[0]["state"] == "locked"
    shown = json.loads(cli.ok("ticket", "unlock", which, found["ref"], "--json").out)
    assert (shown["ref"], shown["state"]) == (found["ref"], "sealed")
    assert cli.run("ticket", "unlock", which, found["ref"]).code == 8
    assert cli.ok("open", "--password-file", right, given=found["link"]).out == CANARY.encode()


def test_a_reference_of_another_ticket_is_exit_4(cli: Cli, which: str) -> None:
    found = json.loads(cli.ok("ticket", "send", which, "--json", given=CANARY).out)
    for command in ("revoke", "unlock"):
        assert cli.run("ticket", command, f"local:{next(NUMBERS)}", found["ref"]).code == 4
    assert trail(cli, which)[0]["state"] == "sealed"


# --- who may -------------------------------------------------------------------------------------------


def test_a_foreign_desk_and_one_that_is_not_there_are_one_and_the_same(
    cli: Cli, tokens: Tokens, which: str, running: Web, tmp_path: Path
) -> None:
    made = json.loads(cli.ok("ticket", "send", which, "--json", given=CANARY).out)
    foreign = told(Cli(tmp_path / "foreign"), running.url, tokens.add("foreign", "agent", desks=("rt",)))
    customer = told(Cli(tmp_path / "customer"), running.url, tokens.add("kim", "customer", ("Kunde GmbH",)))
    path = tmp_path / "pick-up"
    commands = (
        ("send",),
        ("send", "--link-only"),
        ("ask", "--form", "text", "--pick-up", str(path)),
        ("list",),
        ("revoke", made["ref"]),
        ("unlock", made["ref"]),
    )
    for command, *more in commands:
        there = [each.run("ticket", command, which, *more, given=CANARY) for each in (foreign, customer)]
        nowhere = cli.run("ticket", command, "nowhere:1", *more, given=CANARY)
        assert {(ended.code, ended.out, ended.err) for ended in there} == {(4, b"", nowhere.err)}
        assert nowhere.code == 4
    assert not path.exists()
    assert [(row["ref"], row["state"]) for row in trail(cli, which)] == [(made["ref"], "sealed")]


def test_a_wrong_token_and_none_are_exit_8(cli: Cli, wire: Wire, which: str) -> None:
    for arguments in (("send", which), ("ask", which, "--form", "text"), ("list", which)):
        cli.settings["SECRETSVC_API_KEY_FILE"] = write(cli.folder, "wrong", "sst_" + "x" * 43)
        ended = cli.run("ticket", *arguments, given=CANARY)
        assert (ended.code, ended.out) == (8, b"")
        assert "x" * 20 not in ended.err
        del cli.settings["SECRETSVC_API_KEY_FILE"]
        cli.settings["SECRETSVC_SERVER"], before = wire.url, cli.settings["SECRETSVC_SERVER"]
        ended = cli.run("ticket", *arguments, given=CANARY)
        assert ended.code == 8
        assert "--api-key-file" in ended.err
        cli.settings["SECRETSVC_SERVER"] = before
    assert wire.requests == []


def test_a_token_is_not_sent_over_plain_http_to_another_machine(cli: Cli, which: str) -> None:
    for arguments in (("send", which), ("ask", which, "--form", "text"), ("list", which)):
        ended = cli.run("ticket", *arguments, "--server", "http://192.0.2.1", given=CANARY)
        assert ended.code == 8
        assert "https" in ended.err


# --- what reaches the service, the screen and the process list -----------------------------------------


def test_the_service_gets_no_link_no_reply_and_no_secret(
    cli: Cli, running: Web, wire: Wire, which: str
) -> None:
    cli.settings["SECRETSVC_SERVER"] = wire.url
    password = write(cli.folder, "pw", PASSWORD)
    sent = json.loads(cli.ok("ticket", "send", which, "--password-file", password, "--json", given=CANARY).out)
    asked = json.loads(cli.ok("ticket", "ask", which, "--form", "text", "--json").out)
    cli.ok("ticket", "list", which)
    cli.ok("ticket", "revoke", which, sent["ref"])
    said = b"".join(wire.requests)
    log = running.log.read_bytes()
    keys = [envelope.read_link(sent["link"]), envelope.read_link(asked["pick_up"])]
    for key in keys:  # what was sent belongs to these links, without saying them
        assert b64(envelope.derive_handles(key).id).encode() in said
    held = [*keys, envelope.request_public_key(keys[1])]
    fragments = [found["link"].partition("#")[2].encode() for found in (sent, asked)]
    for canary in (CANARY.encode(), PASSWORD.encode(), *held, *(b64(key).encode() for key in held), *fragments):
        assert canary not in said
        assert canary not in log
    for line in (*sent["text"].splitlines(), *asked["text"].splitlines()):
        assert not line or line.encode() not in said


@pytest.mark.parametrize("command", ["send", "ask", "list", "revoke", "unlock"])
def test_what_was_typed_is_never_repeated_nor_sent(cli: Cli, wire: Wire, which: str, command: str) -> None:
    cli.settings["SECRETSVC_SERVER"] = wire.url
    link = f"{wire.url}/s#{b64(envelope.new_key())}"
    ref = ["ABCDFG"] if command in ("revoke", "unlock") else []
    form = ["--form", "text"] if command == "ask" else []
    for typed in (CANARY, link):
        codes = {cli.run("ticket", command, typed, *ref, *form, given="x").code}
        codes.add(cli.run("ticket", command, which, *ref, *form, f"--{CANARY}", given="x").code)
        assert codes == {2}
        if ref:
            ended = cli.run("ticket", command, which, typed)
            assert ended.code in (2, 4)
            assert typed not in ended.err
        if command == "send":
            ended = cli.run("ticket", command, which, typed)
            assert ended.code == (2 if typed == link else 3)
            assert typed not in ended.err
        if command == "ask":
            ended = cli.run("ticket", command, which, "--form", typed)
            assert ended.code == (2 if typed == link else 8)
            assert typed not in ended.err
    assert not any(b64(envelope.read_link(link)).encode() in request for request in wire.requests)
    assert not any(CANARY.encode() in request for request in wire.requests)


def test_what_the_service_says_is_shown_without_control_characters(cli: Cli, wire: Wire, which: str) -> None:
    cli.settings["SECRETSVC_SERVER"] = wire.url
    evil = "\x1b[2J\u202eevil\x07"
    row = {"ref": "ABCDFG", "kind": "secret", "state": evil, "created_at": "x", "expires_at": evil, "by": evil}
    row |= {"events": [{"type": evil, "at": evil, "by": evil}]}
    page = {
        "ticket": which,
        "status": evil,
        "organisation": evil,
        "links": [row],
        "confirm": True,
        "shared": True,
    }
    said = reply(200, json.dumps(page), "application/json")
    wire.answer(b"GET /api/v1/tickets/", said)
    listed = cli.ok("ticket", "list", which)
    assert "evil" in listed.line
    assert listed.line.replace("\n", "").replace("\t", "").isprintable()
    languages = {"en": {"false": {"plain": f"{evil}\u00a0\n{{link}}\n{'x' * 1000}\n{{until}}\n"}}}
    wire.answer(b"/texts ", reply(200, json.dumps({"secret": languages}), "application/json"))
    wire.answer(b"GET /api/v1/tickets/", said)
    sent = cli.ok("ticket", "send", which, given=CANARY)
    assert "evil" in sent.err  # the warnings name the organisation
    assert sent.err.replace("\n", "").isprintable()
    assert sent.out.decode().replace("\n", "").isprintable()
    assert b"x" * 1000 in sent.out


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"secret": {"en": {"false": {"plain": "no slot"}}}},
        {"secret": {"en": {"false": {"html": "{link}"}}}},
        {"secret": {"en": {"false": {"plain": 7}}}},
    ],
)
def test_texts_that_hold_no_link_are_refused_before_anything_is_made(
    cli: Cli, wire: Wire, which: str, texts: dict[str, Any]
) -> None:
    cli.settings["SECRETSVC_SERVER"] = wire.url
    wire.answer(b"/texts ", reply(200, json.dumps(texts), "application/json"))
    ended = cli.run("ticket", "send", which, given=CANARY)
    assert (ended.code, ended.out) == (1, b"")
    assert wire.said(b"POST ") == []


# --- what goes wrong -----------------------------------------------------------------------------------


def test_a_service_that_is_not_there_is_exit_7(cli: Cli, which: str) -> None:
    cli.settings["SECRETSVC_SERVER"] = f"http://127.0.0.1:{free_port()}"
    path = cli.folder / "pick-up"
    for arguments in (
        ("send", which),
        ("ask", which, "--form", "text", "--pick-up", str(path)),
        ("list", which),
    ):
        assert cli.run("ticket", *arguments, given=CANARY).code == 7
    assert not path.exists()


def test_a_reply_that_could_not_be_written_is_taken_back(cli: Cli, which: str) -> None:
    path = cli.folder / "pick-up"
    for arguments in (("send", which), ("ask", which, "--form", "text", "--pick-up", str(path))):
        with Path("/dev/full").open("wb") as full:
            ended = cli.run("ticket", *arguments, given=CANARY, stdout=full)
        assert ended.code == 9
        assert "revoked again" in ended.err
        assert not LINK.search(ended.err)
    assert not path.exists()
    assert [row["state"] for row in trail(cli, which)] == ["revoked", "revoked"]


def test_a_reply_that_could_not_even_be_taken_back_is_told(cli: Cli, wire: Wire, which: str) -> None:
    cli.settings["SECRETSVC_SERVER"] = wire.url
    wire.answer(b"/revoke ", reply(503, "", "text/plain", Retry_After="99"))
    with Path("/dev/full").open("wb") as full:
        ended = cli.run("ticket", "send", which, given=CANARY, stdout=full)
    assert ended.code == 9
    assert "ticket list" in ended.err
    assert trail(cli, which)[0]["state"] == "sealed"


def test_a_lost_answer_makes_one_request(cli: Cli, wire: Wire, which: str) -> None:
    cli.settings["SECRETSVC_SERVER"] = wire.url
    wire.lose(b"POST /api/v1/requests ", times=2)
    cli.ok("ticket", "ask", which, "--form", "text")
    posts = wire.said(b"POST /api/v1/requests ")
    assert len(posts) == 3
    assert len(set(posts)) == 1
    assert len(trail(cli, which)) == 1


def test_a_list_that_cannot_be_read_again_costs_the_reference_alone(cli: Cli, wire: Wire, which: str) -> None:
    cli.settings["SECRETSVC_SERVER"] = wire.url
    page = json.dumps({"ticket": which, "status": "open", "links": []})
    wire.answer(b"GET /api/v1/tickets/", reply(200, page, "application/json"))
    wire.answer(b"GET /api/v1/tickets/", reply(503, "", "text/plain", Retry_After="99"), times=2)
    wire.answer(b"/texts ", reply(200, "{}", "application/json"))
    sent = cli.ok("ticket", "send", which, "--link-only", given=CANARY)
    assert sent.err == ""
    assert cli.ok("open", given=sent.out).out == CANARY.encode()


def test_a_call_that_takes_a_helpdesk_has_a_time_of_its_own(
    agent: str, wire: Wire, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert protocol.DESK_TIMEOUT > 3 * BUSY  # reading the ticket, looking for the note, writing it
    monkeypatch.setattr(protocol, "DESK_TIMEOUT", 0.3)
    monkeypatch.setattr(protocol, "PATIENCE", 0.1)
    remote = Remote(Client(Origin.parse(wire.url), api_key=agent), Reference.read(which))
    go = wire.hold(b"GET /api/v1/tickets/")
    began = time.monotonic()
    with pytest.raises(Unreachable):
        remote.page()
    assert time.monotonic() - began < protocol.TIMEOUT / 2
    go.set()


# --- a helpdesk ----------------------------------------------------------------------------------------


def test_a_helpdesk_that_does_not_answer_is_exit_7_and_nothing_is_made(
    servers: Backends, agent: str, tmp_path: Path
) -> None:
    token = write(tmp_path, "rt-token", "1-23-abc")
    url = f"http://127.0.0.1:{free_port()}"
    conf = write(tmp_path, "t.toml", f'[desks.rt]\nkind = "rt"\nurl = "{url}"\ntoken_file = "{token}"\n')
    with web(servers, tmp_path, tickets_file=conf) as running:
        cli = told(Cli(tmp_path / "home"), running.url, agent)
        for arguments in (("send", "rt:1"), ("ask", "rt:1", "--form", "text"), ("list", "rt:1")):
            ended = cli.run("ticket", *arguments, given=CANARY)
            assert (ended.code, ended.out) == (7, b"")
            assert "helpdesk" in ended.err
    assert servers.store.client().keys("ss:t:{rt:1}") == []


@pytest.fixture
def supported(servers: Backends, agent: str, rt: RT, tmp_path: Path) -> Iterator[Cli]:
    """Anna's command line at a service whose desk ``rt`` is a real Request Tracker."""
    conf = write_config(tmp_path, rt, 'agencies = ["Agentur AG"]\n')
    with web(servers, tmp_path, tickets_file=str(conf)) as running:
        yield told(Cli(tmp_path / "home"), running.url, agent)


def test_the_desk_knows_the_language_and_who_else_reads_along(supported: Cli, rt: RT) -> None:
    which = f"rt:{rt.create('FTP fails', 'kim@kunde.example')}"
    sent = supported.ok("ticket", "send", which, given=CANARY)
    assert sent.out.startswith(b"Guten Tag,")
    assert json.loads(supported.ok("state", "--json", given=link_in(sent.out)).out)["language"] == "de"
    assert "everybody at Kunde GmbH can read this ticket" in sent.err
    file = write(supported.folder, "pw", PASSWORD)
    quiet = supported.ok("ticket", "send", which, "--password-file", file, "--language", "en", given=CANARY)
    assert quiet.out.startswith(b"Hello,")
    assert "warning" not in quiet.err
    assert supported.ok("ticket", "list", which).out.startswith(f"{which}\topen\tKunde GmbH\n".encode())
    agency = rt.create("For somebody", "ada@agentur.example")
    asked = supported.ok("ticket", "ask", f"rt:{agency}", "--form", "text")
    assert "Agentur AG acts for others" in asked.err


def test_a_pick_up_link_in_a_note_is_for_a_colleague_and_not_for_the_customer(
    supported: Cli, rt: RT, tokens: Tokens, running: Web
) -> None:
    number = rt.create("FTP fails", "kim@kunde.example")
    asked = supported.ok("ticket", "ask", f"rt:{number}", "--form", "text", "--note")
    [(_, note)] = rt.notes(number)
    pick_up = link_in(note.encode())
    assert "/s#" in pick_up
    assert pick_up not in asked.out.decode() + asked.err
    assert rt.written(number, "Comment", "kim@kunde.example") == []
    hand_in(running, link_in(asked.out))
    token = tokens.add("ben", "agent", desks=("rt",))
    ben = told(Cli(supported.folder.parent / "ben"), supported.settings["SECRETSVC_SERVER"], token)
    assert ben.ok("open", given=pick_up).out == CANARY.encode()
    assert trail(supported, f"rt:{number}")[0]["events"][-1]["by"] == "ben"


def test_a_note_goes_to_the_right_one_of_several_references(supported: Cli, rt: RT, agent: str) -> None:
    number = rt.create("FTP fails", "kim@kunde.example")
    found = [
        json.loads(supported.ok("ticket", "ask", f"rt:{number}", "--form", form, "--json").out)
        for form in ("text", "access")
    ]
    refs = {row["form"]: row["ref"] for row in trail(supported, f"rt:{number}")}
    client = Client(Origin.parse(supported.settings["SECRETSVC_SERVER"]), api_key=agent)
    remote = Remote(client, Reference("rt", number))
    pick_up = found[1]["pick_up"]
    assert remote.note([refs["text"], refs["access"]], pick_up) == refs["access"]
    assert [link_in(text.encode()) for _, text in rt.notes(number)] == [pick_up]
    with pytest.raises(Problem):
        remote.note([refs["text"]], pick_up)


def test_what_no_note_can_be_written_for_is_taken_back(supported: Cli, rt: RT) -> None:
    which = f"rt:{rt.create('FTP fails', 'kim@kunde.example')}"
    supported.ok("ticket", "list", which)  # so that the service knows it while the desk is silent
    rt.pause()
    path = supported.folder / "pick-up"
    ended = supported.run("ticket", "ask", which, "--form", "text", "--note", "--pick-up", str(path))
    rt.resume()
    assert (ended.code, ended.out) == (7, b"")
    assert "revoked again" in ended.err
    assert not path.exists()
    assert [row["state"] for row in trail(supported, which)] == ["revoked"]


# --- where it comes from -------------------------------------------------------------------------------


def test_the_console_script_is_the_whole_command_line(cli: Cli) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["scripts"]["secretsvc"].partition(":")
    found = import_module(module)
    assert callable(getattr(found, name))
    assert module == "secretsvc.__main__"  # what ``cli`` runs, too
    for command in found.TICKETS:
        assert "Usage: secretsvc" in cli.ok(command, "--help").out.decode()
    shown = cli.ok("--help").out.decode()
    assert re.findall(r"^  (\w+) ", shown.partition("Commands:")[2].partition("Exit codes:")[0], re.M) == [
        *("send", "open", "state", "revoke", "unlock"),
        *("ticket", "people", "keys", "tokens", "ledger"),
    ]


def test_the_core_runs_without_the_tickets(tmp_path: Path) -> None:
    program = (
        "import sys; from secretsvc.cli import main; code = main(['ticket', 'list', 'local:1']);"
        "sys.exit(99 if any(name.startswith('secretsvc.tickets') for name in sys.modules) else code)"
    )
    environment = {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True)
    assert ended.returncode == 2, ended.stderr
