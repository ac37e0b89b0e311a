"""A real nginx with the configuration of docs/deploy, on ports and a certificate of the test's own."""

from __future__ import annotations

import getpass
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness import ROOT, wait_until
from tests.servers import free_port, make_certificates

DEPLOY = ROOT / "docs" / "deploy"
AROUND = """
daemon off;
user {user};
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
    server {{
        listen 127.0.0.1:{clear};
        server_name localhost;
        error_log {folder}/site.log emerg;
        client_body_temp_path {folder}/bodies;
        include {site};
    }}
}}
"""


@dataclass
class Nginx:
    """``port`` speaks TLS, ``plain_port`` sends there; ``folder`` has all that it writes.

    ``clear_port`` is the service without TLS, for the tests' plain clients.
    """

    port: int
    plain_port: int
    clear_port: int
    folder: Path
    trust: ssl.SSLContext

    @property
    def clear_url(self) -> str:
        return f"http://127.0.0.1:{self.clear_port}"

    def connect(self) -> ssl.SSLSocket:
        """A TLS connection, ready to speak HTTP over."""
        raw = socket.create_connection(("127.0.0.1", self.port), 10)
        return self.trust.wrap_socket(raw, server_hostname="localhost")


def program() -> str:
    """The path of nginx; a missing one fails the test run, it never skips a test."""
    found = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if not found:
        raise RuntimeError("nginx is missing; on Debian and Ubuntu: apt install nginx-light")
    return found


@contextmanager
def nginx(folder: Path, *upstreams: int) -> Iterator[Nginx]:
    """Start it before web servers of ours, by their ports, and wait until it answers."""
    folder.mkdir(parents=True)
    port, plain_port, clear = free_port(), free_port(), free_port()
    ca, certificate, key = make_certificates(folder / "tls")
    site = (DEPLOY / "nginx.conf").read_text()
    for found, ours in {
        r"server 127\.0\.0\.1:8000( .*);": "\n".join(rf"server 127.0.0.1:{each}\1;" for each in upstreams),
        r"snippets/nginx-site\.conf": str(DEPLOY / "nginx-site.conf"),
        r"listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        r"listen 80;": f"listen 127.0.0.1:{plain_port};",
        r"listen \[::\]:\d+( ssl)?;": "",
        r"server_name secrets\.example\.org;": "server_name localhost;",
        r"/etc/ssl/secrets\.example\.org\.pem": str(certificate),
        r"/etc/ssl/private/secrets\.example\.org\.key": str(key),
        r"/var/log/nginx/secretsvc\.log": str(folder / "site.log"),
        r"/run/secretsvc-bodies": str(folder / "bodies"),
    }.items():
        site, count = re.subn(found, ours, site)
        assert count, found
    (folder / "site.conf").write_text(site)
    around = {"folder": folder, "user": getpass.getuser(), "clear": clear, "site": DEPLOY / "nginx-site.conf"}
    (folder / "nginx.conf").write_text(AROUND.format(**around))
    with started(folder, port):
        yield Nginx(port, plain_port, clear, folder, ssl.create_default_context(cafile=str(ca)))


@contextmanager
def started(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the configuration ``nginx.conf`` of a folder, and wait until it answers at a port."""
    argv = [program(), "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(argv)
    try:
        wait_until(lambda: process.poll() is not None or answers(port))
        assert process.poll() is None, (folder / "error.log").read_text()
        yield process
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True
