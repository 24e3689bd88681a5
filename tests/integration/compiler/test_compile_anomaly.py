"""An anomaly detector: judged by its verdicts, packed with its threshold, asked through the agent's request handler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from drupelet_agent.worker.handler import RequestHandler
from drupelet_host.compiler.start import start_compile
from drupelet_host.errors import DataError, ModelError, RecipeError
from drupelet_host.recipe.schema import Recipe, parse_recipe
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.postprocessing.answer import Answerer
from drupelet_shared.postprocessing.specs import Anomaly
from support.model.compiled import compile_and_verify

DATA = """
import numpy as np


def draw(count, seed):
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    samples = random.normal(0, np.where(labels, 3.0, 0.1)[:, None], (count, 64))
    return [{"x": row[None].astype(np.float32)} for row in samples], labels


def train():
    return draw(24, 0)[0]


def validation():
    return draw(48, 1)


def named():
    return draw(48, 1)[0], np.full(48, 7)
"""


def write_detector(path: Path) -> None:
    """Write a network that rebuilds nothing of its input: the score is the mean square."""
    weights = numpy_helper.from_array(np.eye(64, dtype=np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["rebuilt"]),
        helper.make_node("Mul", ["rebuilt", "rebuilt"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["error"], axes=[1], keepdims=1),
    ]
    specs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in (("x", 64), ("error", 1))
    ]
    rebuilt = helper.make_tensor_value_info("rebuilt", TensorProto.FLOAT, [1, 64])
    graph = helper.make_graph(nodes, "anomaly", specs[:1], [specs[1], rebuilt], [weights])
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    )


def anomaly_recipe(folder: Path, **sections: Any) -> Recipe:  # noqa: ANN401 - a recipe's values
    write_detector(folder / "model.onnx")
    (folder / "data.py").write_text(DATA, encoding="utf-8")
    (folder / "threshold.txt").write_text("1.5\n", encoding="utf-8")
    document = {
        "model": {"name": "worn", "version": "1", "release": 1, "file": "model.onnx", "task": "anomaly"},
        "data": {"train": "data.py:train", "validation": "data.py:validation"},
        "anomaly": {"output": "error", "threshold": "threshold.txt"},
        "quantize": {"method": "minmax", "variants": ["static"]},
    }
    return parse_recipe(document | sections, folder=folder)


def test_the_threshold_is_packed_and_judges_the_variants_and_the_answers(tmp_path: Path) -> None:
    compiled = compile_and_verify(anomaly_recipe(tmp_path), tmp_path / "unpacked")
    manifest = compiled.manifest
    assert manifest.postprocessing == Anomaly(output="error", threshold=1.5)
    assert {variant.metrics["balanced_accuracy"] for variant in manifest.variants} == {1.0}
    handler = RequestHandler(
        model_name="worn",
        model_version="1",
        manifest=manifest,
        session=load_engine("onnxruntime").load(compiled.package.folder / manifest.variants[0].path, threads=1),
        answerer=Answerer(manifest.postprocessing),
    )
    for scale, expected in ((0.1, False), (3.0, True)):
        data = np.random.default_rng(5).normal(0, scale, 64).tolist()
        sent = {"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": data}]}
        handled = handler.handle(memoryview(json.dumps(sent).encode()), content_type=None, header_length=None)
        outputs = {output["name"]: output["data"] for output in json.loads(handled.encoded.payload)["outputs"]}
        assert outputs["is_anomaly"] == [expected]
        assert (outputs["score"][0] > outputs["threshold"][0]) is expected


def test_the_threshold_is_a_number_or_in_a_file(tmp_path: Path) -> None:
    stated = anomaly_recipe(tmp_path, anomaly={"output": "error", "threshold": 2}).anomaly
    read = anomaly_recipe(tmp_path).anomaly
    assert stated is not None
    assert read is not None
    assert (stated.threshold, read.threshold) == (2.0, 1.5)


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        ("data.py", "data.py: expected one number in the file"),
        ("none.txt", "there is no file"),
        (float("nan"), "finite"),
    ],
)
def test_what_is_no_threshold_is_refused(tmp_path: Path, threshold: object, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        anomaly_recipe(tmp_path, anomaly={"output": "error", "threshold": threshold})


@pytest.mark.parametrize(
    ("sections", "error", "message"),
    [
        ({"anomaly": {"threshold": 1}}, ModelError, r"anomaly\.output: the model gives .* name one of them"),
        ({"anomaly": {"output": "nose", "threshold": 1}}, ModelError, "anomaly.output names 'nose'"),
        (
            {"data": {"train": "data.py:train", "validation": "data.py:named"}},
            DataError,
            "takes 0 for a normal sample and 1 for an anomaly",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_before_any_work(
    tmp_path: Path, sections: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        start_compile(anomaly_recipe(tmp_path, **sections), tmp_path)
