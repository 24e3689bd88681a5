"""The body of a request or reply: one JSON object, then the raw bytes of the tensors that asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json, to_json

from drupelet_shared.contract.wire import BINARY_TYPE, HEADER_LENGTH_PROPERTY, JSON_TYPE, parse_content_type
from drupelet_shared.engines.base import Array
from drupelet_shared.errors import ContentTypeError, InputDataError, InputNameError, RequestError
from drupelet_shared.inference.binary import array_from_bytes, bytes_from_array
from drupelet_shared.inference.elements import array_from_elements, elements_from_array
from drupelet_shared.inference.header import Kind, TensorHeader, datatype_of, parse_header, parse_parameters, show
from drupelet_shared.inference.values import Encoded

_SIZE = "binary_data_size"
# The raw bytes then start where every datatype is aligned, and the reader needs no copy.
_ALIGNMENT_BYTES = 64
# A parsed value takes about 35 bytes and an array or object 75, however short it is in the JSON. Beside the tensors'
# own values there are names, shapes and parameters.
MAX_VALUES = 4 * 2**20
_OTHER_VALUES = 10_000
_MOST_CONTAINERS = 2**20


def split_body(
    payload: memoryview, *, content_type: str, header_length: int | None, max_values: int = MAX_VALUES
) -> tuple[dict[str, Any], memoryview]:
    """Split a body into its JSON object and the raw tensors after it.

    Args:
        payload: The body.
        content_type: `application/json` or `application/octet-stream`, with or without parameters.
        header_length: Bytes of JSON at the start; None if all of it is JSON.
        max_values: Limit of tensor values in the JSON; a body far above it is refused before it is parsed.

    Returns:
        The JSON object and the bytes after it.

    Raises:
        ContentTypeError: The content type is neither JSON nor binary tensors.
        InputDataError: The JSON has too many values, arrays or objects.
        RequestError: The header length does not fit the payload, or the JSON is malformed or no object.
    """
    media_type = parse_content_type(content_type)
    if media_type not in {JSON_TYPE, BINARY_TYPE}:
        raise ContentTypeError(f"content type {media_type}: expected {JSON_TYPE} or {BINARY_TYPE}")
    if header_length is None:
        header_length = len(payload)
    elif media_type == JSON_TYPE and header_length != len(payload):
        raise RequestError(
            f"{HEADER_LENGTH_PROPERTY} is {header_length} in {len(payload)} bytes of {JSON_TYPE}: "
            f"raw tensors need {BINARY_TYPE}"
        )
    if not 0 < header_length <= len(payload):
        raise RequestError(f"{HEADER_LENGTH_PROPERTY} is {header_length}: the payload has {len(payload)} bytes")
    text = bytes(payload[:header_length])
    _check_cost(text, max_values=max_values)
    try:
        document = from_json(text, cache_strings="keys")
    except ValueError as error:
        raise RequestError(f"the {header_length} bytes of JSON are malformed: {error}") from error
    if not isinstance(document, dict):
        raise RequestError(f"the JSON is {show(document)}: expected an object")
    return document, payload[header_length:]


def _check_cost(text: bytes, *, max_values: int) -> None:
    """Bound what parsing allocates by what can be counted without it: every value but the first follows a comma."""
    values, containers = text.count(b","), text.count(b"[") + text.count(b"{")
    if values > max_values + _OTHER_VALUES:
        raise InputDataError(f"the JSON holds about {values} values: the limit is {max_values} and some more")
    limit = min(max_values + _OTHER_VALUES, _MOST_CONTAINERS)
    if containers > limit:
        raise InputDataError(f"the JSON holds about {containers} arrays and objects: the limit is {limit}")


def join_body(document: dict[str, Any], chunks: list[memoryview]) -> Encoded:
    """Return the body that holds a JSON object and the raw tensors after it."""
    text = to_json(document)
    if not any(
        _SIZE in entry.get("parameters", {}) for key in ("inputs", "outputs") for entry in document.get(key, ())
    ):
        return Encoded(payload=text, content_type=JSON_TYPE, header_length=None)
    text += b" " * (-len(text) % _ALIGNMENT_BYTES)
    return Encoded(payload=b"".join([text, *chunks]), content_type=BINARY_TYPE, header_length=len(text))


def decode_tensors(entries: object, tail: memoryview, *, kind: Kind) -> dict[str, Array]:
    """Return the tensors of a request's inputs or a reply's outputs, by name.

    Args:
        entries: The JSON array that describes them.
        tail: The raw bytes after the JSON; every byte must belong to a tensor.
        kind: Whether these are inputs or outputs, for messages.

    Returns:
        One array for each tensor, in the order of the JSON. Raw tensors are views of `tail`.

    Raises:
        RequestError: A tensor is malformed; the subclass states which part.
    """
    if not isinstance(entries, list):
        raise RequestError(f"{kind}s: {show(entries)}: expected an array")
    arrays: dict[str, Array] = {}
    offset = 0
    for entry in entries:
        header = parse_header(entry, kind=kind)
        if header.name in arrays:
            raise InputNameError(f"{header} is given twice")
        size = _binary_size(entry, header)
        if size is None:
            arrays[header.name] = array_from_elements(entry.get("data"), header)
            continue
        if offset + size > len(tail):
            left = len(tail) - offset
            raise InputDataError(f"{header}: {_SIZE} is {size}: the payload has {left} bytes left")
        arrays[header.name] = array_from_bytes(tail[offset : offset + size], header)
        offset += size
    if offset != len(tail):
        raise InputDataError(f"the {kind}s account for {offset} of the {len(tail)} bytes after the JSON")
    return arrays


def encode_tensor(array: Array, *, name: str, kind: Kind, binary: bool) -> tuple[dict[str, Any], memoryview | None]:
    """Describe one tensor in JSON, with its data in the description or, for binary, beside it.

    Args:
        array: The tensor.
        name: Its name.
        kind: Whether it is an input or an output, for messages.
        binary: Whether the data are raw bytes.

    Returns:
        The JSON object, and the raw bytes or None.

    Raises:
        InputDatatypeError: The protocol has no datatype for the array.
        InputDataError: JSON cannot hold its values.
    """
    datatype = datatype_of(array, what=f"{kind} {name!r}")
    header = TensorHeader(kind=kind, name=name, datatype=datatype, shape=array.shape)
    entry: dict[str, Any] = {"name": name, "datatype": header.datatype, "shape": list(array.shape)}
    if not binary:
        return {**entry, "data": elements_from_array(array, header)}, None
    data = bytes_from_array(array, header)
    return {**entry, "parameters": {_SIZE: len(data)}}, data


def _binary_size(entry: Mapping[str, Any], header: TensorHeader) -> int | None:
    """Return the tensor's own count of raw bytes; None where its data stands in the JSON."""
    parameters = parse_parameters(entry.get("parameters"), what=str(header))
    if "shared_memory_region" in parameters:
        raise InputDataError(f"{header}: shared memory does not reach across MQTT: send the data")
    size = parameters.get(_SIZE)
    if size is None:
        return None
    if "data" in entry:
        raise InputDataError(f"{header} has both data and {_SIZE}: expected one of them")
    if type(size) is not int or size < 0:
        raise InputDataError(f"{header}: {_SIZE} is {show(size)}: expected a count of bytes")
    return size
