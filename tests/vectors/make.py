"""Make own.json and refusals.json, always the same bytes.

``python tests/vectors/make.py`` writes both files, ``--check`` says whether they are current (and whether
v1.json still is the file everybody else has).  Nothing here imports the code under test: the format is
computed a second time, from HMAC, X25519 and AES-GCM, and HPKE step by step as RFC 9180 has it, because a
vector needs an ephemeral key that is given, which no HPKE library takes.

Every refusal is a valid input with exactly one fault.  docs/format.md, "Test vectors", explains the fields.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = Path(__file__).parent
V1_SHA256 = "3e2717ecb02d4871d9b8945a54723bcc4c5aa3cccbb9f55097282681d583f79f"
P = 2**255 - 19
ORDER_8 = [
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]
# Canonical, then the same points under their other 32-byte names (https://cr.yp.to/ecdh.html#validate).
LOW_ORDER = [0, 1, P - 1, *ORDER_8, P, P + 1, 2 * P - 1, 2 * P, 2 * P + 1, *(P + u for u in ORDER_8)]
BIDI = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]


# --- the format, a second time -------------------------------------------------------------------------


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def fixed(label: str, length: int = 32) -> bytes:
    """Return bytes that look random and are the same every time."""
    return hashlib.shake_256(b"secretsvc test vector " + label.encode()).digest(length)


def extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt, ikm, "sha256")


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    assert length <= 32
    return hmac.digest(prk, info + b"\x01", "sha256")[:length]


def hkdf(key: bytes, label: str, length: int) -> bytes:
    return expand(extract(bytes(32), key), b"secretsvc/v1/" + label.encode(), length)


def pad(header: bytes, content: bytes) -> bytes:
    body = header + b"\n" + content + b"\x80"
    return body + bytes(-len(body) % 256)


def box(key: bytes, padded: bytes, *, kind: int = 1, stretched: bytes = b"", nonce: bytes) -> bytes:
    box_key = hkdf(key + stretched, "box-password" if stretched else "box", 32)
    aad = b"secretsvc/v1/box" + bytes([kind]) + hkdf(key, "id", 16)
    return bytes([kind]) + nonce + AESGCM(box_key).encrypt(nonce, padded, aad)


def public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def dh(private: bytes, public_key: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public_key))


def hpke_context(shared_dh: bytes, enc: bytes, recipient: bytes, info: bytes) -> tuple[AESGCM, bytes]:
    """Return the AEAD and nonce of a base-mode single shot (RFC 9180, sections 4.1 and 5.1)."""
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"

    def labeled_extract(who: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return extract(salt, b"HPKE-v1" + who + label + ikm)

    def labeled_expand(who: bytes, prk: bytes, label: bytes, context: bytes, length: int) -> bytes:
        return expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + who + label + context, length)

    eae_prk = labeled_extract(kem, b"", b"eae_prk", shared_dh)
    shared_secret = labeled_expand(kem, eae_prk, b"shared_secret", enc + recipient, 32)
    hashes = [labeled_extract(suite, b"", *pair) for pair in ((b"psk_id_hash", b""), (b"info_hash", info))]
    context = b"\x00" + b"".join(hashes)
    secret = labeled_extract(suite, shared_secret, b"secret", b"")
    key = labeled_expand(suite, secret, b"key", context, 32)
    return AESGCM(key), labeled_expand(suite, secret, b"base_nonce", context, 12)


def answer(
    request: bytes, padded: bytes, ephemeral: bytes, *, enc: bytes | None = None, shared: bytes | None = None
) -> bytes:
    """Return an answer's envelope; ``enc`` and ``shared`` let a dishonest sender choose them."""
    id, recipient = request[:16], request[16:]
    enc = public(ephemeral) if enc is None else enc
    shared = dh(ephemeral, recipient) if shared is None else shared
    aead, nonce = hpke_context(shared, enc, recipient, b"secretsvc/v1/answer" + id)
    return b"\x02" + enc + aead.encrypt(nonce, padded, b"")


