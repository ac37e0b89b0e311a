"""The JSON API under ``/api/v1``: each view parses, calls one function of the vault, and renders."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from flask import Blueprint
from msgspec import Meta

from .. import serverside
from ..envelope import Payload, b64, check_envelope, max_envelope_bytes, unb64
from ..errors import BadHeader, Damaged, Invalid, NotFound, TooLarge, UnknownType
from ..model import Look, Role, View
from ..serverside import Wish
from ..settings import MAX_EXPIRES_IN, MIN_EXPIRES_IN
from ..tokens import Person
from ..vault import Created, New
from .application import Response
from .bodies import (
    bearer,
    bytes_of,
    decode_json,
    expect_json,
    has_field,
    idempotency_key,
    link_key,
    read_json,
    whole_body,
)
from .language import current
from .problems import rfc3339
from .service import Service, service

api = Blueprint("api", __name__, url_prefix="/api/v1")

ExpiresIn = Annotated[int, Meta(ge=MIN_EXPIRES_IN, le=MAX_EXPIRES_IN, description="seconds")]
Language = Literal["de", "en"]
Identity = Literal["signed-in", "phone-password", "known-address", "not-checked"]
Label = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
# The patterns are for readers of the description; ``unb64`` decides.
B64_16 = {"pattern": "^[A-Za-z0-9_-]{21}[AQgw]$"}
B64_32 = {"pattern": "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"}
B64 = {"pattern": "^[A-Za-z0-9_-]+$"}
Id = Annotated[str, Meta(description="16 bytes as base64url", extra_json_schema=B64_16)]
Token = Annotated[str, Meta(description="32 bytes as base64url", extra_json_schema=B64_32)]
Envelope = Annotated[str, Meta(description="envelope as base64url", extra_json_schema=B64)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$(?!\n)")]
Word = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]


class SealedByClient(msgspec.Struct, forbid_unknown_fields=True):
    """A secret that the client has sealed."""

    id: Id
    token: Token
    envelope: Envelope
    expires_in: ExpiresIn
    proof: Token | None = None
    language: Language | None = None
    label: Label | None = None


class SealedByServer(msgspec.Struct, forbid_unknown_fields=True):
    """A secret for the server to seal."""

    secret: Annotated[str, Meta(min_length=1)]
    expires_in: ExpiresIn
    encoding: Literal["utf-8", "base64"] = "utf-8"
    name: str | None = None
    type: str | None = None
    password: str | None = None
    language: Language | None = None
    label: Label | None = None


class NewRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A secret to be filled in by somebody else; ``identity`` is how the asker made sure of who that is."""

    id: Id
    token: Token
    answer_token: Token
    form: Name
    expires_in: ExpiresIn
    language: Language | None = None
    label: Label | None = None
    identity: Identity | None = None


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """The one answer to a request, sealed to the agent's link."""

    envelope: Envelope
    consents: Annotated[list[Name], Meta(max_length=20)]
    cost_accepted: bool | None = None
    inquiry: Word | None = None
    product: Word | None = None
    package: Word | None = None


FACTS = ("consents", "cost_accepted", "inquiry", "product", "package")


class Claim(msgspec.Struct, forbid_unknown_fields=True):
    """What a claim brings: the proof, where there is a password."""

    proof: Token | None = None


