"""Settings: the only reader of the process environment.

Every setting is one environment variable with the prefix ``SECRETSVC_``.  All are checked here, at start,
and a variable nobody knows is refused, so that a misspelt one cannot go unnoticed.  Durations are whole
seconds, sizes bytes unless the name says otherwise.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from . import location
from .errors import Misconfigured

PREFIX = "SECRETSVC_"
MAX_EXPIRES_IN = 31 * 86400
MIN_EXPIRES_IN = 60
# Addresses of the operator's own pages.
_PAGES = ("imprint_url", "privacy_url", "terms_url", "documentation_url", "status_page_url", "support_url")
# Settings with a form of their own, and an example of it.
_FORMS = {
    "operator": (r"(?=.*\S)[^\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*", "a name"),
    "security_contact": (r"(mailto:|https://|tel:)\S+", "an address, as in mailto:security@example.org"),
    "colour": (r"#[0-9a-fA-F]{6}", "a colour, as in #0b5d3b"),
    "support_email": (r"[^@\s<>]+@[^@\s<>]+", "an e-mail address"),
    "support_phone": (r"\+?[0-9][0-9 ()/.-]{2,40}", "a telephone number, as in +49 30 123456-0"),
    "emergency_phone": (r"\+?[0-9][0-9 ()/.-]{2,40}", "a telephone number, as in +49 30 123456-0"),
}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings, with their defaults; read-only."""

    bind: str = "127.0.0.1:8000"
    public_url: str = ""
    workers: Annotated[int, Meta(ge=1, le=256)] = 2
    threads: Annotated[int, Meta(ge=1, le=256)] = 8
    data_dir: str = "instance"
    redis_url: str = ""
    ledger_urls: str = ""
    wait_replicas: Annotated[int, Meta(ge=0, le=10)] = 0
    accept_unsafe_servers: bool = False
    embedded_memory: Annotated[int, Meta(ge=16 * 2**20)] = 512 * 2**20
    keyring_file: str = ""
    create: Literal["anyone", "staff", "nobody"] = "anyone"
    open: Literal["anyone", "nobody"] = "anyone"
    default_expires_in: Annotated[int, Meta(ge=MIN_EXPIRES_IN, le=MAX_EXPIRES_IN)] = 7 * 86400
    receipt_retention: Annotated[int, Meta(ge=86400, le=366 * 86400)] = 30 * 86400
    retry_window: Annotated[int, Meta(ge=1, le=600)] = 60
    rewrite_every: Annotated[int, Meta(ge=60)] = 3600
    max_secret_bytes: Annotated[int, Meta(ge=1024, le=64 * 2**20)] = 2**20
    password_tries: Annotated[int, Meta(ge=1, le=100)] = 5
    argon2_memory_kib: Annotated[int, Meta(ge=7168, le=262_144)] = 19_456
    argon2_passes: Annotated[int, Meta(ge=1, le=16)] = 2
    argon2_lanes: Annotated[int, Meta(ge=1, le=8)] = 1
    argon2_slots: Annotated[int, Meta(ge=1, le=64)] = 2
    create_limit: Annotated[int, Meta(ge=0)] = 600
    create_bytes_limit: Annotated[int, Meta(ge=0)] = 128 * 2**20
    password_limit: Annotated[int, Meta(ge=0)] = 60
    sign_in_limit: Annotated[int, Meta(ge=0)] = 20
    trusted_proxies: Annotated[int, Meta(ge=0, le=10)] = 0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_clients: bool = False
    metrics: Literal["inside", "anyone", "nobody"] = "inside"
    operator: Annotated[str, Meta(max_length=80)] = ""
    logo_file: str = ""
    colour: str = ""
    imprint_url: str = ""
    privacy_url: str = ""
    terms_url: str = ""
    documentation_url: str = ""
    status_page_url: str = ""
    support_url: str = ""
    support_email: str = ""
    support_phone: str = ""
    support_hours: Annotated[str, Meta(max_length=120)] = ""
    support_hours_de: Annotated[str, Meta(max_length=120)] = ""
    emergency_phone: str = ""
    security_contact: str = ""
    tickets_file: str = ""
    server: str = ""
    api_key_file: str = ""

    @property
    def base_url(self) -> str:
        """What links begin with: the public URL, or the bound address where none is set."""
        return self.public_url or f"http://{self.bind}"

    @property
    def https(self) -> bool:
        """Whether people reach the service over https."""
        return self.base_url.startswith("https:")

    @property
    def ledgers(self) -> tuple[str, ...]:
        """The addresses of the ledger's nodes; none where it is embedded."""
        return tuple(url.strip() for url in self.ledger_urls.split(",") if url.strip())

    @property
    def embedded(self) -> bool:
        """Whether store and ledger are our own child processes."""
        return not self.redis_url

    @property
    def keyring_path(self) -> Path:
        """The keyring file: its own setting, else ``keyring`` in the data folder."""
        return Path(self.keyring_file) if self.keyring_file else Path(self.data_dir) / "keyring"


