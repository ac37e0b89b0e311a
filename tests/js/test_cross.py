"""Python and JavaScript open what the other one sealed."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.js.cross import cross

KINDS = {"without a password", "with 32 bytes for a password", "with a password", "answers"}
REFUSALS = {"bad-link", "bad-request-link", "unknown-type", "bad-header", "bad-answer", "damaged"}


def test_either_side_opens_what_the_other_sealed(full: bool, say: Callable[[str], None]) -> None:
    seed = random.SystemRandom().getrandbits(32)
    count = 10_000 if full else 300
    tally = cross(count, seed)
    say(f"seed {seed}: {tally}")
    assert tally.differences == [], f"seed {seed}"
    assert sum(tally.rounds.values()) == count
    assert set(tally.rounds) == KINDS
    assert set(tally.judged) == REFUSALS | {"accepted"}
