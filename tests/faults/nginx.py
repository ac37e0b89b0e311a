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
}}
"""


@dataclass
class Nginx:
    """``port`` speaks TLS, ``plain_port`` does not; ``folder`` has all that it writes."""

    port: int
    plain_port: int
    folder: Path
    trust: ssl.SSLContext

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
def nginx(folder: Path, upstream: int) -> Iterator[Nginx]:
    """Start it before a web server of ours, and wait until it answers."""
    folder.mkdir(parents=True)
    port, plain_port = free_port(), free_port()
    ca, certificate, key = make_certificates(folder / "tls")
    site = (ROOT / "docs" / "deploy" / "nginx.conf").read_text()
    for found, ours in {
        r"server 127\.0\.0\.1:8000;": f"server 127.0.0.1:{upstream};",
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
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user=getpass.getuser()))
    argv = [program(), "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    process = subprocess.Popen(argv)
    running = Nginx(port, plain_port, folder, ssl.create_default_context(cafile=str(ca)))
    try:
        wait_until(lambda: answers(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "error.log").read_text()
        yield running
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True