def duration(text: str) -> int:
    """Seconds of a link's life as people write it: ``30m``, ``12h``, ``3d``, ``2w``, or plain seconds.

    Raises:
        ValueError: not one, or not between 60 seconds and 31 days; its message says what is expected.
    """
    found = re.fullmatch(r"([0-9]{1,8})([smhdw]?)", text.strip())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not MIN_EXPIRES_IN <= seconds <= MAX_EXPIRES_IN:
        raise ValueError("Expected 60 seconds to 31 days, as in 30m, 12h or 3d.")
    return seconds


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + field.upper()


def load() -> Settings:
    """Settings from this process's environment.

    Raises:
        Misconfigured: naming the variable.
    """
    return from_env(os.environ)


def environment() -> dict[str, str]:
    """This process's environment, for a child process."""
    return dict(os.environ)


def share_metrics(folder: Path) -> None:
    """Have prometheus_client, which reads the environment itself, keep this process's counts in a folder."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def from_env(environ: Mapping[str, str]) -> Settings:
    """Read and check all settings; an empty variable counts as not set.

    Raises:
        Misconfigured: naming the variable; never its value, which may hold a password.
    """
    values = {k[len(PREFIX) :].lower(): v for k, v in environ.items() if k.startswith(PREFIX) and v}
    for name in values:
        if name not in Settings.__struct_fields__:
            near = difflib.get_close_matches(name, Settings.__struct_fields__, 1)
            hint = f" Did you mean {variable(near[0])}?" if near else ""
            raise Misconfigured(f"{variable(name)} is not a setting of this service.{hint}")
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise Misconfigured(f"{variable(where.rstrip('`'))}: {what}.") from None
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    if not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:/\s]+):\d{1,5}", settings.bind):
        raise Misconfigured(f"{variable('bind')}: expected ADDRESS:PORT, as in 127.0.0.1:8000.")
    for field in ("public_url", "server"):
        if getattr(settings, field):
            _check_origin(field, getattr(settings, field))
    for field, url in (("redis_url", settings.redis_url), *(("ledger_urls", url) for url in settings.ledgers)):
        try:
            kind = location.parse(url).kind if url else "server"
        except ValueError as error:
            raise Misconfigured(f"{variable(field)}: {error}.") from None
        if field == "ledger_urls" and kind != "server":
            raise Misconfigured(
                f"{variable(field)}: each node is a single server, since one that fails over forgets. "
                "For more of them, list several with commas between."
            )
    for field in _PAGES:
        if not re.fullmatch(r"(https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?([/?#]\S*)?)?", getattr(settings, field)):
            raise Misconfigured(f"{variable(field)}: expected an address, as in https://example.org/page.")
    for field, (form, example) in _FORMS.items():
        if getattr(settings, field) and not re.fullmatch(form, getattr(settings, field)):
            raise Misconfigured(f"{variable(field)}: expected {example}.")
    if settings.redis_url and not settings.ledger_urls:
        raise Misconfigured(
            f"{variable('ledger_urls')} is missing: with {variable('redis_url')} set, the ledger needs a "
            "server of its own, so that no restored or failed-over store can bring used secrets back."
        )
    if settings.ledger_urls and not settings.redis_url:
        raise Misconfigured(f"{variable('redis_url')} is missing: {variable('ledger_urls')} goes with it.")
    if settings.redis_url in settings.ledgers:
        raise Misconfigured(f"{variable('ledger_urls')}: the ledger must not be the store.")
    if len(set(settings.ledgers)) < len(settings.ledgers):
        raise Misconfigured(f"{variable('ledger_urls')}: names one server twice.")
    if settings.wait_replicas and not settings.redis_url:
        raise Misconfigured(f"{variable('wait_replicas')}: the embedded store has no replicas.")


def _check_origin(field: str, url: str) -> None:
    found = re.fullmatch(r"https?://(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?", url)
    if not found or int(found[1] or 1) > 65_535:
        raise Misconfigured(
            f"{variable(field)}: expected http(s)://host or http(s)://host:port, with nothing after it."
        )
