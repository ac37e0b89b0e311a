"""Cross the two implementations of the link format, on random input, in both directions.

    python -m tests.js.cross --count 10000 [--seed 1]

Each round is one secret, answer or secret with a password: sealed in Python and unsealed in JavaScript, sealed
there and unsealed here, with everything derived, written and read on the way compared.  Each also asks both
sides for their judgement of a few inputs that are slightly wrong, or only look so.  One round in
99 stretches its password; the others take 32 random bytes for a stretched one.

Python and Node may know different versions of Unicode, whose NFKC can differ in characters that only the newer
one knows.  Passwords here hold only characters that Python knows, the older one of the two as a rule.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from secretsvc import envelope, errors, payload
from secretsvc.envelope import Payload, RequestLink, b64, unb64
from tests.js.node import HERE, node

ONE_PASSWORD_IN = 99  # rounds; every third has one at all
SITES = ("https://secrets.example", "http://[::1]:8000/x/", "https://geheim.example/")
# Letters of one to four bytes, what JSON escapes or might, what bidi and normalisation care for.
LETTERS = [
    *map(chr, range(0x20, 0x7F)),
    *'""\\\\//\b\t\n\f\r\0\x0b\x1f\x7f\x85\u2028\u2029\ufeff\ufffd',
    *"äöüßÄÖÜẞéñøčŁ",
    *"e\u0301u\u0308a\u0323\u0301",
    *"字密码パスワード비밀번호سرעברית",
    *"ﬁ①½ｱＡ\u212b\ufdfa\u1e9b\u0323",
    *"😀🔑👩\u200d👧\U0001d400\U0001d4b7\U0010ffff",
    *"\u200e\u202e\u2066\u061c",
]
# What is put into, or over, good input.
FRAGMENTS = [
    *('"', "\\", "{", "}", "[", "]", ",", ":", " ", "\t", "\r", "\n", "\x0b", "\0", "\x7f", "\u2028"),
    *("\\u0061", "\\ud800", "\\ud83d\\ude00", "\\n", "\\x41", "null", "1", "1e999", "NaN", "true", "{}", '""'),
    *('"name":"x"', '"type":"x"', '"n\\u0061me":"x",', '"__proto__":"x",', "name", "\ufeff", "é", "😀", "//"),
]
TAILS = ["", "", ">", ">.", '"', "'.", ")", " \n", "\u00a0", ">;", "*", "/", " .", ". .", "%3E", "A", "\x1c"]
SIGNS = ["#", "#", "#", "#", "#", "%23", "%2523", "%252523", "##", ""]


@dataclass
class Tally:
    """How many rounds of each kind, how many judgements of each sort, and every difference."""

    rounds: Counter[str] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        rounds = ", ".join(f"{number} {name}" for name, number in sorted(self.rounds.items()))
        judged = ", ".join(f"{number} {name}" for name, number in sorted(self.judged.items()))
        total = sum(self.judged.values())
        return f"{rounds}; {total} judgements ({judged}); {len(self.differences)} differences"


# --- random input --------------------------------------------------------------------------------------


class Chance:
    """Random values of every sort, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def text(self, longest: int) -> str:
        return "".join(self.rng.choices(LETTERS, k=self.rng.randint(0, longest)))

    def content(self) -> bytes:
        size = self.rng.choice((0, 1, 30, 250, 260, 4000))
        if self.rng.random() < 0.5:
            return self.text(size).encode()
        end = self.rng.choice((b"", b"\x80", b"\x80\0\0", b"\0" * 300))
        return self.rng.randbytes(self.rng.randint(0, size)) + end

    def payload(self) -> Payload:
        if self.rng.random() < 0.25:
            return envelope.write_answers(self.answers())
        while True:
            name = self.rng.choice((None, self.text(60)))
            kind = self.rng.choice((None, self.text(20), "text/plain", "application/json"))
            try:
                made = Payload(self.content(), name, kind)
            except errors.BadHeader:
                continue
            if made.name is not None or made.type != "application/json":
                return made

    def answers(self) -> dict[str, str]:
        keys = ["user", "password", "__proto__", "10", "9", "", "constructor", self.text(5), self.text(5)]
        return {key: self.text(40) for key in self.rng.sample(keys, self.rng.randint(0, 6))}

    def form(self) -> str:
        """Answers as JSON, now and then with a key that comes twice."""
        answers, to_ascii = self.answers(), self.rng.random() < 0.5
        members = [(key, json.dumps(value, ensure_ascii=to_ascii)) for key, value in answers.items()]
        if members and self.rng.random() < 0.3:
            again = (
                self.rng.choice(members)[0],
                self.rng.choice(('"x"', "1", "{}", '["x"]', '{"x":"y"}', "null")),
            )
            members.insert(self.rng.randint(0, len(members)), again)
        written = ", ".join(f"{json.dumps(key, ensure_ascii=to_ascii)}: {value}" for key, value in members)
        return f"{{{written}}}"

    def password(self) -> tuple[str, str]:
        """The same password as two keyboards type it."""
        typed = "".join(letter for letter in self.text(30) if unicodedata.category(letter) != "Cn") + "ü"
        forms = self.rng.sample(("NFC", "NFD"), 2)
        return unicodedata.normalize(forms[0], typed), unicodedata.normalize(forms[1], typed)

    def spoiled(self, text: str) -> str:
        """``text`` with up to two places replaced, doubled or cut."""
        for _ in range(self.rng.randint(0, 2)):
            start = self.rng.randint(0, len(text))
            end = start + self.rng.choice((0, 0, 1, 1, 5))
            text = text[:start] + self.rng.choice((*FRAGMENTS, "", text[start:end] * 2)) + text[end:]
        return text

    def raw(self, text: str) -> bytes:
        """``text`` in UTF-8, now and then not quite."""
        data = text.encode()
        if self.rng.random() < 0.1:
            at = self.rng.randint(0, len(data))
            data = data[:at] + self.rng.choice((b"\xff", b"\xc1\xa1", b"\xed\xa0\x80", b"\xc3")) + data[at:]
        return data

    def near_link(self, held: bytes) -> str:
        text = self.spoiled(b64(held)) if self.rng.random() < 0.3 else b64(held)
        return f"https://x/s{self.rng.choice(SIGNS)}{text}{self.rng.choice(TAILS)}"


