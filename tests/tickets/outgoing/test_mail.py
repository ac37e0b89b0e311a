"""Mails to followers: handed to a real server, over TLS, once, and never with a line of somebody else's."""

from __future__ import annotations

import email
import logging
import re
import ssl
import time
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from secretsvc.errors import Misconfigured
from secretsvc.tickets import config, notices
from secretsvc.tickets.mail import Mailer, MailError, MailRefused, MailUnavailable
from secretsvc.tickets.wording import one_line

from .receivers import certificates
from .smtpd import MailServer, Taken, Ways

KIM = "kim@kunde.example"
Made = Callable[..., Mailer]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return certificates(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture
def mailer(tls: tuple[Path, ssl.SSLContext], tmp_path: Path) -> Made:
    def make(server: MailServer, seconds: float = 10.0, host: str = "localhost", **more: object) -> Mailer:
        if "username" in more:
            (tmp_path / "password").write_text("canary-password\n")
            more["password_file"] = str(tmp_path / "password")
        settings = config.Mail(host=host, port=server.port, sender="tickets@support.example", **more)  # type: ignore[arg-type]
        return Mailer(settings, ca_file=str(tls[0]), seconds=seconds)

    return make


def send(mailer: Mailer, **changed: str) -> None:
    mail = {"to": KIM, "subject": "Ticket 2", "text": "Hello\n", "message_id": "n-7QK2-1"}
    mailer.send(**(mail | changed))


def parsed(taken: Taken) -> EmailMessage:
    found = email.message_from_bytes(taken.raw, policy=default)
    assert isinstance(found, EmailMessage)
    return found


def test_a_mail_arrives_whole_and_over_tls(mailer: Made, tls: tuple[Path, ssl.SSLContext]) -> None:
    subject = "Ticket 2: Grüße 中 " + "lang " * 20
    text = "Grüße\n.\n..two\nFrom me\n" + "x" * 3_000 + "\n"
    with MailServer(tls[1]) as server:
        send(mailer(server), subject=subject, text=text)
    [taken] = server.taken
    assert (taken.sender, taken.to, taken.tls) == ("tickets@support.example", [KIM], True)
    mail = parsed(taken)
    assert mail["Subject"] == subject.strip()
    assert mail.get_content().replace("\r\n", "\n") == text
    assert (mail["From"], mail["To"], mail["Auto-Submitted"]) == (
        "tickets@support.example",
        KIM,
        "auto-generated",
    )
    assert abs(mail["Date"].datetime.timestamp() - time.time()) < 10
    assert max(map(len, taken.raw.split(b"\r\n"))) <= 78
    assert taken.raw.isascii()
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", taken.raw)


def test_a_repeat_has_the_same_message_id(mailer: Made, tls: tuple[Path, ssl.SSLContext]) -> None:
    marker = "n." + "a1-B" * 15
    with MailServer(tls[1]) as server:
        for _ in range(2):
            send(mailer(server), message_id=marker)
    lines = [
        line for taken in server.taken for line in taken.raw.split(b"\r\n") if line.startswith(b"Message-ID:")
    ]
    assert lines == [f"Message-ID: <{marker}@support.example>".encode()] * 2


@pytest.mark.parametrize("marker", ["", "a b", "a\r\nBcc: x@y.example", "a@b", "<a>", "ä", "a" * 65])
def test_what_is_no_marker_makes_no_message_id(marker: str, mailer: Made) -> None:
    with MailServer() as server:
        with pytest.raises(ValueError, match="marker"):
            send(mailer(server), message_id=marker)
        assert server.accepted == 0


def test_it_signs_in_where_the_server_wants_it(mailer: Made, tls: tuple[Path, ssl.SSLContext]) -> None:
    with MailServer(tls[1], Ways(login=("desk", "canary-password"))) as server:
        send(mailer(server, username="desk"))
    assert [(taken.login, taken.tls) for taken in server.taken] == [("desk", True)]


def test_a_wrong_password_is_a_matter_for_later(mailer: Made, tls: tuple[Path, ssl.SSLContext]) -> None:
    with MailServer(tls[1], Ways(login=("desk", "other"))) as server, pytest.raises(MailUnavailable):
        send(mailer(server, username="desk"))
    assert server.taken == []


# --- no TLS, no mail ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ways",
    [Ways(starttls=False), Ways(answers={"starttls": "454 not now"}), Ways(answers={"starttls": "501 never"})],
    ids=["not offered", "not now", "never"],
)
@pytest.mark.parametrize("login", [{}, {"username": "desk"}], ids=["no login", "login"])
def test_without_starttls_nothing_is_sent(
    ways: Ways, login: dict[str, str], mailer: Made, tls: tuple[Path, ssl.SSLContext]
) -> None:
    with MailServer(tls[1], ways) as server, pytest.raises(MailUnavailable):
        send(mailer(server, **login))
    assert server.taken == []
    assert not {"AUTH", "MAIL", "RCPT", "DATA"} & set(server.heard)


