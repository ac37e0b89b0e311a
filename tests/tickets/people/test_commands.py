"""The operator's commands, and the first agent's link."""

from __future__ import annotations

import contextlib
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from secretsvc.connections import open_node
from secretsvc.errors import StoreUnavailable
from secretsvc.tickets.sessions import LinkSpent, Sessions, link
from secretsvc.tokens import Person
from tests.harness import ROOT, Backends
from tests.tickets.people.steps import ANNA, TOKEN

RUN = """
import sys
from secretsvc.cli import cli, main
from secretsvc.tickets.commands import people
if "people" not in cli.commands:
    cli.add_command(people)
sys.exit(main(sys.argv[1:]))
"""
FIRST = """
from secretsvc import settings
from secretsvc.tickets.commands import tell_first_link
from secretsvc.web import logs
conf = settings.load()
logs.configure("debug")
tell_first_link(conf)
"""
PREFIX = "http://desk.example/desk/sign-in#"


@pytest.fixture
def sessions(backs: Backends) -> Iterator[Sessions]:
    node = open_node(backs.store.url, connections=4, unavailable=StoreUnavailable)
    yield Sessions(node)
    node.close()


def run(
    backs: Backends, code: str, *arguments: str, stdout: int = subprocess.PIPE, **more: str
) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("SECRETSVC_")}
    env = {**own, **backs.environment(public_url="http://desk.example", **more), "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", code, *arguments]
    found = subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60
    )
    assert "Traceback" not in found.stderr, found.stderr
    return found


def people(backs: Backends, *arguments: str, code: int = 0) -> str:
    found = run(backs, RUN, "people", *arguments)
    assert found.returncode == code, found.stderr
    return found.stdout if code == 0 else found.stderr


def test_an_invitation_lets_in_whom_the_operator_says(backs: Backends, sessions: Sessions) -> None:
    more = ("--organisation", "Example GmbH", "--organisation", "Zwei", "--email", "kim@example.org")
    printed = people(backs, "invite", "Kim K", "--role", "customer", *more)
    assert printed.startswith(PREFIX)
    assert printed.count("\n") == 1
    token = printed.removeprefix(PREFIX).strip()
    assert TOKEN.fullmatch(token)
    found = sessions.redeem(token)
    assert (found.name, found.role, found.organisations) == ("Kim K", "customer", ("Example GmbH", "Zwei"))
    assert (found.email, found.desks) == ("kim@example.org", ())
    with pytest.raises(LinkSpent):
        sessions.redeem(token)


def test_an_agent_may_be_one_of_some_desks_alone(backs: Backends, sessions: Sessions) -> None:
    printed = people(backs, "invite", "Anna", "--role", "agent", "--desk", "local")
    assert sessions.redeem(printed.removeprefix(PREFIX).strip()).desks == ("local",)
    assert "--desk: expected local." in people(
        backs, "invite", "Anna", "--role", "agent", "--desk", "rt", code=2
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Anna", "--role", "chief"), "--role: expected agent or customer."),
        (("Anna",), "--role: "),
        (("", "--role", "agent"), "NAME: "),
        (("A\nB", "--role", "agent"), "NAME: "),
        (("Anna", "--role", "agent", "--organisation", ""), "--organisation: "),
        (("Anna", "--role", "customer", "--desk", "local"), "--desk: "),
        (("Anna", "--role", "agent", "--email", "anna"), "--email: "),
        (("Anna", "--role", "agent", "--expires", "9y"), "--expires: "),
    ],
)
def test_a_malformed_invitation_names_what_is_wrong(
    backs: Backends, sessions: Sessions, words: tuple[str, ...], said: str
) -> None:
    assert said in people(backs, "invite", *words, code=2)
    assert sessions.all() == []


def test_a_link_that_cannot_be_printed_is_void(backs: Backends, sessions: Sessions) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        assert run(backs, RUN, "people", "invite", "Anna", "--role", "agent", stdout=full).returncode == 9
    finally:
        os.close(full)
    assert sessions.all() == []


def test_the_list_names_people_and_nothing_that_signs_in(backs: Backends, sessions: Sessions) -> None:
    token = sessions.begin(Person("Kim", "customer", ("Example",), "kim-id"))
    unused = sessions.invite(ANNA)
    listed = people(backs, "list")
    assert "Kim\tcustomer\tkim-id\tsigned in\t" in listed
    assert "Anna\tagent\tanna-id\tlink not used\t" in listed
    assert token not in listed
    assert unused not in listed


@pytest.mark.parametrize("who", ["Anna", "anna-id"])
def test_signing_somebody_out_ends_all_of_theirs(backs: Backends, sessions: Sessions, who: str) -> None:
    mine = [sessions.begin(ANNA), sessions.begin(ANNA)]
    unused = sessions.invite(ANNA)
    other = sessions.begin(Person("Kim", "customer", id="kim-id"))
    people(backs, "sign-out", who)
    assert [sessions.find(token) for token in mine] == [None, None]
    with pytest.raises(LinkSpent):
        sessions.redeem(unused)
    assert sessions.find(other) is not None
    assert "Nobody of this name or id" in people(backs, "sign-out", who, code=4)


def test_the_first_link_goes_to_a_file_for_its_owner_alone(
    backs: Backends, sessions: Sessions, folder: Path
) -> None:
    path = folder / "sign-in"
    path.write_text("left over")
    path.chmod(0o644)
    found = run(backs, FIRST, data_dir=str(folder))
    assert found.stdout == ""
    text = path.read_text()
    assert text.startswith(PREFIX)
    token = text.removeprefix(PREFIX).strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert str(path) in found.stderr
    assert token not in found.stderr
    assert sessions.redeem(token).agent


def test_the_first_link_goes_to_the_terminal_where_there_is_one(
    backs: Backends, sessions: Sessions, folder: Path
) -> None:
    own, theirs = pty.openpty()
    try:
        found = run(backs, FIRST, data_dir=str(folder), stdout=theirs)
        shown = os.read(own, 4096).decode()
    finally:
        os.close(own)
        os.close(theirs)
    token = shown.partition(PREFIX)[2].strip()
    assert sessions.redeem(token).agent
    assert token not in found.stderr
    assert not (folder / "sign-in").exists()


def test_there_is_no_first_link_once_somebody_has_signed_in(
    backs: Backends, sessions: Sessions, folder: Path
) -> None:
    run(backs, FIRST, data_dir=str(folder))
    assert (folder / "sign-in").exists()
    sessions.begin(ANNA)
    assert run(backs, FIRST, data_dir=str(folder)).stdout == ""
    assert not (folder / "sign-in").exists()


def test_a_link_is_never_followed_to_another_file(backs: Backends, sessions: Sessions, folder: Path) -> None:
    (folder / "elsewhere").write_text("kept")
    with contextlib.suppress(FileNotFoundError):
        (folder / "sign-in").symlink_to(folder / "elsewhere")
    run(backs, FIRST, data_dir=str(folder))
    assert (folder / "elsewhere").read_text() == "kept"
    assert not (folder / "sign-in").is_symlink()


def test_a_link_is_made_for_the_public_address() -> None:
    assert link("https://desk.example", "x") == "https://desk.example/desk/sign-in#x"