class Open(msgspec.Struct, forbid_unknown_fields=True):
    """A link, or its key, for the server to open."""

    link: str | None = None
    key: Token | None = None
    password: str | None = None


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No fields."""


@api.post("/secrets")
def create() -> Response:
    """Store an envelope, or let the server seal a secret."""
    here = service()
    expect_json()
    caller = here.creator()
    key = idempotency_key()
    data = whole_body()
    if not has_field(data, "secret"):
        body = decode_json(data, SealedByClient)
        return _created(here, here.vault.create(_sealed_by_client(here, body, caller)))
    wish = decode_json(data, SealedByServer)
    if wish.password:
        here.limit_password(opening=False)
    sealed = serverside.create(
        here.vault,
        Wish(
            _payload(wish),
            wish.expires_in,
            password=wish.password or "",
            language=wish.language,
            label=here.label(wish.label, caller),
            by=_name(caller),
        ),
        max_bytes=here.settings.max_secret_bytes,
        idempotency_key=key,
        caller=_id(caller),
    )
    return _created(here, sealed.created, link=format_link_of(here, sealed.key))


@api.get("/secrets/<id>")
def state(id: str) -> Response:
    """How a secret stands; consumes nothing."""
    return _json(shown(service().vault.state(find(id, "link", "sender"))))


@api.post("/secrets/<id>/claim")
def claim(id: str) -> Response:
    """The one opening."""
    here = service()
    caller = here.opener()
    look = find(id, "link", record=True)
    body = read_json(Claim, empty=True)
    key = idempotency_key()
    proof = None if body.proof is None else bytes_of(body.proof, "proof", length=32)
    if look.receipt.password and proof is not None:
        here.limit_password(opening=True)
    envelope = here.vault.claim(
        look,
        prove=None if proof is None else lambda: proof,
        key=key,
        collector=here.collector(caller, look.receipt),
    )
    return _json({"envelope": b64(envelope)})


@api.post("/secrets/<id>/done")
def done(id: str) -> Response:
    """The claimant has it: close the retry window."""
    look = find(id, "link")
    read_json(Nothing, empty=True)
    key = idempotency_key()
    if key is None:
        raise Damaged("Send the Idempotency-Key of the claim.", field="Idempotency-Key")
    service().vault.done(look, key)
    return Response(status=204)


@api.post("/secrets/<id>/report")
def report(id: str) -> Response:
    """That was not me."""
    look = find(id, "link")
    read_json(Nothing, empty=True)
    return _json(shown(service().vault.report(look)))


@api.post("/secrets/<id>/revoke")
def revoke(id: str) -> Response:
    """End it unread."""
    look = find(id, "sender")
    read_json(Nothing, empty=True)
    return _json(shown(service().vault.revoke(look)))


@api.post("/secrets/<id>/unlock")
def unlock(id: str) -> Response:
    """Give all tries back."""
    look = find(id, "sender")
    read_json(Nothing, empty=True)
    return _json(shown(service().vault.unlock(look)))


@api.post("/open")
def open_() -> Response:
    """Open a link on the server, for scripts."""
    here = service()
    caller = here.opener()
    body = read_json(Open)
    if (body.link is None) == (body.key is None):
        raise Invalid(("link", "Send either link or key."))
    key = link_key(body.link) if body.link is not None else bytes_of(body.key or "", "key", length=32)
    look = serverside.look(here.vault, key)
    if look.receipt.password and body.password:
        here.limit_password(opening=True)
    payload = serverside.open(
        here.vault,
        look,
        key,
        password=body.password or "",
        idempotency_key=idempotency_key(),
        collector=here.collector(caller, look.receipt),
    )
    text = payload.text()
    found: dict[str, Any] = {"secret": text, "encoding": "utf-8"}
    if text is None:
        found = {"secret": b64(payload.content), "encoding": "base64"}
    for name, value in (("name", payload.name), ("type", payload.type)):
        if value is not None:
            found[name] = value
    return _json(found)


@api.post("/requests")
def create_request() -> Response:
    """Ask somebody for a secret."""
    here = service()
    expect_json()
    caller = here.creator(staff=True)
    idempotency_key()
    body = read_json(NewRequest)
    here.desks.check_form(body.form)
    new = New(
        id=bytes_of(body.id, "id", length=16),
        token=bytes_of(body.token, "token", length=32),
        answer_token=bytes_of(body.answer_token, "answer_token", length=32),
        form=body.form,
        expires_in=body.expires_in,
        language=body.language,
        label=here.label(body.label, caller),
        caller=_id(caller),
        by=_name(caller),
        identity=body.identity,
    )
    return _created(here, here.vault.create(new))


@api.get("/requests/<id>")
def asked(id: str) -> Response:
    """What is asked."""
    look = find(id, "answerer")
    view = service().vault.state(look)
    found: dict[str, Any] = {
        "form": look.receipt.form,
        "language": view.language or current(),
        "expires_at": rfc3339(view.expires_at),
        "state": view.state,
    }
    if look.receipt.label is not None:
        found["label"] = look.receipt.label
    return _json(found)


@api.post("/requests/<id>/answer")
def answer(id: str) -> Response:
    """The one answer."""
    here = service()
    look = find(id, "answerer")
    body = read_json(Answer)
    envelope = answer_envelope(here, body.envelope)
    facts = {name: value for name in FACTS if (value := getattr(body, name)) is not None}
    kept = here.desks.facts(look, facts)
    view = here.vault.answer(look, envelope, msgspec.json.encode(kept).decode())
    return _json(shown(view), 201)


# --- shared with the pages -----------------------------------------------------------------------------


def find(id: str, *roles: Role, record: bool = False) -> Look:
    """Step 1 of every call about a secret; before any check of the body.

    Raises:
        Unauthorized: no token.
        NotFound: unknown, or not this token's.
    """
    token = bearer()
    try:
        raw = unb64(id, length=16)
    except Damaged:
        raise NotFound from None
    return service().vault.look(raw, token, *roles, record=record)


def shown(view: View) -> dict[str, Any]:
    """A view with the API's field names; what is not known is left out."""
    found = {
        "id": b64(view.id),
        "kind": view.kind,
        "state": view.state,
        "password": view.password,
        "size": view.size,
        "created_at": rfc3339(view.created_at),
        "expires_at": rfc3339(view.expires_at),
        "language": view.language,
        "ended_at": rfc3339(view.ended_at),
        "ended_by": "operator" if view.by_operator else None,
        "reported_at": rfc3339(view.reported_at),
        "tries_left": view.tries_left,
        "collected_by": view.collected_by,
    }
    return {name: value for name, value in found.items() if value is not None}