@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_a_server_with_the_wrong_certificate_gets_nothing(
    wrong: str, mailer: Made, tls: tuple[Path, ssl.SSLContext], tmp_path: Path
) -> None:
    context = certificates(tmp_path / "other", "localhost")[1] if wrong == "authority" else tls[1]
    with MailServer(context) as server, pytest.raises(MailUnavailable):
        send(mailer(server, username="desk", host="127.0.0.1" if wrong == "name" else "localhost"))
    assert server.taken == []
    assert server.heard == ["EHLO", "STARTTLS"]


def test_what_was_said_before_tls_is_forgotten(mailer: Made, tls: tuple[Path, ssl.SSLContext]) -> None:
    # An answer slipped in before encryption must not be taken for the server's own after it.
    whisper = "\r\n250-mail.test\r\n250 AUTH PLAIN"
    with MailServer(tls[1], Ways(whisper=whisper)) as server:
        with pytest.raises(MailUnavailable):
            send(mailer(server, username="desk"))
        assert "AUTH" not in server.heard
        send(mailer(server))
    assert len(server.taken) == 1


def test_the_operator_can_do_without_tls_but_not_with_a_password(mailer: Made) -> None:
    with MailServer(ways=Ways(starttls=False)) as server:
        send(mailer(server, starttls=False))
        with pytest.raises(Misconfigured, match=r"^mail\.starttls: "):
            mailer(server, starttls=False, username="desk")
    assert [taken.tls for taken in server.taken] == [False]


def test_a_missing_password_file_is_named() -> None:
    settings = config.Mail(host="h.example", sender="a@b.example", username="desk", password_file="/nowhere")
    with pytest.raises(Misconfigured, match=r"^mail\.password_file: /nowhere cannot be read"):
        Mailer(settings)


# --- refusals and faults --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "code", "kind"),
    [
        ("connect", 421, MailUnavailable),
        ("connect", 554, MailUnavailable),
        ("ehlo", 421, MailUnavailable),
        ("mail", 421, MailUnavailable),
        ("mail", 451, MailUnavailable),
        ("mail", 530, MailUnavailable),
        ("mail", 550, MailUnavailable),
        ("rcpt", 421, MailUnavailable),
        ("rcpt", 450, MailUnavailable),
        ("rcpt", 452, MailUnavailable),
        ("rcpt", 550, MailRefused),
        ("rcpt", 553, MailRefused),
        ("data-begins", 451, MailUnavailable),
        ("data-begins", 554, MailRefused),
        ("data", 421, MailUnavailable),
        ("data", 452, MailUnavailable),
        ("data", 550, MailRefused),
        ("data", 554, MailRefused),
    ],
)
def test_4xx_is_tried_again_and_5xx_for_the_recipient_is_not(
    where: str, code: int, kind: type[MailError], mailer: Made, tls: tuple[Path, ssl.SSLContext]
) -> None:
    ways = Ways(answers={where: f"{code} canary-answer {KIM}"})
    with MailServer(tls[1], ways) as server, pytest.raises(MailError) as caught:
        send(mailer(server))
    assert type(caught.value) is kind
    assert server.taken == []


