"""Every gunicorn setting we care for: ``gunicorn -c python:secretsvc.web.gunicorn_conf 'app:create_app()'``.

Module variables are gunicorn's own setting names.  Nothing is started while this is read: gunicorn may read it
more than once.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import mmap
import os
import socket
import sys
import time
from typing import Any

import gunicorn.glogging
import gunicorn.http.wsgi
import gunicorn.sock
import gunicorn.util

from secretsvc import hygiene, settings
from secretsvc.web import workers as siblings

M_MMAP_THRESHOLD = -3  # glibc's malloc.h
LARGE = 4 * 2**20  # bytes

_settings = settings.load()

bind = _settings.bind
workers = _settings.workers
threads = _settings.threads
worker_class = "secretsvc.web.draining.Worker"  # with threads: sync and gevent stand still beside Argon2
reuse_port = True  # otherwise keep-alive connections gather on one worker
control_socket_disable = True

timeout = 30  # seconds without a heartbeat; a slow request does not stop a gthread worker's
graceful_timeout = 25  # seconds; less than the supervisor's patience (embedded.GRACE_SECONDS)
keepalive = 5  # seconds

# Bytes and counts.  The longest line is the identity provider's answer at sign-in.
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190

# No header of a request tells us who or where we are; hops are counted in the application, if configured.
# (gunicorn trusts whoever comes through a unix socket, so an empty address list alone is not enough.)
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""

# Heartbeat files belong in memory: on a busy disk they can stall a worker.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108

# Closing a connection waits, in the thread that serves all others, for a client that keeps its end open.
# Ten such clients would make a worker deaf for 20 seconds.
gunicorn.util.close_graceful.__defaults__ = (0.1, 65_536)  # seconds, bytes

# The Server header cannot be left out; it need not name the software.
gunicorn.http.wsgi.SERVER = "secretsvc"


def on_starting(server: Any) -> None:
    """Refuse an address that is taken; gunicorn calls this once, before any worker.

    With ``reuse_port`` each worker binds for itself.  Two services on one port would then share its requests
    unnoticed, and beside a listener of another kind the workers would die and be replaced for ever.
    """
    host, _, port = bind.rpartition(":")
    try:
        [(family, kind, _, _, address), *_] = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM
        )
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        server.log.error("cannot listen on %s: %s", bind, error.strerror)  # noqa: TRY400
        sys.exit(1)
    server.served = mmap.mmap(-1, 1)  # shared with all workers, those of a reload too
    server.counts = siblings.make_folder(worker_tmp_dir)


def pre_fork(server: Any, worker: Any) -> None:
    """Give a worker to be its number, and by that the files it counts in."""
    worker.number = siblings.number_for({each.number for each in server.WORKERS.values()})
    siblings.ended(server.counts, worker.number)


def post_fork(server: Any, worker: Any) -> None:
    """Once a worker has served, one that cannot start is tried again and ends nothing but itself.

    gunicorn would end all of them: one worker that died while a server does not answer, or while a node of the
    ledger is not itself, would take those along that serve all the rest.  Beside them it listens only when it
    can serve: the kernel would hand it connections, to be reset.  (In a reload nobody else will be left: there
    the connections wait for it.)
    """
    if 0 < len(server.WORKERS) < server.num_workers:
        gunicorn.sock.close_sockets(worker.sockets)
        worker.sockets = []
    siblings.begin(server.counts, worker.number)
    _return_large_blocks()
    worker.served = server.served
    if server.served[0]:
        server.WORKER_BOOT_ERROR = server.APP_LOAD_ERROR = 1  # in this process alone


def _return_large_blocks() -> None:
    """Have the memory of every Argon2 run go back to the system: glibc would keep one for each thread."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def post_worker_init(worker: Any) -> None:
    """Listen; and begin what is done beside requests: the store's files, and telling tickets what happened."""
    worker.sockets = worker.sockets or gunicorn.sock.create_sockets(worker.cfg, worker.log)
    worker.served[0] = 1
    worker.besides = [hygiene.housekeeping(_settings)]
    if _settings.embedded:  # elsewhere a process of its own
        worker.besides.append(worker.wsgi.extensions["secretsvc.tickets"].notifier)
    for each in worker.besides:
        each.start()
    # What has been loaded by now stays: to look through all of it for garbage, again and again, finds none.
    gc.collect()
    gc.freeze()


def worker_exit(server: Any, worker: Any) -> None:
    """End that with the worker; gunicorn calls this also where the worker never came that far."""
    if found := getattr(worker, "besides", ()):
        for each in found:
            each.stop()
    elif server.served[0] and not worker.booted:
        time.sleep(1.0)  # before it is tried again


def child_exit(server: Any, worker: Any) -> None:
    """Forget what a worker had at hand; gunicorn calls this in the master."""
    siblings.ended(server.counts, worker.number)


def on_exit(server: Any) -> None:
    """Leave nothing behind."""
    siblings.remove_folder(server.counts)


class WithoutInput(logging.Filter):
    """Takes the caller's input out of gunicorn's messages, which quote what they refuse.

    A header line sent without its colon may be a token, a refused request line a pasted link.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Replace such a message; let every record through."""
        message = str(record.msg)
        if message.startswith("Invalid request from ip="):
            record.msg, record.args = "refused a malformed request", ()
        elif message.startswith("Error handling request"):
            record.msg, record.args = "error handling a request", ()
        return True


class Logger(gunicorn.glogging.Logger):  # type: ignore[misc]
    """gunicorn's own messages, without its line for each request."""

    def access(self, *_: Any) -> None:
        """Nothing.  gunicorn would gather all that such a line may hold, and then find nobody who wants it."""


logger_class = Logger
accesslog = None  # the application logs requests itself, without addresses and paths of secrets
errorlog = "-"
loglevel = "info"  # at debug level gunicorn prints unread input
logconfig_dict: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"without_input": {"()": WithoutInput}},
    "handlers": {
        "stderr": {"class": "secretsvc.web.logs.Lines", "filters": ["without_input"]},
    },
    "root": {"level": "INFO", "handlers": ["stderr"]},
    "loggers": {
        "gunicorn.error": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
        "gunicorn.access": {"level": "INFO", "handlers": [], "propagate": False},
    },
}