# --- both sides' judgement -----------------------------------------------------------------------------


def questions(chance: Chance, key: bytes, sealed: bytes, padded: bytes) -> Iterator[dict[str, Any]]:
    """Input that is good or nearly so, in the words of docs/format.md, "Test vectors"."""
    rng = chance.rng
    u = rng.choice(
        (rng.getrandbits(254), rng.getrandbits(256), rng.randint(0, 3), 2**255 - rng.randint(16, 22))
    )
    held = key[: rng.randint(0, 9)]
    header = json.dumps({"name": chance.text(1) + "x", "type": "x"}, ensure_ascii=rng.random() < 0.5)
    form = chance.form()
    yield {"op": "link", "text": chance.near_link(key)}
    yield {"op": "request-link", "text": chance.near_link(key[:16] + u.to_bytes(32, "little"))}
    yield {"op": "b64", "text": chance.spoiled(b64(held)), "length": len(held) + rng.choice((0, 0, 0, 1))}
    cut = rng.choice((sealed, sealed[: rng.randint(0, len(sealed))], bytes([rng.randint(0, 4)]) + sealed[1:]))
    due = {"answer": rng.random() < 0.4, "password": rng.random() < 0.4}
    yield {"op": "check", "envelope": b64(cut), **due}
    body = chance.raw(chance.spoiled(header)) + b"\ncontent\x80"
    body += bytes(-len(body) % 256 + rng.choice((0, 0, 0, 0, 0, 0, 1, 256)))
    body = body if rng.random() < 0.9 else padded[: rng.randint(0, len(padded))]
    yield {"op": "payload", "payload": b64(body)}
    header_to_write = {"name": chance.text(2), "type": chance.text(1) * rng.choice((1, 1, 130))}
    yield {"op": "write", "header": header_to_write, "content": ""}
    content = b64(chance.raw(chance.spoiled(form)))
    yield {"op": "answers", "header": {"type": "application/json"}, "content": content}


def judge(question: dict[str, Any]) -> dict[str, Any]:
    """Python's judgement, as tests/js/vectors.mjs tells JavaScript's."""
    try:
        return OPERATIONS[question["op"]](question)
    except errors.FormatError as refusal:
        return {"refused": refusal.kind}


def judge_request_link(question: dict[str, Any]) -> dict[str, Any]:
    request = envelope.read_request_link(question["text"])
    return {"id": b64(request.id), "public_key": b64(request.public_key)}


def judge_check(question: dict[str, Any]) -> dict[str, Any]:
    due = {name: question[name] for name in ("answer", "password")}
    return {"type": envelope.check_envelope(unb64(question["envelope"]), **due)}


def judge_payload(question: dict[str, Any]) -> dict[str, Any]:
    read = payload.read_payload(unb64(question["payload"]))
    return {"header": {"name": read.name, "type": read.type}, "content": b64(read.content)}


def judge_answers(question: dict[str, Any]) -> dict[str, Any]:
    read = envelope.read_answers(Payload(unb64(question["content"]), **question["header"]))
    return {"answers": [list(pair) for pair in read.items()]}


OPERATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "link": lambda question: {"key": b64(envelope.read_link(question["text"]))},
    "request-link": judge_request_link,
    "b64": lambda question: {"length": len(unb64(question["text"], length=question["length"]))},
    "check": judge_check,
    "payload": judge_payload,
    "write": lambda question: {"payload": b64(payload.write_payload(Payload(b"", **question["header"])))},
    "answers": judge_answers,
}


# --- a round -------------------------------------------------------------------------------------------


