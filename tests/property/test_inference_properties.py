"""What holds for every request and reply, and for every string of bytes in their place."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from drupelet_shared.contract.wire import CONTENT_TYPES, parse_content_type, peek_id, sniff_content_type
from drupelet_shared.errors import ContentTypeError, RequestError
from drupelet_shared.inference import (
    InferenceReply,
    InferenceRequest,
    RequestedOutput,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from drupelet_shared.tensors import NUMPY_DTYPE, Datatype
from support.model.tensors import same_tensors

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


def numbers(*, finite: bool) -> st.SearchStrategy[np.ndarray]:
    def arrays(datatype: Datatype) -> st.SearchStrategy[np.ndarray]:
        dtype = np.dtype(NUMPY_DTYPE[datatype])
        special = {"allow_nan": False, "allow_infinity": False} if finite and dtype.kind == "f" else {}
        return hnp.arrays(dtype, SHAPES, elements=hnp.from_dtype(dtype, **special))

    return st.sampled_from(sorted(NUMPY_DTYPE)).flatmap(arrays)


def texts(elements: st.SearchStrategy[bytes]) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(object, SHAPES, elements=elements)


BINARY_TENSORS = st.dictionaries(NAMES, numbers(finite=False) | texts(st.binary(max_size=9)), max_size=3)
JSON_TENSORS = st.dictionaries(
    NAMES, numbers(finite=True) | texts(st.text(st.characters(codec="utf-8")).map(str.encode)), max_size=3
)


def check_round_trip(request: InferenceRequest, *, binary: bool) -> None:
    body = encode_request(request, binary=binary)
    decoded = decode_request(memoryview(body.payload), content_type=body.content_type, header_length=body.header_length)
    assert same_tensors(request.inputs, decoded.inputs)
    assert (decoded.id, decoded.outputs, decoded.binary_output) == (request.id, request.outputs, request.binary_output)


OUTPUTS = st.none() | st.lists(
    st.builds(RequestedOutput, NAMES, st.booleans()), unique_by=lambda output: output.name, min_size=1, max_size=3
).map(tuple)


@given(inputs=BINARY_TENSORS, request_id=st.none() | NAMES, outputs=OUTPUTS, binary_output=st.booleans())
def test_a_binary_request_comes_back_as_it_was(
    inputs: dict[str, np.ndarray],
    request_id: str | None,
    outputs: tuple[RequestedOutput, ...] | None,
    *,
    binary_output: bool,
) -> None:
    request = InferenceRequest(inputs=inputs, id=request_id, outputs=outputs, binary_output=binary_output)
    check_round_trip(request, binary=True)


@given(inputs=JSON_TENSORS, request_id=st.none() | NAMES)
def test_a_json_request_comes_back_as_it_was(inputs: dict[str, np.ndarray], request_id: str | None) -> None:
    check_round_trip(InferenceRequest(inputs=inputs, id=request_id), binary=False)


@given(outputs=JSON_TENSORS, binary=st.lists(st.booleans(), min_size=3, max_size=3))
def test_a_reply_comes_back_as_it_was(outputs: dict[str, np.ndarray], binary: list[bool]) -> None:
    wanted = tuple(RequestedOutput(name, flag) for name, flag in zip(outputs, binary, strict=False))
    reply = InferenceReply(model_name="m", model_version="1", id="7", outputs=outputs)
    encoded = encode_reply(reply, InferenceRequest(inputs={}, outputs=wanted))
    decoded = decode_reply(
        memoryview(encoded.payload), content_type=encoded.content_type, header_length=encoded.header_length
    )
    assert same_tensors(outputs, decoded.outputs)


@given(request_id=NAMES, inputs=JSON_TENSORS)
def test_the_id_of_our_own_requests_is_found_unread(request_id: str, inputs: dict[str, np.ndarray]) -> None:
    assert peek_id(encode_request(InferenceRequest(inputs=inputs, id=request_id), binary=False).payload) == request_id


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=6,
)
ODD_TENSORS = st.fixed_dictionaries(
    {
        "name": st.just("x") | JUNK,
        "datatype": st.sampled_from(sorted(Datatype)) | JUNK,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JUNK,
    },
    optional={
        "data": st.lists(JUNK, max_size=4) | JUNK,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 20) | JUNK}) | JUNK,
    },
)
ODD_REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(ODD_TENSORS, max_size=2) | JUNK}, optional={"id": JUNK, "outputs": JUNK, "parameters": JUNK}
)


def decode_or_refuse(payload: bytes, *, content_type: str, header_length: int | None) -> None:
    """Anything but a value or a RequestError escapes and fails the test."""
    for decode in (decode_request, decode_reply):
        try:
            decode(memoryview(payload), content_type=content_type, header_length=header_length)
        except RequestError:
            continue


@given(payload=st.binary(), content_type=st.sampled_from(CONTENT_TYPES), header_length=st.none() | st.integers())
def test_arbitrary_bytes_are_decoded_or_refused(payload: bytes, content_type: str, header_length: int | None) -> None:
    decode_or_refuse(payload, content_type=content_type, header_length=header_length)


@given(document=ODD_REQUESTS, tail=st.binary(max_size=20))
def test_odd_requests_are_decoded_or_refused(document: dict[str, Any], tail: bytes) -> None:
    header = json.dumps(document).encode()
    decode_or_refuse(header + tail, content_type="application/octet-stream", header_length=len(header))


@given(payload=st.binary(max_size=100), content_type=st.text(max_size=30))
def test_arbitrary_content_types_are_known_or_refused(payload: bytes, content_type: str) -> None:
    peek_id(payload)
    for read in (lambda: parse_content_type(content_type), lambda: sniff_content_type(payload)):
        with contextlib.suppress(ContentTypeError):
            assert read() in CONTENT_TYPES
