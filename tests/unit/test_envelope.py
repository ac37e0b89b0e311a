"""The link format: the vectors every implementation runs, and what they cannot say."""

import importlib.util
import json
import time
import unicodedata
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import example, given, settings
from hypothesis import strategies as st

from secretsvc import envelope, errors, payload
from secretsvc.envelope import Handles, Payload, RequestLink, b64, unb64

VECTORS = Path(__file__).parents[1] / "vectors"


def load(name):
    return json.loads((VECTORS / name).read_text(encoding="ascii"))


def load_maker():
    spec = importlib.util.spec_from_file_location("make_vectors", VECTORS / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = load_maker()
V1 = json.loads((VECTORS / "v1.json").read_text(encoding="utf-8"))
OWN = load("own.json")
REFUSALS = load("refusals.json")["refusals"]
ERRORS = {error.kind: error for error in errors.FormatError.__subclasses__()}

KEY = make.fixed("test key")
STRETCHED = make.fixed("test stretched password")
REQUEST = RequestLink(envelope.derive_handles(KEY).id, envelope.request_public_key(KEY))
SECRET = b"correct horse battery staple"


# A busy machine is not a failure.
UNHURRIED = settings(deadline=None)


def named(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["name"])


# --- vectors -------------------------------------------------------------------------------------------


def payload_of(case):
    return Payload(unb64(case["content"]), **case["header"])


def described(read):
    fields = {"name": read.name, "type": read.type}
    return {key: value for key, value in fields.items() if value is not None}


def do_link(case):
    return {"key": b64(envelope.read_link(case["text"]))}


def do_request_link(case):
    request = envelope.read_request_link(case["text"])
    return {"id": b64(request.id), "public_key": b64(request.public_key)}


def do_b64(case):
    return {"bytes": unb64(case["text"], length=case["length"])}


def do_password(case):
    stretched = envelope.stretch_password(unb64(case["key"]) if "key" in case else KEY, case["password"])
    return {"stretched": b64(stretched), "proof": b64(envelope.proof(stretched))}


def do_check(case):
    checked = envelope.check_envelope(unb64(case["envelope"]), answer=case["answer"], password=case["password"])
    return {"type": checked}


def do_unseal(case):
    stretched = unb64(case["stretched"]) if case["stretched"] else None
    return {"payload": envelope.unseal(unb64(case["key"]), unb64(case["envelope"]), stretched=stretched)}


def do_unseal_answer(case):
    return {"payload": envelope.unseal_answer(unb64(case["key"]), unb64(case["envelope"]))}


def do_payload(case):
    read = payload.read_payload(unb64(case["payload"]))
    return {"header": described(read), "content": b64(read.content)}


def do_write(case):
    return {"payload": b64(payload.write_payload(payload_of(case)))}


def do_answers(case):
    return {"answers": [list(pair) for pair in envelope.read_answers(payload_of(case)).items()]}


def do_write_answers(case):
    return {"content": b64(envelope.write_answers(dict(case["answers"])).content)}


def do_limit(case):
    limit = envelope.max_envelope_bytes(case["content_bytes"], answer=case["answer"])
    return {"envelope_bytes": limit}


def run(case):
    operations = {
        "link": do_link,
        "request-link": do_request_link,
        "b64": do_b64,
        "password": do_password,
        "check": do_check,
        "unseal": do_unseal,
        "unseal-answer": do_unseal_answer,
        "payload": do_payload,
        "write": do_write,
        "answers": do_answers,
        "write-answers": do_write_answers,
        "limit": do_limit,
    }
    return operations[case["op"]](case)


def test_all_vectors_are_there():
    assert len(V1["envelopes"]) == 12
    assert len(V1["answers"]) == 4
    assert len(OWN["hpke"]) == 3
    assert len(OWN["accepted"]) == 41
    assert len(REFUSALS) == 304
    assert {case["error"] for case in REFUSALS} == set(ERRORS)


def test_vector_files_are_what_their_generator_makes(capsys):
    assert make.main(["--check"]) == 0, capsys.readouterr().err


@named(V1["envelopes"])
def test_envelope_vector_holds_in_both_directions(case):
    key, sealed, content = unb64(case["key"], length=32), unb64(case["envelope"]), payload_of(case)
    handles = envelope.derive_handles(key)
    assert (b64(handles.id), b64(handles.token)) == (case["id"], case["token"])
    stretched = envelope.stretch_password(key, case["password"])
    assert (stretched and b64(envelope.proof(stretched))) == case["proof"]
    assert envelope.seal(key, content, stretched=stretched, nonce=unb64(case["nonce"])) == sealed
    assert envelope.unseal(key, sealed, stretched=stretched) == content
    expected = 1 if stretched is None else 3
    assert envelope.check_envelope(sealed, answer=False, password=stretched is not None) == expected


@named([{"name": f"answer-{n}", **case} for n, case in enumerate(V1["answers"])])
def test_answer_vector_holds(case):
    key, sealed = unb64(case["key"], length=32), unb64(case["envelope"])
    handles = envelope.derive_handles(key)
    assert (b64(handles.id), b64(handles.token)) == (case["id"], case["token"])
    request = envelope.read_request_link(f"https://secrets.example/r#{case['request']}")
    assert request == RequestLink(handles.id, envelope.request_public_key(key))
    assert b64(request.answer_token()) == case["answer_token"]
    assert envelope.check_envelope(sealed, answer=True, password=False) == 2
    assert envelope.unseal_answer(key, sealed) == payload_of(case)
    assert make.open_answer(key, sealed) == payload.write_payload(payload_of(case))


@named(OWN["hpke"])
def test_hpke_vector_with_a_given_ephemeral_key_unseals(case):
    key = unb64(case["key"])
    request = envelope.read_request_link(f"#{case['request']}")
    assert request == RequestLink(envelope.derive_handles(key).id, envelope.request_public_key(key))
    assert b64(request.answer_token()) == case["answer_token"]
    assert envelope.unseal_answer(key, unb64(case["envelope"])) == payload_of(case)


def test_our_answers_open_by_the_steps_of_the_rfc():
    sealed = envelope.seal_answer(REQUEST, Payload(SECRET, name="key"))
    assert make.open_answer(KEY, sealed) == make.pad(b'{"name":"key"}', SECRET)


@named(OWN["accepted"])
def test_edge_is_accepted(case):
    for field, value in run(case).items():
        assert value == case[field]


@named(REFUSALS)
def test_refusal_has_its_name(case):
    with pytest.raises(ERRORS[case["error"]]) as caught:
        run(case)
    assert caught.value.kind == case["error"]


def test_refusal_carries_nothing_of_the_input():
    for case in REFUSALS:
        with pytest.raises(errors.FormatError) as caught:
            run(case)
        refusal = caught.value
        assert refusal.args == (type(refusal).detail,), case["name"]
        # A decoder's error would hold the input; InvalidTag is empty.
        assert refusal.__cause__ is None
        assert refusal.__context__ is None or type(refusal.__context__) is InvalidTag, case["name"]


def test_documented_example_is_the_vectors():
    documented = (VECTORS.parents[1] / "docs" / "format.md").read_text(encoding="utf-8")
    by_name = {case["name"]: case for case in V1["envelopes"] + OWN["hpke"]}
    for name in ("text-0", "text-2"):
        case = by_name[name]
        key, sealed = unb64(case["key"]), unb64(case["envelope"])
        stretched = envelope.stretch_password(key, case["password"])
        shown = [key, unb64(case["id"]), sealed[1:13], sealed[13:29], sealed[-16:]]
        if stretched is None:
            shown += [unb64(case["token"]), make.hkdf(key, "box", 32)]
            assert f"https://secrets.example/s#{case['key']}" in documented
        else:
            box_key = make.hkdf(key + stretched, "box-password", 32)
            shown += [make.hkdf(key, "password", 32), stretched, envelope.proof(stretched), box_key]
        assert [value.hex() for value in shown if value.hex() not in documented] == []
    case = by_name["nothing"]
    key, sealed = unb64(case["key"]), unb64(case["envelope"])
    shown = [key, envelope.derive_handles(key).id, make.hkdf(key, "request", 32), sealed[1:33], sealed[33:49]]
    shown += [
        envelope.request_public_key(key),
        unb64(case["answer_token"]),
        unb64(case["ephemeral"]),
        sealed[-16:],
    ]
    assert [value.hex() for value in shown if value.hex() not in documented] == []
    assert f"https://secrets.example/r#{case['request']}" in documented
    assert [point for point in make.LOW_ORDER[:5] if point.to_bytes(32, "little").hex() not in documented] == []


def test_every_refusal_and_operation_is_documented():
    documented = (VECTORS.parents[1] / "docs" / "format.md").read_text(encoding="utf-8")
    for word in {*ERRORS, *(case["op"] for case in REFUSALS + OWN["accepted"])}:
        assert f"\n| `{word}`" in documented


# --- base64url -----------------------------------------------------------------------------------------


@UNHURRIED
@given(st.binary())
def test_bytes_come_back_from_base64url(data):
    assert unb64(b64(data)) == data
    assert unb64(b64(data), length=len(data)) == data


@UNHURRIED
@given(st.text(st.sampled_from("AQgw8_-+/= \n")))
def test_base64url_has_one_text_for_each_bytes(text):
    try:
        data = unb64(text)
    except errors.Damaged:
        return
    assert b64(data) == text


def test_damaged_base64url_names_its_field():
    with pytest.raises(errors.Damaged) as caught:
        unb64("=", field="token")
    assert caught.value.field == "token"


# --- links ---------------------------------------------------------------------------------------------


def test_link_is_the_public_address_and_the_key():
    zeros = "A" * 43
    assert envelope.format_link("https://secrets.example", bytes(32)) == f"https://secrets.example/s#{zeros}"
    assert envelope.format_link("http://[::1]:8000/x/", bytes(32)) == f"http://[::1]:8000/x/s#{zeros}"


def test_request_link_is_the_public_address_the_id_and_the_public_key():
    link = envelope.format_request_link("https://secrets.example/", REQUEST.id, REQUEST.public_key)
    assert link == f"https://secrets.example/r#{b64(REQUEST.id + REQUEST.public_key)}"
    assert envelope.read_request_link(link) == REQUEST


@UNHURRIED
@given(
    key=st.binary(min_size=32, max_size=32),
    before=st.text(st.sampled_from(envelope.WHITE_SPACE)),
    punctuation=st.text(st.sampled_from(".,;:!?)>]}'\"")),
    after=st.text(st.sampled_from(envelope.WHITE_SPACE)),
    sign=st.sampled_from(["#", "%23", "%2523"]),
)
def test_link_survives_mail_and_paste(key, before, punctuation, after, sign):
    link = envelope.format_link("https://secrets.example", key).replace("#", sign)
    assert envelope.read_link(before + link + punctuation + after) == key


def test_every_key_is_fresh():
    keys = {envelope.new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {32}


@pytest.mark.parametrize(
    ("id", "public_key"),
    [
        (REQUEST.id[:-1], REQUEST.public_key),
        (REQUEST.id, REQUEST.public_key[:-1]),
        (REQUEST.id, REQUEST.public_key + b"\0"),
        (REQUEST.id, bytes(32)),
    ],
    ids=["short id", "short key", "long key", "low order"],
)
def test_unusable_request_link_is_not_written(id, public_key):
    with pytest.raises(errors.BadRequestLink):
        envelope.format_request_link("https://secrets.example", id, public_key)


# --- passwords -----------------------------------------------------------------------------------------


def test_empty_password_means_none():
    assert envelope.stretch_password(KEY, "") is None


def test_password_alone_or_link_alone_opens_nothing():
    sealed = envelope.seal(KEY, Payload(SECRET), stretched=STRETCHED)
    for key, stretched in [(KEY, make.fixed("other")), (make.fixed("other"), STRETCHED)]:
        with pytest.raises(errors.Damaged):
            envelope.unseal(key, sealed, stretched=stretched)
    with pytest.raises(errors.UnknownType):
        envelope.unseal(KEY, sealed)


# --- payload -------------------------------------------------------------------------------------------

ALLOWED = st.characters(exclude_categories=["Cc", "Cs"], exclude_characters=[*map(chr, make.BIDI), "/", "\\"])
NAMES = st.text(ALLOWED, min_size=1, max_size=63).filter(lambda name: name not in {".", ".."})
TYPES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=31)
PAYLOADS = st.builds(Payload, st.binary(max_size=1000), name=st.none() | NAMES, type=st.none() | TYPES)


@UNHURRIED
@given(PAYLOADS)
def test_length_tells_only_a_class_of_sizes(content):
    written = payload.write_payload(content)
    header_and_content = written.index(b"\n") + 1 + len(content.content)
    assert len(written) % 256 == 0
    assert 0 < len(written) - header_and_content <= 256


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 300), st.binary(max_size=20))
@example(b'{"name":', 0, b"\n")
def test_bytes_that_are_no_payload_are_refused_by_name(start, zeros, end):
    for data in (start + bytes(zeros) + end, make.pad(b'{"name":"' + start + b'"}', end)):
        try:
            read = payload.read_payload(data)
        except (errors.Damaged, errors.BadHeader):
            continue
        assert payload.read_payload(payload.write_payload(read)) == read