def open_answer(key: bytes, envelope: bytes) -> bytes:
    """Return the padded payload of an answer's envelope."""
    private, enc = hkdf(key, "request", 32), envelope[1:33]
    info = b"secretsvc/v1/answer" + hkdf(key, "id", 16)
    aead, nonce = hpke_context(dh(private, enc), enc, public(private), info)
    return aead.decrypt(nonce, envelope[33:], b"")


def request_of(key: bytes) -> bytes:
    return hkdf(key, "id", 16) + public(hkdf(key, "request", 32))


# --- own.json ------------------------------------------------------------------------------------------


def hpke_vectors() -> list[dict]:
    payloads = [
        ("answers", b'{"type":"application/json"}', '{"user":"root","password":"p\u00e4ss"}'.encode()),
        ("a file", b'{"name":"backup.key","type":"application/octet-stream"}', bytes(range(256))),
        ("nothing", b"{}", b""),
    ]
    vectors = []
    for name, header, content in payloads:
        key, ephemeral = fixed(f"hpke key {name}"), fixed(f"hpke ephemeral {name}")
        request = request_of(key)
        vectors.append(
            {
                "name": name,
                "key": b64(key),
                "ephemeral": b64(ephemeral),
                "request": b64(request),
                "answer_token": b64(hkdf(request, "answer-token", 32)),
                "header": json.loads(header),
                "content": b64(content),
                "envelope": b64(answer(request, pad(header, content), ephemeral)),
            }
        )
    return vectors


def accepted() -> list[dict]:
    """Return inputs at the edge of what is refused, with what they mean."""
    key = fixed("link")
    link = f"https://secrets.example/s#{b64(key)}"
    cases: list[dict] = []

    def add(name: str, op: str, **fields: object) -> None:
        cases.append({"name": name, "op": op, **fields})

    spaces = [0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20, 0xA0, 0x1680, *range(0x2000, 0x200B)]
    spaces += [0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF]
    space = "".join(map(chr, spaces))
    for name, text in {
        "as it is": link,
        "another host, a path and a query": f"http://[::1]:8000/x/y?z=1#{b64(key)}",
        "only the part from the number sign on": f"#{b64(key)}",
        "all white space there is": f"{space}{link}{space}",
        "all punctuation there is": f"{link}.,;:!?)>]}}'\"",
        "punctuation, then white space": f"<{link}>. \n",
        "number sign written as %23": link.replace("#", "%23"),
        "number sign written as %2523": link.replace("#", "%2523"),
    }.items():
        add(name, "link", text=text, key=b64(key))
    request = request_of(key)
    for name, text in {
        "request link as it is": f"https://secrets.example/r#{b64(request)}",
        "request link, rewritten and in brackets": f" (https://secrets.example/r%23{b64(request)}). ",
    }.items():
        add(name, "request-link", text=text, id=b64(request[:16]), public_key=b64(request[16:]))
    for name, u in {"smallest usable key": 2, "largest usable key": P - 2}.items():
        held = request[:16] + u.to_bytes(32, "little")
        add(name, "request-link", text=f"#{b64(held)}", id=b64(held[:16]), public_key=b64(held[16:]))

    # In compatibility bold the letter A takes four bytes, after NFKC one: the limit counts after.
    password, plain = "\U0001d400" * 1024, b"A" * 1024
    stretched = hashlib.pbkdf2_hmac("sha256", plain, hkdf(key, "password", 32), 600_000)
    add(
        "1,024 bytes after NFKC",
        "password",
        key=b64(key),
        password=password,
        stretched=b64(stretched),
        proof=b64(hkdf(stretched, "proof", 32)),
    )

    longest = b'{"name":"x"' + b" " * 1012 + b"}"
    for name, header, meaning in [
        ("keys in the other order", b'{"type":"t","name":"n"}', {"name": "n", "type": "t"}),
        ("white space in JSON", b'\t{ "name"\r: "n" } ', {"name": "n"}),
        ("escapes", rb'{"n\u0061me":"\u00fc\ud83d\ude00\""}', {"name": 'ü😀"'}),
        ("header of 1,024 bytes", longest, {"name": "x"}),
        ("name of 255 bytes", b'{"name":"' + b"x" * 255 + b'"}', {"name": "x" * 255}),
        ("three dots are a name", b'{"name":"..."}', {"name": "..."}),
        ("type of 127 bytes", b'{"type":"' + b"x" * 127 + b'"}', {"type": "x" * 127}),
        ("empty type", b'{"type":""}', {"type": ""}),
        ("bidi character in a type", '{"type":"\u202e"}'.encode(), {"type": "\u202e"}),
    ]:
        add(name, "payload", payload=b64(pad(header, b"content")), header=meaning, content=b64(b"content"))
    for name, content in {
        "content ends like padding": b"x\x80\x00\x00",
        "no zero byte": b"x" * 252,
        "255 zero bytes": b"x" * 253,
        "content begins with a line feed": b"\n",
    }.items():
        add(name, "payload", payload=b64(pad(b"{}", content)), header={}, content=b64(content))

    for name, header, written in [
        ("written in order", {"type": "t", "name": "n"}, b'{"name":"n","type":"t"}'),
        (
            "written raw but for quotes",
            {"name": 'ü"😀', "type": "\u2028</\\"},
            '{"name":"ü\\"😀","type":"\u2028</\\\\"}'.encode(),
        ),
    ]:
        add(name, "write", header=header, content=b64(b"c"), payload=b64(pad(written, b"c")))

    for name, content, pairs in [
        ("order kept", b'{"b":"1","a":"2"}', [["b", "1"], ["a", "2"]]),
        ("white space and control escapes", rb' {"key" : "-----\n\t\u0000" } ', [["key", "-----\n\t\0"]]),
        ("no answers", b"{}", []),
        ("a key that means something to JavaScript", b'{"__proto__":"x"}', [["__proto__", "x"]]),
    ]:
        add(name, "answers", header={"type": "application/json"}, content=b64(content), answers=pairs)
    # JSON.stringify of {key: "\b\t\n\f\r\x0b\x1f\x7f\u2028/\"\\"}
    add(
        "answers written as JSON.stringify does",
        "write-answers",
        answers=[["key", '\b\t\n\f\r\x0b\x1f\x7f\u2028/"\\']],
        content=b64(b'{"key":"\\b\\t\\n\\f\\r\\u000b\\u001f\x7f' + "\u2028".encode() + b'/\\"\\\\"}'),
    )
    for content_bytes, padded in [(0, 1280), (254, 1280), (255, 1536), (2**20, 2**20 + 1280)]:
        for is_answer, overhead in [(False, 29), (True, 49)]:
            name = f"longest {'answer' if is_answer else 'envelope'} around {content_bytes} bytes"
            add(name, "limit", content_bytes=content_bytes, answer=is_answer, envelope_bytes=padded + overhead)
    return cases


