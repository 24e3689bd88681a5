from __future__ import annotations

import json
import struct
import time
from typing import Any

import numpy as np
import pytest

from drupelet_shared.errors import (
    ContentTypeError,
    InputDataError,
    InputDatatypeError,
    InputNameError,
    InputShapeError,
    RequestError,
)
from drupelet_shared.inference import InferenceRequest, RequestedOutput, decode_request, encode_request
from drupelet_shared.tensors import Datatype, TensorSpec, count_values

JSON = "application/json"
BINARY = "application/octet-stream"


def decode_json(document: object) -> InferenceRequest:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return decode_request(memoryview(text), content_type=JSON, header_length=None)


def decode_input(**tensor: Any) -> InferenceRequest:  # noqa: ANN401 - members of the protocol's tensor
    return decode_json({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]} | tensor]})


def decode_binary(*tensors: dict[str, Any], tail: bytes, header_length: int | None = None) -> InferenceRequest:
    header = json.dumps({"id": "7", "inputs": list(tensors)}).encode()
    return decode_request(
        memoryview(header + tail),
        content_type=BINARY,
        header_length=len(header) if header_length is None else header_length,
    )


def raw(name: str = "x", *, size: Any, datatype: str = "FP32", shape: tuple[int, ...] = (2,)) -> dict[str, Any]:  # noqa: ANN401 - wrong types too
    return {"name": name, "datatype": datatype, "shape": list(shape), "parameters": {"binary_data_size": size}}


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]])
def test_json_data_is_flat_or_nested(data: list[Any]) -> None:
    request = decode_input(shape=[2, 3], data=data)
    assert request.inputs["x"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert request.inputs["x"].dtype == np.float32


def test_inputs_keep_their_order_and_everything_else_is_read() -> None:
    tensors = [{"name": name, "datatype": "INT8", "shape": [1], "data": [1]} for name in "zab"]
    outputs = [{"name": "y"}, {"name": "w", "parameters": {"binary_data": True}}]
    request = decode_json({"id": "7", "parameters": {"k": 1}, "inputs": tensors, "outputs": outputs})
    assert list(request.inputs) == ["z", "a", "b"]
    assert request.id == "7"
    assert request.parameters == {"k": 1}
    assert request.outputs == (RequestedOutput("y", binary=False), RequestedOutput("w", binary=True))


def test_an_output_that_says_nothing_follows_the_request() -> None:
    request = decode_json({"parameters": {"binary_data_output": True}, "inputs": [], "outputs": [{"name": "y"}]})
    assert request.wants_binary("y")
    assert request.wants_binary("another")


@pytest.mark.parametrize(
    ("datatype", "data", "expected"),
    [
        ("BOOL", [True, 0], [True, False]),
        ("INT64", [-(2**63), 2**63 - 1], [-(2**63), 2**63 - 1]),
        ("UINT64", [0, 2**64 - 1], [0, 2**64 - 1]),
        ("FP16", [1, 0.5], [1.0, 0.5]),
        ("FP64", [1e300, 2**70], [1e300, 2.0**70]),
        ("BYTES", ["é", ""], ["é".encode(), b""]),
    ],
)
def test_json_values_are_exact_in_every_kind_of_datatype(datatype: str, data: list[Any], expected: list[Any]) -> None:
    assert decode_input(datatype=datatype, data=data).inputs["x"].tolist() == expected


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({"data": [1]}, r"input 'x': data has 1 elements: shape \[2\] takes 2"),
        ({"data": 5}, r"data is 5: expected an array"),
        ({"data": None}, r"data is None"),
        ({"data": [1, "2"]}, r"data holds '2' at element 1: FP32 takes numbers"),
        ({"data": [1, True]}, r"data holds True at element 1: FP32 takes numbers"),
        ({"data": [1, None]}, r"data holds None"),
        ({"data": [1, [2]]}, r"data holds an array of 1"),
        ({"data": [1, 1e39]}, r"outside FP32"),
        ({"data": [1, 10**400]}, r"outside FP32"),
        ({"data": [1, float("nan")]}, r"data holds NaN"),
        ({"data": [1, float("-inf")]}, r"data holds NaN, infinity"),
        ({"datatype": "INT64", "data": [1, 2.0]}, r"data holds 2\.0 at element 1: INT64 takes integers"),
        ({"datatype": "UINT8", "data": [1, 256]}, r"data holds 256: UINT8 takes 0 to 255"),
        ({"datatype": "INT8", "data": [1, -129]}, r"data holds -129: INT8 takes -128 to 127"),
        ({"datatype": "INT64", "data": [1, 10**4000]}, r"an integer of 13288 bits"),
        ({"datatype": "BOOL", "data": [True, 2]}, r"data holds 2: BOOL takes true and false"),
        ({"datatype": "BYTES", "data": ["a", 2]}, r"data holds 2 at element 1: BYTES takes text"),
        ({"shape": [2, 2], "data": [[1, 2], [3]]}, r"data nests an array of 1 where shape \[2, 2\] takes 2"),
        ({"shape": [2, 2], "data": [[1, 2], 3]}, r"data nests 3 where"),
        ({"shape": [2**16, 2**14]}, r"data has 2 elements: shape"),
        ({"parameters": {"shared_memory_region": "r"}}, r"shared memory does not reach across MQTT"),
        ({"parameters": {"binary_data_size": 8}}, r"both data and binary_data_size"),
    ],
)
def test_json_data_that_does_not_fit_is_refused(tensor: dict[str, Any], message: str) -> None:
    with pytest.raises(InputDataError, match=message):
        decode_input(**tensor)


