"""Where the command line reads and writes: files, pipes, and the terminal itself.

No name of a file and nothing else that was typed is ever repeated in a message: people paste links and
passwords where a file is expected.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import re
import select
import stat
import sys
from pathlib import Path
from typing import Self

from .errors import BadPassword, SecretsvcError

MAX_SECRET_BYTES = 64 * 2**20  # the most any service may be set to take
MAX_LINE_BYTES = 64 * 2**10  # for links, passwords and tokens
TERMINAL_LINE_BYTES = 4095  # what Linux keeps of a line that is typed or pasted


class Unreadable(SecretsvcError):
    """An input that cannot be read, is too long, or is empty."""

    kind = "unreadable"


class OutputFailed(SecretsvcError):
    """An output that cannot be written.  Raised before anything is claimed wherever that can be known."""

    kind = "output-failed"


class NoTerminal(SecretsvcError):
    """There is nobody to ask."""

    kind = "no-terminal"
    detail = "There is no terminal to ask on."


def hold_standard_streams() -> None:
    """Fill in what the caller has closed of the three, so that no file or connection takes its number."""
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # the lowest free number; writing to 1 fails, as it should


# --- reading -------------------------------------------------------------------------------------------


def read(path: str | None, what: str, limit: int) -> tuple[bytes, str | None]:
    """All bytes of a file, or of standard input for None and ``-``; with the base name of a regular file.

    Raises:
        Unreadable: it cannot be read or holds more than ``limit`` bytes; it names ``what``.
    """
    name = None
    try:
        if path is None or path == "-":
            data = _read_all(0, limit)
        else:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = _read_all(descriptor, limit)
                name = Path(path).name if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
            finally:
                os.close(descriptor)
    except (OSError, ValueError) as error:
        raise Unreadable(f"The {what} cannot be read: {_reason(error)}.") from None
    if len(data) > limit:
        raise Unreadable(f"The {what} is longer than {limit} bytes.")
    return data, name


def read_secret(path: str | None) -> tuple[bytes, str | None]:
    """A secret, byte for byte; what is typed at a terminal loses its last newline.

    Raises:
        Unreadable: also where it is empty, or a terminal would have cut a line of it.
    """
    typed = path in (None, "-") and _is_terminal(0)
    if typed:
        say("Type or paste the secret, then Enter and Ctrl-D:")
    data, name = read(path, "secret", MAX_SECRET_BYTES)
    if typed:
        if any(len(line) >= TERMINAL_LINE_BYTES for line in data.split(b"\n")):
            raise Unreadable("A terminal cuts lines as long as this. Send it from a file or a pipe.")
        data = data.removesuffix(b"\n")
    if not data:
        raise Unreadable("There is nothing in the secret.")
    return data, name


def read_text(path: str | None, what: str) -> str:
    """A link or a token: a short text, stripped by whoever reads it.

    Raises:
        Unreadable: also where it is not text.
    """
    if path in (None, "-") and _is_terminal(0):
        return _asked(f"Paste the {what} (it is not shown): ")
    try:
        return read(path, what, MAX_LINE_BYTES)[0].decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable(f"The {what} is not text.") from None


def read_password(path: str) -> str:
    """The password in a file, without one final newline, which a file has and nobody means.

    Raises:
        Unreadable: also where it is empty: it would be no password at all.
        BadPassword: not text.
    """
    try:
        text = read(path, "password", MAX_LINE_BYTES)[0].decode("utf-8")
    except UnicodeDecodeError:
        raise BadPassword from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise Unreadable("The password is empty.")
    return text


def ask_password(*, twice: bool = False) -> str:
    """A password from the terminal, whatever standard input is; not shown.

    Raises:
        NoTerminal: there is none.
        Unreadable: empty, or two different ones.
    """
    password = _asked("Password: ")
    if not password:
        raise Unreadable("The password is empty.")
    if twice and _asked("The same again: ") != password:
        raise Unreadable("These were two different passwords.")
    return password


def ask(question: str) -> str:
    """A line from the terminal, shown while it is typed; empty where nobody answers.

    Raises:
        NoTerminal: there is none.
    """
    try:
        with open("/dev/tty", "r+b", buffering=0) as terminal:
            terminal.write(question.encode())
            return terminal.readline().decode("utf-8", "surrogateescape").rstrip("\r\n")
    except OSError:
        raise NoTerminal from None


def has_terminal() -> bool:
    """Whether there is somebody to ask."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _asked(question: str) -> str:
    if not has_terminal():  # getpass would read standard input then, which is not for passwords
        raise NoTerminal
    try:
        return getpass.getpass(question)
    except EOFError:
        raise Unreadable("Nothing was typed.") from None
    except UnicodeDecodeError:
        raise BadPassword from None


