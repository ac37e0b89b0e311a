"""How the service is: which part is down, in one line for machines and in plain words for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import Backends, InProcess, Secret, backends, wait_until
from tests.web.common import BROWSER

ENGLISH = {**BROWSER, "Accept-Language": "en"}
DISTURBED = "The service is disturbed just now. Unopened links are kept"


def row(name: str, word: str) -> str:
    return f"<dt>{name}</dt><dd>{word}</dd>"


def test_each_part_that_is_down_is_named_and_the_process_still_answers(tmp_path: Path) -> None:
    with backends(tmp_path) as backs:
        here = InProcess(backs.app())
        for server, text in ((backs.ledger, "store: ok\nledger: unavailable\n"), (backs.store, None)):
            server.kill()
            ready = here.get("/readyz")
            assert (ready.status, ready.text) == (503, text or "store: unavailable\nledger: ok\n")
            assert here.get("/healthz").text == "ok\n"
            assert here.get("/status").text == ready.text
            page = here.get("/status", **ENGLISH)
            assert page.status == 200
            assert DISTURBED in page.text
            assert row("Creating links", "does not work just now") in page.text
            assert row("Opening links", "does not work just now") in page.text
            assert page.text.count("<dd>does not answer</dd>") == 1
            server.start()
            wait_until(lambda: here.get("/readyz").status == 200)
        assert DISTURBED not in here.get("/status", **ENGLISH).text


def test_a_full_store_opens_and_says_that_it_creates_nothing(tmp_path: Path) -> None:
    with backends(tmp_path) as backs:
        here = InProcess(backs.app())
        secret = Secret.create(here)
        backs.store.client().config_set("maxmemory", 1)
        ready = here.get("/readyz")
        assert (ready.status, ready.text) == (200, "store: full\nledger: ok\n")
        page = here.get("/status", **ENGLISH).text
        assert "The service works in part. Unopened links are kept." in page
        assert row("Creating links", "does not work just now") in page
        assert row("Opening links", "works") in page
        assert row("Store of sealed secrets", "is full") in page
        assert here.post("/api/v1/secrets", Secret.make().body).status == 503
        assert secret.claim(here).status == 200


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ("works", "works", "The service works: links can be created and opened.")),
        ({"create": "nobody"}, ("not offered here", "works", "The service works.")),
        ({"open": "nobody"}, ("works", "not offered here", "The service works.")),
    ],
)
def test_what_is_not_offered_is_not_said_to_work(
    backs: Backends, settings: dict[str, str], words: tuple[str, str, str]
) -> None:
    page = InProcess(backs.app(**settings)).get("/status", **ENGLISH).text
    assert row("Creating links", words[0]) in page
    assert row("Opening links", words[1]) in page
    assert f'<p class="lead">{words[2]}</p>' in page
    assert "Messages to tickets" not in page  # nobody would be told anything


def test_asking_how_it_is_costs_the_servers_little(here: InProcess, backs: Backends) -> None:
    """However often somebody reloads the page, what the servers say of themselves is asked once in a while."""
    here.get("/status", **ENGLISH)

    def asked() -> int:
        stats = backs.store.client().info("commandstats")
        return int(stats["cmdstat_info"]["calls"])

    before = asked()
    for _ in range(20):
        assert here.get("/status", **ENGLISH).status == here.get("/metrics").status == 200
    assert asked() - before <= 1 + 2  # ours, and two of the service's own if its time is over meanwhile