def test_padding_is_judged_before_the_header():
    with pytest.raises(errors.Damaged):
        payload.read_payload(b"[]\nx".ljust(256, b"\0"))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (Payload("grüße\r\n".encode()), "grüße\r\n"),
        (Payload(b"\xef\xbb\xbfx", type="text/plain"), "\ufeffx"),
        (Payload(b""), ""),
        (Payload(b"\xff"), None),
        (Payload(b"\xed\xa0\x80"), None),
        (Payload(b"x", name="x.txt"), None),
    ],
    ids=["newlines kept", "BOM kept", "empty", "not UTF-8", "surrogate", "a file"],
)
def test_only_unnamed_utf8_is_text(content, text):
    assert content.text() == text


@UNHURRIED
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]))
    )
)
def test_answers_come_back_in_their_order(answers):
    read = envelope.read_answers(envelope.write_answers(answers))
    assert list(read.items()) == list(answers.items())


# --- envelopes -----------------------------------------------------------------------------------------


@UNHURRIED
@given(PAYLOADS, st.none() | st.just(STRETCHED))
def test_sealed_secret_comes_back(content, stretched):
    sealed = envelope.seal(KEY, content, stretched=stretched)
    assert envelope.check_envelope(sealed, answer=False, password=stretched is not None) == sealed[0]
    assert len(sealed) <= envelope.max_envelope_bytes(len(content.content))
    assert envelope.unseal(KEY, sealed, stretched=stretched) == content


