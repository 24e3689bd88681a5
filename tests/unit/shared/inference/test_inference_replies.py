from __future__ import annotations

import json

import numpy as np
import pytest

from drupelet_shared.errors import InferenceFailedError, RequestError
from drupelet_shared.inference import InferenceReply, InferenceRequest, RequestedOutput, decode_reply, encode_reply


def reply_of(**outputs: np.ndarray) -> InferenceReply:
    return InferenceReply(model_name="m", model_version="1", id="7", outputs=outputs)


def test_a_reply_is_json_unless_something_asked_for_binary() -> None:
    encoded = encode_reply(reply_of(y=np.array([[1, 2]], np.int8)), InferenceRequest(inputs={}))
    assert (encoded.content_type, encoded.header_length) == ("application/json", None)
    assert json.loads(encoded.payload) == {
        "model_name": "m",
        "model_version": "1",
        "id": "7",
        "outputs": [{"name": "y", "datatype": "INT8", "shape": [1, 2], "data": [1, 2]}],
    }


def test_each_output_comes_the_way_it_was_asked_for() -> None:
    request = InferenceRequest(inputs={}, outputs=(RequestedOutput("a", binary=True), RequestedOutput("b")))
    encoded = encode_reply(reply_of(a=np.array([1], np.int16), b=np.array([2], np.int16)), request)
    assert encoded.content_type == "application/octet-stream"
    document = json.loads(encoded.payload[: encoded.header_length])
    assert document["outputs"][0]["parameters"] == {"binary_data_size": 2}
    assert document["outputs"][1]["data"] == [2]
    assert encoded.payload[encoded.header_length :] == b"\1\0"


def test_an_empty_binary_output_still_is_binary() -> None:
    encoded = encode_reply(reply_of(y=np.zeros((0, 3), np.float32)), InferenceRequest(inputs={}, binary_output=True))
    reply = decode_reply(
        memoryview(encoded.payload), content_type=encoded.content_type, header_length=encoded.header_length
    )
    assert encoded.header_length == len(encoded.payload)
    assert reply.outputs["y"].shape == (0, 3)


@pytest.mark.parametrize(
    "array", [np.array([1, np.nan], np.float32), np.array([-np.inf]), np.array([b"\xff"], dtype=object)]
)
def test_an_output_that_json_cannot_hold_is_refused_and_comes_as_binary(array: np.ndarray) -> None:
    with pytest.raises(InferenceFailedError, match=r"output 'y' holds .*: use binary data"):
        encode_reply(reply_of(y=array), InferenceRequest(inputs={}))
    encoded = encode_reply(reply_of(y=array), InferenceRequest(inputs={}, binary_output=True))
    reply = decode_reply(
        memoryview(encoded.payload), content_type=encoded.content_type, header_length=encoded.header_length
    )
    assert reply.outputs["y"].tobytes() == array.tobytes() or reply.outputs["y"].tolist() == array.tolist()


def test_engine_strings_are_sent_as_utf_8() -> None:
    array = np.array(["é"], dtype=object)
    encoded = encode_reply(reply_of(y=array), InferenceRequest(inputs={}, binary_output=True))
    assert encoded.payload[encoded.header_length :] == b"\2\0\0\0\xc3\xa9"


def test_a_malformed_reply_is_refused() -> None:
    with pytest.raises(RequestError, match="model_name 5: expected text"):
        decode_reply(
            memoryview(b'{"model_name": 5, "outputs": []}'), content_type="application/json", header_length=None
        )