# --- refusals.json -------------------------------------------------------------------------------------


def refusals() -> list[dict]:
    cases: list[dict] = []

    def add(error: str, op: str, name: str, **fields: object) -> None:
        cases.append({"name": f"{op}: {name}", "op": op, **fields, "error": error})

    links(add)
    request_links(add)
    encodings(add)
    passwords(add)
    envelopes(add)
    payloads(add)
    answers(add)
    return cases


def links(add) -> None:
    # Chosen so that its text holds both characters that only base64url has.
    key = next(k for k in (fixed(f"link {n}") for n in range(99)) if "-" in b64(k) and "_" in b64(k))
    text, site = b64(key), "https://secrets.example/s"
    for name, link in {
        "empty": "",
        "only white space": " \n",
        "no number sign": f"{site}/{text}",
        "nothing but the key": text,
        "nothing behind the number sign": f"{site}#",
        "one character short": f"{site}#{text[:-1]}",
        "one character more": f"{site}#{text}A",
        "padding": f"{site}#{text}=",
        "standard alphabet, plus": f"{site}#{text.replace('-', '+')}",
        "standard alphabet, slash": f"{site}#{text.replace('_', '/')}",
        "stray bits at the end": f"{site}#{text[:-1]}{chr(ord(text[-1]) + 1)}",
        "white space inside": f"{site}#{text[:20]} {text[20:]}",
        "line break inside": f"{site}#{text[:20]}\n{text[20:]}",
        "two number signs": f"{site}##{text}",
        "number sign inside the address": f"{site}#x#{text}",
        "%23 twice": f"{site}%23%23{text}",
        "%23 before the number sign": f"{site}?x=%23y#{text}",
        "%23 and the number sign": f"{site}%23#{text}",
        "%252523": f"{site}%252523{text}",
        "encoded character in the key": f"{site}#%{ord(text[0]):02X}{text[1:]}",
        "punctuation in front of the key": f"{site}#({text}",
        "second run of punctuation": f"{site}#{text}. .",
        "white space in front of the punctuation": f"{site}#{text} .",
        "punctuation that is not of the run": f"{site}#{text}*",
        "typographic quote": f"{site}#{text}\u201d",
        "slash behind": f"{site}#{text}/",
        "query behind": f"{site}#{text}?x=1",
        "U+0085, which is not white space here": f"{site}#{text}\x85",
        "U+001C, which is not white space here": f"{site}#{text}\x1c",
        "U+180E, which is not white space any more": f"{site}#{text}\u180e",
        "U+200B, which is no white space": f"{site}#{text}\u200b",
        "NUL behind": f"{site}#{text}\0",
        "fullwidth letter": f"{site}#\uff21{text[1:]}",
        "a request link": f"{site}#{b64(request_of(key))}",
    }.items():
        add("bad-link", "link", name, text=link)


