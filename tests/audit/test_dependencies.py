"""What we depend on: each with its reason, and none known to be vulnerable."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import ROOT

PINNED = ("requirements.txt", "tests/requirements.txt")
KNOWN = "jinja2==2.4.1\n"  # to have many holes, for as long as anybody keeps a list of them
ROW = re.compile(r"^\| ([a-z0-9-]+) \|(.*)\| ([^|]+) \|$", re.MULTILINE)


def pinned(name: str) -> set[str]:
    """The packages of a lock file."""
    return set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", (ROOT / name).read_text(), re.MULTILINE))


def audit(requirements: Path, *options: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, what was found about each package, and what else it said."""
    argv = [sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off", "--disable-pip"]
    try:
        done = subprocess.run(
            [*argv, *options, "--requirement", str(requirements)], capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        return 1, [], "no answer in two minutes"
    found = json.loads(done.stdout)["dependencies"] if done.stdout.startswith("{") else []
    return done.returncode, found, done.stderr


@pytest.fixture(scope="session")
def reachable(tmp_path_factory: pytest.TempPathFactory) -> bool:
    """Whether a hole that everybody knows is found: a source that knows of none proves nothing."""
    path = tmp_path_factory.mktemp("known") / "requirements.txt"
    path.write_text(KNOWN)
    return any(package.get("vulns") for package in audit(path, "--no-deps")[1])


@pytest.mark.parametrize("name", PINNED)
def test_no_dependency_is_known_to_be_vulnerable(
    name: str, reachable: bool, say: Callable[[str], None]
) -> None:
    if not reachable:
        say("pip-audit did not run: its source of known holes was not reached")
        pytest.skip("the source of known holes was not reached")
    code, found, said = audit(ROOT / name, "--strict", "--require-hashes")
    holes = {
        package["name"]: [hole["id"] for hole in package["vulns"]] for package in found if package["vulns"]
    }
    say(f"pip-audit: {len(found)} packages, {len(holes)} vulnerable")
    assert holes == {}
    assert code == 0, said
    assert len(found) > 20


def test_nothing_from_npm_is_part_of_the_product() -> None:
    """So that npm audit has nothing to look at."""
    files = subprocess.run(
        ["git", "ls-files", "*package.json", "*package-lock.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert files
    for file in files:
        found = json.loads((ROOT / file).read_text())
        assert not {name for name in found if "ependencies" in name}, file
    imports = [
        wanted
        for script in (ROOT / "static" / "js").rglob("*.js")
        for wanted in re.findall(r"""(?:from|import)\s*\(?["']([^"']+)["']""", script.read_text())
    ]
    assert len(imports) > 20
    assert [wanted for wanted in imports if not wanted.startswith(("./", "../"))] == []


def test_every_dependency_is_listed_with_its_reason_and_licence() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    rows = {
        name: (reason.strip(" |"), licence) for name, reason, licence in ROW.findall(text) if name != "package"
    }
    assert set(rows) == pinned("requirements.txt")
    assert all(reason and licence for reason, licence in rows.values())


def test_the_chosen_ones_are_those_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["embedded"]]
    ours = (ROOT / "docs" / "dependencies.md").read_text().partition("## What those bring along")[0]
    names = {name for name, _, _ in ROW.findall(ours)} - {"package"}
    assert names == {re.split(r"[^a-z0-9-]", each)[0] for each in wanted}
