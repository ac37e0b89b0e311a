"""What people's commands have in common: service, token, password, sealing, and no links as arguments."""

from __future__ import annotations

import re
from typing import Any

from .. import envelope as format
from .. import settings, terminal
from ..client import Client, Origin
from ..envelope import Payload, b64
from ..errors import BadHeader, Misconfigured
from ..settings import Settings, variable
from ..terminal import say
from .ends import Refused, Usage


def refuse_links(*arguments: str | None) -> None:
    """Refuse a link where a file is expected: by now the process list shows it, and soon a shell's history.

    Raises:
        Usage: without repeating it.
    """
    if any(argument and re.search(r"://|(#|%23)[A-Za-z0-9_-]{43}", argument) for argument in arguments):
        raise Usage(
            "Give links and secrets on standard input or in a file: a command line can be read by others."
        )


def client_of(origin: Origin, api_key: str | None = None) -> Client:
    """A client; with a warning where others can listen.

    Raises:
        Refused: an API token would go over the wire in the clear.
    """
    if origin.in_the_clear:
        if api_key is not None:
            raise Refused("An API token is not sent over plain http to another machine: use https.")
        say("secretsvc: warning: this is plain http; others on the way could use the link up or alter it")
    return Client(origin, api_key=api_key)


def server_of(given: str | None, conf: Settings) -> Origin:
    """The service to send to.

    Raises:
        Misconfigured: none is named, or it is no URL of a service.
    """
    if not given and not conf.server:
        raise Misconfigured(f"Which service? Say it with --server URL or {variable('server')}.")
    try:
        return Origin.parse((given or conf.server).removesuffix("/"))
    except Misconfigured as error:
        raise Misconfigured(f"{'--server' if given else variable('server')}: {error.detail}") from None


def api_key_of(path: str | None, conf: Settings) -> str | None:
    """The API token, or None where none is configured.

    Raises:
        Unreadable: the file holds none.
    """
    path = path or conf.api_key_file
    if not path:
        return None
    api_key = terminal.read(path, "API token file", terminal.MAX_LINE_BYTES)[0].strip()
    if not re.fullmatch(rb"[\x21-\x7e]{1,512}", api_key):
        raise terminal.Unreadable("The API token file holds no API token.")
    return api_key.decode()


def password_of(path: str | None, ask: bool) -> str | None:
    """The password in a file; None where it is to be asked for, or there is none.

    Raises:
        Usage: both.
        Unreadable, BadPassword: the file.
    """
    if path is not None and ask:
        raise Usage("Give --password-file or --ask-password, not both.")
    return None if path is None else terminal.read_password(path)


def duration_of(expires: str) -> int:
    """Seconds of a link's life.

    Raises:
        Usage: not a time, or too short or long.
    """
    try:
        return settings.duration(expires)
    except ValueError as error:
        raise Usage(f"--expires: {error}") from None


def payload_of(content: bytes, name: str | None) -> Payload:
    """What is to be sealed.

    Raises:
        BadHeader: the name cannot go along.
    """
    try:
        return Payload(content, name)
    except BadHeader:
        raise BadHeader("A file name like this cannot be sent along: use --no-name.") from None


def sealed(key: bytes, payload: Payload, password: str) -> dict[str, Any]:
    """Seal it: the API's fields ``envelope`` and, with a password, ``proof``.

    Raises:
        BadPassword: it cannot be used.
    """
    stretched = format.stretch_password(key, password)
    body = {"envelope": b64(format.seal(key, payload, stretched=stretched))}
    return body if stretched is None else {**body, "proof": b64(format.proof(stretched))}