def request_links(add) -> None:
    request = request_of(fixed("request"))
    text, site = b64(request), "https://secrets.example/r"

    def with_key(u: int) -> str:
        return f"{site}#{b64(request[:16] + u.to_bytes(32, 'little'))}"

    # 48 bytes leave no stray bits, so there is no refusal for them.
    for name, link in {
        "empty": "",
        "no number sign": f"{site}/{text}",
        "one character short": f"{site}#{text[:-1]}",
        "one character more": f"{site}#{text}A",
        "four characters more": f"{site}#{text}AAAA",
        "padding": f"{site}#{text}=",
        "white space inside": f"{site}#{text[:30]} {text[30:]}",
        "%252523": f"{site}%252523{text}",
        "a link": f"{site}#{b64(fixed('link'))}",
    }.items():
        add("bad-request-link", "request-link", name, text=link)
    for u in LOW_ORDER:
        add("bad-request-link", "request-link", f"low order, {u:#x}", text=with_key(u))
    for name, u in {
        "2^255 - 19 + 2": P + 2,
        "2^255 - 1": 2**255 - 1,
        "high bit": int.from_bytes(request[16:], "little") | 2**255,
        "all bits": 2**256 - 1,
    }.items():
        add("bad-request-link", "request-link", f"not canonical, {name}", text=with_key(u))


def encodings(add) -> None:
    for name, text, length in [
        ("padding", "_w==", 1),
        ("padding alone", "=", 0),
        ("plus", "+-8", 2),
        ("slash", "-/8", 2),
        ("space behind", "_w ", 1),
        ("line feed behind", "_w\n", 1),
        ("space inside", "_ w", 1),
        ("stray bits, four", "_x", 1),
        ("stray bits, two", "__9", 2),
        ("one character left over", "_____", 3),
        ("not ASCII", "_\u00e9", 1),
        ("a digit that is not ASCII", "_\u0661", 1),
        ("too short", "__8", 3),
        ("too long", "____", 2),
        ("nothing where bytes are due", "", 1),
    ]:
        add("damaged", "b64", name, text=text, length=length)


def passwords(add) -> None:
    for name, password in {
        "1,025 bytes": "x" * 1025,
        "513 letters of two bytes": "\u00e9" * 513,
        # U+FDFA is three bytes and becomes 33.
        "1,056 bytes after NFKC, 96 before": "\ufdfa" * 32,
        "lone high surrogate": "pass\ud83d",
        "lone low surrogate": "\ude00word",
        "surrogates in the wrong order": "\ude00\ud83d",
    }.items():
        add("bad-password", "password", name, password=password)


