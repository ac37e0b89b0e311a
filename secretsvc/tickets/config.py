"""The ticket module's own file of settings, in TOML: desks, sign-in, webhooks, mail.

Everything is checked at start; what is refused is named by its place in the file.  Secrets stand in files of
their own, which these settings name.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..errors import Misconfigured

Url = Annotated[str, Meta(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")]
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
Words = tuple[str, ...]
PAGES = ("order", "organisations", "sign-in", "sign-out")  # where a desk's name would stand


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: read-only, and nothing in it goes unnoticed."""


class DeskConf(_Section, frozen=True, kw_only=True, tag_field="kind"):
    """What all desks have in common.

    Attributes:
        grace_days: days a solved ticket may still change its organisation; then it is frozen.
        shared: whether a whole organisation reads its tickets in the desk, so that a password is offered.
        packages: what the desk calls a package, to what the forms call it.
        language: of our notes there.
    """

    grace_days: Annotated[float, Meta(ge=0, le=90)] = 3
    shared: bool = True
    packages: dict[str, str] = {}
    language: Literal["en", "de"] = "en"


class Local(DeskConf, frozen=True, kw_only=True, tag="local"):
    """No helpdesk: tickets are known by number alone."""


class Remote(DeskConf, frozen=True, kw_only=True):
    """A helpdesk with a REST interface.

    Attributes:
        url: where it is, without a final slash.
        webhook_secret_file: file with the secret that signs its webhooks; without one none are taken.
        timeout: seconds it may take to answer.
        settles: seconds from the beginning of a try at something until nothing can come of it there any more;
            at least six times ``timeout``, since a try may take several calls.
        account: our own account's name or id there, to ignore what we caused ourselves.
        ca_file: file with the certificate authorities that its certificate is checked by, instead of the
            usual ones.
    """

    url: Url
    webhook_secret_file: str = ""
    timeout: Annotated[float, Meta(gt=0, le=60)] = 10
    settles: Annotated[float, Meta(ge=0, le=3600)] = 100
    account: str = ""
    ca_file: str = ""


class RequestTracker(Remote, frozen=True, kw_only=True, tag="rt"):
    """Request Tracker 5.

    Attributes:
        token_file: file with our account's REST2 token.
        queue: where orders are opened.
        organisation_field: custom field with the ticket's organisation; the requestor's own counts where it is
            empty.
        package_field: custom field with the package.
        solved, closed: the lifecycle's words.
    """

    token_file: str
    queue: str = "General"
    organisation_field: str = ""
    package_field: str = ""
    solved: Words = ("resolved", "solved")
    closed: Words = ("closed", "rejected", "deleted")


class Zendesk(Remote, frozen=True, kw_only=True, tag="zendesk"):
    """Zendesk, by OAuth client credentials.

    Attributes:
        client_id: of a confidential OAuth client.
        client_secret_file: file with its secret.
        package_field: id of the custom ticket field with the package.
    """

    client_id: str
    client_secret_file: str
    package_field: int | None = None


class Zammad(Remote, frozen=True, kw_only=True, tag="zammad"):
    """Zammad.

    Attributes:
        token_file: file with our account's access token.
        group: where orders are opened.
        solved: names of the states that count as solved, beside those of type "closed".
        closed: names of the states in which tickets take no more notes.
        package_field: the ticket attribute with the package.
    """

    token_file: str
    group: str = "Users"
    solved: Words = ()
    closed: Words = ()
    package_field: str = ""


AnyDesk = Local | RequestTracker | Zendesk | Zammad


class SignIn(_Section, frozen=True, kw_only=True):
    """An OpenID Connect provider.

    Attributes:
        issuer: its issuer identifier.
        client_id, client_secret_file: ours there.
        scopes: asked for besides ``openid``.
        role_claim: path to the claim, with dots, whose value or values say the role.
        agents, customers: the values that make an agent or a customer; whoever has none is turned away.
        organisations_claim: path to the claim with the organisations, as a text or a list.
        desks_claim: the same with the names of the desks an agent works at; without it, all of them.
        name_claim: path to the claim with what to call the person.
        userinfo: whether to ask the provider's userinfo endpoint too, for claims that are not in the id token.
        ca_file: certificate authorities to trust instead of the usual ones.
        hours: how long a session lasts.
    """

    issuer: Url
    client_id: str
    client_secret_file: str
    scopes: Words = ("profile", "email")
    role_claim: str = "role"
    agents: Words = ("agent",)
    customers: Words = ("customer",)
    organisations_claim: str = "organisations"
    desks_claim: str = ""
    name_claim: str = "name"
    userinfo: bool = False
    ca_file: str = ""
    hours: Annotated[float, Meta(gt=0, le=168)] = 10


class Webhook(_Section, frozen=True, kw_only=True):
    """Where events go.

    Attributes:
        name: to call it by in logs.
        url: https, or http within ``allow_networks``.
        secret_file: file with ``whsec_…``; several lines while the secret changes, the newest first.
        desks: of whose tickets; all where it is empty.
    """

    name: Name
    url: Url
    secret_file: str
    desks: Words = ()