@pytest.mark.parametrize(
    ("tensor", "error", "message"),
    [
        ({"name": ""}, InputNameError, "input name '': expected 1 to 256 characters"),
        ({"name": 3}, InputNameError, "input name 3"),
        ({"name": "n" * 257}, InputNameError, "expected 1 to 256"),
        ({"datatype": "FP8"}, InputDatatypeError, "input 'x': datatype 'FP8': expected one of BOOL, UINT8"),
        ({"datatype": ["FP32"]}, InputDatatypeError, "datatype an array of 1"),
        ({"shape": 2}, InputShapeError, "shape 2: expected an array"),
        ({"shape": [-1]}, InputShapeError, "dimension -1: expected an integer from 0 to 2147483647"),
        ({"shape": [2.0]}, InputShapeError, r"dimension 2\.0"),
        ({"shape": [True]}, InputShapeError, "dimension True"),
        ({"shape": [10**4000]}, InputShapeError, "an integer of 13288 bits"),
        ({"shape": [1] * 9}, InputShapeError, "shape has 9 dimensions: the limit is 8"),
        ({"shape": [2**31 - 1] * 8}, InputShapeError, r"spans \d{70,} elements: the limit is 2147483647"),
        ({"shape": [0, 2**31 - 1, 2**31 - 1], "data": []}, InputShapeError, "elements: the limit is 2147483647"),
        ({"parameters": []}, RequestError, "input 'x': parameters an array of 0"),
        ({"parameters": {"k": [1]}}, RequestError, "parameter 'k' is an array of 1"),
    ],
)
def test_a_malformed_description_is_refused(tensor: dict[str, Any], error: type[RequestError], message: str) -> None:
    with pytest.raises(error, match=message):
        decode_input(**tensor)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "Content-Length is 0: the payload has 0 bytes"),
        (b"{", "1 bytes of JSON are malformed"),
        (b"\xff", "malformed"),
        (b"[" * 100_000, "recursion limit"),
        (b"[]", "the JSON is an array of 0: expected an object"),
        (b'{"id": "\\ud800"}', "malformed"),
        ({"id": 5, "inputs": []}, "id 5: expected text"),
        ({"id": "i" * 257, "inputs": []}, "expected text of at most 256"),
        ({}, "inputs: None: expected an array"),
        ({"inputs": {}}, "inputs: an object of 0"),
        ({"inputs": [5]}, "input 5: expected an object"),
        ({"inputs": [], "outputs": 5}, "outputs: 5: expected an array"),
        ({"inputs": [], "outputs": [5]}, "output 5: expected an object"),
        ({"inputs": [], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]}, "binary_data is 1: expected tr"),
        ({"inputs": [], "outputs": [{"name": "y", "parameters": {"classification": 3}}]}, "not supported"),
        ({"inputs": [], "parameters": {"binary_data_output": "yes"}}, "binary_data_output is 'yes'"),
    ],
)
def test_a_malformed_request_is_refused(document: object, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        decode_json(document)


def test_a_name_given_twice_is_refused() -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [0], "data": []}
    with pytest.raises(InputNameError, match="input 'x' is given twice"):
        decode_json({"inputs": [tensor, tensor]})
    with pytest.raises(InputNameError, match="output 'y' is requested twice"):
        decode_json({"inputs": [], "outputs": [{"name": "y"}, {"name": "y"}]})


