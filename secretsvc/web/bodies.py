"""Reading what callers send, strictly: JSON bodies, forms whose bytes are kept, tokens and keys in headers."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from flask import request
from gunicorn.http.errors import ParseException
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from ..envelope import read_link, unb64
from ..errors import N_, BadLink, Damaged, Invalid, Unauthorized, UnsupportedMediaType

IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9_-]{22,64}")  # a UUID fits too
MAX_PARTS = 20
MAX_PART_HEADER = 8192  # bytes
# Fields that are bytes of the format: what does not decode there is damaged, not merely refused.
BYTES = {"id", "token", "envelope", "proof", "answer_token", "link", "key"}
T = TypeVar("T")


# --- headers -------------------------------------------------------------------------------------------


def bearer() -> bytes:
    """The 32 bytes in ``Authorization: Bearer``.

    Raises:
        Unauthorized: absent or malformed.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized
    try:
        return unb64(token, length=32)
    except Damaged:
        raise Unauthorized from None


def idempotency_key(value: str | None = None) -> str | None:
    """The Idempotency-Key, from its header or from a form's hidden field.

    Raises:
        Damaged: not 22-64 base64url characters; a key that could be guessed would let two share a claim.
    """
    name = "idempotency_key" if value is not None else "Idempotency-Key"
    value = value if value is not None else request.headers.get("Idempotency-Key")
    if value is not None and not IDEMPOTENCY_KEY.fullmatch(value):
        raise Damaged(N_("An Idempotency-Key has 22 to 64 letters, digits, - and _, or is a UUID."), field=name)
    return value


def whole_body() -> bytes:
    """The body's bytes: all of them, since a part would be taken for another secret.

    Werkzeug hands on what it got when a sender breaks off, or sends chunks beyond the limit.

    Raises:
        Damaged: the connection ended too early, or its chunks are malformed.
        RequestEntityTooLarge: over the limit.
    """
    try:
        data = request.get_data(cache=False)
    except ParseException:
        raise Damaged(N_("The body's chunks are malformed."), field="body") from None
    length = request.content_length
    if length is None:
        if len(data) >= (request.max_content_length or math.inf):
            raise RequestEntityTooLarge
    elif len(data) != length:
        raise Damaged(N_("The body is shorter than announced."), field="body")
    return data


# --- JSON ----------------------------------------------------------------------------------------------


def expect_json() -> None:
    """Before anything is counted: what other sites have a browser send is never called JSON.

    Raises:
        UnsupportedMediaType: not application/json.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType(N_("Send the body as application/json."))


def json_body(*, empty: bool = False) -> bytes:
    """The bytes of a JSON body.

    Args:
        empty: whether no body at all counts as ``{}``.

    Raises:
        UnsupportedMediaType: not application/json.
    """
    data = whole_body()
    if not data and empty:
        return b"{}"
    expect_json()
    return data


def read_json(kind: type[T], *, empty: bool = False) -> T:
    """The JSON body as ``kind``, a msgspec Struct that forbids unknown fields; see the two it is made of."""
    return decode_json(json_body(empty=empty), kind)


def has_field(data: bytes, name: str) -> bool:
    """Whether a JSON object has this field; False for JSON that is not an object.

    Raises:
        Damaged: not JSON.
    """
    try:
        return name in msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:
        return False
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Damaged(N_("The body is not valid JSON."), field="body") from None


def decode_json(data: bytes, kind: type[T]) -> T:
    """Strict decoding.

    Raises:
        Damaged: not JSON, a key twice, or a field of the format with a wrong type.
        Invalid: naming the field.
    """
    try:
        found = msgspec.json.decode(data, type=kind)
        _NO_DUPLICATES.decode(data.decode())
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Damaged(N_("The body is not valid JSON."), field="body") from None
    return found


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


_NO_DUPLICATES = json.JSONDecoder(object_pairs_hook=_no_duplicates)


def _refusal(message: str) -> Damaged | Invalid:
    """Which field, and what was expected; never the value that was sent."""
    what, _, path = message.partition(" - at `$")
    if unknown := re.search(r"(?:unknown|required) field `([^`]{0,64})", what):
        said = "This field is required." if "required" in what else "There is no such field."
        return Invalid((unknown[1], said))
    name = path.strip("`.").partition(".")[0].partition("[")[0] or "body"
    if what.startswith("Invalid enum value"):
        what = "This is not one of the values allowed."
    if name in BYTES:
        return Damaged("This must be a string of base64url.", field=name)
    if name == "body":
        return Damaged("The body must be a JSON object.", field=name)
    return Invalid((name, _said(what)))


def _said(what: str) -> str:
    """What msgspec expected, for a person."""
    kinds = {"int": "a whole number", "str": "a text", "bool": "true or false", "array": "a list"}
    found = re.match(r"Expected `(\w+)[^`]*`(?:( of length)? (<=|>=) (\d+))?", what)
    if not found or found[1] not in kinds:
        return what
    bound = f" of at {'most' if found[3] == '<=' else 'least'} {found[4]}" if found[3] else ""
    unit = {"str": " characters", "array": " entries"}.get(found[1], "") if found[2] else ""
    form = " without control characters, in the form the description says" if "matching" in what else ""
    return f"Expected {kinds[found[1]]}{bound}{unit}{form}."


def bytes_of(text: str, name: str, *, length: int | None = None) -> bytes:
    """A base64url field.

    Raises:
        Damaged: naming the field.
    """
    try:
        return unb64(text, length=length)
    except Damaged:
        what = f"exactly {length} bytes as " if length else ""
        raise Damaged(f"This must be {what}base64url without padding.", field=name) from None


def link_key(text: str, name: str = "link") -> bytes:
    """The key in a link, whatever host the link names.

    Raises:
        Damaged: naming the field.
    """
    try:
        return read_link(text)
    except BadLink as error:
        raise Damaged(error.detail, field=name) from None


# --- forms ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A form field: its bytes as they were sent, and what a file brings along."""

    content: bytes = field(repr=False)
    filename: str | None = None
    type: str | None = None


