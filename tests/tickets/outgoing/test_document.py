"""What docs/webhooks.md says is so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import get_args

from secretsvc.tickets import outgoing
from secretsvc.tickets.outgoing import Webhooks
from secretsvc.tickets.trail import Type
from tests.harness import ROOT

from .conftest import new_secret
from .receivers import Receiver, Request

TEXT = (ROOT / "docs" / "webhooks.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.S)
    assert found
    return found[1]


def test_the_check_in_the_document_accepts_what_is_sent_and_nothing_else(
    hooks: Callable[..., Webhooks],
) -> None:
    names: dict[str, Callable[[str, dict[str, str], bytes], bool]] = {}
    exec(block("python"), names)
    genuine = names["genuine"]
    example = json.loads(block("json"))
    new, old = new_secret(), new_secret()
    with Receiver() as target:
        body = outgoing.body(example["type"], 1_795_321_782, example["data"])
        hooks(target.url, "127.0.0.0/8", keys=(new, old)).deliver("t", "evt_1", body)
        [request] = target.requests
    assert json.loads(request.body) == example
    assert genuine(new, request.headers, request.body)
    assert genuine(old, request.headers, request.body)
    assert not genuine(new_secret(), request.headers, request.body)
    assert not genuine(new, request.headers, request.body + b" ")
    late = Request("", request.headers | {"webhook-timestamp": "1795321782"}, request.body)
    assert not genuine(new, late.headers, late.body)


def test_every_event_is_described_once_in_its_order() -> None:
    assert tuple(re.findall(r"^\| `((?:link|request)\.\w+)` \|", TEXT, re.M)) == get_args(Type)


def test_the_waits_in_the_document_are_those_of_the_plan() -> None:
    said = re.search(r"There are ten attempts: (.*?);", TEXT, re.S)
    assert said
    units = {"seconds": 1, "minutes": 60, "hours": 3600}
    waits = [0] + [int(n) * units[unit] for n, unit in re.findall(r"(\d+)\s+(seconds|minutes|hours)", said[1])]
    for attempt, wait in enumerate(waits):
        at = outgoing.retry_at(attempt, 0.0)
        assert at is not None
        assert wait <= at <= wait * 1.1
    assert outgoing.retry_at(len(waits), 0.0) is None
