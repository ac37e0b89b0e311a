"""What an envelope holds: a secret's content behind a small header, padded (``docs/format.md``, "Payload").

The decoders here are strict to the last byte.  They raise outside their ``except``: an exception of ``json``
or of a codec keeps the whole input it failed on, and would carry the secret along as ``__context__``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from secretsvc import errors

BLOCK_BYTES = 256
MAX_HEADER_BYTES = 1024

# Controls (category Cc) and lone surrogates; for names also separators and the Bidi_Control characters, with
# which "exe.txt" can be made to look like "txt.exe".
_NOT_IN_TYPE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_IN_NAME = re.compile(
    r"[\x00-\x1f\x7f-\x9f\ud800-\udfff/\\\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]",
)


class Masked:
    """Keeps what it holds out of logs and tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(masked)"


@dataclass(frozen=True, slots=True, repr=False)
class Payload(Masked):
    """A secret with what describes it: a file ``name`` and a ``type`` for display, both optional.

    An allowed name is still a stranger's: shown, or offered as a suggestion, and never used as a path.

    Raises:
        BadHeader: a name or type that the format does not allow.
    """

    content: bytes
    name: str | None = None
    type: str | None = None

    def __post_init__(self) -> None:
        if self.name is not None and (
            not 1 <= utf8_length(self.name) <= 255 or self.name in {".", ".."} or _NOT_IN_NAME.search(self.name)
        ):
            raise errors.BadHeader
        if self.type is not None and (utf8_length(self.type) > 127 or _NOT_IN_TYPE.search(self.type)):
            raise errors.BadHeader

    def text(self) -> str | None:
        """Return the content as text, a leading BOM kept; None for a named file and for what is not UTF-8."""
        if self.name is not None:
            return None
        try:
            return self.content.decode("utf-8")
        except UnicodeDecodeError:
            return None


def padded_length(content_bytes: int) -> int:
    """Return the length of the longest payload with ``content_bytes`` of content, whatever its header."""
    longest = MAX_HEADER_BYTES + len(b"\n") + content_bytes + len(b"\x80")
    return longest + -longest % BLOCK_BYTES


def write_payload(payload: Payload) -> bytes:
    """Return header, content and padding: a multiple of 256 bytes, so a ciphertext tells a class of sizes."""
    fields = {"name": payload.name, "type": payload.type}
    header = _write_strings({key: value for key, value in fields.items() if value is not None})
    body = header + b"\n" + payload.content + b"\x80"
    return body + bytes(-len(body) % BLOCK_BYTES)


def read_payload(padded: bytes) -> Payload:
    """Return the payload in ``padded``.

    Raises:
        Damaged: length or padding (judged first).
        BadHeader: no header, or one that is not as strict as the format.
    """
    body = padded.rstrip(b"\0")
    zeros = len(padded) - len(body)
    if len(padded) % BLOCK_BYTES or zeros >= BLOCK_BYTES or not body.endswith(b"\x80"):
        raise errors.Damaged
    end = body.find(b"\n", 0, MAX_HEADER_BYTES + 1)
    header = _read_strings(body[:end]) if end >= 0 else None
    if header is None or not header.keys() <= {"name", "type"}:
        raise errors.BadHeader
    return Payload(body[end + 1 : -1], **header)


def write_answers(answers: Mapping[str, str]) -> Payload:
    """Return form answers as a payload.

    Raises:
        BadAnswer: a lone surrogate, which UTF-8 cannot write.
    """
    if has_surrogate("".join([*answers, *answers.values()])):
        raise errors.BadAnswer
    return Payload(_write_strings(answers), type="application/json")


def read_answers(payload: Payload) -> dict[str, str]:
    """Return the form answers in a payload of type ``application/json`` without a name.

    Raises:
        BadAnswer: another type, a named file, or anything but one flat JSON object of strings.
    """
    is_form = payload.name is None and payload.type == "application/json"
    answers = _read_strings(payload.content) if is_form else None
    if answers is None:
        raise errors.BadAnswer
    return answers


def _write_strings(strings: Mapping[str, str]) -> bytes:
    # Byte for byte what JSON.stringify makes of it.
    return json.dumps(dict(strings), ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _read_strings(data: bytes) -> dict[str, str] | None:
    """Return the flat JSON object of strings ``data`` is; None if it is anything else.

    That is strict UTF-8, no BOM, every key once (as it reads after unescaping), no lone surrogate.
    """
    try:
        # As tuples: objects are told from arrays, and a key that comes twice is still there to be seen.
        pairs = json.loads(data.decode("utf-8"), object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, tuple) or not all(isinstance(value, str) for _, value in pairs):
        return None
    strings = dict(pairs)
    if len(strings) != len(pairs) or has_surrogate("".join([*strings, *strings.values()])):
        return None
    return strings


def has_surrogate(text: str) -> bool:
    """Return whether ``text`` holds a lone surrogate, which UTF-8 cannot write."""
    return re.search(r"[\ud800-\udfff]", text) is not None


def utf8_length(text: str) -> int:
    """Return how many bytes ``text`` takes in UTF-8; a lone surrogate counts as three."""
    return len(text.encode("utf-8", "surrogatepass"))