@UNHURRIED
@given(PAYLOADS)
def test_sealed_answer_comes_back(content):
    sealed = envelope.seal_answer(REQUEST, content)
    assert envelope.check_envelope(sealed, answer=True, password=False) == 2
    assert len(sealed) <= envelope.max_envelope_bytes(len(content.content), answer=True)
    assert envelope.unseal_answer(KEY, sealed) == content


def test_sealing_twice_never_gives_the_same_bytes():
    nonces = {envelope.seal(KEY, Payload(SECRET))[1:13] for _ in range(50)}
    assert len(nonces) == 50
    encapsulated = {envelope.seal_answer(REQUEST, Payload(SECRET))[1:33] for _ in range(50)}
    assert len(encapsulated) == 50


def test_every_altered_byte_is_refused():
    plain, sealed = envelope.seal(KEY, Payload(SECRET)), envelope.seal_answer(REQUEST, Payload(SECRET))
    for at in range(len(plain)):
        with pytest.raises(errors.UnknownType if at == 0 else errors.Damaged):
            envelope.unseal(KEY, make.flip(plain, at))
    for at in range(len(sealed)):
        with pytest.raises(errors.UnknownType if at == 0 else errors.Damaged):
            envelope.unseal_answer(KEY, make.flip(sealed, at))


