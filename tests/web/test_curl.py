"""Plain curl, the real one, against a real web process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from secretsvc import envelope
from secretsvc.envelope import Payload, b64
from tests.harness import Backends, Secret, backends, web
from tests.web.common import Asked, dump, expire, store, with_proof, wrong_password
from tests.web.conftest import Live

ALL_BYTES = bytes(range(256))


@dataclass(frozen=True)
class Said:
    """What curl was told."""

    status: int
    head: str
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class Curl:
    """The curl of this machine, without its owner's settings."""

    url: str
    folder: Path

    def __call__(self, *arguments: str, path: str = "/", stdin: bytes = b"") -> Said:
        head = self.folder / "head"
        argv = ["curl", "-q", "-sS", "-m", "20", "-D", str(head), *arguments, self.url + path]
        ran = subprocess.run(argv, input=stdin, capture_output=True, cwd=self.folder, timeout=30, check=False)
        assert ran.returncode == 0, ran.stderr
        lines = head.read_text("latin-1").replace("\r", "")
        blocks = [block for block in lines.split("\n\n") if block.startswith("HTTP/")]
        final = blocks[-1]  # a 100 Continue may come first
        return Said(int(final.split()[1]), final.lower(), ran.stdout)

    def create(self, *arguments: str, stdin: bytes = b"hunter2") -> str:
        """The link that a create answers with."""
        said = self(*(arguments or ("-F", "secret=<-")), stdin=stdin)
        assert said.status == 201, said.body
        assert said.text.startswith(self.url + "/s#")
        assert said.text.endswith("\n")
        assert len(said.text) == len(self.url) + 3 + 43 + 1
        return said.text.removesuffix("\n")

    def open(self, link: str, *arguments: str) -> Said:
        return self("-F", "link=<-", *arguments, path="/open", stdin=link.encode())


@pytest.fixture
def curl(live: Live, folder: Path) -> Curl:
    return Curl(live.url, folder)


@pytest.fixture(scope="module")
def staff(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Curl, Backends, str]]:
    """A service where only staff create, and an agent's token."""
    folder = tmp_path_factory.mktemp("staff")
    with backends(folder) as backs, web(backs, folder, create="staff") as running:
        token = backs.app().extensions["secretsvc"].tokens.add("anna", "agent")
        yield Curl(running.url, folder), backs, token


def is_line(said: Said, status: int, *words: str) -> None:
    """An error as exactly one line of text."""
    assert said.status == status, said.body
    assert "content-type: text/plain; charset=utf-8" in said.head
    assert said.text.endswith("\n")
    assert said.text.count("\n") == 1
    assert len(said.text) > 10
    assert "<" not in said.text
    for word in words:
        assert word in said.text


# --- in and out ----------------------------------------------------------------------------------------

CONTENTS = {
    "text": b"hunter2",
    "newline": b"hunter2\n",
    "CRLF": b"a\r\nb\r\n",
    "CR": b"a\r",
    "NUL": b"a\x00",
    "0xFF": b"a\xff",
    "bad UTF-8": b"\xff\xfe",
    "BOM": b"\xef\xbb\xbfa",
    "right to left": "\u202eabc\u2066".encode(),
    "umlauts": "pässwörd ü".encode(),
    "every byte": ALL_BYTES + b"\r\n\x00\xff",
    "backwards": ALL_BYTES[::-1],
    "boundary": b"\r\n--------------------------\r\n--",
    "noise": os.urandom(100_000) + b"\r\n",
    "one byte": b"\n",
    "form": b"plain&secret=x&secret=y",
}


@pytest.mark.parametrize("what", CONTENTS)
def test_text_in_text_out_byte_for_byte(curl: Curl, what: str) -> None:
    link = curl.create("-F", "secret=<-", stdin=CONTENTS[what])
    said = curl.open(link)
    assert (said.status, said.body) == (200, CONTENTS[what])
    assert "content-disposition" not in said.head
    is_line(curl.open(link), 410, "opened at 20")


