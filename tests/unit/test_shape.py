"""Dependencies run one way: each module imports only what stands above it in the package's map."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import secretsvc
import secretsvc.tickets
from tests.harness import ROOT

PACKAGE = ROOT / "secretsvc"
ORDER = re.findall(r"^``(\w+)``", secretsvc.__doc__ or "", re.M)
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))
# Who may use what from outside.
ONLY = {
    "flask": {"web", "tickets"},
    "werkzeug": {"web", "tickets"},
    "limits": {"web"},
    "redis": {"rules", "wire", "node", "cluster", "connections", "embedded"},
    "click": {"cli", "tickets"},
    "argon2": {"atrest"},
}


def place(path: Path) -> str:
    """The module's name in the map: a package counts as one."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """Absolute names of everything a module imports."""
    here = ("secretsvc", *path.relative_to(PACKAGE).with_suffix("").parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level]) if node.level else ""
            name = ".".join(filter(None, (base, node.module)))
            found |= {f"{name}.{alias.name}" for alias in node.names}
    return found


def test_the_map_names_every_module() -> None:
    assert {place(path) for path in MODULES} == set(ORDER)


def test_the_tickets_have_a_map_of_their_own_and_keep_to_it() -> None:
    order = re.findall(r"^``(\w+)``", secretsvc.tickets.__doc__ or "", re.M)
    folder = PACKAGE / "tickets"
    paths = [path for path in MODULES if folder in path.parents]
    assert {path.relative_to(folder).with_suffix("").parts[0] for path in paths} == set(order)
    for path in paths:
        mine = path.relative_to(folder).with_suffix("").parts[0]
        for name in imports(path):
            used = name.removeprefix("secretsvc.tickets.").split(".")[0]
            if name.startswith("secretsvc.tickets.") and used in order and used != mine:
                assert order.index(used) < order.index(mine), f"{path.name} uses {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_uses_only_what_stands_above_it(path: Path) -> None:
    mine = ORDER.index(place(path))
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "secretsvc" and rest.split(".")[0] in ORDER:
            used = rest.split(".")[0]
            assert used == place(path) or ORDER.index(used) < mine, f"{path.name} uses {name}"
        assert top != "app", path
        assert place(path) in ONLY.get(top, {place(path)}), f"{path.name} uses {top}"


def test_every_rule_in_lua_says_its_keys_arguments_and_answer() -> None:
    rules = sorted((PACKAGE / "lua").glob("*.lua"))
    assert len(rules) == 17
    for rule in rules:
        text = rule.read_text()
        assert text.startswith("#!lua"), rule
        for word in ("-- KEYS ", "-- ARGV ", "-- returns "):
            assert word in text, (rule, word)
