"""compose.yaml without containers: its services as processes on loopback, with its own commands and files.

Names become ports, and paths in a container become those they are mounted from; everything else is as written.
What containers add (namespaces, limits, the images themselves) is not here.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.deploy import image
from tests.faults.nginx import program
from tests.harness import ROOT, Client, wait_until
from tests.servers import binary, free_port, make_certificates

UID = 10001
SECRETS = Path("instance/compose")


def read() -> dict[str, Any]:
    """The file, with the defaults of its variables."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "compose.yaml").read_text())
    found: dict[str, Any] = yaml.safe_load(text)
    return found


class Composed:
    """The services of compose.yaml, started in the order of what they depend on.

    Args:
        folder: for data, logs and what containers get as their own files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.file, self.image = folder, read(), image.read()
        self.services: dict[str, dict[str, Any]] = self.file["services"]
        self.ports = {name: free_port() for name in self.services}
        self.plain_port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.root = folder / "srv"
        self.drop: dict[str, Any] = {}

    def prepare(self) -> None:
        """What an operator does before the first start."""
        script = ROOT / "docs" / "deploy" / "prepare.sh"
        made = self.folder / "secrets"
        subprocess.run([script, "https://localhost", made], check=True, stdout=subprocess.DEVNULL)
        self.ca, certificate, key = make_certificates(self.folder / "tls")
        shutil.copy(certificate, made / "certificate.pem")
        shutil.copy(key, made / "certificate.key")
        self.image.build(self.root)
        self.drop = image.drop_to(UID, self.root, Path(sys.executable), Path(sys.executable).resolve())
        for name, secret in self.file["secrets"].items():  # as a container sees it: its own, at its own place
            path = Path(shutil.copy(made / Path(secret["file"]).relative_to(SECRETS), self.folder / name))
            path.chmod(0o600)
            if self.drop and name == "keyring":
                os.chown(path, UID, UID)

    def start(self, name: str) -> None:
        """Start one, and return when it answers (the notifier: when it runs)."""
        service = self.services[name]
        command = [*service.get("entrypoint", []), *(service.get("command") or [])] or self.image.command
        kind = Path(command[0]).name
        argv, more = [self._inside(name, part) for part in command], dict[str, Any]()
        if kind == "redis-server":
            (self.folder / f"data-{name}").mkdir(exist_ok=True)
            argv = [binary("redis"), *argv[1:], "--port", str(self.ports[name]), "--bind", "127.0.0.1"]
        elif kind == "nginx":
            argv = [program(), *argv[1:]]
        else:
            more = {"cwd": self.root, "env": self.environment(name), **self.drop}
            venv = Path(sys.executable).parent
            argv = [str(venv / kind) if (venv / kind).exists() else sys.executable, *argv[1:]]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(argv, stdout=log, stderr=log, **more)
        process = self.processes[name]
        wait_until(lambda: process.poll() is not None or self._answers(name))
        assert process.poll() is None, (self.folder / f"{name}.log").read_text()[-3000:]

    def stop(self, name: str) -> int:
        """As `docker compose stop` does; the exit code."""
        process = self.processes.pop(name)
        process.send_signal(signal.Signals[self.services[name].get("stop_signal", "SIGTERM")])
        return process.wait(40)

    def environment(self, name: str) -> dict[str, str]:
        """The whole environment of a service: the image's, its files', its own."""
        service, found = self.services[name], dict(self.image.environment)
        for path in service["env_file"]:
            lines = (self.folder / "secrets" / Path(path).relative_to(SECRETS)).read_text().splitlines()
            found |= dict(line.split("=", 1) for line in lines)
        found |= service["environment"]
        found = {key: self._inside(name, value) for key, value in found.items()}
        found["PATH"] = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        return found | {"SECRETSVC_BIND": f"127.0.0.1:{self.ports[name]}"}

    def client(self, name: str) -> Client:
        return Client(f"http://127.0.0.1:{self.ports[name]}")

    def _inside(self, name: str, text: str) -> str:
        """Paths and names of the container's world in ours."""
        for mount in self.services[name].get("volumes", []):
            source, target, *_ = mount.split(":")
            if source.startswith("./"):
                text = text.replace(target, str(self._file(name, ROOT / source)))
            else:
                text = re.sub(rf"^{target}$", str(self.folder / f"data-{source}"), text)
        text = re.sub(r"/run/secrets/(\w+)", lambda found: str(self.folder / found[1]), text)
        return re.sub(r"@([\w-]+):6379", lambda found: f"@127.0.0.1:{self.ports[found[1]]}", text)

    def _file(self, name: str, source: Path) -> Path:
        """A mounted configuration; nginx's with our names in it."""
        if source.name != "nginx-compose.conf":
            return source
        text, to = source.read_text(), self.folder / "nginx"
        to.mkdir(exist_ok=True)
        for found, ours in {
            r"listen 443 ssl;": f"listen 127.0.0.1:{self.ports[name]} ssl;",
            r"listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            r"server (app-[12]):8000": lambda found: f"server 127.0.0.1:{self.ports[found[1]]}",
            r" /tmp/": f" {to}/",
            r"/etc/nginx/nginx-site\.conf": str(ROOT / "docs" / "deploy" / "nginx-site.conf"),
            r"/run/secrets/(\w+)": lambda found: str(self.folder / found[1]),
            r"daemon off;": "daemon off; user root;" if os.getuid() == 0 else "daemon off;",
        }.items():
            text, count = re.subn(found, ours, text)  # type: ignore[arg-type]
            assert count, found
        (to / "nginx.conf").write_text(text)
        return to / "nginx.conf"

    def _answers(self, name: str) -> bool:
        if name == "notifier":
            return True
        if name == "proxy":
            with socket.create_connection(("127.0.0.1", self.ports[name]), 1):
                return True
        if name.startswith("app"):
            test = self.image.healthcheck
            test = [part.replace("//127.0.0.1:8000/", f"//127.0.0.1:{self.ports[name]}/") for part in test]
            return subprocess.run(test, capture_output=True, check=False).returncode == 0
        asked = self.services[name]["healthcheck"]["test"][1].replace(
            "redis-cli", f"redis-cli -p {self.ports[name]}"
        )
        return subprocess.run(["sh", "-c", asked], check=False, capture_output=True).returncode == 0


@contextmanager
def composed(folder: Path) -> Iterator[Composed]:
    """All of it, running."""
    found = Composed(folder)
    found.prepare()
    with ExitStack() as stack:
        stack.callback(lambda: [found.stop(name) for name in reversed(list(found.processes))])
        names = list(found.services)
        waits = [name for name in names if "depends_on" in found.services[name]]
        for group in ([name for name in names if name not in waits], waits):
            with ThreadPoolExecutor(len(group)) as pool:
                list(pool.map(found.start, group))
        yield found
