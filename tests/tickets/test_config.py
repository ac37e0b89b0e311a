"""The ticket module's file of settings: every key is documented, and every mistake is named by its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from secretsvc.errors import Misconfigured
from secretsvc.tickets import config
from tests.harness import ROOT

RT = '[desks.rt]\nkind = "rt"\nurl = "https://rt.example.org"\ntoken_file = "t"\n'
HOOK = '[[webhooks]]\nname = "a"\nurl = "https://example.org"\nsecret_file = "s"\n'


def load(folder: Path, text: str) -> config.Config:
    path = folder / "tickets.toml"
    path.write_text(text)
    return config.load(str(path))


def test_every_key_is_documented() -> None:
    text = "".join((ROOT / "docs" / f"{name}.md").read_text() for name in ("desks", "signin", "webhooks"))
    for section, fields in config.described().items():
        for field in fields:
            assert re.search(rf"\b{field}\b", text), f"{section}.{field}"


def test_without_a_file_there_is_one_local_desk() -> None:
    assert config.load("").desks == {"local": config.Local()}


def test_the_documents_example_is_taken(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "desks.md").read_text(), re.S)
    found = load(tmp_path, example)
    assert isinstance(found.desks["rt"], config.RequestTracker)
    assert (found.orders, found.agencies) == ("rt", ("Agency Ltd",))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("nosuch = 1\n", "nosuch"),
        ("desks = {}\n", "desks"),
        ("x = \n", "not valid TOML"),
        (RT.replace("token_file", "token_fil"), "desks.rt"),
        (RT.replace('"rt"\nurl', '"nosuch"\nurl'), "desks.rt.kind"),
        (RT.replace("https://rt.example.org", "rt.example.org"), "desks.rt.url"),
        (RT.replace("https://rt", "https://user:pw@rt"), "desks.rt.url"),
        (RT + "timeout = 0\n", "desks.rt.timeout"),
        (RT + "settles = 30\n", "desks.rt.settles"),
        (RT + "language = 'fr'\n", "desks.rt.language"),
        (RT.replace("desks.rt", "desks.RT"), "desks"),
        (RT.replace("desks.rt", "desks.sign-in"), "desks"),
        ('orders = "rt"\n', "orders"),
        ('orders = "local"\n[desks.local]\nkind = "local"\n', "orders"),
        ('allow_networks = ["10.0.0.1/8"]\n', "allow_networks"),
        (HOOK + HOOK, "webhooks"),
        ("[mail]\nhost = 'x'\nsender = 'nobody'\n", "mail.sender"),
        ("[sign_in]\nissuer = 'https://x'\n", "sign_in"),
    ],
)
def test_a_mistake_is_named_by_its_place(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(Misconfigured, match=re.escape(place)) as refused:
        load(tmp_path, text)
    assert "pw@" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        config.load(str(tmp_path / "nosuch.toml"))


@pytest.mark.parametrize("content", ["", "two\nlines\n", "with space\n", "\x00"])
def test_a_secret_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret"
    path.write_text(content)
    with pytest.raises(Misconfigured, match=r"desks\.rt\.token_file"):
        config.secret(str(path), "desks.rt.token_file")
