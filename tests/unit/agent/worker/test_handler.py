from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drupelet_agent.worker.handler import RequestHandler
from drupelet_shared.errors import (
    ContentTypeError,
    ImageError,
    InferenceFailedError,
    InputDatatypeError,
    InputNameError,
    RequestError,
)
from drupelet_shared.inference import InferenceReply, InferenceRequest, decode_reply, encode_request
from drupelet_shared.tensors import Datatype
from support.agent.handlers import adder, box_finder, brightness, channel_map, identity, judge_of_sums


def tensor(name: str, *data: float, datatype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": list(data)}


def ask(handler: RequestHandler, document: dict[str, Any], *, content_type: str | None = "application/json") -> Any:  # noqa: ANN401 - JSON
    payload = memoryview(json.dumps(document).encode())
    encoded = handler.handle(payload, content_type=content_type, header_length=None).encoded
    assert encoded.content_type == "application/json"
    return json.loads(encoded.payload)


def ask_binary(handler: RequestHandler, request: InferenceRequest) -> InferenceReply:
    body = encode_request(request, binary=True)
    handled = handler.handle(memoryview(body.payload), content_type=body.content_type, header_length=body.header_length)
    encoded = handled.encoded
    return decode_reply(
        memoryview(encoded.payload), content_type=encoded.content_type, header_length=encoded.header_length
    )


def png(color: tuple[int, int, int], *, size: tuple[int, int] = (9, 9)) -> memoryview:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return memoryview(buffer.getvalue())


def test_a_json_request_is_answered_with_all_outputs(tmp_path: Path) -> None:
    reply = ask(adder(tmp_path), {"id": "7", "inputs": [tensor("a", 1, 2), tensor("b", 3, 4)]})
    assert reply == {
        "model_name": "tiny",
        "model_version": "1.2.3",
        "id": "7",
        "outputs": [
            {"name": "sum", "datatype": "FP32", "shape": [2], "data": [4, 6]},
            {"name": "product", "datatype": "FP32", "shape": [2], "data": [3, 8]},
        ],
    }


def test_only_the_outputs_asked_for_come_and_in_that_order(tmp_path: Path) -> None:
    document = {"inputs": [tensor("a", 2), tensor("b", 3)], "outputs": [{"name": "product"}]}
    assert [output["name"] for output in ask(adder(tmp_path), document)["outputs"]] == ["product"]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", None, ""])
def test_content_type_parameters_are_tolerated_and_a_missing_one_is_recognised(
    tmp_path: Path, content_type: str | None
) -> None:
    document = {"inputs": [tensor("a", 1), tensor("b", 2)]}
    assert ask(adder(tmp_path), document, content_type=content_type)["outputs"][0]["data"] == [3]


def test_a_binary_request_is_answered_in_binary(tmp_path: Path) -> None:
    inputs = {"a": np.array([1, 2], np.float32), "b": np.array([np.inf, 1], np.float32)}
    reply = ask_binary(adder(tmp_path), InferenceRequest(inputs=inputs, id="7", binary_output=True))
    assert reply.outputs["sum"].tolist() == [np.inf, 3]
    assert reply.id == "7"


def test_text_reaches_the_engine_as_text(tmp_path: Path) -> None:
    words = np.array(["é".encode(), b"", b"b'"], dtype=object)
    reply = ask_binary(identity(tmp_path, Datatype.BYTES), InferenceRequest(inputs={"x": words}, binary_output=True))
    assert reply.outputs["y"].tolist() == words.tolist()


@pytest.mark.parametrize("datatype", [Datatype.FP16, Datatype.INT64, Datatype.BOOL])
def test_datatypes_reach_the_engine_unchanged(tmp_path: Path, datatype: Datatype) -> None:
    dtype = {"FP16": np.float16, "INT64": np.int64, "BOOL": np.bool_}[datatype]
    values = np.array([0, 1, 1]).astype(dtype)
    reply = ask_binary(identity(tmp_path, datatype), InferenceRequest(inputs={"x": values}, binary_output=True))
    assert reply.outputs["y"].dtype == dtype
    assert reply.outputs["y"].tolist() == values.tolist()


def test_an_image_is_answered_with_the_labelled_top_k(tmp_path: Path) -> None:
    handled = brightness(tmp_path).handle(png((51, 255, 0)), content_type="image/png", header_length=None)
    outputs = {output["name"]: output["data"] for output in json.loads(handled.encoded.payload)["outputs"]}
    assert outputs["labels"] == ["bee", "ant"]
    assert outputs["scores"] == pytest.approx([1.0, 0.2])
    assert outputs["indices"] == [1, 0]


def test_an_image_is_answered_with_boxes_in_its_own_pixels(tmp_path: Path) -> None:
    # 80 x 40 pixels stand in rows 1 and 2 of the 4 x 4: 20 of the image's pixels for each of the tensor's.
    handler = box_finder(tmp_path, box=[1, 1, 3, 2])
    handled = handler.handle(png((0, 255, 0), size=(80, 40)), content_type="image/png", header_length=None)
    outputs = {output["name"]: output["data"] for output in json.loads(handled.encoded.payload)["outputs"]}
    assert outputs == {"boxes": [20, 0, 60, 20], "labels": ["bee"], "scores": [0.5], "indices": [1]}


def test_an_image_in_which_nothing_is_found_has_an_answer_too(tmp_path: Path) -> None:
    handler = box_finder(tmp_path, box=[1, 1, 3, 2])
    handled = handler.handle(png((0, 0, 0)), content_type="image/png", header_length=None)
    outputs = {output["name"]: output["shape"] for output in json.loads(handled.encoded.payload)["outputs"]}
    assert outputs == {"boxes": [0, 4], "labels": [0], "scores": [0], "indices": [0]}


def test_a_class_map_comes_in_binary_and_with_the_size_of_the_image(tmp_path: Path) -> None:
    encoded = (
        channel_map(tmp_path).handle(png((0, 0, 255), size=(7, 5)), content_type="image/png", header_length=None)
    ).encoded
    reply = decode_reply(
        memoryview(encoded.payload), content_type=encoded.content_type, header_length=encoded.header_length
    )
    assert reply.outputs["classes"].dtype == np.uint8
    assert reply.outputs["classes"].tolist() == [[2] * 7] * 5
    assert reply.outputs["labels"].tolist() == [b"cat"]


def test_tensors_are_answered_with_tensors_whatever_the_post_processing(tmp_path: Path) -> None:
    image = np.full((1, 3, 4, 4), 0.25, np.float32)
    reply = ask_binary(
        box_finder(tmp_path, box=[1, 1, 3, 2]), InferenceRequest(inputs={"image": image}, binary_output=True)
    )
    assert reply.outputs["boxes"].tolist() == [[[1, 1, 3, 2]]]
    assert reply.outputs["scores"].tolist() == [[[0.25] * 3]]


def test_an_image_without_a_content_type_is_recognised(tmp_path: Path) -> None:
    handled = brightness(tmp_path).handle(png((0, 0, 255)), content_type=None, header_length=None)
    assert json.loads(handled.encoded.payload)["outputs"][0]["data"][0] == "cat"


def test_each_part_of_the_work_is_timed(tmp_path: Path) -> None:
    handled = brightness(tmp_path).handle(png((0, 0, 0)), content_type="image/png", header_length=None)
    assert handled.decode_ms > 0
    assert handled.inference_ms > 0
    assert handled.encode_ms > 0


def test_an_image_for_a_model_without_preprocessing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="model tiny takes no images"):
        adder(tmp_path).handle(png((0, 0, 0)), content_type="image/png", header_length=None)


