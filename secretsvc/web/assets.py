"""Static files as pages name them: under a path that changes with any of them, each with its digest.

A page lists every module its script imports, so that all are fetched at once and all are checked against the
digest (Subresource Integrity); a module that a page did not list would run unchecked.  One that is fetched only
when it is wanted brings its entry along in a ``<template>``.
"""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
from functools import cache
from pathlib import Path

_IMPORT = re.compile(r'^(?:import|\} from)\b[^;"]*"(\.[^"]+)"', re.M)


class Assets:
    """The files under ``folder``, read once."""

    def __init__(self, folder: Path) -> None:
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        self._files = {name: (folder / name).read_bytes() for name in names}
        whole = hashlib.sha256()
        for name, data in self._files.items():
            whole.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(data).digest())
        self.path = f"/static/{whole.hexdigest()[:10]}"
        self.integrity = cache(self._integrity)
        self.imports = cache(self._imports)

    def url(self, name: str) -> str:
        """Where a file is served."""
        return f"{self.path}/{name}"

    def _integrity(self, name: str) -> str:
        return "sha256-" + base64.b64encode(hashlib.sha256(self._files[name]).digest()).decode()

    def _imports(self, name: str) -> tuple[str, ...]:
        """Every module that ``name`` imports statically, directly or not, without itself."""
        found: list[str] = []
        waiting = [name]
        while waiting:
            module = waiting.pop()
            for target in _IMPORT.findall(self._files[module].decode()):
                imported = posixpath.normpath(posixpath.join(posixpath.dirname(module), target))
                if imported not in (name, *found):
                    found.append(imported)
                    waiting.append(imported)
        return tuple(found)