@pytest.mark.parametrize("where", ["connect", "ehlo", "starttls", "mail", "rcpt", "data-begins", "data"])
@pytest.mark.parametrize("how", ["hang", "cut"])
def test_a_server_that_falls_silent_is_tried_again(
    where: str, how: str, mailer: Made, tls: tuple[Path, ssl.SSLContext]
) -> None:
    with MailServer(tls[1], Ways(**{how: where})) as server:  # type: ignore[arg-type]
        begun = time.monotonic()
        with pytest.raises(MailUnavailable):
            send(mailer(server, seconds=0.7))
        assert time.monotonic() - begun < 3


def test_a_dripping_server_is_cut_off(mailer: Made) -> None:
    with MailServer(ways=Ways(drip=True)) as server:
        begun = time.monotonic()
        with pytest.raises(MailUnavailable):
            send(mailer(server, seconds=1.0))
        assert 0.9 < time.monotonic() - begun < 3


@pytest.mark.parametrize(
    "ways",
    [Ways(hang="quit"), Ways(cut="quit"), Ways(answers={"quit": "500 what"})],
    ids=["hang", "cut", "500"],
)
def test_a_mail_that_was_taken_is_not_sent_again_for_a_bad_farewell(
    ways: Ways, mailer: Made, tls: tuple[Path, ssl.SSLContext]
) -> None:
    with MailServer(tls[1], ways) as server:
        send(mailer(server, seconds=1.5))
    assert len(server.taken) == 1


def test_a_server_that_is_down_is_tried_again(mailer: Made) -> None:
    with MailServer() as server:
        down = mailer(server)
    with pytest.raises(MailUnavailable):
        send(down)


# --- nothing slips in, nothing out ----------------------------------------------------------------------


NO_ADDRESSES = [
    "",
    "kim",
    "kim@",
    "@kunde.example",
    "kim@kunde.example, x@y.example",
    "kim@kunde.example\r\nBcc: x@y.example",
    "kim@kunde.example\n",
    "Kim <kim@kunde.example>",
    "kim@kunde.example>\r\nRCPT TO:<x@y.example",
    "k im@kunde.example",
    "kïm@kunde.example",
    "kim@künde.example",
    "kim@a@b.example",
    "a" * 65 + "@kunde.example",
    "=?utf-8?q?=0D=0ABcc=3A_x=40y.example?=@kunde.example",
]


@pytest.mark.parametrize("to", NO_ADDRESSES)
def test_what_is_no_address_is_refused_without_a_call(to: str, mailer: Made) -> None:
    with MailServer() as server:
        with pytest.raises(MailRefused) as caught:
            send(mailer(server), to=to)
        assert server.accepted == 0
    assert not to or to not in str(caught.value)


EVIL = [
    "A\r\nBcc: x@y.example",
    "A\nBcc: x@y.example",
    "A\rBcc: x@y.example",
    "A\r\n\r\nbody",
    "A\x0bB\x0cC\x1cD\x85E",
    "A\u2028Bcc: x@y.example\u2029F",
    "A\u202egnp.exe\u2066",
    "\x00\x1b[2J",
    "=?utf-8?q?=0D=0ABcc:_x=40y.example?=",
    "==??utf-8?q?=0ABcc:_x=40y.example?=",
    "A =?utf-8?b?DQpCY2M6IHhAeS5leGFtcGxl?= =?utf-8?q?=0ATo:_x=40y.example?=",
    "\r\n.\r\nMAIL FROM:<x@y.example>",
    "\ud800",
    "{expires} {0} %s",
    "ä" * 500,
    "",
]