def test_an_error_carries_the_id_once_it_is_known() -> None:
    with pytest.raises(InputDataError) as raised:
        decode_json({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}], "id": "7"})
    assert raised.value.request_id == "7"


def test_raw_tensors_are_read_in_the_order_of_their_descriptions() -> None:
    request = decode_binary(
        raw("x", size=8),
        {"name": "y", "datatype": "INT8", "shape": [1], "data": [5]},
        raw("z", size=2, datatype="UINT8"),
        tail=struct.pack("<ffBB", 1.5, 2.5, 3, 4),
    )
    assert {name: array.tolist() for name, array in request.inputs.items()} == {"x": [1.5, 2.5], "y": [5], "z": [3, 4]}


def test_aligned_raw_tensors_are_views_of_the_payload() -> None:
    body = encode_request(InferenceRequest(inputs={"x": np.ones(4, np.float64)}), binary=True)
    payload = bytearray(body.payload)
    request = decode_request(memoryview(payload), content_type=BINARY, header_length=body.header_length)
    payload[-8:] = struct.pack("<d", 9.0)
    assert request.inputs["x"].tolist() == [1, 1, 1, 9]


def test_raw_tensors_at_odd_offsets_are_aligned() -> None:
    request = decode_binary(raw("b", size=1, datatype="INT8", shape=(1,)), raw("x", size=8), tail=bytes(9))
    assert request.inputs["x"].flags.aligned


@pytest.mark.parametrize(
    ("tensor", "tail", "message"),
    [
        (raw(size=4), bytes(4), r"input 'x': binary_data_size is 4 bytes: FP32 \[2\] takes 8"),
        (raw(size=8), bytes(7), r"input 'x': binary_data_size is 8: the payload has 7 bytes left"),
        (raw(size=8), bytes(9), r"the inputs account for 8 of the 9 bytes after the JSON"),
        (raw(size=-8), bytes(8), r"binary_data_size is -8: expected a count of bytes"),
        (raw(size=8.0), bytes(8), r"binary_data_size is 8\.0: expected a count"),
        (raw(size=10**400), bytes(8), r"input 'x': binary_data_size is .*: the payload has 8 bytes left"),
        (raw(size=8, shape=(2**16, 2**14)), bytes(8), r"takes 4294967296"),
        (raw(size=2, datatype="BOOL"), b"\1\2", r"data holds the byte 2: BOOL takes 0 and 1"),
        (raw(size=7, datatype="BYTES"), bytes(7), r"2 elements of BYTES take 8 or more"),
        (raw(size=4, datatype="BYTES", shape=(2**31 - 1,)), bytes(4), r"elements of BYTES take 8589934588 or more"),
        (raw(size=8, datatype="BYTES"), struct.pack("<I4s", 5, b"abcd"), r"element 0 ends beyond the 8 bytes"),
        (raw(size=8, datatype="BYTES"), struct.pack("<I4s", 2, b"abcd"), r"element 1 ends beyond the 8 bytes"),
        (raw(size=9, datatype="BYTES"), struct.pack("<II", 0, 0) + b"x", r"2 elements end at byte 8 of 9"),
    ],
)
def test_raw_data_of_the_wrong_length_is_refused(tensor: dict[str, Any], tail: bytes, message: str) -> None:
    with pytest.raises(InputDataError, match=message) as raised:
        decode_binary(tensor, tail=tail)
    assert raised.value.request_id == "7"