@pytest.mark.parametrize("what", CONTENTS)
def test_a_file_keeps_its_name_and_bytes(curl: Curl, what: str) -> None:
    (curl.folder / "key.pem").write_bytes(CONTENTS[what])
    said = curl.open(curl.create("-F", "secret=@key.pem"))
    assert (said.status, said.body) == (200, CONTENTS[what])
    assert "content-disposition: attachment; filename*=utf-8''key.pem" in said.head
    assert "content-type: application/octet-stream" in said.head


def test_the_name_reaches_whoever_opens_with_a_client(curl: Curl, live: Live) -> None:
    (curl.folder / "key.pem").write_bytes(b"x")
    key = envelope.read_link(curl.create("-F", "secret=@key.pem;type=text/x-key"))
    handles = envelope.derive_handles(key)
    secret = Secret(key, b"", b64(handles.id), b64(handles.token), {})
    claimed = secret.claim(live.client())
    opened = envelope.unseal(key, envelope.unb64(claimed.json["envelope"]))
    assert opened == Payload(b"x", "key.pem", "text/x-key")


@pytest.mark.parametrize(
    ("name", "sent_as"),
    [
        ("Schlüssel für Müller.txt", "schl%c3%bcssel%20f%c3%bcr%20m%c3%bcller.txt"),
        ('a"b', "a%22b"),
        ("a;b=c", "a%3bb%3dc"),
        ("a'b", "a%27b"),
        ("a%0d%0aSet-Cookie: x=y", "a%250d%250aset-cookie%3a%20x%3dy"),
        ("日本.txt", "%e6%97%a5%e6%9c%ac.txt"),
        (" a ", "%20a%20"),
    ],
)
def test_a_name_is_kept_and_harmless(curl: Curl, name: str, sent_as: str) -> None:
    (curl.folder / "f").write_bytes(b"x")
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    said = curl.open(curl.create("-F", f'secret=@f;filename="{quoted}"'))
    assert said.body == b"x"
    assert f"content-disposition: attachment; filename*=utf-8''{sent_as}\n" in said.head + "\n"
    assert "set-cookie:" not in said.head


@pytest.mark.parametrize(
    "name", ["../a", "a/b", "..", ".", "a\\b", "C:\\a", "\u202egpj.exe", "x" * 256, "a\x7fb"]
)
def test_a_name_that_could_lead_astray_is_422(curl: Curl, live: Live, name: str) -> None:
    (curl.folder / "f").write_bytes(b"x")
    before = dump(live.backs)
    quoted = name.replace("\\", "\\\\")
    is_line(curl("-F", f'secret=@f;filename="{quoted}"'), 422, "name")
    assert dump(live.backs) == before


def test_expiry(curl: Curl, live: Live) -> None:
    for text, seconds in (
        ("3d", 3 * 86_400),
        ("60", 60),
        ("1h", 3600),
        ("31d", 31 * 86_400),
        ("90m", 5400),
        ("4w", 28 * 86_400),
    ):
        link = curl.create("-F", "secret=x", "-F", f"expires={text}")
        id = b64(envelope.derive_handles(envelope.read_link(link)).id)
        ttl = live.backs.store.client().ttl(f"ss:{{{id}}}:r")
        assert seconds - 3 <= ttl <= seconds, text
    before = dump(live.backs)
    for text in ("0", "-1", "59", "32d", "1e18", "1.5", "true", "null", "1y", "never", "+", "3d3d", "9" * 30):
        is_line(curl("-F", "secret=x", "-F", f"expires={text}"), 422, "expires", "31 days")
    assert dump(live.backs) == before


def test_a_password_from_a_file_is_the_same_without_its_newline(curl: Curl) -> None:
    (curl.folder / "with").write_bytes("pass wörd \n".encode())
    (curl.folder / "without").write_bytes("pass wörd ".encode())
    (curl.folder / "trimmed").write_bytes("pass wörd\n".encode())
    (curl.folder / "windows").write_bytes("pass wörd \r\n".encode())
    link = curl.create("-F", "secret=<-", "-F", "password=<with")
    is_line(curl.open(link), 422, "password")
    is_line(curl.open(link, "-F", "password=<trimmed"), 403, "Tries left: 4")
    assert curl.open(link, "-F", "password=<without").body == b"hunter2"
    link = curl.create("-F", "secret=<-", "-F", "password=<without")
    assert curl.open(link, "-F", "password=<windows").body == b"hunter2"