@dataclass
class Round:
    """What JavaScript is told, what it must answer, and how its own envelope opens."""

    name: str
    told: dict[str, Any]
    due: dict[str, Any]
    content: Payload
    unseal: Callable[[bytes], Payload]


def make_round(chance: Chance, number: int) -> Round:
    kind = (1, 3, 2)[number % 3]
    key, content = chance.rng.randbytes(32), chance.payload()
    typed, told_password, stretched = "", "", None
    if kind == 3 and number % ONE_PASSWORD_IN == 1:
        typed, told_password = chance.password()
        stretched = envelope.stretch_password(key, typed)
    elif kind == 3:
        stretched = chance.rng.randbytes(32)
    request = RequestLink(envelope.derive_handles(key).id, envelope.request_public_key(key))
    if kind == 2:
        sealed = envelope.seal_answer(request, content)
    else:
        sealed = envelope.seal(key, content, stretched=stretched)
    site = chance.rng.choice(SITES)
    asked = list(questions(chance, key, sealed, payload.write_payload(content)))
    told = {
        "kind": kind,
        "key": b64(key),
        "password": told_password,
        "stretched": None if typed or stretched is None else b64(stretched),
        "payload": described(content),
        "sealed": b64(sealed),
        "site": site,
        "link": f" <{envelope.format_link(site, key)}>. ",
        "asked": asked,
    }
    due = expected(key, request, content, stretched, site)
    due |= {"type": kind, "judged": [judge(question) for question in asked]}

    def unseal(theirs: bytes) -> Payload:
        if kind == 2:
            return envelope.unseal_answer(key, theirs)
        return envelope.unseal(key, theirs, stretched=stretched)

    name = {1: "without a password", 2: "answers", 3: "with 32 bytes for a password"}[kind]
    return Round("with a password" if typed else name, told, due, content, unseal)


def expected(
    key: bytes, request: RequestLink, content: Payload, stretched: bytes | None, site: str
) -> dict[str, Any]:
    handles = envelope.derive_handles(key)
    is_form = content.name is None and content.type == "application/json"
    form = envelope.read_answers(content) if is_form else None
    return {
        "handles": [b64(handles.id), b64(handles.token)],
        "request": [b64(request.public_key), b64(request.answer_token())],
        "links": [
            envelope.format_link(site, key),
            envelope.format_request_link(site, request.id, request.public_key),
        ],
        "read": b64(key),
        "password": stretched and [b64(stretched), b64(envelope.proof(stretched))],
        "opened": described(content),
        "text": content.text(),
        "padded": b64(payload.write_payload(content)),
        "form": None if form is None else [list(pair) for pair in form.items()],
        "rewritten": None if form is None else b64(content.content),
    }


def described(content: Payload) -> dict[str, Any]:
    return {"content": b64(content.content), "name": content.name, "type": content.type}


def compare(made: Round, answer: dict[str, Any]) -> Iterator[str]:
    """Every difference, in words."""
    theirs = unb64(answer.pop("envelope"))
    if answer.keys() != made.due.keys():
        yield f"fields {sorted(answer)}"
    for name, value in made.due.items():
        if answer.get(name) != value:
            yield f"{name}: {answer.get(name)!r} instead of {value!r}"
    try:
        if made.unseal(theirs) != made.content:
            yield "Python opens another payload than JavaScript sealed"
    except errors.FormatError as refusal:
        yield f"Python refuses what JavaScript sealed: {refusal.kind}"


# --- the crossing --------------------------------------------------------------------------------------


@contextmanager
def javascript() -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """A running Node; the function asks it one thing."""
    argv = [node(), "--no-warnings", str(HERE / "cross.mjs")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def ask(told: dict[str, Any]) -> dict[str, Any]:
            stdin.write(json.dumps(told).encode("ascii") + b"\n")
            stdin.flush()
            line = stdout.readline()
            if not line:
                raise RuntimeError(f"Node ended with {process.wait()} at {json.dumps(told)[:2000]}")
            found: dict[str, Any] = json.loads(line)
            return found

        try:
            yield ask
        finally:
            stdin.close()


def cross(count: int, seed: int) -> Tally:
    """Cross ``count`` rounds."""
    chance, tally = Chance(seed), Tally()
    with javascript() as ask:
        for number in range(count):
            made = make_round(chance, number)
            tally.rounds[made.name] += 1
            tally.judged.update(verdict.get("refused", "accepted") for verdict in made.due["judged"])
            tally.differences += [f"round {number}: {line}" for line in compare(made, ask(made.told))]
    return tally


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Cross Python and JavaScript on random input.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    chosen = parser.parse_args(arguments)
    tally = cross(chosen.count, chosen.seed)
    for line in tally.differences[:20]:
        print(line[:1000], file=sys.stderr)
    print(f"seed {chosen.seed}: {tally}")
    return 1 if tally.differences else 0


if __name__ == "__main__":
    sys.exit(main())
