"""The Triton client's own requests are understood, and it reads our replies."""

from __future__ import annotations

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from drupelet_shared.inference import Encoded, InferenceReply, InferenceRequest, decode_request, encode_reply

TEXTS = np.array([["é".encode(), b""], [b"a\nb", b"long" * 100]], dtype=object)
NUMBERS = {
    "BOOL": np.array([[True, False], [False, True]]),
    "UINT8": np.array([[0, 255], [1, 2]], np.uint8),
    "UINT16": np.array([[0, 65535], [1, 2]], np.uint16),
    "UINT32": np.array([[0, 2**32 - 1], [1, 2]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1], [1, 2]], np.uint64),
    "INT8": np.array([[-128, 127], [1, 2]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1], [1, 2]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1], [1, 2]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1], [1, 2]], np.int64),
    "FP16": np.array([[0.5, -65504], [1, 2]], np.float16),
    "FP32": np.array([[0.1, 3e38], [1, 2]], np.float32),
    "FP64": np.array([[0.1, 1e300], [1, 2]], np.float64),
}
ARRAYS = {**NUMBERS, "BYTES": TEXTS}


def triton_input(name: str, datatype: str, array: np.ndarray, *, binary: bool) -> InferInput:
    tensor = InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def decode(body: bytes, header_length: int | None) -> InferenceRequest:
    content_type = "application/json" if header_length is None else "application/octet-stream"
    return decode_request(memoryview(body), content_type=content_type, header_length=header_length)


def parse(encoded: Encoded) -> object:
    return InferenceServerClient.parse_response_body(encoded.payload, header_length=encoded.header_length)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("datatype", ARRAYS)
def test_a_triton_input_of_every_datatype_is_understood(datatype: str, *, binary: bool) -> None:
    tensor = triton_input("x", datatype, ARRAYS[datatype], binary=binary)
    request = decode(*InferenceServerClient.generate_request_body([tensor], request_id="7"))
    assert request.id == "7"
    assert request.inputs["x"].dtype == ARRAYS[datatype].dtype
    assert request.inputs["x"].tolist() == ARRAYS[datatype].tolist()


def test_triton_inputs_of_both_kinds_mix_in_one_request() -> None:
    tensors = [
        triton_input("a", "FP32", NUMBERS["FP32"], binary=True),
        triton_input("b", "INT8", NUMBERS["INT8"], binary=False),
        triton_input("c", "BYTES", TEXTS, binary=True),
        triton_input("d", "FP64", np.zeros((0, 2)), binary=True),
    ]
    request = decode(*InferenceServerClient.generate_request_body(tensors))
    assert list(request.inputs) == ["a", "b", "c", "d"]
    assert request.inputs["c"].tolist() == TEXTS.tolist()
    assert request.inputs["d"].shape == (0, 2)


def test_a_triton_request_that_names_no_outputs_wants_all_of_them_in_binary() -> None:
    tensor = triton_input("x", "INT8", NUMBERS["INT8"], binary=False)
    request = decode(*InferenceServerClient.generate_request_body([tensor]))
    assert request.outputs is None
    assert request.wants_binary("y")


def test_triton_requested_outputs_are_binary_or_not_as_asked() -> None:
    tensor = triton_input("x", "INT8", NUMBERS["INT8"], binary=True)
    outputs = [InferRequestedOutput("a", binary_data=True), InferRequestedOutput("b", binary_data=False)]
    request = decode(*InferenceServerClient.generate_request_body([tensor], outputs=outputs))
    assert [output.name for output in request.outputs or ()] == ["a", "b"]
    assert request.wants_binary("a")
    assert not request.wants_binary("b")


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("datatype", ARRAYS)
def test_triton_reads_our_reply_in_every_datatype(datatype: str, *, binary: bool) -> None:
    reply = InferenceReply(model_name="m", model_version="1", id="7", outputs={"y": ARRAYS[datatype]})
    result = parse(encode_reply(reply, InferenceRequest(inputs={}, binary_output=binary)))
    found = result.as_numpy("y")
    if datatype == "BYTES" and not binary:
        # The Triton client gives JSON texts as they are and raw ones as bytes.
        found = np.array([text.encode() for text in found.ravel()], dtype=object).reshape(found.shape)
    assert found.tolist() == ARRAYS[datatype].tolist()
    assert result.get_response()["id"] == "7"


def test_triton_reads_a_reply_of_both_kinds() -> None:
    tensor = triton_input("x", "INT8", NUMBERS["INT8"], binary=True)
    wanted = [InferRequestedOutput("a", binary_data=False), InferRequestedOutput("b", binary_data=True)]
    request = decode(*InferenceServerClient.generate_request_body([tensor], outputs=wanted))
    outputs = {"a": NUMBERS["FP32"], "b": TEXTS}
    result = parse(encode_reply(InferenceReply(model_name="m", outputs=outputs), request))
    assert result.as_numpy("a").tolist() == NUMBERS["FP32"].tolist()
    assert result.as_numpy("b").tolist() == TEXTS.tolist()