class Mail(_Section, frozen=True, kw_only=True):
    """The mail server that takes followers' notices.

    Attributes:
        sender: address the mails come from.
        starttls: whether to insist on TLS.
        username, password_file: where it wants them.
    """

    host: str
    port: Annotated[int, Meta(ge=1, le=65_535)] = 25
    sender: Annotated[str, Meta(pattern=r"^[^@\s<>]+@[^@\s<>]+$")]
    starttls: bool = True
    username: str = ""
    password_file: str = ""


class Config(_Section, frozen=True, kw_only=True):
    """The whole file.

    Attributes:
        desks: by the name that references say.
        sign_in: how people sign in; without it, by one-time links alone.
        webhooks: where events go.
        mail: how followers hear of new links.
        allow_networks: private networks that webhooks may reach, as CIDR.
        agencies: organisations that act for others: at their tickets the agent is asked to make sure.
        forms: a folder with forms of one's own.
        orders: the desk at which customers' orders are opened; empty for no orders.
    """

    desks: dict[Name, AnyDesk] = msgspec.field(default_factory=lambda: {"local": Local()})
    sign_in: SignIn | None = None
    webhooks: tuple[Webhook, ...] = ()
    mail: Mail | None = None
    allow_networks: Words = ()
    agencies: Words = ()
    forms: str = ""
    orders: str = ""


def load(path: str) -> Config:
    """Read the file, or take the default where there is none: a desk ``local`` and nothing else.

    Raises:
        Misconfigured: naming what is refused, never a secret.
    """
    if not path:
        return Config()
    try:
        raw = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise Misconfigured(f"{path}: cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path}: not valid TOML: {error}.") from None
    desks = raw.pop("desks", {"local": {"kind": "local"}})
    found: Config = _converted(path, "", raw, Config)
    found = msgspec.structs.replace(found, desks=_desks(path, desks))
    for network in found.allow_networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise Misconfigured(f"{path}: allow_networks: {network!r} is not a network.") from None
    if found.orders and isinstance(found.desks.get(found.orders), Local | None):
        raise Misconfigured(f"{path}: orders: {found.orders!r} is not a helpdesk among the desks.")
    for name, desk in found.desks.items():
        if isinstance(desk, Remote) and desk.settles < 6 * desk.timeout:
            raise Misconfigured(f"{path}: desks.{name}.settles: at least six times the timeout.")
    names = [hook.name for hook in found.webhooks]
    if len(set(names)) < len(names):
        raise Misconfigured(f"{path}: webhooks: two of one name.")
    return found


def _desks(path: str, tables: Any) -> dict[str, AnyDesk]:
    if not isinstance(tables, dict) or not tables:
        raise Misconfigured(f"{path}: desks: expected a table for each, as in [desks.rt].")
    for name in tables:
        if name in PAGES or not re.fullmatch("[a-z][a-z0-9-]{0,31}", name):
            raise Misconfigured(
                f"{path}: desks: {name!r} is a page here, or not 1-32 small letters, digits, dashes."
            )
    return {name: _converted(path, f"desks.{name}", table, AnyDesk) for name, table in tables.items()}


def _converted(path: str, place: str, table: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        where = (place + where.rstrip("`")).strip(".") or "the file"
        raise Misconfigured(f"{path}: {where}: {what}.") from None


def secret(path: str, what: str) -> str:
    """The one line of a file with a secret.

    Args:
        what: its place in the settings, for the message.

    Raises:
        Misconfigured: it cannot be read, is empty, or is not one line of printable characters.
    """
    [found, *more] = secrets(path, what)
    if more:
        raise Misconfigured(f"{what}: {path} has more than one line.")
    return found


def secrets(path: str, what: str) -> list[str]:
    """The lines of a file with secrets; see ``secret``."""
    try:
        lines = [line.strip() for line in Path(path).read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{what}: {path} cannot be read ({type(error).__name__}).") from None
    if not lines or not all(re.fullmatch(r"[!-~]+", line) for line in lines):
        raise Misconfigured(f"{what}: {path} must hold a secret: one line without spaces.")
    return lines


def signing_key(line: str, place: str) -> bytes:
    """The key of Standard Webhooks in ``whsec_`` and base64; 24-64 bytes.

    Args:
        place: where it was read, for the message.

    Raises:
        Misconfigured: it is not one.
    """
    prefix, _, text = line.partition("whsec_")
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if prefix or not 24 <= len(key) <= 64:
        raise Misconfigured(f"{place}: each line must be whsec_ and 24-64 random bytes as base64.")
    return key


def described() -> dict[str, Any]:
    """Every section's fields, for the documentation's test."""
    sections = (Config, Local, RequestTracker, Zendesk, Zammad, SignIn, Webhook, Mail)
    return {section.__name__: section.__struct_fields__ for section in sections}