@pytest.mark.parametrize("evil", EVIL)
def test_no_name_of_a_ticket_or_organisation_becomes_a_header_or_a_line(
    evil: str, mailer: Made, tls: tuple[Path, ssl.SSLContext]
) -> None:
    with MailServer(tls[1]) as server:
        send(mailer(server), message_id="plain", **_notice("2", "Kunde GmbH"))
        send(mailer(server), message_id="plain", **_notice(evil, evil))
        send(mailer(server), message_id="plain", subject=evil, text=evil)
    plain, notice, _ = server.taken
    expected = {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"}
    expected |= {"Content-Type", "Content-Transfer-Encoding"}
    for taken in server.taken:
        assert taken.to == [KIM]
        found = parsed(taken)
        assert set(found.keys()) == expected
        assert len(found.keys()) == len(expected)
        assert len(found["Subject"].splitlines()) <= 1
    lines = [len(parsed(taken).get_content().splitlines()) for taken in (plain, notice)]
    assert lines[0] == lines[1]
    assert server.heard.count("MAIL") == 3


def _notice(number: str, organisation: str) -> dict[str, str]:
    notice = notices.new_link(number, "sent", "22 November 2026, 04:29 UTC", organisation, "en")
    return {"subject": notice.subject, "text": notice.text}


ANY = Mailer(config.Mail(host="h.example", sender="a@b.example"))


# Text as it comes, and text made of what encoded words are made of.
WORDS = st.lists(
    st.sampled_from(["=?", "utf-8", "?q?", "?b?", "=0D", "=0A", "Cg==", ":", "_", "?=", " ", "\r\n"])
)


@profile(deadline=None, max_examples=500)
@given(st.text() | WORDS.map("".join), st.text())
def test_no_text_at_all_breaks_a_message(subject: str, text: str) -> None:
    raw = ANY._message(KIM, subject, text, "m").as_bytes()
    found = email.message_from_bytes(raw, policy=default)
    assert len(found.keys()) == 9
    assert "".join(found["Subject"].split()) == "".join(one_line(subject).split())
    assert raw.isascii()


def test_no_log_or_error_holds_an_address_a_password_or_an_answer(
    mailer: Made,
    tls: tuple[Path, ssl.SSLContext],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = ""
    for ways in (
        Ways(answers={"rcpt": f"550 canary {KIM}"}, login=("desk", "canary-password")),
        Ways(answers={"data": f"554 canary {KIM}"}, login=("desk", "canary-password")),
        Ways(answers={"mail": f"451 canary {KIM}"}, login=("desk", "canary-password")),
        Ways(login=("desk", "other")),
    ):
        with MailServer(tls[1], ways) as server:
            sending = mailer(server, username="desk")
            with pytest.raises(MailError) as caught:
                send(sending)
        assert caught.value.__suppress_context__
        shown += str(caught.value) + repr(caught.value) + repr(sending)
    printed = capfd.readouterr()
    for hidden in ("kim", "kunde", "canary"):
        assert hidden not in shown + caplog.text + printed.out + printed.err


# --- the texts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["de", "en"])
@pytest.mark.parametrize("kind", ["sent", "asked"])
def test_a_notice_says_ticket_kind_organisation_and_expiry(language: str, kind: str) -> None:
    found = notices.new_link("4711", kind, "22.11.2026, 04:29 Uhr", "Kunde GmbH", language)  # type: ignore[arg-type]
    assert "4711" in found.subject
    assert "Kunde GmbH" not in found.subject
    for word in ("4711", "22.11.2026, 04:29 Uhr", "Kunde GmbH"):
        assert word in found.text
    words = {
        ("de", "sent"): "Einmal-Link erstellt",
        ("de", "asked"): "Zugangsdaten angefragt",
        ("en", "sent"): "has made a one-time link",
        ("en", "asked"): "has asked for access data",
    }
    assert words[language, kind] in found.text
    assert "{" not in found.subject + found.text
    assert "://" not in found.text