def test_a_password_opens_in_a_client_too(curl: Curl, live: Live) -> None:
    link = curl.create("-F", "secret=<-", "-F", "password=sesam")
    key = envelope.read_link(link)
    handles, stretched = envelope.derive_handles(key), envelope.stretch_password(key, "sesam")
    assert stretched
    secret = Secret(
        key, b"", b64(handles.id), b64(handles.token), {}, b64(envelope.proof(stretched)), stretched
    )
    assert secret.unseal(secret.claim(live.client())) == b"hunter2"


def test_what_a_client_sealed_curl_opens(curl: Curl, live: Live) -> None:
    secret = Secret.create(live.client(), ALL_BYTES)
    assert curl.open(secret.link).body == ALL_BYTES


@pytest.mark.parametrize("around", ["{}\n", " {} ", "{}.", "<{}>", '"{}"', "{}\r\n"])
def test_a_link_is_read_with_what_clings_to_it(curl: Curl, around: str) -> None:
    link = curl.create()
    cleaned = around.format(link).lstrip('<"')
    assert curl.open(cleaned).body == b"hunter2"


def test_a_rewritten_link_is_repaired(curl: Curl) -> None:
    assert curl.open(curl.create().replace("#", "%23")).body == b"hunter2"


def test_the_same_key_gets_the_same_answer_again(curl: Curl) -> None:
    key = ("-H", f"Idempotency-Key: {b64(os.urandom(32))}")
    link = curl.create("-F", "secret=<-", *key)
    assert curl.create("-F", "secret=<-", *key) == link
    is_line(curl("-F", "secret=other", *key), 422, "Idempotency-Key")
    for _ in range(2):
        assert curl.open(link, *key).body == b"hunter2"
    is_line(curl.open(link), 410, "opened")
    is_line(curl("-F", "secret=x", "-H", "Idempotency-Key: 1"), 400, "Idempotency-Key")


# --- the commands of an older service ------------------------------------------------------------------


def test_the_old_commands_keep_working(curl: Curl) -> None:
    link = curl.create("-d", "plain&secret=hunter2")
    said = curl("-d", "plain", "--data-urlencode", f"link={link}", path="/open")
    assert (said.status, said.body) == (200, b"hunter2")
    link = curl.create("-d", "plain", "--data-urlencode", "secret@-", stdin="ü&=+ \n".encode())
    said = curl("-d", "plain", "-d", f"link={link}", path="/open")  # the # goes along unescaped
    assert said.body == "ü&=+ \n".encode()


def test_plain_may_stand_in_the_address_and_wins_over_a_browsers_accept(curl: Curl) -> None:
    html = ("-H", "Accept: text/html")
    for arguments, path in ((("-d", "secret=hunter2"), "/?plain"), (("-d", "plain&secret=hunter2"), "/")):
        said = curl(*arguments, *html, path=path)
        assert said.status == 201
        assert said.text.startswith(curl.url)
        opened = curl("-d", f"plain&link={said.text.strip()}", *html, path="/open")
        assert opened.body == b"hunter2"


def test_a_percent_ff_is_kept_byte_for_byte(curl: Curl) -> None:
    link = curl.create("-d", "secret=a%ffb%00%0d%0a%c3")
    assert curl.open(link).body == b"a\xffb\x00\r\n\xc3"
    everything = "".join(f"%{byte:02x}" for byte in range(256))
    assert curl.open(curl.create("-d", f"secret={everything}")).body == ALL_BYTES