def flip(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def envelopes(add) -> None:
    key, stretched, nonce = fixed("box key"), fixed("stretched"), fixed("nonce", 12)
    request, ephemeral = request_of(key), fixed("ephemeral")
    padded = pad(b"{}", b"content")
    plain = box(key, padded, nonce=nonce)
    locked = box(key, padded, kind=3, stretched=stretched, nonce=nonce)
    sealed = answer(request, padded, ephemeral)
    by_kind = [
        ("type 1", plain, {"answer": False, "password": False}),
        ("type 3", locked, {"answer": False, "password": True}),
        ("type 2", sealed, {"answer": True, "password": False}),
    ]
    for kind, envelope, expected in by_kind:
        for name, wrong in [
            ("one byte short", envelope[:-1]),
            ("one byte more", envelope + b"\0"),
            ("no block", envelope[:-256]),
            ("half a block", envelope[:-128]),
            ("the type alone", envelope[:1]),
            ("nothing", b""),
        ]:
            add("damaged", "check", f"{kind}, {name}", envelope=b64(wrong), **expected)
        for unknown in (0x00, 0x04, 0x31, 0x81, 0xFF):
            wrong = bytes([unknown]) + envelope[1:]
            add("unknown-type", "check", f"{unknown:#04x} for {kind}", envelope=b64(wrong), **expected)
        for other, wrong, _ in by_kind:
            if other != kind:
                add("unknown-type", "check", f"{other} for {kind}", envelope=b64(wrong), **expected)
    for kind, envelope, _ in by_kind:
        name = f"{kind}, where an answer with a password is expected"
        add("unknown-type", "check", name, envelope=b64(envelope), answer=True, password=True)

    def unseal(error: str, name: str, envelope: bytes, *, k: bytes = key, s: bytes | None = None) -> None:
        add(error, "unseal", name, key=b64(k), stretched=s and b64(s), envelope=b64(envelope))

    unseal("damaged", "nonce altered", flip(plain, 1))
    unseal("damaged", "ciphertext altered", flip(plain, 13))
    unseal("damaged", "tag altered", flip(plain, -1))
    unseal("damaged", "another link key", plain, k=fixed("another key"))
    unseal("damaged", "another password", locked, s=fixed("another"))
    unseal("damaged", "one block cut", box(key, pad(b"{}", b"x" * 300), nonce=nonce)[:-256])
    unseal("unknown-type", "a password that was not expected", locked)
    unseal("unknown-type", "no password where one was expected", plain, s=stretched)
    unseal("unknown-type", "an answer", sealed)
    aad_of_3 = AESGCM(hkdf(key, "box", 32)).encrypt(
        nonce, padded, b"secretsvc/v1/box\x03" + hkdf(key, "id", 16)
    )
    unseal("damaged", "type relabelled", b"\x01" + nonce + aad_of_3)
    no_aad = AESGCM(hkdf(key, "box", 32)).encrypt(nonce, padded, b"")
    unseal("damaged", "sealed without its aad", b"\x01" + nonce + no_aad)
    unseal("damaged", "sealed around bad padding", box(key, b"{}\ncontent".ljust(256, b"\0"), nonce=nonce))
    unseal("damaged", "sealed around 257 bytes", box(key, pad(b"{}", b"") + b"\0", nonce=nonce))
    unseal("bad-header", "sealed around a bad header", box(key, pad(b"[]", b"content"), nonce=nonce))

    def unseal_answer(error: str, name: str, envelope: bytes, *, k: bytes = key) -> None:
        add(error, "unseal-answer", name, key=b64(k), envelope=b64(envelope))

    unseal_answer("damaged", "encapsulated key altered", flip(sealed, 1))
    unseal_answer("damaged", "ciphertext altered", flip(sealed, 33))
    unseal_answer("damaged", "tag altered", flip(sealed, -1))
    unseal_answer("damaged", "another link key", sealed, k=fixed("another key"))
    unseal_answer("unknown-type", "not an answer", plain)
    unseal_answer("damaged", "sealed for another id", answer(fixed("id", 16) + request[16:], padded, ephemeral))
    # These fit their tags, only the encapsulated key is wrong: who picks it so picks the shared secret.
    for u in LOW_ORDER:
        chosen = answer(request, padded, ephemeral, enc=u.to_bytes(32, "little"), shared=bytes(32))
        unseal_answer("damaged", f"encapsulated key of low order, {u:#x}", chosen)
    high = flip_high_bit(public(ephemeral))
    unseal_answer("damaged", "encapsulated key with the high bit", answer(request, padded, ephemeral, enc=high))
    # 9 is the base point, so the shared point is the recipient's public key.
    nine = (P + 9).to_bytes(32, "little")
    chosen = answer(request, padded, ephemeral, enc=nine, shared=request[16:])
    unseal_answer("damaged", "encapsulated key not canonical", chosen)
    bad_padding = answer(request, b"{}\ncontent".ljust(256, b"\0"), ephemeral)
    unseal_answer("damaged", "sealed around bad padding", bad_padding)
    unseal_answer("bad-header", "sealed around a bad header", answer(request, pad(b"[]", b""), ephemeral))


def flip_high_bit(public_key: bytes) -> bytes:
    return public_key[:-1] + bytes([public_key[-1] | 0x80])


def payloads(add) -> None:
    start = b"{}\nx\x80"
    for name, padded in {
        "nothing": b"",
        "shorter than a block": start.ljust(255, b"\0"),
        "longer than a block": start.ljust(257, b"\0"),
        "no mark": b"{}\n".ljust(256, b"\0"),
        "another mark": b"{}\nx\x81".ljust(256, b"\0"),
        "a byte behind the mark": start.ljust(255, b"\0") + b"\x01",
        "256 zero bytes": b"{}\n".ljust(255, b"x") + b"\x80" + bytes(256),
        "zero bytes only": bytes(256),
    }.items():
        add("damaged", "payload", name, payload=b64(padded))

    block = b"{}".ljust(255, b" ") + b"\x80"
    add("bad-header", "payload", "no line feed", payload=b64(block))
    many = b"[" * 900
    for name, header in {
        "empty header": b"",
        "1,025 bytes": b'{"name":"x"' + b" " * 1013 + b"}",
        "BOM": b"\xef\xbb\xbf{}",
        "UTF-16": "{}".encode("utf-16-be"),
        "byte that UTF-8 never has": b'{"name":"\xff"}',
        "overlong UTF-8": b'{"name":"\xc1\xa1"}',
        "surrogate as UTF-8": b'{"type":"\xed\xa0\x80"}',
        "UTF-8 cut short": b'{"name":"\xc3"}',
        "array": b"[]",
        "array of pairs": b'[["name","x"]]',
        "string": b'"name"',
        "null": b"null",
        "number": b"1",
        "two objects": b"{}{}",
        "trailing comma": b'{"name":"x",}',
        "single quotes": b"{'name':'x'}",
        "comment": b"{}//",
        "no closing brace": b'{"name":"x"',
        "white space that JSON does not have": b"\xc2\xa0{}",
        "form feed": b"\x0c{}",
        "unknown key": b'{"name":"x","size":"1"}',
        "key in capitals": b'{"Name":"x"}',
        "empty key": b'{"":"x"}',
        "__proto__": b'{"__proto__":"x"}',
        "name twice": b'{"name":"x","name":"x"}',
        "type twice": b'{"type":"x","name":"x","type":"y"}',
        "name twice, once escaped": rb'{"name":"x","n\u0061me":"y"}',
        "name null": b'{"name":null}',
        "type null": b'{"type":null}',
        "name a number": b'{"name":1}',
        "name true": b'{"name":true}',
        "name NaN": b'{"name":NaN}',
        "name a long number": b'{"name":' + b"9" * 1000 + b"}",
        "name an array": b'{"name":["x"]}',
        "name an object": b'{"name":{"name":"x"}}',
        "nested deeply": b'{"name":' + many + b"}",
        "raw tab in a string": b'{"type":"x\ty"}',
        "escape that JSON does not have": rb'{"name":"\x41"}',
        "escape cut short": rb'{"name":"\u004"}',
    }.items():
        add("bad-header", "payload", name, payload=b64(pad(header, b"content")))

    names = {
        "empty": "",
        "256 bytes": "x" * 256,
        "128 letters of two bytes": "\u00e9" * 128,
        "slash": "a/b",
        "backslash": "a\\b",
        "one dot": ".",
        "two dots": "..",
        "NUL": "a\0",
        "escape": "\x1b[2J",
        "DEL": "a\x7f",
        "U+0085": "a\x85",
        "U+009F": "a\x9f",
        "line feed": "a\nb",
        "lone high surrogate": "a\ud800",
        "lone low surrogate": "\udfffa",
        **{f"bidi U+{c:04X}": f"a{chr(c)}b" for c in BIDI},
    }
    types = {
        "128 bytes": "x" * 128,
        "64 letters of two bytes": "\u00e9" * 64,
        "line feed": "text/plain\n",
        "NUL": "\0",
        "DEL": "\x7f",
        "U+0080": "\x80",
        "lone surrogate": "\ud800",
    }
    for key, values in (("name", names), ("type", types)):
        for name, value in values.items():
            header = json.dumps({key: value}).encode()
            add("bad-header", "payload", f"{key}, {name}", payload=b64(pad(header, b"content")))
            add("bad-header", "write", f"{key}, {name}", header={key: value}, content=b64(b"content"))


def answers(add) -> None:
    good, form = b'{"user":"root"}', {"type": "application/json"}
    for name, header in {
        "no type": {},
        "another type": {"type": "text/plain"},
        "type in capitals": {"type": "Application/JSON"},
        "type with a parameter": {"type": "application/json; charset=utf-8"},
        "a named file": {"name": "answers.json", "type": "application/json"},
    }.items():
        add("bad-answer", "answers", name, header=header, content=b64(good))
    for name, content in {
        "nothing": b"",
        "text": b"root",
        "array": b"[]",
        "array of pairs": b'[["user","root"]]',
        "null": b"null",
        "two objects": good + good,
        "BOM": b"\xef\xbb\xbf" + good,
        "not UTF-8": b'{"user":"\xff"}',
        "key twice": b'{"user":"root","user":"root"}',
        "key twice, once escaped": rb'{"user":"root","us\u0065r":"x"}',
        "a number": b'{"port":22}',
        "true": b'{"root":true}',
        "null inside": b'{"user":null}',
        "Infinity": b'{"port":Infinity}',
        "an array inside": b'{"user":["root"]}',
        "an object inside": b'{"user":{"name":"root"}}',
        "an empty object inside": b'{"user":{}}',
        "nested deeply": b"[" * 3000,
        "a number of 5,000 digits": b'{"port":' + b"9" * 5000 + b"}",
        "raw line feed in a string": b'{"key":"a\nb"}',
        "lone surrogate": rb'{"user":"\ud800"}',
        "lone surrogate in a key": rb'{"\udc00":"root"}',
        "NUL behind": good + b"\0",
    }.items():
        add("bad-answer", "answers", name, header=form, content=b64(content))
    add("bad-answer", "write-answers", "lone surrogate", answers=[["user", "\ud800"]])
    add("bad-answer", "write-answers", "lone surrogate in a key", answers=[["\udc00", "root"]])


# --- files ---------------------------------------------------------------------------------------------


def files() -> dict[str, str]:
    """Return what the two files should hold.  All ASCII, so that no editor hides a character."""
    own = {"format": "secretsvc/v1", "hpke": hpke_vectors(), "accepted": accepted()}
    refused = {"format": "secretsvc/v1", "refusals": refusals()}
    contents = {"own.json": own, "refusals.json": refused}
    return {name: json.dumps(content, indent=1) + "\n" for name, content in contents.items()}


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: make.py [--check]", file=sys.stderr)
        return 2
    stale = []
    if hashlib.sha256((HERE / "v1.json").read_bytes()).hexdigest() != V1_SHA256:
        stale.append("v1.json (never made here: bring the original back)")
    for name, content in files().items():
        path = HERE / name
        if not arguments:
            path.write_text(content, encoding="ascii")
        elif not path.exists() or path.read_text(encoding="ascii") != content:
            stale.append(f"{name} (run python tests/vectors/make.py)")
    for line in stale:
        print(f"not current: {line}", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
