"""A real Request Tracker 5 for the tests: made in a folder, on loopback, gone with the tests.

Takes the Debian packages request-tracker5, rt5-standalone and rt5-db-sqlite, and root.  A missing one fails.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.harness import ROOT, Answer, Client, wait_until
from tests.servers import free_port

HERE = Path(__file__).parent
SERVER = Path("/usr/share/request-tracker5/libexec/rt-server")
READY_SECONDS = 60.0
BOT = "links-bot"
AGENT = "agent1"
ORGANISATION_FIELD = "Customer organisation"
PACKAGE_FIELD = "Package"
PASSWORDS = {
    AGENT: "agentpass-1",
    BOT: "botpass-12345",
    "kim@kunde.example": "kimpass-123",
    "lee@kunde.example": "leepass-123",
    "ada@agentur.example": "adapass-123",
}

_CONFIG = """\
Set($rtname, 'desk.example');
Set($Organization, 'desk.example');
Set($CorrespondAddress, 'rt@desk.example');
Set($CommentAddress, 'rt-comment@desk.example');
Set($WebDomain, '127.0.0.1');
Set($WebPort, {port});
Set($WebBaseURL, 'http://127.0.0.1:{port}');
Set($WebSecureCookies, 0);
Set($DatabaseType, 'SQLite');
Set($DatabaseName, '{folder}/rt.sqlite');
Set($MailCommand, 'testfile');
Set($LogToSyslog, undef);
Set($LogToSTDERR, 'error');
Set($Timezone, 'UTC');
Set($BcryptCost, 4);
$RT::MasonDataDir = '{folder}/mason';
Set(%Lifecycles, support => {{
    initial => ['new'],
    active => ['open', 'pending'],
    inactive => ['solved', 'closed', 'deleted'],
    defaults => {{ on_create => 'new', on_merge => 'closed' }},
    transitions => {{
        '' => ['new', 'open'],
        new => ['open', 'pending', 'solved', 'closed', 'deleted'],
        open => ['pending', 'solved', 'closed', 'deleted'],
        pending => ['open', 'solved', 'closed', 'deleted'],
        solved => ['open', 'closed', 'deleted'],
        closed => [],
        deleted => [],
    }},
    rights => {{ '* -> deleted' => 'DeleteTicket' }},
    actions => [],
}});
1;
"""


class RT:
    """A Request Tracker with the queue Support and the people of ``fixture.pl``.

    Args:
        folder: for all its files; made anew.

    Attributes:
        url: where it is.
        bot_token_path: file with the bot's REST2 token.
    """

    def __init__(self, folder: Path) -> None:
        if not SERVER.exists():
            raise RuntimeError(
                f"{SERVER} is missing; on Debian: apt install request-tracker5 rt5-standalone rt5-db-sqlite"
            )
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.bot_token_path = folder / "bot.token"
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("site.d", "mason"):
            (folder / name).mkdir(parents=True)
        (folder / "RT_SiteConfig.pm").write_text(_CONFIG.format(port=self.port, folder=folder))
        self._run("rt-setup-database-5", "--action", "init")
        self._run("rt-setup-database-5", "--action", "insert", "--datafile", str(HERE / "fixture.pl"))
        self.bot_token_path.write_text(self._run("perl", str(HERE / "token.pl"), BOT))

    # --- the server --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start, and return when it answers."""
        assert self._process is None, "it is running"
        argv = [str(SERVER), "--server", "Starlet", "--host", "127.0.0.1", "--port", str(self.port)]
        argv += ["--max-workers", "2", "--access-log", str(self.folder / "access.log")]
        # It ends with us, however we end.
        setpriv = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "TERM"]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*setpriv, *argv], env=self._environment(), stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_until(lambda: self._answers() or self._ended(), READY_SECONDS)
        except AssertionError:
            self.kill()
            raise
        assert not self._ended(), (self.folder / "server.log").read_text()[-2000:]

    def stop(self) -> None:
        """SIGTERM, then wait.  May be called twice."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9, the workers too."""
        self._end(signal.SIGKILL)

    def ensure(self) -> None:
        """Make sure that it runs, whatever a test has done to it."""
        if self._process is None:
            self.start()
        self.resume()

    def pause(self) -> None:
        """SIGSTOP: connections are taken and nothing is answered; ``kill`` and ``resume`` work on it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it does what it was asked meanwhile."""
        self._signal(signal.SIGCONT)

    def _signal(self, sign: int) -> None:
        assert self._process is not None, "it is not running"
        os.killpg(self._process.pid, sign)

    def _end(self, sign: int) -> None:
        if self._process is None:
            return
        for each in (sign, signal.SIGCONT):
            self._signal(each)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        wait_until(lambda: not self._group_lives())
        self._process = None

    def _group_lives(self) -> bool:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _answers(self) -> bool:
        return Client(self.url, timeout=5).get("/REST/2.0/rt").status == 401

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "RT_SITE_CONFIG": str(self.folder / "RT_SiteConfig.pm"),
            "RT_SITE_CONFIG_DIR": str(self.folder / "site.d"),
            "TESTS_HOOK_FILE": str(self.folder / "hook"),
            "TESTS_SCRIP": str(ROOT / "docs" / "deploy" / "rt-scrip.pl"),
        }

    def _run(self, *argv: str) -> str:
        done = subprocess.run(
            argv, env=self._environment(), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{argv}: {done.stdout[-1000:]} {done.stderr[-1000:]}"
        return done.stdout

    # --- what agents and customers do there --------------------------------------------------------

    def send(self, method: str, path: str, body: Any = None, *, as_user: str = AGENT) -> Answer:
        """A call of REST2 as somebody who has a password there."""
        login = base64.b64encode(f"{as_user}:{PASSWORDS[as_user]}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        return Client(self.url, timeout=30).send(method, f"/REST/2.0{path}", data, headers)

    def create(
        self,
        subject: str,
        requestor: str = "kim@kunde.example",
        *,
        organisation: str | None = None,
        package: str | None = None,
        queue: str = "Support",
    ) -> str:
        """A new ticket, as an agent opens it for a customer; its number."""
        fields = {ORGANISATION_FIELD: organisation, PACKAGE_FIELD: package}
        body = {
            "Queue": queue,
            "Subject": subject,
            "Requestor": requestor,
            "Content": "Please help.",
            "ContentType": "text/plain",
            "CustomFields": {name: value for name, value in fields.items() if value is not None},
        }
        answer = self.send("POST", "/ticket", body)
        assert answer.status == 201, answer.text
        return str(answer.json["id"])

    def set(self, number: str, **fields: Any) -> None:
        """Change a ticket as an agent: Status, Requestor, organisation, package, Subject …"""
        custom = {
            ORGANISATION_FIELD: fields.pop("organisation", None),
            PACKAGE_FIELD: fields.pop("package", None),
        }
        given = {name: value for name, value in custom.items() if value is not None}
        body = {**fields, **({"CustomFields": given} if given else {})}
        answer = self.send("PUT", f"/ticket/{number}", body)
        # A refused change is 200 too, and says so in words.
        refused = [text for text in answer.json if "can't" in text or "denied" in text or "not " in text]
        assert answer.status == 200, answer.text
        assert not refused, refused

    def age(self, number: str, seconds: int) -> None:
        """Make a ticket that is solved have been so for that much longer."""
        with closing(sqlite3.connect(self.folder / "rt.sqlite", timeout=20)) as files, files:
            files.execute(
                "UPDATE Tickets SET Resolved = datetime(Resolved, ?) WHERE id = ?",
                (f"-{seconds} seconds", number),
            )

    def merge(self, number: str, into: str) -> None:
        """Merge a ticket into another one."""
        self.set(number, MergeInto=into)

    def history(self, number: str, as_user: str = AGENT) -> list[dict[str, Any]]:
        """A ticket's transactions as somebody sees them, oldest first."""
        fields = {"fields": "Type,Creator,Created,Field,OldValue,NewValue", "per_page": 100}
        found: list[dict[str, Any]] = []
        for page in range(1, 100):
            query = urlencode({**fields, "page": page})
            answer = self.send("GET", f"/ticket/{number}/history?{query}", as_user=as_user)
            assert answer.status == 200, answer.text
            if not answer.json["items"]:
                return found
            found += answer.json["items"]
        raise AssertionError("there is no end of pages")

    def written(self, number: str, type: str, as_user: str = AGENT) -> list[tuple[str, str]]:
        """Subject and text of each Comment or Correspond, oldest first, as somebody sees them."""
        found = []
        for item in self.history(number, as_user):
            if item["Type"] == type:
                answer = self.send(
                    "GET",
                    f"/transaction/{item['id']}/attachments?fields=Subject,Content,ContentType",
                    as_user=as_user,
                )
                assert answer.status == 200, answer.text
                first = answer.json["items"][0]
                found.append((first["Subject"], first["Content"]))
        return found

    def notes(self, number: str) -> list[tuple[str, str]]:
        """Subject and text of each internal note, oldest first."""
        return self.written(number, "Comment")

    def replies(self, number: str, as_user: str = AGENT) -> list[tuple[str, str]]:
        """Subject and text of each reply, oldest first."""
        return self.written(number, "Correspond", as_user)

    def hook(self, url: str = "", secret: str = "") -> None:
        """Where webhooks go from now on, and their ``whsec_`` secret; nowhere without."""
        (self.folder / "hook").write_text(f"{url}\n{secret}\n" if url else "")