@pytest.mark.parametrize(
    ("document", "error", "message"),
    [
        ({"inputs": [tensor("a", 1)]}, InputNameError, "input 'b' is missing"),
        ({"inputs": [tensor("a", 1), tensor("b", 1), tensor("c", 1)]}, InputNameError, "input 'c' is unknown"),
        ({"inputs": [tensor("a", 1), tensor("b", 1, datatype="INT8")]}, InputDatatypeError, "the model takes FP32"),
        (
            {"inputs": [tensor("a", 1), tensor("b", 1)], "outputs": [{"name": "z"}]},
            InputNameError,
            "output 'z' is unknown: the model has 'sum', 'product'",
        ),
        ({"inputs": [tensor("a", 1, 2), tensor("b", 1, 2, 3)]}, InferenceFailedError, "ONNX Runtime failed"),
        ({"inputs": [tensor("a", 3e38), tensor("b", 3e38)]}, InferenceFailedError, "output 'sum' holds NaN or inf"),
    ],
)
def test_a_refused_request_keeps_its_id(
    tmp_path: Path, document: dict[str, Any], error: type[RequestError], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        ask(adder(tmp_path), {"id": "7", **document})
    assert raised.value.request_id == "7"


def test_an_unknown_content_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContentTypeError):
        adder(tmp_path).handle(memoryview(b"{}"), content_type="text/html", header_length=None)


def test_tensors_are_answered_with_a_verdict_where_the_manifest_has_a_threshold(tmp_path: Path) -> None:
    reply = ask(judge_of_sums(tmp_path, threshold=5.0), {"id": "7", "inputs": [tensor("a", 1, 2), tensor("b", 3, 4)]})
    assert {output["name"]: (output["datatype"], output["data"]) for output in reply["outputs"]} == {
        "score": ("FP32", [4, 6]),
        "is_anomaly": ("BOOL", [False, True]),
        "threshold": ("FP32", [5]),
    }


def test_who_names_outputs_gets_them_without_a_verdict(tmp_path: Path) -> None:
    document = {"inputs": [tensor("a", 2), tensor("b", 3)], "outputs": [{"name": "product"}]}
    reply = ask(judge_of_sums(tmp_path, threshold=5.0), document)
    assert [(output["name"], output["data"]) for output in reply["outputs"]] == [("product", [6])]


def test_a_binary_verdict_comes_back_as_it_was_sent(tmp_path: Path) -> None:
    inputs = {"a": np.array([1, 2], np.float32), "b": np.array([3, 4], np.float32)}
    outputs = ask_binary(
        judge_of_sums(tmp_path, threshold=5.0), InferenceRequest(inputs=inputs, binary_output=True)
    ).outputs
    assert outputs["is_anomaly"].tolist() == [False, True]
    assert outputs["is_anomaly"].dtype == np.bool_
