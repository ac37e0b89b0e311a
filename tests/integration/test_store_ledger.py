"""The rules on real servers: two engines, three ways to reach them."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from secretsvc.backends import connect
from secretsvc.connections import open_node
from secretsvc.envelope import unb64
from secretsvc.epochs import epoch_number
from secretsvc.errors import LedgerUnavailable, Misconfigured, StoreUnavailable
from secretsvc.ledger import RedisLedger
from secretsvc.model import ClockOff, Receipt, Verdict
from secretsvc.shard import Shard
from secretsvc.store import RedisStore
from tests.faults.proxy import Proxy, calls
from tests.harness import Backends, InProcess, Secret, backends, ledger_at, new_idempotency_key
from tests.servers import Server, start_server
from tests.web.common import Asked, staff

PLACES = [("valkey", "unix"), ("valkey", "tcp"), ("redis", "unix"), ("redis", "tls")]
RETENTION = 86_400
ID, LINK, SENDER, ANSWERER = b"i" * 16, b"l" * 32, b"s" * 32, b"a" * 32
ME, OTHER = b"m" * 16, b"o" * 16
Say = Callable[[str], None]


class Pair:
    """A store and a ledger on two empty servers, and a raw client to each."""

    def __init__(self, place: Backends) -> None:
        place.clear()
        self.place = place
        self.store = RedisStore(
            open_node(place.store.url, connections=4, unavailable=StoreUnavailable), retention=RETENTION
        )
        self.ledger = self.another()
        self.raw_store, self.raw_ledger = place.store.client(), place.ledger.client()
        self.ledger.start()
        self.epoch = self.ledger.epoch(ID)

    def another(self) -> RedisLedger:
        """The same ledger as another process knows it: not at all yet."""
        return ledger_at([self.place.ledger.url], self.store)

    def receipt(self, **more: Any) -> Receipt:
        now = int(self.store.now())
        fields = {
            "state": "sealed",
            "kind": "secret",
            "key_name": "test",
            "record_key_name": "test",
            "epoch": self.epoch,
            "created_at": now,
            "expires_at": now + 3600,
            "token_hash": LINK,
            "fingerprint": b"f" * 16,
            "size": 285,
            "label": "t1",
            **more,
        }
        return Receipt(**fields)

    def create(self, record: bytes | None = b"record", **more: Any) -> Receipt:
        receipt = self.receipt(**more)
        assert self.store.create(ID, receipt, SENDER, record) is None
        return receipt

    def look(self, token: bytes = LINK, *, record: bool = True) -> Any:
        return self.store.look(ID, token, record=record)

    def end(
        self, claimant: bytes = ME, end: Any = "opened", *, epoch: bytes = b"", life: int = 60, window: int = 10
    ) -> Verdict:
        expires_at = int(time.time()) + life
        return self.ledger.end(
            ID,
            epoch or self.epoch,
            end,
            claimant,
            expires_at=expires_at,
            window=window,
            keep_until=expires_at + 90,
        )

    @property
    def shard(self) -> Shard:
        return self.ledger.shards[0]

    @property
    def keys(self) -> list[bytes]:
        name = b"ss:{aWlpaWlpaWlpaWlpaWlpaQ}"
        return [name, name + b":r"]

    @property
    def entry(self) -> bytes:
        return b"ss:e:aWlpaWlpaWlpaWlpaWlpaQ"

    def close(self) -> None:
        self.store.node.close()
        self.ledger.close()


@pytest.fixture(scope="module", params=PLACES, ids="-".join)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    with backends(tmp_path_factory.mktemp("place"), *request.param) as found:
        yield found


@pytest.fixture
def pair(place: Backends) -> Iterator[Pair]:
    found = Pair(place)
    yield found
    found.close()


@pytest.fixture
def one(backs: Backends) -> Iterator[Pair]:
    """The same on one engine, for what does not depend on it."""
    found = Pair(backs)
    yield found
    found.close()


# --- the store -----------------------------------------------------------------------------------------


def test_a_secret_is_stored_once_and_both_keys_end_by_themselves(pair: Pair) -> None:
    receipt = pair.create(label="first")
    found = pair.store.create(ID, pair.receipt(label="second"), OTHER * 2, b"other")
    assert found is not None
    assert (found.label, found.fingerprint) == ("first", receipt.fingerprint)
    assert pair.look().record == b"record"
    assert pair.raw_store.expiretime(pair.keys[1]) == receipt.expires_at
    assert pair.raw_store.expiretime(pair.keys[0]) == receipt.expires_at + RETENTION


def test_every_field_of_a_receipt_comes_back(pair: Pair) -> None:
    receipt = pair.receipt(
        kind="request",
        state="waiting",
        record_key_name="newer",
        password=True,
        sealed_by="server",
        answer_hash=ANSWERER,
        language="de",
        label="ünï",
        form="server",
        expires_in=77,
    )
    assert pair.store.create(ID, receipt, SENDER, None) is None
    assert pair.look().receipt == receipt
    assert pair.look().has_record is False


@pytest.mark.parametrize("off", [-7, 7, 7200])
def test_a_create_by_a_wrong_clock_stores_nothing_and_teaches_the_time(pair: Pair, off: int) -> None:
    now = int(time.time())
    wrong = pair.receipt(created_at=now + off, expires_at=now + off + 60)
    pair.store._offset = float(off)
    with pytest.raises(ClockOff):
        pair.store.create(ID, wrong, SENDER, b"record")
    assert not pair.raw_store.exists(*pair.keys)
    assert abs(pair.store.now() - time.time()) < 1
    assert pair.store.create(ID, pair.receipt(), SENDER, b"record") is None


def test_a_look_shows_each_what_is_theirs(pair: Pair) -> None:
    pair.create(answer_hash=ANSWERER)
    assert (pair.look().role, pair.look().record) == ("link", b"record")
    assert (pair.look(record=False).record, pair.look(record=False).has_record) == (None, True)
    for token, role in ((SENDER, "sender"), (ANSWERER, "answerer")):
        assert (pair.look(token).role, pair.look(token).record) == (role, None)
        assert pair.look(token).has_record
    assert pair.look(OTHER * 2) is None
    assert pair.look(b"") is None
    assert pair.store.look(b"x" * 16, LINK, record=True) is None
    assert abs(pair.look().now - time.time()) < 1


def test_a_mark_shortens_a_life_and_never_lengthens_it(pair: Pair) -> None:
    pair.create()
    opened = Verdict("won", "opened", 1234)
    pair.store.mark(ID, opened, life_ms=50_000)
    assert 49_000 < pair.raw_store.pttl(pair.keys[1]) <= 50_000
    pair.store.mark(ID, opened, life_ms=90_000)
    assert pair.raw_store.pttl(pair.keys[1]) <= 50_000
    pair.store.mark(ID, Verdict("ended", "revoked", 99), life_ms=0)
    assert not pair.raw_store.exists(pair.keys[1])
    receipt = pair.look().receipt
    assert (receipt.state, receipt.ended_at) == ("opened", 1234)  # the first mark stays


def test_a_mark_without_a_receipt_makes_none_and_keeps_the_ledgers_mark(pair: Pair) -> None:
    pair.store.mark(ID, Verdict("won", "opened", 1, b"", (b"e" * 12, 7)), life_ms=0, reservation="x")
    assert pair.raw_store.keys() == [b"ss:seen"]
    assert pair.store.high_water() == {b"e" * 12: 7, pair.epoch: 0}


def test_wrong_and_pending_tries_never_exceed_the_cap(pair: Pair) -> None:
    pair.create()
    assert [pair.store.reserve(ID, name, cap=3)[0] for name in "abc"] == ["ok"] * 3
    assert pair.store.reserve(ID, "a", cap=3) == ("ok", 0)  # the same one again
    word, wait = pair.store.reserve(ID, "d", cap=3)
    assert word == "pending"
    assert 28 <= wait <= 30
    assert pair.store.settle(ID, "a", "back", cap=3) == 0
    assert pair.store.settle(ID, "b", "wrong", cap=3) == 1
    assert pair.store.settle(ID, "b", "wrong", cap=3) == 1  # a repeat counts nothing
    assert pair.store.settle(ID, "unknown", "wrong", cap=3) == 1
    assert pair.store.reserve(ID, "d", cap=3)[0] == "ok"
    assert pair.store.reserve(ID, "e", cap=3)[0] == "pending"
    assert [pair.store.settle(ID, name, "wrong", cap=3) for name in "cd"] == [2, 3]
    assert pair.store.reserve(ID, "f", cap=3) == ("locked", 0)
    assert (pair.look().receipt.state, pair.look().receipt.tries) == ("locked", 3)
    assert pair.store.unlock(ID, cap=5) is True
    assert pair.store.unlock(ID, cap=5) is False
    assert (pair.look().receipt.state, pair.look().receipt.tries) == ("sealed", 0)
    assert pair.store.reserve(ID, "g", cap=3)[0] == "ok"


def test_a_reservation_nobody_settles_runs_out_but_its_verdict_still_counts(pair: Pair) -> None:
    pair.create()
    assert pair.store.reserve(ID, "a", cap=1)[0] == "ok"
    assert pair.store.reserve(ID, "b", cap=1)[0] == "pending"
    pair.raw_store.hincrby(pair.keys[0], "pa", -30_001)  # thirty seconds later
    assert pair.store.reserve(ID, "b", cap=1)[0] == "ok"
    assert pair.store.settle(ID, "a", "wrong", cap=1) == 1
    assert pair.look().receipt.state == "locked"
    pair.store.unlock(ID, cap=5)
    pair.raw_store.hincrby(pair.keys[0], "pb", -700_000)
    assert pair.store.reserve(ID, "c", cap=1)[0] == "ok"
    assert pair.raw_store.hget(pair.keys[0], "pb") is None


def test_a_late_wrong_password_does_not_lock_what_has_ended(pair: Pair) -> None:
    pair.create()
    assert pair.store.reserve(ID, "a", cap=1)[0] == "ok"
    pair.store.mark(ID, Verdict("won", "opened", 5), life_ms=0)
    pair.store.settle(ID, "a", "wrong", cap=1)
    assert pair.look().receipt.state == "opened"


def test_a_try_at_nothing_is_not_had(pair: Pair) -> None:
    assert pair.store.reserve(ID, "a", cap=5) == ("gone", 0)
    assert pair.raw_store.keys() == [b"ss:seen"]


def test_a_report_is_made_once(pair: Pair) -> None:
    assert pair.store.report(ID) is False
    assert pair.raw_store.keys() == [b"ss:seen"]
    pair.create()
    assert [pair.store.report(ID), pair.store.report(ID)] == [True, False]
    assert abs(pair.look().receipt.reported_at - time.time()) < 3


def test_a_request_is_answered_once(pair: Pair) -> None:
    asked = pair.create(None, kind="request", state="waiting", answer_hash=ANSWERER, expires_in=600)
    later = int(pair.store.now()) + 600
    mine = replace(asked, expires_at=later, answer_fingerprint=b"1" * 16, facts='{"a":1}', size=305)
    pair.store._offset = 7200.0
    with pytest.raises(ClockOff):
        pair.store.answer(ID, mine, b"mine")
    assert pair.store.answer(ID, mine, b"mine") == "answered"
    assert pair.store.answer(ID, mine, b"mine") == "again"
    assert pair.store.answer(ID, replace(mine, answer_fingerprint=b"2" * 16), b"other") == "taken"
    look = pair.look()
    assert (look.record, look.receipt.state, look.receipt.facts) == (b"mine", "sealed", '{"a":1}')
    assert (look.receipt.expires_at, look.receipt.size) == (later, 305)
    assert pair.raw_store.expiretime(pair.keys[1]) == later
    assert pair.raw_store.expiretime(pair.keys[0]) == later + RETENTION


def test_an_ended_or_expired_request_takes_no_answer(pair: Pair) -> None:
    asked = pair.create(None, kind="request", state="waiting", expires_in=600)
    mine = replace(asked, answer_fingerprint=b"1" * 16)
    pair.store.mark(ID, Verdict("won", "revoked", 5), life_ms=0)
    assert pair.store.answer(ID, mine, b"mine") == "taken"
    pair.raw_store.hset(pair.keys[0], mapping={"s": "waiting", "x": int(time.time()) - 1})
    assert pair.store.answer(ID, mine, b"mine") == "taken"
    assert not pair.raw_store.exists(pair.keys[1])


def test_what_a_key_made_is_remembered_for_a_day(pair: Pair) -> None:
    assert pair.store.remember(b"k" * 32, b"\xff\x00first") is None
    assert pair.store.remember(b"k" * 32, b"second") == b"\xff\x00first"
    [key] = pair.raw_store.keys("ss:i:*")
    assert 86_390 <= pair.raw_store.ttl(key) <= 86_400


def test_the_high_water_mark_never_falls(pair: Pair) -> None:
    assert pair.store.high_water() == {pair.epoch: 0}
    for sequence in (5, 9, 3):
        pair.store.raise_high_water(pair.epoch, sequence)
    assert pair.store.high_water() == {pair.epoch: 9}


# --- the ledger ----------------------------------------------------------------------------------------


def test_an_end_is_set_once(pair: Pair) -> None:
    won = pair.end()
    assert (won.word, won.state, won.seen) == ("won", "opened", (pair.epoch, 1))
    assert abs(won.ended_at - time.time()) < 2
    for claimant, end in ((OTHER, "opened"), (OTHER, "revoked"), (ME, "revoked")):
        lost = pair.end(claimant, end)
        assert (lost.word, lost.state, lost.ended_at) == ("ended", "opened", won.ended_at)
    assert pair.end().word == "again"
    assert (pair.shard.told.epoch, pair.shard.told.sequence) == (pair.epoch, 1)
    assert 140_000 < pair.raw_ledger.pttl(pair.entry) <= 150_000


def test_a_revoke_repeats_for_ever_and_only_for_its_own(pair: Pair) -> None:
    assert pair.end(end="revoked").word == "won"
    pair.raw_ledger.hincrby(pair.entry, "t", -100_000)
    assert pair.end(end="revoked").word == "again"
    assert pair.end(end="revoked", life=-5).word == "again"
    assert pair.end(OTHER, "revoked").word == "ended"
    assert pair.end().word == "ended"


def test_the_window_begins_anew_once_at_the_winners_first_repeat(pair: Pair) -> None:
    def later(field: str, ms: int) -> None:
        pair.raw_ledger.hincrby(pair.entry, field, -ms)

    assert pair.end().word == "won"
    later("t", 9_000)
    assert pair.end(OTHER).word == "ended"
    assert pair.raw_ledger.hget(pair.entry, "r") is None
    assert pair.end().word == "again"  # nine seconds later: the window begins anew
    later("t", 9_000)
    later("r", 9_000)
    repeated = pair.raw_ledger.hget(pair.entry, "r")
    assert pair.end().word == "again"
    assert pair.raw_ledger.hget(pair.entry, "r") == repeated  # and not a second time
    later("r", 2_000)
    assert pair.end().word == "ended"


def test_the_window_ends(pair: Pair) -> None:
    assert pair.end().word == "won"
    pair.raw_ledger.hincrby(pair.entry, "t", -10_100)
    assert pair.end().word == "ended"


def test_no_repeat_after_the_expiry(pair: Pair) -> None:
    assert pair.end().word == "won"
    late = pair.end(life=-1)
    assert (late.word, late.state) == ("ended", "opened")


def test_done_closes_the_window(pair: Pair) -> None:
    assert pair.ledger.done(ID, pair.epoch, ME).word == "open"
    assert pair.end().word == "won"
    assert pair.ledger.done(ID, pair.epoch, OTHER).word == "ended"
    assert pair.end().word == "again"
    assert [pair.ledger.done(ID, pair.epoch, ME).word for _ in range(2)] == ["done", "done"]
    assert pair.end().word == "ended"
    pair.ledger.new_epoch()
    assert pair.ledger.done(os.urandom(16), pair.epoch, ME).word == "epoch"


def test_a_peek_changes_nothing(pair: Pair) -> None:
    assert pair.ledger.peek(ID, pair.epoch).word == "open"
    assert not pair.raw_ledger.exists(pair.entry)
    pair.end()
    found = pair.ledger.peek(ID, pair.epoch)
    assert (found.word, found.state, found.claimant) == ("ended", "opened", ME)
    assert found.seen == (pair.epoch, 1)


def test_the_order_is_behind_entry_epoch_expiry(pair: Pair) -> None:
    assert pair.end(life=-5).word == "expired"
    assert not pair.raw_ledger.exists(pair.entry)
    assert pair.raw_ledger.get("ss:sequence") in (None, b"0")
    assert pair.end(OTHER).word == "won"
    pair.ledger.new_epoch()
    for life in (60, -5):  # a true end is told neither as the operator's nor as an expiry
        assert pair.end(life=life).word == "ended"
    assert pair.end(OTHER).word == "ended"  # a new epoch closes every retry window
    assert pair.ledger.peek(ID, pair.epoch).word == "ended"
    pair.shard._told = replace(pair.shard.told, sequence=pair.shard.told.sequence + 1)
    for call in (pair.end, lambda: pair.ledger.peek(ID, pair.epoch)):
        with pytest.raises(LedgerUnavailable):
            call()


def test_what_had_expired_before_a_new_epoch_stays_expired(pair: Pair) -> None:
    pair.ledger.new_epoch()
    assert pair.end(life=60).word == "epoch"
    assert pair.end(life=-5).word == "expired"
    assert not pair.raw_ledger.exists(pair.entry)


def test_a_later_epoch_does_not_move_the_time_an_earlier_one_ended(pair: Pair) -> None:
    pair.ledger.new_epoch()
    pair.raw_ledger.hset("ss:epoch", b"f" + pair.epoch, 5000)
    assert (pair.end().word, pair.end().ended_at) == ("epoch", 5)
    pair.ledger.new_epoch()
    assert (pair.end().word, pair.end().ended_at) == ("epoch", 5)
    assert pair.ledger.peek(ID, pair.epoch).ended_at == 5
    assert pair.ledger.done(ID, pair.epoch, ME).ended_at == 5


def test_an_emptied_ledger_decides_nothing(pair: Pair) -> None:
    pair.end()
    pair.raw_ledger.flushall()
    for call in (pair.end, lambda: pair.ledger.peek(ID, pair.epoch)):
        with pytest.raises(LedgerUnavailable):
            call()
    with pytest.raises(LedgerUnavailable):
        pair.ledger.done(ID, pair.epoch, ME)
    assert pair.raw_ledger.keys() == []
    pair.shard._asked = 0.0
    with pytest.raises(LedgerUnavailable):
        pair.ledger.epoch(ID)


def test_a_ledger_rolled_back_decides_nothing(pair: Pair) -> None:
    pair.end()
    pair.raw_ledger.delete(pair.entry)
    pair.raw_ledger.set("ss:sequence", 0)
    for call in (pair.end, lambda: pair.ledger.peek(ID, pair.epoch)):
        with pytest.raises(LedgerUnavailable):
            call()
    assert not pair.raw_ledger.exists(pair.entry)
    pair.shard._asked = 0.0
    with pytest.raises(LedgerUnavailable):
        pair.ledger.epoch(ID)


def swap_epoch(pair: Pair, number: int, **more: Any) -> None:
    """Another ledger in its place, which knows nothing of ours."""
    pair.raw_ledger.flushall()
    swapped = struct.pack(">I", number) + os.urandom(8)
    pair.raw_ledger.hset("ss:epoch", mapping={"id": swapped, "number": number, **more})
    pair.shard._asked = 0.0


@pytest.mark.parametrize("number", [1, 2])
def test_a_swapped_ledger_is_not_believed(pair: Pair, number: int) -> None:
    """It is not a later epoch of ours, so nothing is told as ended: the real one may come back."""
    swap_epoch(pair, number)
    pair.raw_ledger.set("ss:sequence", 9)
    for call in (
        pair.end,
        lambda: pair.ledger.peek(ID, pair.epoch),
        lambda: pair.ledger.done(ID, pair.epoch, ME),
    ):
        with pytest.raises(LedgerUnavailable):
            call()
    assert not pair.raw_ledger.exists(pair.entry)


def test_nothing_is_sealed_for_a_ledger_that_was_swapped(pair: Pair) -> None:
    """Its record would name an epoch that rules nowhere, so that nobody could ever open it."""
    swap_epoch(pair, 1)
    with pytest.raises(LedgerUnavailable):
        pair.ledger.epoch(ID)


def test_a_new_epoch_rules_at_once_where_it_is_heard_of(pair: Pair) -> None:
    assert pair.another().new_epoch() == epoch_number(pair.epoch) + 1
    pair.shard._asked = 0.0
    new = pair.ledger.epoch(ID)
    assert epoch_number(new) == epoch_number(pair.epoch) + 1
    assert pair.end(epoch=pair.epoch).word == "epoch"
    assert pair.end(epoch=new).word == "won"


def test_an_epoch_that_is_not_later_is_not_begun(pair: Pair) -> None:
    told = pair.shard.ask()
    assert pair.shard.begin(epoch_number(pair.epoch)) == told
    assert pair.shard.begin(99, first=True) == told


@pytest.mark.parametrize(
    ("case", "refused"),
    [
        ("as it was", None),
        ("new", None),
        ("emptied", "is older than what this service has seen"),
        ("rolled back", "is older than what this service has seen"),
        ("an older epoch", "is older than what this service has seen"),
        ("swapped", "is not one that this service has used before"),
    ],
)
def test_a_start_on_another_ledger_is_refused(pair: Pair, case: str, refused: str | None) -> None:
    pair.ledger.new_epoch()
    second = pair.ledger.epoch(ID)
    pair.store.raise_high_water(*pair.end(epoch=second).seen or (b"", 0))
    before = pair.raw_ledger.hgetall("ss:epoch")
    if case == "new":
        pair.raw_ledger.flushall()
        pair.raw_store.flushall()
    elif case == "emptied":
        pair.raw_ledger.flushall()
    elif case == "rolled back":
        pair.raw_ledger.set("ss:sequence", 0)
    elif case == "an older epoch":
        pair.raw_ledger.flushall()
        pair.raw_ledger.hset("ss:epoch", mapping={"id": pair.epoch, "number": 1})
        pair.raw_ledger.set("ss:sequence", 900)
    elif case == "swapped":
        swap_epoch(pair, 2)
    fresh = pair.another()
    if refused is None:
        fresh.start()
        assert (fresh.shards[0].told.epoch == before[b"id"]) == (case == "as it was")
        assert fresh.shards[0].told.sequence == (0 if case == "new" else 1)
    else:
        with pytest.raises(Misconfigured, match=refused):
            fresh.start()
    fresh.close()


def test_a_lowered_cap_locks_what_is_over_it_so_that_it_can_be_unlocked(pair: Pair) -> None:
    pair.create()
    for name in ("one", "two", "three"):
        assert pair.store.reserve(ID, name, cap=5)[0] == "ok"
        pair.store.settle(ID, name, "wrong", cap=5)
    assert pair.look().receipt.state == "sealed"
    assert pair.store.reserve(ID, "four", cap=3)[0] == "locked"
    assert pair.look().receipt.state == "locked"
    assert pair.store.unlock(ID, cap=5)
    assert pair.store.reserve(ID, "five", cap=3)[0] == "ok"


def test_a_sender_can_unlock_what_a_lowered_cap_closed(pair: Pair) -> None:
    pair.create()
    pair.raw_store.hset(pair.keys[0], "n", 3)
    assert not pair.store.unlock(ID, cap=5)
    assert pair.store.unlock(ID, cap=3)
    assert pair.look().receipt.tries == 0


@pytest.mark.parametrize("rule", ["unlock", "report"])
def test_a_call_whose_answer_was_lost_hears_the_same_again(pair: Pair, rule: str) -> None:
    pair.create()
    pair.raw_store.hset(pair.keys[0], "s", "locked")
    assert [pair.store.node.run(rule, pair.keys[:1], "mine", 5) for _ in range(2)] == [1, 1]
    assert pair.store.node.run(rule, pair.keys[:1], "another", 5) == 0


# --- start-up ------------------------------------------------------------------------------------------


UNSAFE: list[tuple[str, dict[str, Any], str]] = [
    ("store", {"appendfsync": "off"}, "'appendonly no'"),
    ("store", {"appendfsync": "no"}, "'appendfsync no'"),
    ("store", {"extra": ["maxmemory-policy allkeys-lru"]}, "'maxmemory-policy allkeys-lru'"),
    ("ledger", {"appendfsync": "off"}, "'appendonly no'"),
    ("ledger", {"appendfsync": "everysec"}, "'appendfsync everysec'"),
    ("ledger", {"extra": ["no-appendfsync-on-rewrite yes"]}, "'no-appendfsync-on-rewrite yes'"),
    ("ledger", {"extra": ["aof-load-truncated yes"]}, "'aof-load-truncated yes'"),
    ("ledger", {"extra": ["maxmemory-policy volatile-ttl"]}, "'maxmemory-policy volatile-ttl'"),
]


@pytest.mark.parametrize("engine", ["valkey", "redis"])
@pytest.mark.parametrize(("which", "options", "named"), UNSAFE, ids=lambda value: str(value)[:40])
def test_an_unsafe_server_is_refused_by_name(
    backs: Backends, folder: Path, engine: Any, which: str, options: dict[str, Any], named: str
) -> None:
    setting = {"store": "redis_url", "ledger": "ledger_urls"}[which]
    with start_server(engine, dir=folder / "unsafe", **options) as server:
        with pytest.raises(Misconfigured) as refusal:
            backs.app(**{setting: server.url})
        assert named in refusal.value.detail
        assert refusal.value.detail.startswith(f"SECRETSVC_{setting.upper()}: the {which} ")
        assert server.client().keys() == []


def test_an_everysec_store_is_accepted(backs: Backends, folder: Path) -> None:
    with start_server("valkey", dir=folder / "store", appendfsync="everysec") as server:
        assert backs.app(redis_url=server.url)


def test_one_server_for_both_is_refused_under_any_name(folder: Path, backs: Backends) -> None:
    with start_server("redis", transport="tcp", dir=folder / "both") as server:
        alias = server.url.replace("127.0.0.1", "localhost")
        with pytest.raises(Misconfigured, match="must not be the same server"):
            backs.app(redis_url=server.url, ledger_urls=alias)


@pytest.mark.parametrize("which", ["redis_url", "ledger_urls"])
def test_a_server_that_does_not_answer_is_named(backs: Backends, folder: Path, which: str) -> None:
    with pytest.raises(Misconfigured, match=f"^SECRETSVC_{which.upper()}: the server does not answer"):
        backs.app(**{which: f"unix://{folder}/nobody.sock"})


def test_a_restored_ledger_stops_the_start_until_a_new_epoch(backs: Backends) -> None:
    here = InProcess(backs.app())
    unread, read = Secret.create(here), Secret.create(here)
    assert read.claim(here).status == 200
    ledger = backs.ledger.client()
    ledger.set("ss:sequence", 0)
    ledger.delete(f"ss:e:{read.id}")
    with pytest.raises(Misconfigured, match="'secretsvc ledger new-epoch'"):
        backs.app()
    here.service.ledger.new_epoch()
    fresh = InProcess(backs.app())
    ended = unread.claim(fresh)
    assert (ended.status, ended.json["type"], ended.json["state"]) == (410, "ended-by-operator", "revoked")
    assert unread.state(fresh, sender=True).json["state"] == "revoked"
    assert read.claim(fresh).json["type"] == "opened"
    assert Secret.create(fresh).claim(fresh).status == 200


def test_an_end_that_was_told_stays_told_in_a_new_epoch(backs: Backends) -> None:
    here = InProcess(backs.app())
    secret = Secret.create(here)
    key = new_idempotency_key()
    assert secret.claim(here, key).status == 200
    here.service.ledger.new_epoch()
    again = secret.claim(here, key)
    assert (again.status, again.json["type"], again.json["state"]) == (410, "opened", "opened")


def test_a_ledger_that_forgot_what_the_receipt_knows_opens_nothing_again(backs: Backends) -> None:
    """Rolled back under a process that had not seen the newest ends: the receipt has, and that is enough."""
    here, behind = InProcess(backs.app()), InProcess(backs.app())
    plain, locked = Secret.create(here), Secret.create(here, stretched=os.urandom(32))
    for secret in (plain, locked):
        assert secret.claim(here, new_idempotency_key()).status == 200
        backs.ledger.client().delete(f"ss:e:{secret.id}")
    backs.ledger.client().set("ss:sequence", 0)
    for secret in (plain, locked):
        answer = secret.claim(behind, new_idempotency_key())
        assert (answer.status, answer.json["type"]) == (503, "ledger-unavailable")
        assert not backs.ledger.client().exists(f"ss:e:{secret.id}")


# --- what traffic leaves behind, and costs ---------------------------------------------------------------


def test_every_key_of_traffic_ends_by_itself(backs: Backends) -> None:
    here = InProcess(backs.app(create_limit="1000", password_limit="1000"))
    agent = {"X-API-Key": here.service.tokens.add("agent", "agent")}
    for password in (None, os.urandom(32)):
        opened, revoked, waiting = (Secret.create(here, stretched=password) for _ in range(3))
        key = new_idempotency_key()
        assert opened.claim(here, key).status == 200
        assert opened.call(here, "report").status == 200
        assert opened.call(here, "done", **{"Idempotency-Key": key}).status == 204
        assert revoked.call(here, "revoke", sender=True).status == 200
        assert waiting.state(here).status == 200
        if password:
            for _ in range(5):
                assert waiting.claim(here, proof="A" * 43).status == 403
            assert waiting.call(here, "unlock", sender=True).status == 200
    sealed = {"secret": "x", "expires_in": 60}
    assert here.post("/api/v1/secrets", sealed, {"Idempotency-Key": new_idempotency_key()}).status == 201
    secret = Secret.make()
    request = {
        "id": secret.id,
        "token": secret.token,
        "answer_token": "A" * 43,
        "form": "text",
        "expires_in": 60,
    }
    assert here.post("/api/v1/requests", request, agent).status == 201
    for server, lasting in (
        (backs.store, {b"ss:seen", b"ss:tokens"}),
        (backs.ledger, {b"ss:epoch", b"ss:sequence"}),
    ):
        client = server.client()
        found = set(client.scan_iter(count=1000))
        assert len(found) > 4
        assert {key for key in found if client.ttl(key) < 0} == lasting
        assert all(key.startswith((b"ss:", b"LIMITS:ss:")) for key in found)


@pytest.mark.parametrize("name", ["look", "mark"])
def test_a_lost_answer_is_asked_for_once_more_and_by_us(backs: Backends, name: str) -> None:
    with Proxy(backs.store.url) as proxy:
        here = InProcess(backs.app(redis_url=proxy.url))
        Secret.create(here).claim(here)
        secret = Secret.create(here)
        proxy.drop(calls(name), times=9)
        before = calls_of(backs.store)
        answer = secret.claim(here)
        assert answer.status == (503 if name == "look" else 200)
        assert proxy.fired == 2
        assert calls_of(backs.store) - before == (2 if name == "look" else 3)


def calls_of(server: Server) -> int:
    """How many rules this server was asked to run, by hash."""
    found = server.client().info("commandstats").get("cmdstat_evalsha", {"calls": 0})
    return int(found["calls"])


def test_a_secret_is_small_in_the_store(backs: Backends, say: Say) -> None:
    here = InProcess(backs.app())
    store = backs.store.client()
    first = Secret.create(here, os.urandom(32))
    usage = sum(store.memory_usage(key) or 0 for key in store.keys(f"ss:{{{first.id}}}*"))
    count = 2000
    before = int(store.info("memory")["used_memory"])
    for _ in range(count):
        Secret.create(here, os.urandom(32))
    grown = (int(store.info("memory")["used_memory"]) - before) / count
    say(f"a 32-byte secret: {usage} bytes by MEMORY USAGE, {grown:.0f} by what {count} add")
    assert usage <= 850
    assert grown <= 850


def test_round_trips(backs: Backends, say: Say) -> None:
    with Proxy(backs.store.url) as store, Proxy(backs.ledger.url) as ledger:
        here = InProcess(backs.app(redis_url=store.url, ledger_urls=ledger.url))
        Secret.create(here).claim(here)
        here.service.ledger.epoch(ID)

        def count(call: Callable[[], Any]) -> tuple[int, int]:
            store.requests.clear()
            ledger.requests.clear()
            here.service.ledger.shards[0]._asked = time.monotonic()
            call()
            return len(store.requests), len(ledger.requests)

        plain, locked = Secret.make(), Secret.make(stretched=os.urandom(32))
        found = {
            "create": count(lambda: here.post("/api/v1/secrets", plain.body)),
            "state": count(lambda: plain.state(here)),
            "claim": count(lambda: plain.claim(here)),
            "create with password": count(lambda: here.post("/api/v1/secrets", locked.body)),
            "claim with password": count(lambda: locked.claim(here)),
        }
    say("round trips to (store, ledger): " + ", ".join(f"{what} {n}" for what, n in found.items()))
    assert found == {
        "create": (1, 0),
        "state": (1, 1),
        "claim": (2, 1),
        "create with password": (1, 0),
        "claim with password": (3, 2),
    }


def test_connect_checks_both(backs: Backends) -> None:
    store, ledger = connect(backs.settings())
    told = ledger.shards[0].told
    assert store.high_water() == {told.epoch: told.sequence}
    for each in (store.node, ledger):
        each.close()


def test_a_server_that_hides_its_settings_is_told_from_one_that_is_down(folder: Path, backs: Backends) -> None:
    users = ["user default on nopass ~* &* +@all -@dangerous"]
    refused = pytest.raises(Misconfigured, match=r"Allow this user '\+info \+config\|get'")
    with start_server("redis", dir=folder / "hidden", extra=users) as server, refused:
        backs.app(redis_url=server.url)


def test_a_revoked_request_stays_revoked_as_long_as_an_answer_could_live(backs: Backends) -> None:
    """An answer may be stored while the revocation is decided, and then lives anew."""
    here = InProcess(backs.app())
    asked = Asked.create(here, staff(here), expires_in=3600)
    assert here.post(f"/api/v1/secrets/{asked.id}/revoke", None, asked.sender).status == 200
    look = here.service.vault.look(unb64(asked.id), unb64(asked.receipt_token), "sender")
    kept = backs.ledger.client().expiretime(f"ss:e:{asked.id}")
    retention = here.service.settings.receipt_retention
    assert kept >= look.receipt.expires_at + 3600 + retention


def test_done_on_a_ledger_that_forgot_what_the_receipt_knows_is_unclear(backs: Backends) -> None:
    here = InProcess(backs.app())
    secret, key = Secret.create(here), new_idempotency_key()
    assert secret.claim(here, key).status == 200
    backs.ledger.client().delete(f"ss:e:{secret.id}")
    answer = secret.call(here, "done", **{"Idempotency-Key": key})
    assert (answer.status, answer.json["type"]) == (503, "ledger-unavailable")


def test_a_secret_created_over_a_change_of_epoch_is_told_as_it_is(backs: Backends) -> None:
    """The epoch was known for a moment too long: then the sender hears that it ended, not "sealed"."""
    here = InProcess(backs.app())
    ledger, store = here.service.ledger, here.service.store
    assert ledger.epoch(ID)
    secret, real = Secret.make(), store.create

    def create(*arguments: Any) -> Any:
        ledger_at([backs.ledger.url], here.service.store).new_epoch()  # the operator, from another process
        ledger.shards[0]._asked = 0.0  # and a second goes by
        return real(*arguments)

    store.create = create  # type: ignore[method-assign]
    answer = here.post("/api/v1/secrets", secret.body)
    assert (answer.status, answer.json["state"]) == (201, "revoked")
    store.create = real  # type: ignore[method-assign]
    assert Secret.create(here).claim(here).status == 200


def test_done_does_not_believe_a_ledger_of_an_earlier_epoch(backs: Backends) -> None:
    here = InProcess(backs.app())
    first = here.service.ledger.epoch(ID)
    here.service.ledger.new_epoch()
    secret = Secret.create(here)
    backs.ledger.client().hset("ss:epoch", mapping={"id": first, "number": 1})
    answer = secret.call(here, "done", **{"Idempotency-Key": new_idempotency_key()})
    assert (answer.status, answer.json["type"]) == (503, "ledger-unavailable")


def test_a_form_repeated_after_the_end_is_not_given_a_dead_link(backs: Backends) -> None:
    here = InProcess(backs.app())
    head = {"Content-Type": "application/x-www-form-urlencoded", "Idempotency-Key": new_idempotency_key()}
    first = here.send("POST", "/", b"secret=hello", head)
    assert here.send("POST", "/", b"secret=hello", head).text == first.text
    assert here.post("/api/v1/open", {"link": first.text.strip()}).status == 200
    again = here.send("POST", "/", b"secret=hello", head)
    assert (again.status, "opened" in again.text, "#" in again.text) == (409, True, False)