def test_nothing_is_parsed_before_the_tag_fits(monkeypatch):
    def read(padded):
        pytest.fail("the payload was read")

    plain, sealed = envelope.seal(KEY, Payload(SECRET)), envelope.seal_answer(REQUEST, Payload(SECRET))
    monkeypatch.setattr(envelope, "read_payload", read)
    with pytest.raises(errors.Damaged):
        envelope.unseal(KEY, make.flip(plain, -1))
    with pytest.raises(errors.Damaged):
        envelope.unseal_answer(KEY, make.flip(sealed, -1))
    with pytest.raises(pytest.fail.Exception):
        envelope.unseal(KEY, plain)
    with pytest.raises(pytest.fail.Exception):
        envelope.unseal_answer(KEY, sealed)


def test_type_is_judged_before_the_length():
    with pytest.raises(errors.UnknownType):
        envelope.check_envelope(b"\x02", answer=False, password=False)


@pytest.mark.parametrize("content_bytes", [0, 1, 254, 255, 256, 1000])
def test_limit_leaves_room_for_the_longest_header(content_bytes):
    padded = make.pad(b" " * 1022 + b"{}", bytes(content_bytes))
    assert len(payload.read_payload(padded).content) == content_bytes
    assert envelope.max_envelope_bytes(content_bytes) == 29 + len(padded)
    assert envelope.max_envelope_bytes(content_bytes, answer=True) == 49 + len(padded)


# --- what is shown -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [Payload(SECRET, name="correct", type="horse"), Handles(SECRET, SECRET), REQUEST],
    ids=lambda value: type(value).__name__,
)
def test_what_holds_a_secret_does_not_show_it(value):
    for shown in (repr(value), str(value), f"{value}", repr([value])):
        assert f"{type(value).__name__}(masked)" in shown
        assert "correct" not in shown
        assert "\\x" not in shown


@pytest.mark.parametrize("mark", ["\u0301", "\u0323"])
def test_a_huge_password_is_refused_before_it_is_normalised(mark: str) -> None:
    """Normalising this one takes minutes in which nothing else of the process runs; refusing it takes none."""
    began = time.thread_time()
    with pytest.raises(errors.BadPassword):
        envelope.stretch_password(bytes(range(32)), "a" + ("\u0323" + mark) * 250_000)
    assert time.thread_time() - began < 1


def test_no_password_is_refused_early_that_would_pass_normalised() -> None:
    """NFKC makes at least one byte of every four: the largest shrinkage of any character."""
    worst = max(
        len(chr(point).encode()) / len(unicodedata.normalize("NFKC", chr(point)).encode())
        for point in range(0x110000)
        if not 0xD800 <= point < 0xE000
    )
    assert worst <= 4
    assert envelope.stretch_password(bytes(range(32)), "\U0001d400" * 1024) is not None