def read_form(*names: str, prefixes: tuple[str, ...] = (), max_parts: int = MAX_PARTS) -> dict[str, Part]:
    """The fields of a multipart or urlencoded form, byte for byte.

    Werkzeug's own ``request.form`` replaces bytes that are not UTF-8; a secret must not be altered silently.

    Args:
        names: the fields that are known here; ``plain`` may also stand in the query, where ``lang`` does.
        prefixes: what further fields begin with, for whoever reads them to judge.
        max_parts: how many fields there may be.

    Raises:
        UnsupportedMediaType: neither kind of form.
        Damaged: a malformed form.
        Invalid: an unknown field, or one that is there twice.
    """
    for name in request.args:
        if name not in ("plain", "lang"):
            raise Invalid((name[:64], N_("Send this in the body, not in the address.")))
    data = whole_body()
    if request.mimetype == "application/x-www-form-urlencoded":
        pairs = _urlencoded(data, max_parts)
    elif request.mimetype == "multipart/form-data":
        pairs = _multipart(data, max_parts)
    else:
        raise UnsupportedMediaType(N_("Send a form: multipart/form-data or application/x-www-form-urlencoded."))
    found: dict[str, Part] = {}
    for name, part in pairs:
        if name not in names and not name.startswith(prefixes):
            raise Invalid((name[:64], N_("There is no such field.")))
        if name in found:
            raise Invalid((name, N_("This field is there twice.")))
        found[name] = part
    if "plain" in request.args and "plain" in names:
        found.setdefault("plain", Part(b""))
    return found


def text_of(form: dict[str, Part], name: str) -> str:
    """A form field as text, empty where it is absent.

    Raises:
        Invalid: not UTF-8.
    """
    if name not in form:
        return ""
    try:
        return form[name].content.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid((name, N_("This is not valid UTF-8."))) from None


def _urlencoded(data: bytes, max_parts: int) -> list[tuple[str, Part]]:
    try:
        text = data.decode("ascii", "surrogateescape")
        pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=max_parts)
    except ValueError:
        raise Damaged(N_("The form is malformed or has too many fields."), field="body") from None
    return [(_clean(name), Part(value.encode("utf-8", "surrogateescape"))) for name, value in pairs]


def _multipart(data: bytes, max_parts: int) -> list[tuple[str, Part]]:
    boundary = parse_options_header(request.headers["Content-Type"])[1].get("boundary", "")
    try:
        _refuse_long_headers(data, b"--" + boundary.encode("ascii"), max_parts)
        decoder = MultipartDecoder(boundary.encode("ascii"), len(data), max_parts=max_parts)
        decoder.receive_data(data)
        decoder.receive_data(None)
        return list(_parts(decoder))
    except (ValueError, RequestEntityTooLarge):
        raise Damaged(N_("The form is malformed or has too many fields."), field="body") from None


def _parts(decoder: MultipartDecoder) -> Any:
    part: Field | File | None = None
    content = bytearray()
    while not isinstance(event := decoder.next_event(), Epilogue):
        if isinstance(event, NeedData):
            raise ValueError  # noqa: TRY004 - the form ends too early
        if isinstance(event, Field | File):
            _refuse_altered(event)
            part, content = event, bytearray()
        elif isinstance(event, Data) and part is not None:
            content += event.data
            if not event.more_data:
                filename = part.filename if isinstance(part, File) else None
                if filename or content or not isinstance(part, File):  # an empty file field was not used
                    yield _clean(part.name), Part(bytes(content), filename, _type(part.headers))


def _refuse_long_headers(data: bytes, delimiter: bytes, max_parts: int) -> None:
    """Reading a part's header takes time with the square of its length.

    Raises:
        ValueError: one is longer than 8 KiB.
    """
    for part in data.split(delimiter, max_parts + 1)[1:]:
        if len(part) > MAX_PART_HEADER and not re.search(rb"\r\n\r\n|\n\n|\r\r", part[:MAX_PART_HEADER]):
            raise ValueError


def _refuse_altered(part: Field | File) -> None:
    r"""Werkzeug takes ``\x`` for ``x``; a name that it altered would be stored as another one.

    Raises:
        ValueError: a part without a name.
        Invalid: a backslash that escapes nothing.
    """
    if part.name is None:
        raise ValueError
    if re.search(r'\\(?!["\\])', part.headers.get("Content-Disposition", "")):
        raise Invalid((_clean(part.name), N_("A file name may not hold a backslash.")))


def _type(headers: Headers) -> str | None:
    found = parse_options_header(headers.get("Content-Type", ""))[0]
    return found if found and found != "application/octet-stream" else None


def _clean(name: str) -> str:
    """A field's name, fit to be said back."""
    return name.encode("utf-8", "replace").decode("utf-8")
