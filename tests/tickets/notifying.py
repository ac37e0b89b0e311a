"""A notifier as a process, in a hurry: ``python -m tests.tickets.notifying``; and where tests keep theirs."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import app as composition
from secretsvc import settings
from secretsvc.processes import Signals
from secretsvc.tickets.notifier import Notifier
from secretsvc.tickets.web.module import Module
from tests.harness import ROOT, Backends
from tests.tickets.rt.instance import BOT, ORGANISATION_FIELD, PACKAGE_FIELD, RT

APART, EVERY = 0.5, 3.0  # seconds


def write_config(folder: Path, rt: RT, more: str = "", hook_secret: Path | None = None) -> Path:
    """Settings of a desk ``rt`` on this Request Tracker, with short times."""
    path = folder / "tickets.toml"
    path.write_text(
        f"""{more}
[desks.rt]
kind = "rt"
url = "{rt.url}"
token_file = "{rt.bot_token_path}"
queue = "Support"
account = "{BOT}"
organisation_field = "{ORGANISATION_FIELD}"
package_field = "{PACKAGE_FIELD}"
timeout = 1.5
settles = 9
{f'webhook_secret_file = "{hook_secret}"' if hook_secret else ""}
"""
    )
    return path


def patient(config: Path, seconds: int = 20) -> Path:
    """The same settings for a tracker that may take its time."""
    text = re.sub(r"(?m)^timeout = .*", f"timeout = {seconds}", config.read_text())
    config.write_text(re.sub(r"(?m)^settles = .*", f"settles = {8 * seconds}", text))
    return config


class Process:
    """A notifier that can be killed and started again."""

    def __init__(self, backs: Backends, folder: Path, config: Path) -> None:
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SECRETSVC_")},
            **backs.environment(tickets_file=str(config)),
            "PYTHONPATH": str(ROOT),
        }
        self.log = folder / "notifier.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            argv = [sys.executable, "-m", "tests.tickets.notifying"]
            self.process = subprocess.Popen(argv, cwd=ROOT, env=self.env, stdout=log, stderr=log)

    def end(self, sign: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(sign)
        return self.process.wait(20)


@contextmanager
def notifying(backs: Backends, folder: Path, config: Path) -> Iterator[Process]:
    """A running notifier, gone in the end."""
    found = Process(backs, folder, config)
    found.start()
    try:
        yield found
    except AssertionError as error:
        if found.process is not None and found.process.poll() is None:
            found.process.send_signal(signal.SIGUSR1)  # where it stands
            time.sleep(0.5)
        error.add_note(found.log.read_text()[-3000:])
        raise
    finally:
        if found.process is not None and found.process.poll() is None:
            found.end(signal.SIGKILL)


def main() -> None:
    faulthandler.register(signal.SIGUSR1)
    module: Module = composition.create_app(settings.load()).extensions["secretsvc.tickets"]
    module.notifier.couriers.first = 0.5
    notifier = Notifier(module.tickets, module.notifier.couriers, apart=APART, every=EVERY)
    with Signals() as signals:
        notifier.start()
        while not signals.asked_to_stop:
            signals.wait()
        notifier.stop()


if __name__ == "__main__":
    main()