def test_raw_bytes_in_a_urlencoded_form_are_kept(curl: Curl) -> None:
    data = b"secret=\xff\xfe\xc3\xa4\x80+%2B"
    link = curl.create("--data-binary", "@-", stdin=data)
    assert curl.open(link).body == b"\xff\xfe\xc3\xa4\x80 +"


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_a_post_to_the_bare_link_says_what_to_do(curl: Curl, live: Live, accept: str) -> None:
    link = curl.create()
    before = dump(live.backs)
    for path in ("/s", "/s#" + link.partition("#")[2]):
        said = curl("-X", "POST", "-d", "plain", "-H", f"Accept: {accept}", path=path)
        assert said.status == 422
        assert "used nothing up" in said.text.replace("\n", " ")
        assert f"printf %s \"$LINK\" | curl -F 'link=<-' {live.url}/open" in said.text
    assert dump(live.backs) == before
    assert curl.open(link).body == b"hunter2"


def test_getting_the_link_explains_and_opens_nothing(curl: Curl, live: Live) -> None:
    link = curl.create()
    before = dump(live.backs)
    for path in ("/s", "/s#" + link.partition("#")[2], "/open"):
        said = curl(path=path)
        assert said.status == 200
        assert "text/plain" in said.head
        assert f"printf %s \"$LINK\" | curl -F 'link=<-' {live.url}/open" in said.text
    assert dump(live.backs) == before
    assert f"curl -F 'secret=<-' {live.url}/" in curl().text
    assert curl.open(link).body == b"hunter2"


def test_following_redirects_changes_nothing(curl: Curl) -> None:
    link = curl.create("-L", "-F", "secret=<-")
    assert curl.open(link, "-L").body == b"hunter2"


def test_pages_are_for_browsers_only(curl: Curl) -> None:
    for path in ("/", "/s", "/open", "/receipt", "/nope"):
        for accept in ("*/*", "text/plain", "application/json", ""):
            said = curl("-H", f"Accept: {accept}" if accept else "Accept:", path=path)
            assert "text/plain" in said.head, (path, accept)
        assert "text/html" in curl("-H", "Accept: text/html", path=path).head


# --- errors --------------------------------------------------------------------------------------------


def test_every_error_is_one_line_with_its_status(curl: Curl, live: Live) -> None:
    client = live.client()
    revoked, expired = Secret.create(client), Secret.create(client)
    revoked.call(client, "revoke", sender=True)
    expire(live.backs, expired)
    locked = store(client, with_proof())
    wrong_password(client, locked, 5)
    link = curl.create()
    assert curl.open(link).status == 200

    is_line(curl.open(link), 410, "opened", "(opened at 20")
    is_line(curl.open(revoked.link), 410, "revoked", "(revoked at 20")
    is_line(curl.open(expired.link), 410, "(expired at 20")
    is_line(curl.open(locked.link, "-F", "password=x"), 423, "locked")
    is_line(curl.open(Secret.make().link), 404, "no such secret")
    is_line(curl.open(link[:-1]), 400, "incomplete")
    is_line(curl.open(link + "A"), 400)
    is_line(curl.open(""), 400)
    is_line(curl("-d", "plain", path="/open"), 422, "link")
    is_line(curl(path="/nope"), 404)
    is_line(curl("-X", "DELETE"), 405)
    is_line(curl("-X", "POST"), 415)
    is_line(curl("--json", "{}"), 415)
    is_line(curl("-F", "secret=<-", stdin=b"x" * (2**20 + 1)), 413, "secret")
    is_line(curl("-F", "secret=<-", stdin=b"x" * (8 * 2**20)), 413)
    is_line(curl("-F", "secret=<-", "-F", "label=T-1", stdin=b"x"), 403, "staff")
    is_line(curl("-F", "secret=<-", "-H", "X-API-Key: x", stdin=b"x"), 401)
    is_line(curl("-F", "secret=x", "-H", "Sec-Fetch-Site: cross-site"), 403)
    is_line(curl(path="/s%23" + link.partition("#")[2]), 400, "#")


