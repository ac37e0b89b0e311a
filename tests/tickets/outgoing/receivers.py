"""Servers that webhooks come to: real sockets, real TLS, answers written byte by byte."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.harness import wait_until

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Request:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


class Server:
    """Listens, counts whoever connects, and lets ``talk`` answer each in a thread."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listening = socket.create_server((host, port), family=family)
        self.port: int = self.listening.getsockname()[1]
        self.host = host
        self.tls = tls
        self._peers: list[tuple[str, int]] = []
        self._probes: set[tuple[str, int]] = set()
        self.names: list[str | None] = []  # SNI
        self.ended = threading.Event()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        if tls is not None:
            tls.sni_callback = lambda _sock, name, _context: self.names.append(name)
        self._start(self._accept)

    def talk(self, connection: socket.socket) -> None:
        """Answer; overridden."""

    @property
    def accepted(self) -> int:
        """Connections so far.  They are taken in order: after one of our own none is waiting."""
        with socket.create_connection((self.host, self.port), 10) as probe:
            own = probe.getsockname()[:2]
            self._probes.add(own)
            wait_until(lambda: own in self._peers)
        return sum(peer not in self._probes for peer in list(self._peers))

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self.listening.accept()
            except OSError:
                return
            self._open.append(connection)
            self._peers.append(peer[:2])
            self._start(self._one, connection)

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self.tls is None:
                self.talk(connection)
                return
            with self.tls.wrap_socket(connection, server_side=True) as wrapped:
                self._open.append(wrapped)
                self.talk(wrapped)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


class Receiver(Server):
    """Reads one request of each connection, keeps it, and answers it."""

    def __init__(
        self,
        answer: bytes | Callable[[Receiver, socket.socket], None] = OK,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        super().__init__(host, port, tls)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}/hook"

    def talk(self, connection: socket.socket) -> None:
        found = read_request(connection)
        if found is None:
            return
        self.requests.append(found)
        if isinstance(self.answer, bytes):
            connection.sendall(self.answer)
        else:
            self.answer(self, connection)


def read_request(connection: socket.socket) -> Request | None:
    with connection.makefile("rb") as lines:
        line = lines.readline().decode().strip()
        if not line:
            return None
        headers = {}
        while header := lines.readline().decode("latin-1").strip():
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        return Request(line, headers, lines.read(int(headers.get("content-length", "0"))))


def drip(start: bytes, each: bytes = b"x") -> Callable[[Server, socket.socket], None]:
    """An answer that comes one piece every 50 ms and never ends."""

    def talk(server: Server, connection: socket.socket) -> None:
        connection.sendall(start)
        while not server.ended.wait(0.05):
            connection.sendall(each)

    return talk


def hang(server: Server, connection: socket.socket) -> None:
    """No answer at all."""
    server.ended.wait(60)


class Flood:
    """An answer whose body never ends, as fast as it goes; counts what was taken."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.sent = 0
        self.done = threading.Event()

    def __call__(self, server: Server, connection: socket.socket) -> None:
        piece = b"A" * 65_536
        try:
            connection.sendall(self.head)
            end = time.monotonic() + 20
            while not server.ended.is_set() and time.monotonic() < end:
                self.sent += connection.send(piece)
        except OSError:
            pass
        finally:
            self.done.set()


def certificates(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate authority of its own, and a server's context with a certificate for these names."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the tests")])

    def start(subject: x509.Name, public: ec.EllipticCurvePublicKey, ca: bool) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )

    root = start(issuer, authority.public_key(), True).sign(authority, hashes.SHA256())
    alternatives = [_name(name) for name in names]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server")])
    leaf = (
        start(subject, key.public_key(), False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(authority, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(root.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(leaf.public_bytes(pem) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return folder / "ca.pem", context


def _name(name: str):  # type: ignore[no-untyped-def]
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
