"""The inference codec: requests and replies, JSON and binary.

An input starts with a byte that says which of the two it is and whether it is binary, and two bytes with the length of
the JSON, little-endian; 0xFFFF stands for a message that gives none.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random

import numpy as np

from drupelet_shared.contract.wire import BINARY_TYPE, JSON_TYPE, peek_id, sniff_content_type
from drupelet_shared.errors import ContentTypeError, RequestError
from drupelet_shared.inference import (
    Encoded,
    InferenceReply,
    InferenceRequest,
    RequestedOutput,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from drupelet_shared.tensors import NUMPY_DTYPE
from fuzz.mutations import mutate_bytes, mutate_json
from fuzz.target import Target
from support.model.tensors import same_tensors

_PREFIX = struct.Struct("<BH")
_IS_REPLY, _IS_BINARY = 1, 2
_NO_LENGTH = 0xFFFF


def _frame(encoded: Encoded, *, is_reply: bool) -> bytes:
    flags = (_IS_REPLY if is_reply else 0) | (_IS_BINARY if encoded.content_type == BINARY_TYPE else 0)
    length = _NO_LENGTH if encoded.header_length is None else encoded.header_length
    return _PREFIX.pack(flags, length) + encoded.payload


def _seeds() -> tuple[bytes, ...]:
    tensors = {
        "numbers": np.arange(6, dtype=np.float32).reshape(1, 2, 3),
        "none": np.empty((0, 3), np.int64),
        "texts": np.array([b"one", b"", b"three"], dtype=object),
        "flags": np.array([True, False]),
        "one": np.array(7, np.uint8),
    }
    every_type = {name: np.ones(2, dtype) for name, dtype in NUMPY_DTYPE.items()}
    outputs = (RequestedOutput("scores", binary=True), RequestedOutput("labels"))
    requests = [
        InferenceRequest(inputs=tensors, id="r1", outputs=outputs, parameters={"priority": 1}),
        InferenceRequest(inputs=every_type, binary_output=True),
        InferenceRequest(inputs={"x": np.zeros((1, 4), np.float32)}),
    ]
    encoded = [_frame(encode_request(request, binary=flag), is_reply=False) for request in requests for flag in (0, 1)]
    for request in requests[:2]:
        reply = InferenceReply(model_name="m", model_version="1", id="7", outputs=tensors, parameters={"a": True})
        encoded.append(_frame(encode_reply(reply, request), is_reply=True))
    nested = b'{"id":"r","inputs":[{"name":"x","datatype":"INT8","shape":[2,2],"data":[[1,2],[3,4]]}]}'
    return (*encoded, _PREFIX.pack(0, _NO_LENGTH) + nested)


def check(data: bytes) -> bool:
    """A message is decoded and comes back when written again, or is refused with a `RequestError`."""
    if len(data) < _PREFIX.size:
        return False
    flags, length = _PREFIX.unpack_from(data)
    payload = memoryview(data)[_PREFIX.size :]
    _check_peeking(payload)
    header_length = None if length == _NO_LENGTH else length
    content_type = BINARY_TYPE if flags & _IS_BINARY else JSON_TYPE
    read = _reread_reply if flags & _IS_REPLY else _reread_request
    try:
        read(payload, content_type, header_length)
    except RequestError:
        return False
    return True


def _check_peeking(payload: memoryview) -> None:
    peek_id(payload)
    try:
        sniff_content_type(payload)
    except ContentTypeError:
        return


def _reread_request(payload: memoryview, content_type: str, header_length: int | None) -> None:
    found = decode_request(payload, content_type=content_type, header_length=header_length)
    written = encode_request(found, binary=True)
    again = decode_request(
        memoryview(written.payload), content_type=written.content_type, header_length=written.header_length
    )
    assert same_tensors(found.inputs, again.inputs)
    assert (found.id, found.outputs, found.binary_output) == (again.id, again.outputs, again.binary_output)


def _reread_reply(payload: memoryview, content_type: str, header_length: int | None) -> None:
    found = decode_reply(payload, content_type=content_type, header_length=header_length)
    written = encode_reply(found, InferenceRequest(inputs={}, binary_output=True))
    again = decode_reply(
        memoryview(written.payload), content_type=written.content_type, header_length=written.header_length
    )
    assert same_tensors(found.outputs, again.outputs)
    assert (found.model_name, found.model_version, found.id) == (again.model_name, again.model_version, again.id)


def _mutate(data: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """Half of the time the JSON alone is changed, and its length follows."""
    if random.randrange(2):
        return mutate_bytes(data, random, others=others)
    flags, length = _PREFIX.unpack_from(data)
    body = data[_PREFIX.size :]
    split = len(body) if length == _NO_LENGTH else length
    document = mutate_json(body[:split], random)
    length = _NO_LENGTH if length == _NO_LENGTH else min(len(document), _NO_LENGTH - 1)
    return _PREFIX.pack(flags, length) + document + body[split:]


CODEC = Target(name="codec", seeds=_seeds(), check=check, mutate=_mutate)
