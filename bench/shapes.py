"""How the store's bytes for each secret could be fewer: what other shapes of the same two keys would take.

    .venv/bin/python -m bench.shapes [--secrets 10000]

Genuine secrets are stored by the service, read back, and written anew in each shape into an empty server.  None
of these is what the service does; docs/capacity.md says what each would cost besides.
"""

from __future__ import annotations

import argparse
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import redis

import app as composition
from bench.servers import Machine, backends
from bench.stored import EXPIRES_IN, news, used
from tests.servers import ENGINES, Engine, start_server

RETENTION = 30 * 86_400


@dataclass(frozen=True)
class Pair:
    """The keys of one secret."""

    name: bytes
    receipt: dict[bytes, bytes]
    record: bytes


def _as_it_is(pair: Pair) -> Pair:
    return pair


def _raw_name(pair: Pair) -> Pair:
    return replace(pair, name=b"s" + pair.name[4:20])


def _short_hashes(pair: Pair) -> Pair:
    return replace(pair, receipt={**pair.receipt, b"t": pair.receipt[b"t"][:16], b"r": pair.receipt[b"r"][:16]})


def _one_field(pair: Pair) -> Pair:
    fixed = b"".join(pair.receipt[name] for name in (b"t", b"r", b"l", b"b"))
    numbers = struct.pack(">IIHB", int(pair.receipt[b"c"]), int(pair.receipt[b"x"]), int(pair.receipt[b"z"]), 1)
    return replace(pair, receipt={b"-": fixed + numbers + pair.receipt[b"k"]})


def _smaller_block(pair: Pair) -> Pair:
    return replace(pair, record=pair.record[:-192])


SHAPES: dict[str, Callable[[Pair], Pair]] = {
    "as it is": _as_it_is,
    "names of 16 bytes instead of 22 letters": _raw_name,
    "hashes of tokens cut to 16 bytes": _short_hashes,
    "the receipt as one packed string": _one_field,
    "secrets padded to 64 bytes, not 256": _smaller_block,
    "the first three together": lambda pair: _one_field(_short_hashes(_raw_name(pair))),
}


def pairs(engine: Engine, count: int) -> Iterator[Pair]:
    """Genuine ones."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        backs = stack.enter_context(backends(Machine(Path(name), engine=engine, fsync="everysec"), Path(name)))
        service = composition.make_service(backs.settings())
        stack.callback(service.ledger.close)
        stack.callback(service.store.node.close)
        for new in news(count):
            service.vault.create(new)
        client = backs.store.client()
        for key in client.scan_iter("ss:{*}", count=1000):
            yield Pair(key, client.hgetall(key), client.get(key + b":r"))


def grown(engine: Engine, shaped: Sequence[Pair], *, together: bool = False) -> float:
    """Bytes by which an empty server grows for each; ``together``: the record as a field of the receipt."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        start_server(engine, transport="tcp", dir=Path(name), appendfsync="everysec") as server,
        redis.Redis.from_url(server.url) as client,
    ):
        before = used(server)[0]
        for pair in shaped:
            with client.pipeline(transaction=False) as pipe:
                _write(pipe, pair, together=together)
                pipe.execute()
        return (used(server)[0] - before) / len(shaped)


def _write(pipe: redis.client.Pipeline, pair: Pair, *, together: bool) -> None:
    if b"-" in pair.receipt:
        pipe.set(pair.name, pair.receipt[b"-"], ex=EXPIRES_IN + RETENTION)
    else:
        pipe.hset(pair.name, mapping={**pair.receipt, **({b"y": pair.record} if together else {})})
        pipe.expire(pair.name, EXPIRES_IN + RETENTION)
    if not together:
        pipe.set(pair.name + b":r", pair.record, ex=EXPIRES_IN)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.shapes", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--secrets", type=int, default=10_000)
    asked = parser.parse_args(arguments)
    print(f"{'bytes for each unread secret':44}" + "".join(f"{engine:>10}" for engine in ENGINES))
    genuine = {engine: list(pairs(engine, asked.secrets)) for engine in ENGINES}
    for label, shape in SHAPES.items():
        found = [grown(engine, [shape(pair) for pair in genuine[engine]]) for engine in ENGINES]
        print(f"{label:44}" + "".join(f"{bytes_:10.0f}" for bytes_ in found), flush=True)
    found = [grown(engine, genuine[engine], together=True) for engine in ENGINES]
    print(f"{'one key: the record in the receipt':44}" + "".join(f"{bytes_:10.0f}" for bytes_ in found))


if __name__ == "__main__":
    main()