@pytest.mark.parametrize("header_length", [-1, 0, 1000])
def test_a_header_length_outside_the_payload_is_refused(header_length: int) -> None:
    with pytest.raises(RequestError, match=f"Inference-Header-Content-Length is {header_length}: the payload has"):
        decode_binary(raw(size=8), tail=bytes(8), header_length=header_length)


def test_raw_tensors_behind_json_need_the_binary_content_type() -> None:
    with pytest.raises(RequestError, match="raw tensors need application/octet-stream"):
        decode_request(memoryview(b"{}12"), content_type=JSON, header_length=2)


def test_an_image_is_not_a_request_of_tensors() -> None:
    with pytest.raises(ContentTypeError, match="image/png: expected application/json"):
        decode_request(memoryview(b"\x89PNG"), content_type="image/png", header_length=None)


def test_json_cannot_carry_infinity_and_the_refusal_names_the_way_out() -> None:
    request = InferenceRequest(inputs={"x": np.array([np.inf], np.float32)})
    with pytest.raises(InputDataError, match=r"input 'x' holds NaN or infinity.*use binary data"):
        encode_request(request, binary=False)
    assert encode_request(request, binary=True).header_length is not None


def test_an_array_without_a_datatype_is_refused() -> None:
    with pytest.raises(InputDatatypeError, match="complex128 has no datatype"):
        encode_request(InferenceRequest(inputs={"x": np.zeros(1, complex)}), binary=True)


def test_an_array_in_another_byte_order_or_memory_layout_is_sent_right() -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    body = encode_request(InferenceRequest(inputs={"x": array}), binary=True)
    request = decode_request(memoryview(body.payload), content_type=BINARY, header_length=body.header_length)
    assert request.inputs["x"].tolist() == array.tolist()


def test_a_json_image_of_224_by_224_decodes_within_a_frame() -> None:
    image = np.random.default_rng(0).random((1, 3, 224, 224), dtype=np.float32)
    payload = memoryview(encode_request(InferenceRequest(inputs={"x": image}), binary=False).payload)
    times_s = []
    for _ in range(5):
        start = time.perf_counter()
        request = decode_request(payload, content_type=JSON, header_length=None)
        times_s.append(time.perf_counter() - start)
    assert np.array_equal(request.inputs["x"], image)
    # 15 ms on the machine it was written on; the limit leaves room for one five times as slow.
    assert min(times_s) < 0.1


def test_json_with_many_more_values_than_the_tensors_have_is_refused_unparsed() -> None:
    document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [20_000], "data": [0] * 20_000}]}
    payload = memoryview(json.dumps(document).encode())
    assert decode_request(payload, content_type="application/json", header_length=None).inputs["x"].shape == (20_000,)
    with pytest.raises(InputDataError, match="the JSON holds about 20002 values: the limit is 64 and some more"):
        decode_request(payload, content_type="application/json", header_length=None, max_values=64)


def test_json_with_many_arrays_is_refused_unparsed() -> None:
    payload = memoryview(b'{"inputs":[' + b"[]" * 2**20 + b"]}")
    with pytest.raises(InputDataError, match="the JSON holds about 1048578 arrays and objects: the limit is 1048576"):
        decode_request(payload, content_type="application/json", header_length=None)


@pytest.mark.parametrize(
    ("specs", "values"),
    [
        ([("FP32", (1, 3, 4)), ("INT8", (2,))], 14),
        ([("FP32", ()), ("FP32", (0, 7))], 1),
        ([("FP32", (1, -1))], None),
        ([("FP32", (1,)), ("BYTES", (1,))], None),
    ],
)
def test_values_are_counted_where_shapes_are_fixed(
    specs: list[tuple[str, tuple[int, ...]]], values: int | None
) -> None:
    found = [TensorSpec(name="x", datatype=Datatype(datatype), shape=shape) for datatype, shape in specs]
    assert count_values(found) == values