def test_the_answer_to_a_request_is_for_agents(curl: Curl, live: Live) -> None:
    client = live.client()
    token = live.backs.app().extensions["secretsvc"].tokens.add("bert", "agent")
    asked = Asked.create(client, {"X-API-Key": token})
    link = envelope.format_link(live.url, asked.key)
    is_line(curl.open(link, "-H", f"X-API-Key: {token}"), 409, "Nobody has answered")
    assert asked.answer(client, {"envelope": asked.sealed(ALL_BYTES), "consents": []}).status == 201
    is_line(curl.open(link), 403, "agent")
    assert curl.open(link, "-H", f"X-API-Key: {token}").body == ALL_BYTES


def test_only_staff_create_by_header_where_the_setting_says_so(
    staff: tuple[Curl, Backends, str], folder: Path
) -> None:
    curl, backs, token = staff
    curl = replace(curl, folder=folder)
    before = dump(backs)
    is_line(curl("-F", "secret=<-", stdin=b"x"), 401, "X-API-Key")
    is_line(curl("-F", "secret=<-", "-H", "X-API-Key: sst_x", stdin=b"x"), 401)
    is_line(curl("-F", "secret=<-", "-F", f"token={token}", stdin=b"x"), 401)
    assert dump(backs) == before
    link = curl.create("-F", "secret=<-", "-F", "label=T-1", "-H", f"X-API-Key: {token}")
    assert curl.open(link).body == b"hunter2"


# --- forms, strictly -----------------------------------------------------------------------------------

BAD_FORMS: dict[str, tuple[list[str], int, str]] = {
    "unknown": (["-F", "secret=x", "-F", "views=2"], 422, "views"),
    "unknown urlencoded": (["-d", "secret=x&ttl=5"], 422, "ttl"),
    "secret as a name": (["-d", "hunter2"], 422, "hunter2"),
    "twice": (["-F", "secret=x", "-F", "secret=y"], 422, "secret: This field is there twice"),
    "twice urlencoded": (["-d", "secret=x&secret=x"], 422, "secret"),
    "password twice": (["-d", "secret=x&password=a&password=a"], 422, "password"),
    "nothing": (["-d", ""], 422, "secret"),
    "empty": (["-F", "secret="], 422, "secret"),
    "empty file": (["-F", "secret=@empty"], 422, "secret"),
    "both": (["-F", "secret=x", "-F", "file=@f"], 422, "file"),
    "many parts": ([word for number in range(30) for word in ("-F", f"a{number}=x")], 400, "too many"),
    "many fields": (["-d", "&".join(f"a{number}=x" for number in range(1000))], 400, "too many"),
    "newline in a name": (["-d", "a%0ab%0d%1b[31m=x"], 422, "a?b??[31m"),
    "bidi in a name": (["-d", "a%e2%80%aeb=x"], 422, "a?b"),
    "bytes in a name": (["-d", "%ff%00=x"], 422, "?"),
    "password not UTF-8": (["-d", "secret=x&password=%ff"], 422, "password"),
    "password too long": (["-d", "secret=x&password=" + "x" * 1025], 422, "password"),
    "language": (["-d", "secret=x&language=fr"], 422, "language"),
    "hidden key": (["-d", "secret=x&idempotency_key=1"], 400, "Idempotency-Key"),
    "empty hidden key": (["-d", "secret=x&idempotency_key="], 400, "Idempotency-Key"),
    "json": (["-H", "Content-Type: application/json", "-d", "{}"], 415, "form"),
    "text": (["-H", "Content-Type: text/plain", "-d", "secret=x"], 415, "form"),
    "no type": (["-H", "Content-Type:", "-d", "secret=x"], 415, "form"),
    "no boundary": (["-H", "Content-Type: multipart/form-data", "-d", "--x"], 400, "malformed"),
    "other boundary": (
        ["-H", "Content-Type: multipart/form-data; boundary=y", "-d", "--x\r\n"],
        400,
        "malformed",
    ),
    "odd boundary": (["-H", "Content-Type: multipart/form-data; boundary=\xe4", "-d", "--x"], 400, "malformed"),
    "part without name": (
        ["-d@noname", "-H", "Content-Type: multipart/form-data; boundary=X"],
        400,
        "malformed",
    ),
    "part without head": (
        ["-d@nohead", "-H", "Content-Type: multipart/form-data; boundary=X"],
        400,
        "malformed",
    ),
    "part of bytes": (["-d@bytes", "-H", "Content-Type: multipart/form-data; boundary=X"], 400, "malformed"),
    "cut": (["-d@cut", "-H", "Content-Type: multipart/form-data; boundary=X"], 400, "malformed"),
}
FILES = {
    "empty": b"",
    "f": b"x",
    "noname": b"--X\r\nContent-Disposition: form-data\r\n\r\nx\r\n--X--\r\n",
    "nohead": b"--X\r\n\r\nx\r\n--X--\r\n",
    "bytes": b"--X\r\n\xff\xfe: \xff\r\n\r\nx\r\n--X--\r\n",
    "cut": b'--X\r\nContent-Disposition: form-data; name="secret"\r\n\r\nhalf of i',
}


