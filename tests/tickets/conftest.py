"""A Request Tracker for the whole run: it takes ten seconds to make."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tickets.rt.instance import RT


@pytest.fixture(scope="session")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RT]:
    """One Request Tracker; use ``rt``, which makes sure that it runs."""
    found = RT(tmp_path_factory.mktemp("rt") / "instance")
    try:
        found.start()
        yield found
    finally:
        found.kill()


@pytest.fixture
def rt(tracker: RT) -> Iterator[RT]:
    """A running Request Tracker that tells nobody of changes yet."""
    tracker.ensure()
    tracker.hook()
    yield tracker
    tracker.ensure()
