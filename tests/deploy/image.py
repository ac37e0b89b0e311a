"""What the Dockerfile makes, made without a container engine: its files, its environment, its command."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.harness import ROOT


@dataclass
class Image:
    """The last stage: ``workdir`` in the image, what is copied there, and how it is run."""

    copied: dict[str, str]
    environment: dict[str, str]
    command: list[str]
    healthcheck: list[str]
    user: str
    filter: str
    text: str

    def build(self, to: Path) -> None:
        """Copy what it copies, as far as .dockerignore lets it, and let nobody write there."""
        for source, target in self.copied.items():
            into = to / target / (Path(source).name if target == "./" else "")
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, into, ignore=ignored)
            elif not left_out(source):
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, into)
        for path in [to, *to.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)


def ignored(folder: str, names: list[str]) -> set[str]:
    inside = Path(folder).relative_to(ROOT)
    return {name for name in names if left_out(str(inside / name))}


def left_out(path: str) -> bool:
    """Whether .dockerignore keeps a path from the builder: the last line for it or its folder counts."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        parts = path.split("/")
        whole = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        names = parts if pattern.startswith("**/") else whole if "/" in pattern else parts[:1]
        if any(fnmatch.fnmatchcase(each, pattern.removeprefix("**/")) for each in names):
            out = not line.startswith("!")
    return out


def read() -> Image:
    """The Dockerfile, as far as it is needed here; instructions nobody knows are refused."""
    text = (ROOT / "Dockerfile").read_text()
    lines = re.sub(r"^#.*\n", "", text, flags=re.M).replace("\\\n", "").splitlines()
    found = Image({}, {}, [], [], "", "", text)
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.copied.clear()
        elif word == "COPY" and not rest.startswith("--from"):
            source, target = rest.split()
            found.copied[source] = target
        elif word == "ENV":
            found.environment |= dict(each.split("=", 1) for each in shlex.split(rest))
        elif word == "CMD":
            found.command = json.loads(rest)
        elif word == "HEALTHCHECK":
            found.healthcheck = json.loads(rest.partition("CMD ")[2])
        elif word == "USER":
            found.user = rest
        elif word == "RUN" and (awk := re.search(r"awk '([^']*)'", rest)):
            found.filter = awk[1]
        else:
            assert word in ("ARG", "FROM", "COPY", "WORKDIR", "RUN", "EXPOSE", "STOPSIGNAL", ""), word
    return found


def drop_to(uid: int, *needed: Path) -> dict[str, int | list[int]]:
    """Arguments for a process of another user: none if we may not, or if that user could not come in."""
    if os.getuid() != 0:
        return {}
    way = [folder for path in needed for folder in [path, *path.parents]]
    if not all(folder.stat().st_mode & 0o001 for folder in way):
        return {}
    return {"user": uid, "group": uid, "extra_groups": []}