@pytest.mark.parametrize("what", BAD_FORMS)
def test_a_form_that_is_not_right_stores_nothing(curl: Curl, live: Live, what: str) -> None:
    for name, content in FILES.items():
        (curl.folder / name).write_bytes(content)
    arguments, status, word = BAD_FORMS[what]
    arguments = [argument.replace("-d@", "--data-binary=@") for argument in arguments]
    if arguments[0].startswith("--data-binary=@"):
        arguments[0:1] = ["--data-binary", arguments[0].partition("=")[2]]
    before = dump(live.backs)
    is_line(curl(*arguments), status, word)
    assert dump(live.backs) == before


def test_nothing_secret_belongs_in_the_address(curl: Curl, live: Live) -> None:
    before = dump(live.backs)
    is_line(curl("-d", "secret=x", path="/?password=y"), 422, "password", "address")
    is_line(curl("-d", "secret=x", path="/?a%0ab"), 422, "a?b")
    is_line(curl("-d", "plain", path="/open?link=y"), 422, "link")
    assert dump(live.backs) == before


@pytest.mark.parametrize("size", [8_000, 9_000, 100_000])
def test_a_huge_header_is_refused_and_nothing_falls_over(curl: Curl, size: int) -> None:
    (curl.folder / "big").write_text(f"X-Big: {'x' * size}\n")
    said = curl("-H", "@big", path="/healthz")
    assert said.status == 200 if size < 8_190 else 400 <= said.status < 500
    many = [word for number in range(200) for word in ("-H", f"X-{number}: x")]
    assert 400 <= curl(*many, path="/healthz").status < 500
    assert 400 <= curl(path="/" + "x" * 8_000).status < 500
    assert curl(path="/healthz").status == 200


def test_a_part_with_a_huge_head_is_no_5xx(curl: Curl) -> None:
    part = (
        b'--X\r\nContent-Disposition: form-data; name="secret"\r\nX: '
        + b"x" * 100_000
        + b"\r\n\r\nx\r\n--X--\r\n"
    )
    kind = "Content-Type: multipart/form-data; boundary=X"
    assert curl("--data-binary", "@-", "-H", kind, stdin=part).status < 500


def test_a_receipt_reads_and_revokes_by_curl_too(curl: Curl, live: Live) -> None:
    client = live.client()
    created = client.post("/api/v1/secrets", {"secret": "x", "expires_in": 60}).json
    sealed = curl("-F", "receipt=<-", path="/receipt", stdin=created["receipt_url"].encode())
    assert "state: sealed\n" in sealed.text
    revoked = curl(
        "-F", "receipt=<-", "-F", "action=revoke", path="/receipt", stdin=created["receipt_url"].encode()
    )
    assert "state: revoked\n" in revoked.text
    is_line(curl.open(created["link"]), 410, "revoked")
    is_line(curl("-F", "receipt=<-", path="/receipt", stdin=created["link"].encode()), 400, "receipt")
    is_line(
        curl("-F", "receipt=<-", "-F", "action=state", path="/receipt", stdin=created["receipt_url"].encode()),
        422,
    )
