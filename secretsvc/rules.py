"""Rules as Lua files: what the servers decide in one step, and how a rule is run over a connection.

Every rule in ``lua/`` is written so that running it twice with the same arguments changes nothing the second
time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

WAIT_MS = 500  # for replicas to confirm; less than any connection waits for an answer (a Cluster's 0.7 s)

Argument = bytes | str | int
Command = tuple[Argument, ...]
Converse = Callable[[Sequence[Command]], list[Any]]
"""Sends commands together over one connection; the answer to each, or the ``ResponseError`` that it was."""


@dataclass(frozen=True)
class Rule:
    """One Lua file of ours, named by its SHA-1 once the server knows it."""

    name: str
    text: str
    sha: str


@cache
def rule(name: str) -> Rule:
    """The rule in ``lua/<name>.lua``."""
    return named(name, (files("secretsvc") / "lua" / f"{name}.lua").read_text("utf-8"))


def named(name: str, text: str) -> Rule:
    """A rule that is somebody else's."""
    return Rule(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True)
class Evaluation:
    """A rule with all that it is run on, and what goes along.

    Attributes:
        keys: all in one slot.
        before: a command to send ahead; its answer is not looked at.
        replicas: how many of them have to confirm everything written up to and by the rule.
    """

    rule: Rule
    keys: list[str]
    arguments: Command
    before: Command = ()
    replicas: int = 0

    def over(self, converse: Converse) -> tuple[Any, int]:
        """Run it in one round trip: its raw answer, and how many replicas confirmed."""
        try:
            return self._send(converse, self.by_name)
        except NoScriptError:
            return self._send(converse, self.by_text)

    @property
    def by_name(self) -> Command:
        """The command for a server that knows the rule."""
        return ("EVALSHA", self.rule.sha, len(self.keys), *self.keys, *self.arguments)

    @property
    def by_text(self) -> Command:
        """The command for one that does not."""
        return ("EVAL", self.rule.text, len(self.keys), *self.keys, *self.arguments)

    def _send(self, converse: Converse, evaluate: Command) -> tuple[Any, int]:
        confirm: Command = ("WAIT", self.replicas, WAIT_MS) if self.replicas else ()
        answers = converse([command for command in (self.before, evaluate, confirm) if command])
        if self.before:
            del answers[0]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers[0], int(answers[1]) if confirm else 0
