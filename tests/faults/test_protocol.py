"""The model of the claim keeps its promises whatever happens when, and each mutant of it breaks one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from tests.faults.promises import LOSSES, PROMISES, TIME, WHERE_NOTHING_FAILS, Found, search
from tests.faults.protocol import DIED, TOO_SLOW, UNHEARD, Faults, Model, Person

Say = Callable[[str], None]

ANN, BOB = Person("Ann", key="a"), Person("Bob", key="b")
EVE = Person("Eve")  # without a key
SENDER, VIEWER = Person("the sender", "revoke", calls=1), Person("the viewer", "state", calls=1)
ANN1, BOB1, EVE1 = (person._replace(calls=1) for person in (ANN, BOB, EVE))
ANN3, EVE3 = (person._replace(calls=3) for person in (ANN, EVE))
ANN4 = ANN._replace(calls=4)

# Within these bounds nothing breaks, and a secret is lost for these reasons and for no other.
QUICK: dict[str, tuple[Model, set[str]]] = {
    "calls-lost": (Model((ANN, EVE1), Faults(lost=1)), {UNHEARD, TOO_SLOW, TIME}),
    "calls-lost-without-a-key": (Model((EVE3,), Faults(lost=2)), {UNHEARD, TOO_SLOW, TIME}),
    "worker-dies": (Model((ANN, EVE), Faults(crash=1)), {DIED, TIME}),
    "worker-dies-with-a-key": (Model((ANN, BOB), Faults(crash=1)), {TIME}),
    "store-goes-back": (Model((ANN, EVE), Faults(rollback=1)), set()),
    "ledger-restarts": (Model((ANN, EVE), Faults(restart=1)), set()),
    "revoke": (Model((ANN1, SENDER), Faults(lost=1, rollback=1, crash=1)), {TIME}),
    "state": (Model((ANN1, VIEWER), Faults(lost=1, crash=1, restart=1, rollback=1)), {TIME}),
    "password": (Model((ANN, EVE1), Faults(crash=1), password=True), {DIED, TIME}),
}
FULL: dict[str, tuple[Model, set[str]]] = {
    "call-lost-of-four": (Model((ANN, EVE), Faults(lost=1)), {UNHEARD, TOO_SLOW, TIME}),
    "two-calls-lost": (Model((ANN, EVE1), Faults(lost=2)), {UNHEARD, TOO_SLOW, TIME}),
    "three-calls-lost": (Model((ANN3,), Faults(lost=3)), {TIME}),
    "call-lost-and-store-goes-back": (Model((ANN, EVE), Faults(lost=1, rollback=1)), {UNHEARD, TOO_SLOW, TIME}),
    "call-lost-and-ledger-restarts": (Model((ANN, EVE), Faults(lost=1, restart=1)), {UNHEARD, TOO_SLOW, TIME}),
    "call-lost-and-worker-dies": (Model((ANN1, EVE1), Faults(lost=1, crash=1)), LOSSES),
    "three-holders": (Model((ANN1, BOB1, EVE1), Faults(rollback=1)), set()),
    "revoke-and-state": (Model((ANN, SENDER, VIEWER), Faults(crash=1)), {TIME}),
    "revoke-twice": (Model((ANN, SENDER._replace(calls=2)), Faults(lost=1)), {TIME}),
    "everything-once": (Model((ANN, VIEWER), Faults(lost=1, crash=1, rollback=1)), {TIME}),
    "password-and-calls-lost": (Model((ANN, EVE1), Faults(lost=1), password=True), {UNHEARD, TOO_SLOW, TIME}),
}
# A node that went back ends its share closed, so "kept" and "gone" are not for it to keep.
SAFETY = ("once", "final", "truth", "closed")
NODE_GOES_BACK = {
    "open": Model((ANN, BOB1), Faults(ledger_rollback=1), swift=True),
    "revoke": Model((ANN, SENDER), Faults(ledger_rollback=1), swift=True),
    "state": Model((ANN, VIEWER), Faults(ledger_rollback=1), swift=True),
}
# Each mutant breaks this promise within these bounds, in which the protocol itself keeps it.
MUTANTS: list[tuple[str, str, Model]] = [
    ("mark before end", "kept", Model((ANN1, EVE1), Faults(crash=1))),
    ("mark before end", "truth", Model((ANN, VIEWER))),
    ("end without set-once", "once", Model((ANN1, BOB1))),
    ("end without set-once", "final", Model((ANN1, SENDER))),
    ("claimant not compared", "once", Model((ANN1, BOB1))),
    ("the store decides: get, then delete", "once", Model((ANN1, BOB1))),
    ("the store decides: delete returns it", "once", Model((ANN1, BOB1), Faults(rollback=1))),
    ("the store decides: delete returns it", "kept", Model((ANN,), Faults(lost=1))),
    ("a lease that runs out", "once", Model((ANN1, BOB1))),
    ("a lease that runs out", "final", Model((ANN1, SENDER))),
    ("window anew at every repeat", "closed", Model((ANN4,), Faults(rollback=1))),
    ("done closes nothing", "closed", Model((ANN3,), Faults(rollback=1))),
    ("answer before end", "once", Model((ANN1, BOB1))),
    ("no high-water mark", "once", Model((ANN1, BOB1), Faults(ledger_rollback=1), swift=True)),
    ("state from the receipt alone", "truth", Model((ANN1, VIEWER))),
    ("the app repeats as a new claimant", "kept", Model((ANN,), Faults(lost=1))),
    ("nobody but the winner marks", "gone", Model((ANN,), Faults(crash=1))),
]

searched = cache(search)


def told(found: Found) -> str:
    return f"{found.states} states, {found.moves} moves"


def as_text(found: Found) -> str:
    return "\n  ".join((f"{found.broken}: {PROMISES.get(found.broken)}", *found.story))


@pytest.mark.parametrize("case", [*QUICK, *(pytest.param(case, marks=pytest.mark.full) for case in FULL)])
def test_no_interleaving_breaks_a_promise(case: str, say: Say) -> None:
    model, losses = {**QUICK, **FULL}[case]
    found = searched(model)
    say(f"{told(found)}, lost in {sum(found.losses.values())}")
    assert not found.broken, as_text(found)
    assert set(found.losses) == losses


def test_the_window_begins_anew_when_the_winner_first_comes_again(say: Say) -> None:
    model = Model((ANN4, BOB1), prompt=True)
    found = search(model, WHERE_NOTHING_FAILS)
    say(told(found))
    assert not found.broken, as_text(found)
    assert search(replace(model, mutant="no life anew"), ("anew",)).broken == "anew"


def test_every_answer_occurs_but_a_missing_record() -> None:
    words = {word for model, _ in QUICK.values() for word in searched(model).words}
    assert words == {"bytes", "done", "opened", "revoked", "expired", "sealed", "unclear", "503"}


def test_every_loss_that_we_name_occurs() -> None:
    assert {why for model, _ in QUICK.values() for why in searched(model).losses} == LOSSES


@pytest.mark.parametrize(
    ("mutant", "promise", "model"),
    MUTANTS,
    ids=[f"{mutant}-{promise}".replace(" ", "-") for mutant, promise, _ in MUTANTS],
)
def test_a_mutant_breaks_its_promise(mutant: str, promise: str, model: Model, say: Say) -> None:
    found = search(replace(model, mutant=mutant), (promise,))
    say(f"{found.broken} after {told(found)}: {' > '.join(found.story)}")
    assert found.broken == promise
    sound = search(model, (promise,))
    assert not sound.broken, as_text(sound)


def test_each_promise_has_a_mutant_that_breaks_it() -> None:
    assert {promise for _, promise, _ in MUTANTS} == set(PROMISES)


def test_a_store_that_decides_is_safe_until_it_goes_back(say: Say) -> None:
    """So it takes the rollback to see why there is a ledger, and the search tells the two apart."""
    found = search(Model((ANN, BOB), mutant="the store decides: delete returns it"), ("once",))
    say(told(found))
    assert not found.broken, as_text(found)


@pytest.mark.parametrize("case", NODE_GOES_BACK)
def test_a_ledger_that_went_back_decides_nothing_again(case: str, say: Say, *, full: bool) -> None:
    model = NODE_GOES_BACK[case]
    if full:
        model = replace(model, people=(*model.people, EVE1))
    found = search(model, SAFETY)
    say(told(found))
    assert not found.broken, as_text(found)


@pytest.mark.parametrize(
    ("crash", "promises"), [(0, SAFETY), (1, ("once", "final"))], ids=["all-live", "server-dies"]
)
def test_two_app_servers_and_a_ledger_that_went_back_double_nothing(
    crash: int, promises: tuple[str, ...], say: Say, *, full: bool
) -> None:
    """The receipt knows of every end that was answered; one that died with its server may be forgotten."""
    people = (ANN, BOB1) if full else (ANN1, BOB1)
    found = search(Model(people, Faults(ledger_rollback=1, crash=crash), servers=2), promises)
    say(told(found))
    assert not found.broken, as_text(found)


@pytest.mark.parametrize("limit", ["mark is lost", "swift"])
def test_what_a_ledger_that_went_back_can_still_do(limit: str, say: Say) -> None:
    """Double, where another app server has heard of the end neither from the ledger nor from the store.

    So if the winner's mark was lost too; or if the ledger goes back within the time of a single call.
    """
    swift = limit == "swift"
    model = Model((ANN1, BOB1), Faults(ledger_rollback=1, lost=not swift), servers=2, swift=swift)
    found = search(model, ("once",))
    say(f"{found.broken} after {told(found)}: {' > '.join(found.story)}")
    assert found.broken == "once"
    assert swift or any("mark is lost" in line for line in found.story)
