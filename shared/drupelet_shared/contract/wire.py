"""Names on the wire that need no array library: content types, user properties, and the error reply."""

from __future__ import annotations

import json
import re

from drupelet_shared.contract.messages import ErrorReply
from drupelet_shared.errors import ContentTypeError, DrupeletError

JSON_TYPE = "application/json"
BINARY_TYPE = "application/octet-stream"
PNG_TYPE = "image/png"
JPEG_TYPE = "image/jpeg"
CONTENT_TYPES = (JSON_TYPE, BINARY_TYPE, PNG_TYPE, JPEG_TYPE)

# User Properties. The first is the HTTP header of Triton's binary tensor extension under its own name.
HEADER_LENGTH_PROPERTY = "Inference-Header-Content-Length"
CODE_PROPERTY = "code"
# The value of `code` in a reply that is not an error.
OK_CODE = "ok"
# The value of `code` in a progress message of a command.
PROGRESS_CODE = "progress"
# A command is a few names; what is longer is refused unread.
MAX_COMMAND_BYTES = 64 * 2**10

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_JSON_START = b"{"
_WHITESPACE = b" \t\r\n"
# How far to look for the first byte that is not JSON whitespace.
_SNIFFED_BYTES = 64
_MAX_ERROR_CHARACTERS = 2000
MAX_ID_LENGTH = 256
# The id where clients write it, as the first member; a payload may be megabytes, of which this reads the start.
_LEADING_ID = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"id"[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\]|\\.)*")')
PEEKED_BYTES = 2048


def sniff_content_type(payload: bytes | memoryview) -> str:
    """Return the content type of a payload that names none, as MQTT 3.1.1 cannot; binary tensors are never guessed.

    Raises:
        ContentTypeError: The payload is not a PNG, a JPEG or a JSON object.
    """
    head = bytes(payload[:_SNIFFED_BYTES])
    if head.startswith(_PNG_MAGIC):
        return PNG_TYPE
    if head.startswith(_JPEG_MAGIC):
        return JPEG_TYPE
    if head.lstrip(_WHITESPACE).startswith(_JSON_START):
        return JSON_TYPE
    raise ContentTypeError(
        f"payload of {len(payload)} bytes without a content type, starting {head[:8].hex(' ') or 'nowhere'}: "
        "expected a JSON object, a PNG or a JPEG"
    )


def parse_content_type(content_type: str) -> str:
    """Return the media type in lower case without its parameters, such as `; charset=utf-8`.

    Raises:
        ContentTypeError: The contract does not know it.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in CONTENT_TYPES:
        raise ContentTypeError(f"content type {content_type[:80]!r}: expected one of {', '.join(CONTENT_TYPES)}")
    return media_type


def peek_id(payload: bytes | memoryview) -> str | None:
    """Return the id of a request that is refused unread: None unless it is the first member of the JSON object."""
    match = _LEADING_ID.match(bytes(payload[:PEEKED_BYTES]))
    if match is None:
        return None
    try:
        request_id = json.loads(match[1])
        # Half of a surrogate pair passes here, and nowhere else.
        request_id.encode()
    except ValueError:
        return None
    return request_id if isinstance(request_id, str) and len(request_id) <= MAX_ID_LENGTH else None


def encode_error(error: DrupeletError, *, request_id: str | None) -> bytes:
    """Return the JSON body of a reply that refuses a request; very long texts are cut."""
    text = str(error)
    if len(text) > _MAX_ERROR_CHARACTERS:
        text = text[:_MAX_ERROR_CHARACTERS] + "…"
    return ErrorReply(error=text, code=error.code, id=request_id).to_bytes()