def _read_all(descriptor: int, limit: int) -> bytes:
    data = bytearray()
    while len(data) <= limit and (chunk := os.read(descriptor, 2**20)):
        data += chunk
    return bytes(data)


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


# --- writing -------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """A line on standard error; nobody there to read it is no fault."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError):
        return


def to_terminal() -> bool:
    """Whether standard output is a terminal."""
    return _is_terminal(1)


def check_output() -> None:
    """Find out, as far as possible, whether standard output takes anything.

    Raises:
        OutputFailed: it is closed, or the reader of the pipe is gone.
    """
    if fcntl.fcntl(1, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OutputFailed("Standard output is closed.")
    watch = select.poll()
    watch.register(1, select.POLLOUT)
    if any(event & select.POLLERR for _, event in watch.poll(0)):
        raise OutputFailed("Nobody reads standard output any more.")


def write_output(data: bytes) -> None:
    """Write to standard output, all of it and down to the disk where it is a file.

    Raises:
        OutputFailed: it was not all written.
    """
    try:
        _write_all(1, data)
    except OSError as error:
        raise OutputFailed(f"Standard output could not be written: {error.strerror}.") from None


class NewFile:
    """A file that did not exist, mode 0600: made empty at once, so that what could fail later fails now.

    As a context manager it is removed again unless ``write`` has filled it.

    Args:
        path: where; nothing is ever written over.
        size: how many bytes to reserve on the disk.
        what: what it is for, for the message.

    Raises:
        OutputFailed: it cannot be made, or is there already.
    """

    def __init__(self, path: str, *, size: int, what: str = "output file") -> None:
        self._path = path
        self._what = what
        self._filled = False
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)
        except FileExistsError:
            raise OutputFailed(f"The {what} is there already, and nothing is written over.") from None
        except (OSError, ValueError) as error:
            raise OutputFailed(f"The {what} cannot be made: {_reason(error)}.") from None
        try:
            if size and hasattr(os, "posix_fallocate"):  # macOS has none
                os.posix_fallocate(self._descriptor, 0, size)
        except OSError as error:
            self.__exit__()
            raise OutputFailed(f"There is no room for the {what}: {_reason(error)}.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        if not self._filled:
            Path(self._path).unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Fill it, down to the disk, and its name with it.

        Raises:
            OutputFailed: it was not all written.
        """
        try:
            _write_all(self._descriptor, data)
            os.ftruncate(self._descriptor, len(data))
            os.fsync(self._descriptor)
        except OSError as error:
            raise OutputFailed(f"The {self._what} could not be written: {_reason(error)}.") from None
        self._filled = True
        with contextlib.suppress(
            OSError
        ):  # a folder that only lets us write, or a disk that knows no such thing
            folder = os.open(Path(self._path).parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def is_for_terminals(text: str) -> bool:
    """Whether a terminal shows this and obeys nothing in it: no control characters but line breaks and tabs."""
    return not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text.replace("\r\n", "\n"))


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fsync(descriptor)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "not a file name"
