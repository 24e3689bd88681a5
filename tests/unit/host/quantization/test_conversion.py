from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from drupelet import EdgeConverter
from drupelet_host.errors import DataError, ExportError, ModelError
from drupelet_host.evaluation.scoring import evaluate_session
from drupelet_host.export.onnx import export_onnx
from drupelet_host.quantization.ranges import Method
from drupelet_host.quantization.static import StaticSettings, quantize_static
from drupelet_shared.engines.registry import load_engine
from support.model.tiny_project import INPUT_SHAPE, calibration_feeds, trained, validation_samples

pytestmark = pytest.mark.slow


class Counting(nn.Module):
    """Computes something else on every call, which a graph cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return inputs * self.calls


class Branching(nn.Module):
    """Decides by a value, which torch.export cannot follow."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs if inputs.sum() > 0 else -inputs


@pytest.fixture(scope="module")
def float_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_onnx(trained().model, INPUT_SHAPE, path)
    return path


def test_the_exported_model_scores_what_pytorch_scores(float_model: Path) -> None:
    session = load_engine("onnxruntime").load(float_model, threads=1)
    assert evaluate_session(session, validation_samples()) == trained().evaluate(trained().model)
    assert session.inputs[0].shape == INPUT_SHAPE


def test_the_same_model_exports_to_the_same_bytes(float_model: Path, tmp_path: Path) -> None:
    export_onnx(trained().model, INPUT_SHAPE, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == float_model.read_bytes()


def test_the_exported_file_names_no_path_of_this_machine(float_model: Path) -> None:
    content = float_model.read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content
    assert onnx.load(float_model).producer_name == "drupelet"


def test_an_export_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="outputs differ from the original's by"):
        export_onnx(Counting(), (1, 4), tmp_path / "model.onnx")


def test_a_model_that_cannot_be_traced_is_refused_with_the_cause_and_the_line(tmp_path: Path) -> None:
    cause = r"[^\x1b]*data-dependent[^\x1b]*"
    line = r"\(test_conversion\.py, line \d+, in forward\)"
    advice = r"; the code decides by the values of a tensor, .* use torch\.where in place of if"
    with pytest.raises(ExportError, match=rf"torch\.onnx cannot export the model: {cause} {line}{advice}$"):
        export_onnx(Branching(), (1, 4), tmp_path / "model.onnx")


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile", "mse"])
def test_the_quantized_model_agrees_with_the_float_one(float_model: Path, tmp_path: Path, method: Method) -> None:
    path = tmp_path / "int8.onnx"
    quantize_static(float_model, path, calibration=calibration_feeds(64), settings=StaticSettings(method))
    session = load_engine("onnxruntime").load(path, threads=1)
    metric = evaluate_session(session, validation_samples())
    assert metric >= trained().evaluate(trained().model) - 0.05
    types = {tensor.data_type for tensor in onnx.load(path).graph.initializer}
    assert onnx.TensorProto.INT8 in types


def test_the_same_calibration_quantizes_to_the_same_bytes(float_model: Path, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.onnx", "b.onnx")]
    for path in paths:
        quantize_static(float_model, path, calibration=calibration_feeds(8))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_weights_have_a_scale_for_each_channel(float_model: Path, tmp_path: Path) -> None:
    quantize_static(float_model, tmp_path / "int8.onnx", calibration=calibration_feeds(8))
    scales = [
        onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "int8.onnx").graph.initializer if "scale" in t.name
    ]
    assert 32 in {scale.size for scale in scales}


def test_no_calibration_samples_are_refused(float_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 samples"):
        quantize_static(float_model, tmp_path / "int8.onnx", calibration=calibration_feeds(0))


def test_a_file_that_is_no_model_cannot_be_quantized(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ExportError, match=r"model\.onnx: not an ONNX model"):
        quantize_static(tmp_path / "model.onnx", tmp_path / "int8.onnx", calibration=calibration_feeds(1))


def test_the_converter_gives_a_smaller_model_that_can_be_saved(tmp_path: Path) -> None:
    converted = EdgeConverter().from_pytorch(trained().model, INPUT_SHAPE)
    optimized = converted.optimize_for_edge(calibration=torch.from_numpy(trained().train.inputs[:16]))
    assert converted.precision == "fp32"
    assert optimized.precision == "static-wi8-ai8"
    assert optimized.size_bytes < converted.size_bytes
    saved = optimized.save(tmp_path / "model.onnx")
    assert saved.stat().st_size == optimized.size_bytes


def test_the_converter_refuses_calibration_of_another_shape() -> None:
    converted = EdgeConverter().from_pytorch(trained().model, INPUT_SHAPE)
    with pytest.raises(DataError, match=r"calibration: a sample has shape \[1, 4, 4\]"):
        converted.optimize_for_edge(calibration=np.zeros((2, 1, 4, 4)))


def test_a_quantized_model_is_not_quantized_again() -> None:
    converted = EdgeConverter().from_pytorch(trained().model, INPUT_SHAPE)
    optimized = converted.optimize_for_edge(calibration=trained().train.inputs[:4])
    with pytest.raises(ModelError, match="static-wi8-ai8 already"):
        optimized.optimize_for_edge(calibration=trained().train.inputs[:4])
