"""A mail server that speaks as much SMTP as is needed, and misbehaves on request."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
from dataclasses import dataclass, field

from .receivers import Server


@dataclass
class Taken:
    """One mail as it came."""

    sender: str
    to: list[str]
    raw: bytes
    tls: bool
    login: str


@dataclass
class Ways:
    """How the server behaves: an answer by the word that begins a command; ``data`` is the one after the dot.

    ``hang`` and ``cut`` name the words after which it says nothing more, or ends the connection.
    """

    answers: dict[str, str] = field(default_factory=dict)
    starttls: bool = True
    login: tuple[str, str] | None = None
    hang: str = ""
    cut: str = ""
    drip: bool = False
    whisper: str = ""  # behind the answer to STARTTLS, still in the clear


class MailServer(Server):
    """Keeps what it takes in ``taken`` and the word of every command in ``heard``."""

    def __init__(self, tls: ssl.SSLContext | None = None, ways: Ways | None = None) -> None:
        self.context = tls
        self.ways = ways or Ways()
        self.taken: list[Taken] = []
        self.heard: list[str] = []
        super().__init__()

    def talk(self, connection: socket.socket) -> None:
        _Talk(self, connection).run()


class _Talk:
    def __init__(self, server: MailServer, connection: socket.socket) -> None:
        self.server, self.connection, self.ways = server, connection, server.ways
        self.lines = connection.makefile("rb")
        self.tls, self.login, self.sender, self.to = False, "", "", []  # type: ignore[var-annotated]

    def run(self) -> None:
        try:
            going = self.say("connect", "220 mail.test ESMTP")
            while going and (line := self.lines.readline()):
                words = line.decode("latin-1").rstrip("\r\n")
                word = words.split(" ")[0].upper()
                self.server.heard.append(word)
                going = self.one(word, words)
        finally:
            with contextlib.suppress(OSError):
                self.lines.close()
            self.connection.close()

    def say(self, word: str, answer: str) -> bool:
        if word == self.ways.hang:
            self.server.ended.wait(60)
        if self.ways.drip:
            while not self.server.ended.wait(0.05):
                self.connection.sendall(b"2")
        if word == self.ways.cut:
            self.connection.shutdown(socket.SHUT_RDWR)
            return False
        text = self.ways.answers.get(word, answer)
        self.connection.sendall(text.encode() + b"\r\n")
        return not text.startswith("421")

    def one(self, word: str, line: str) -> bool:
        if word == "EHLO":
            offers = ["mail.test"]
            offers += ["STARTTLS"] if self.ways.starttls and not self.tls else []
            offers += ["AUTH PLAIN"] if self.ways.login and self.tls else []
            offers += ["SIZE 1000000"]
            return self.say("ehlo", "\r\n".join(f"250{'-' if o != offers[-1] else ' '}{o}" for o in offers))
        if word == "STARTTLS":
            return self.start_tls()
        if word == "AUTH":
            _, user, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
            if (user, password) != self.ways.login:
                return self.say("auth", "535 canary no")
            self.login = user
            return self.say("auth", "235 welcome")
        if word == "MAIL":
            self.sender, self.to = line[10:].split(">")[0].lstrip("<"), []
            return self.say("mail", "250 ok")
        if word == "RCPT":
            self.to.append(line[8:].split(">")[0].lstrip("<"))
            return self.say("rcpt", "250 ok")
        if word == "DATA":
            return self.take()
        if word == "QUIT":
            self.say("quit", "221 bye")
            return False
        return self.say(word.lower(), "250 ok")

    def start_tls(self) -> bool:
        going = self.say("starttls", "220 go on" + self.ways.whisper)
        if "starttls" in self.ways.answers or not going:
            return going
        assert self.server.context is not None
        self.lines.close()
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self.server._open.append(self.connection)
        self.lines = self.connection.makefile("rb")
        self.tls = True
        return True

    def take(self) -> bool:
        if not self.say("data-begins", "354 go on") or "data-begins" in self.ways.answers:
            return True
        raw = b""
        while (line := self.lines.readline()) not in (b".\r\n", b""):
            raw += line.removeprefix(b".") if line.startswith(b"..") else line
        if not self.ways.answers.get("data", "250").startswith(("4", "5")):
            self.server.taken.append(Taken(self.sender, self.to, raw, self.tls, self.login))
        return self.say("data", "250 queued")
