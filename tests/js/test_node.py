"""The pages' modules under Node's own test runner, and that the two halves of the format are twins."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from secretsvc import envelope
from tests.harness import ROOT
from tests.js import node as node_module
from tests.js.node import HERE, node

SUITES = sorted(HERE.glob("*.test.mjs"))
# What JavaScript has for Python's classes and for what is a method, a module or an error tree there.
ONLY_PYTHON = {"Handles", "RequestLink"}
ONLY_JAVASCRIPT = {"FormatError", "answerToken", "readAddress", "readPayload", "writePayload"}


def run_suite(path: Path) -> tuple[dict[str, int], str]:
    """Run one file of tests: Node's own counts, and what went wrong."""
    argv = [node(), "--test", "--test-reporter=tap", str(path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300)
    counts = {name: int(number) for name, number in re.findall(r"^# (\w+) (\d+)$", done.stdout, re.M)}
    # A file without tests passes as one test by its own name.
    counts["pass"] = counts.get("pass", 0) - len(
        re.findall(rf"^ok \d+ - {re.escape(str(path))}$", done.stdout, re.M)
    )
    failed = re.findall(r"^ *not ok .*(?:\n(?! *(?:not )?ok |# ).*)*", done.stdout, re.M)
    return counts, "\n".join((f"exit {done.returncode}", *failed, done.stderr))[:10_000]


def test_the_envelope_has_its_tests() -> None:
    assert "envelope.test.mjs" in [path.name for path in SUITES]


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.name)
def test_every_test_of_node_holds(path: Path, say: Callable[[str], None]) -> None:
    counts, said = run_suite(path)
    assert counts["pass"] > 0, said
    rest = {name: counts.get(name) for name in ("fail", "cancelled", "skipped", "todo")}
    assert rest == {"fail": 0, "cancelled": 0, "skipped": 0, "todo": 0}, said
    assert said.startswith("exit 0\n"), said
    say(f"{counts['pass']} held")


@pytest.mark.parametrize(
    "broken",
    [
        "test('x', () => { throw new Error(); });",
        "test.skip('x');",
        "test.todo('x');",
        "",
        "syntax error",
    ],
    ids=["failing", "skipped", "to do", "no test", "not JavaScript"],
)
def test_a_suite_that_does_not_hold_is_seen(broken: str, tmp_path: Path, say: Callable[[str], None]) -> None:
    path = tmp_path / "broken.test.mjs"
    path.write_text(f"import {{ test }} from 'node:test';\n{broken}\n")
    with pytest.raises(AssertionError):
        test_every_test_of_node_holds(path, say)


def test_missing_node_fails_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="apt install nodejs"):
        node()


def test_python_and_javascript_have_the_same_names() -> None:
    code = """Promise.all(process.argv.slice(1).map((url) => import(url))).then((modules) => (
      console.log(JSON.stringify(modules.flatMap((module) => Object.keys(module))))
    ))"""
    urls = [(ROOT / "static" / "js" / name).as_uri() for name in ("envelope.js", "answers.js")]
    found = subprocess.run([node(), "-e", code, *urls], capture_output=True, text=True, check=True)
    names = set(json.loads(found.stdout))
    in_camel_case = {re.sub(r"_(\w)", lambda letter: letter[1].upper(), name) for name in envelope.__all__}
    assert in_camel_case - names == ONLY_PYTHON
    assert names - in_camel_case == ONLY_JAVASCRIPT