def format_link_of(here: Service, key: bytes) -> str:
    """The link of a key: from the public URL, never from what the request says of its host."""
    return f"{here.settings.base_url}/s#{b64(key)}"


def receipt_url(here: Service, created: Created) -> str:
    """The sender's own link, which opens nothing."""
    return f"{here.settings.base_url}/receipt#{b64(created.view.id + created.receipt_token)}"


def _id(caller: Person | None) -> str:
    return caller.id if caller else ""


def _name(caller: Person | None) -> str:
    return caller.name if caller else ""


def _created(here: Service, created: Created, *, link: str | None = None) -> Response:
    view = created.view
    found = {
        "id": b64(view.id),
        "state": view.state,
        "created_at": rfc3339(view.created_at),
        "expires_at": rfc3339(view.expires_at),
        "sealed_by": view.sealed_by,
        "receipt_token": b64(created.receipt_token),
        "receipt_url": receipt_url(here, created),
    }
    if link is not None:
        found["link"] = link
    return _json(found, 201)


def _sealed_by_client(here: Service, body: SealedByClient, caller: Person | None) -> New:
    label = here.label(body.label, caller)
    id = bytes_of(body.id, "id", length=16)
    token = bytes_of(body.token, "token", length=32)
    proof = None if body.proof is None else bytes_of(body.proof, "proof", length=32)
    envelope = _envelope(here, body.envelope, answer=False, password=proof is not None)
    if proof is not None:
        here.limit_password(opening=False)
    return New(
        id=id,
        token=token,
        envelope=envelope,
        proof=proof,
        expires_in=body.expires_in,
        language=body.language,
        label=label,
        caller=_id(caller),
        by=_name(caller),
    )


def answer_envelope(here: Service, text: str) -> bytes:
    """The sealed answer to a request, as a body brings it.

    Raises:
        Damaged, TooLarge: naming the field.
    """
    return _envelope(here, text, answer=True, password=False)


def _envelope(here: Service, text: str, *, answer: bool, password: bool) -> bytes:
    limit = max_envelope_bytes(here.settings.max_secret_bytes, answer=answer)
    envelope = bytes_of(text, "envelope")
    if len(envelope) > limit:
        raise TooLarge(limit, field="envelope")
    try:
        check_envelope(envelope, answer=answer, password=password)
    except UnknownType:
        raise Damaged("This type of envelope does not fit here.", field="envelope") from None
    except Damaged:
        raise Damaged("An envelope has another length.", field="envelope") from None
    return envelope


def _payload(wish: SealedByServer) -> Payload:
    content = wish.secret.encode() if wish.encoding == "utf-8" else bytes_of(wish.secret, "secret")
    try:
        Payload(b"", None, wish.type)
    except BadHeader:
        raise Invalid(("type", "A type has at most 127 bytes and no control characters.")) from None
    return Payload(content, wish.name, wish.type)


def _json(body: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, mimetype="application/json")
