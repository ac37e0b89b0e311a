"""Where in a TOML file something stands, so that a mistake can be named with its line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

Path = Sequence[str | int]


def line_of(text: str, path: Path) -> int:
    """The line, counted from 1, on which a value or table begins; of what surrounds it where it is absent.

    Args:
        text: valid TOML.
        path: keys, and places in arrays counted from 0, as in ``("groups", 0, "title", "de")``.
    """
    lines = _lines(text)
    wanted = tuple(path)
    while wanted and wanted not in lines:
        wanted = wanted[:-1]
    return lines.get(wanted, 1)


def _lines(text: str) -> dict[tuple[str | int, ...], int]:
    found: dict[tuple[str | int, ...], int] = {}
    arrays: dict[tuple[str | int, ...], int] = {}  # arrays of tables, with their last place
    table: tuple[str | int, ...] = ()

    def note(path: tuple[str | int, ...], value: Any, line: int) -> None:
        found.setdefault(path, line)
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(inner, dict | list):
                note((*path, key), inner, line)
            else:
                found.setdefault((*path, key), line)

    for line, statement, parsed in _statements(text):
        if not statement.startswith("["):
            note(table, parsed, line)
            continue
        keys, table = _keys(parsed), ()
        for depth, key in enumerate(keys, start=1):
            table = (*table, key)
            if depth == len(keys) and statement.startswith("[["):
                arrays[table] = arrays.get(table, -1) + 1
                found.setdefault(table, line)
            if table in arrays:
                table = (*table, arrays[table])
            found.setdefault(table, line)
    return found


def _keys(header: Any) -> list[str]:
    keys = []
    while header:
        if isinstance(header, list):
            header = header[0]
            continue
        [(key, header)] = header.items()
        keys.append(key)
    return keys


def _statements(text: str) -> Iterator[tuple[int, str, Any]]:
    """Each header and ``key = value`` with its first line: the fewest lines that are TOML by themselves."""
    start, waiting = 1, ""
    for number, line in enumerate(text.split("\n"), start=1):
        waiting += line + "\n"
        try:
            parsed = tomllib.loads(waiting)
        except tomllib.TOMLDecodeError:
            continue
        if parsed:
            yield start, waiting.strip(), parsed
        start, waiting = number + 1, ""
