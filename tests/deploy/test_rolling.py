"""Web servers that are replaced one after the other behind a real nginx, while people create and open."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy import image
from tests.deploy.placed import Placed, Through, placed
from tests.faults.history import kept
from tests.faults.nginx import nginx
from tests.harness import Backends, Client

Say = Callable[[str], None]


def anew(one: Placed) -> None:
    assert one.stop() == 0
    one.start()


@pytest.mark.parametrize("how", [anew, Placed.reload])
def test_replacing_the_web_servers_in_turn_loses_nothing_and_opens_nothing_twice(
    backs: Backends, folder: Path, full: bool, say: Say, how: Callable[[Placed], None]
) -> None:
    with (
        placed(backs, folder, 2, workers="2", threads="4") as both,
        nginx(folder / "nginx", *(one.port for one in both)) as front,
        Through(front.clear_url, threads=6, seed=11, pause=0.005, unkeyed=0.0) as traffic,
    ):
        for one in both * (10 if full else 1):
            traffic.calls(100)
            how(one)
        traffic.calls(100)
        traffic.stop()
        traffic.settle()
        found = kept(traffic.history, folder)
    calls, opened = len(traffic.history), found.counts["opened once"]
    say(f"{calls} calls, {traffic.away} times nobody there, {opened} opened, 0 twice, 0 lost")
    assert found.counts["no answer"] == traffic.away
    assert traffic.away <= (1 if full else 0)  # between the last look at who waits and the end of listening


def test_a_page_finds_its_files_while_servers_of_two_versions_run(backs: Backends, folder: Path) -> None:
    other = folder / "other"
    image.read().build(other)
    style = next((other / "static" / "css").glob("*.css"))
    style.chmod(0o644)
    style.write_text(style.read_text() + "/* of another version */\n")
    with (
        Placed(backs, folder, workers="1") as one,
        Placed(backs, folder, tree=other, workers="1") as two,
        nginx(folder / "nginx", one.port, two.port) as front,
    ):
        client, prefixes = Client(front.clear_url), set()
        for number in range(6):
            [client.get("/healthz") for _ in range(number)]  # so that pages come from both
            files = set(re.findall(r"/static/[\w./-]+", client.get("/", Accept="text/html").text))
            prefixes |= {file.split("/")[2] for file in files}
            assert len(files) > 3
            assert [file for file in files if client.get(file).status != 200] == []
        assert len(prefixes) == 2
        assert client.get("/static/nobody/has/this.js").status == 404
