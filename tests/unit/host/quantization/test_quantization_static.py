from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from drupelet_host.errors import DataError, ExportError
from drupelet_host.onnx_files.preparation import prepare
from drupelet_host.quantization.layers import find_layers
from drupelet_host.quantization.observation import Histogram, observe, run_samples
from drupelet_host.quantization.ranges import METHODS, Method, find_range
from drupelet_host.quantization.static import StaticSettings, calibrate, quantize_static, write_static
from support.model import onnx_networks
from support.model.onnx_networks import Arrays, draw_images, draw_sentences, draw_signals, signature


def relative_rms(path: Path, source: Path, samples: Sequence[Arrays], *, output: str = "scores") -> float:
    off = power = 0.0
    for found, expected in zip(run_samples(path, samples), run_samples(source, samples), strict=True):
        off += float(np.square(found[output] - expected[output]).sum())
        power += float(np.square(expected[output]).sum())
    return float(np.sqrt(off / power))


@pytest.fixture
def convolutional(tmp_path: Path) -> Path:
    return onnx_networks.write_convolutional(tmp_path / "model.onnx")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bias_correction", [False, True])
def test_each_method_answers_near_the_float_model_on_samples_of_several_shapes(
    convolutional: Path, tmp_path: Path, method: Method, *, bias_correction: bool
) -> None:
    path = tmp_path / "int8.onnx"
    settings = StaticSettings(method, bias_correction=bias_correction)
    quantize_static(convolutional, path, calibration=draw_images(12), settings=settings)
    assert 0 < relative_rms(path, convolutional, draw_images(6, seed=1)) < 0.1
    weights = {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}
    assert weights["w3_quantized"].data_type == TensorProto.INT8
    assert list(weights["w3_scale"].dims) == [32]


def test_variable_dimensions_and_names_stay(tmp_path: Path) -> None:
    source = onnx_networks.write_upsampling(tmp_path / "model.onnx")
    quantize_static(source, tmp_path / "int8.onnx", calibration=draw_images(3))
    onnx.checker.check_model(onnx.load(tmp_path / "int8.onnx"))
    before, after = onnx.load(source).graph, onnx.load(tmp_path / "int8.onnx").graph
    assert signature(after.input) == signature(before.input)
    assert signature(after.output) == signature(before.output)


@pytest.mark.parametrize("bias_correction", [False, True])
def test_the_same_arguments_give_the_same_bytes(convolutional: Path, tmp_path: Path, *, bias_correction: bool) -> None:
    settings = StaticSettings("mse", frozenset({"c2"}), bias_correction)
    for name in ("a.onnx", "b.onnx"):
        quantize_static(convolutional, tmp_path / name, calibration=draw_images(4), settings=settings)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_layer_kept_in_float_keeps_its_weights(convolutional: Path, tmp_path: Path) -> None:
    settings = StaticSettings(keep_float=frozenset({"c3"}))
    quantize_static(convolutional, tmp_path / "int8.onnx", calibration=draw_images(3), settings=settings)
    types = {tensor.name: tensor.data_type for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert types["w3"] == TensorProto.FLOAT
    assert types["w4_quantized"] == TensorProto.INT8


def test_layers_are_named_by_tensors_and_hold_what_follows_them(convolutional: Path) -> None:
    layers = {layer.name: layer for layer in find_layers(prepare(convolutional))}
    assert list(layers) == ["n1", "c2", "c3", "scores"]
    assert layers["c3"].nodes == ("c3", "r3", "pooled", "flat")


def test_a_layer_that_is_not_there_is_named(convolutional: Path, tmp_path: Path) -> None:
    settings = StaticSettings(keep_float=frozenset({"nowhere"}))
    with pytest.raises(ExportError, match=r"model\.onnx: keep_float has nowhere: no such layer"):
        quantize_static(convolutional, tmp_path / "int8.onnx", calibration=draw_images(1), settings=settings)


def test_keeping_every_layer_in_float_is_refused(convolutional: Path, tmp_path: Path) -> None:
    names = frozenset(layer.name for layer in find_layers(prepare(convolutional)))
    with pytest.raises(ExportError, match="nothing to quantize: every layer is kept in float"):
        quantize_static(
            convolutional, tmp_path / "int8.onnx", calibration=draw_images(1), settings=StaticSettings(keep_float=names)
        )


def test_no_samples_are_refused(convolutional: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 samples"):
        quantize_static(convolutional, tmp_path / "int8.onnx", calibration=[])


def test_a_sample_that_does_not_fit_is_named(convolutional: Path, tmp_path: Path) -> None:
    samples = [*draw_images(1), {"image": np.zeros((1, 4, 8, 8), np.float32)}]
    with pytest.raises(DataError, match="calibration sample 1 does not run"):
        quantize_static(convolutional, tmp_path / "int8.onnx", calibration=samples)


def test_attention_with_infinite_masks_and_token_ids_becomes_int8(tmp_path: Path) -> None:
    source = onnx_networks.write_attention(tmp_path / "model.onnx")
    quantize_static(source, tmp_path / "int8.onnx", calibration=draw_sentences(20))
    for output in ("scores", "hidden"):
        assert relative_rms(tmp_path / "int8.onnx", source, draw_sentences(6, seed=1), output=output) < 0.05
    assert {"wq_quantized", "wo_quantized"} <= {
        tensor.name for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer
    }


def test_a_transposed_convolution_becomes_int8(tmp_path: Path) -> None:
    source = onnx_networks.write_upsampling(tmp_path / "model.onnx")
    settings = StaticSettings(bias_correction=True)
    quantize_static(source, tmp_path / "int8.onnx", calibration=draw_images(6), settings=settings)
    assert relative_rms(tmp_path / "int8.onnx", source, draw_images(3, seed=1), output="larger") < 0.05
    assert "w2_quantized" in {tensor.name for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer}


@pytest.mark.parametrize("op_type", ["LSTM", "GRU"])
def test_what_surrounds_a_recurrent_layer_becomes_int8(tmp_path: Path, op_type: str) -> None:
    source = onnx_networks.write_recurrent(tmp_path / "model.onnx", op_type=op_type)
    quantize_static(source, tmp_path / "int8.onnx", calibration=draw_signals(24))
    assert relative_rms(tmp_path / "int8.onnx", source, draw_signals(6, seed=1)) < 0.1


@pytest.mark.parametrize("op_type", ["LSTM", "GRU"])
def test_a_recurrent_layer_alone_is_refused_with_the_reason(tmp_path: Path, op_type: str) -> None:
    source = onnx_networks.write_recurrent(tmp_path / "model.onnx", op_type=op_type, head=False)
    with pytest.raises(ExportError, match=f"nothing to quantize: found {op_type}.*dynamic int8 takes LSTM and GRU"):
        quantize_static(source, tmp_path / "int8.onnx", calibration=draw_signals(2))


def test_bias_correction_takes_the_mean_error_of_a_layer_away(tmp_path: Path) -> None:
    source = onnx_networks.write_wide_sum(tmp_path / "model.onnx")
    random = np.random.default_rng(0)
    samples = [{"image": random.normal(1, 0.2, (1, 64, 6, 6)).astype(np.float32)} for _ in range(8)]
    calibrated = calibrate(source, calibration=samples)
    errors = {}
    for corrected in (False, True):
        path = tmp_path / f"{corrected}.onnx"
        write_static(calibrated, path, settings=StaticSettings(bias_correction=corrected))
        pairs = zip(run_samples(path, samples), run_samples(source, samples), strict=True)
        means = [(found["sums"] - expected["sums"]).mean(axis=(0, 2, 3)) for found, expected in pairs]
        errors[corrected] = np.abs(np.mean(means, axis=0)).max()
    assert errors[True] < 0.2 * errors[False]


def test_a_bias_that_two_layers_read_is_corrected_for_each(tmp_path: Path) -> None:
    source = onnx_networks.write_convolutional(tmp_path / "model.onnx")
    model = onnx.load(source)
    model.graph.node[0].input.append("b2")
    source.write_bytes(model.SerializeToString())
    settings = StaticSettings("mse", bias_correction=True)
    quantize_static(source, tmp_path / "int8.onnx", calibration=draw_images(6), settings=settings)
    assert relative_rms(tmp_path / "int8.onnx", source, draw_images(3, seed=1)) < 0.1


def test_a_histogram_grows_without_losing_a_value() -> None:
    histogram = Histogram()
    values = np.array([0.0, 0.1, -0.3, 5.0, -70.0, 1000.0], np.float32)
    for value in values:
        histogram.add(value.reshape(1, 1))
    together = Histogram()
    together.add(values)
    assert histogram.counts.sum() == len(values)
    assert (histogram.counts == together.counts).all()
    assert (histogram.lowest, histogram.highest, histogram.limit) == (-70.0, 1000.0, 1024.0)


def test_values_that_int8_cannot_share_are_seen() -> None:
    for value in (np.inf, np.nan, np.finfo(np.float32).min):
        histogram = Histogram()
        histogram.add(np.array([1.0, value], np.float32))
        assert not histogram.bounded


def test_tensors_larger_than_what_is_held_at_once_are_all_observed(
    convolutional: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = prepare(convolutional)
    tensors = ["image", "n1", "c2", "c3", "scores"]
    whole = observe(model, tensors, samples=draw_images(3))
    monkeypatch.setattr("drupelet_host.quantization.observation._MAX_HELD", 1)
    parts = observe(model, tensors, samples=draw_images(3))
    for name in tensors:
        assert (parts[name].counts == whole[name].counts).all()
        assert parts[name].counts.sum() > 0


def test_minmax_covers_all_and_entropy_and_percentile_clip_a_far_outlier() -> None:
    histogram = Histogram()
    histogram.add(np.random.default_rng(0).standard_normal(200_000, dtype=np.float32))
    histogram.add(np.array([60.0], np.float32))
    assert find_range(histogram, method="minmax")[1] == 60.0
    methods: tuple[Method, ...] = ("entropy", "percentile")
    for method in methods:
        low, high = find_range(histogram, method=method)
        assert -6 < low < -2
        assert 2 < high < 10


def test_mse_has_the_least_squared_error_of_all_methods() -> None:
    values = np.random.default_rng(0).laplace(size=100_000).astype(np.float32)
    histogram = Histogram()
    histogram.add(values)

    def error(low: float, high: float) -> float:
        scale = (high - low) / 255
        levels = np.clip(np.round(values / scale) + np.round(-128 - low / scale), -128, 127)
        return float(np.square((levels - np.round(-128 - low / scale)) * scale - values).mean())

    errors = {method: error(*find_range(histogram, method=method)) for method in METHODS}
    assert min(errors, key=lambda method: errors[method]) == "mse"


def test_a_tensor_that_is_always_zero_has_an_empty_range() -> None:
    histogram = Histogram()
    histogram.add(np.zeros(5, np.float32))
    assert {find_range(histogram, method=method) for method in METHODS} == {(0.0, 0.0)}


def test_bias_correction_changes_only_biases(convolutional: Path, tmp_path: Path) -> None:
    calibrated = calibrate(convolutional, calibration=draw_images(6))
    weights = []
    for corrected in (False, True):
        write_static(calibrated, tmp_path / "int8.onnx", settings=StaticSettings(bias_correction=corrected))
        tensors = onnx.load(tmp_path / "int8.onnx").graph.initializer
        weights.append({tensor.name: numpy_helper.to_array(tensor) for tensor in tensors})
    plain, changed = weights
    assert all((changed[name] == plain[name]).all() for name in plain if "quantized" in name and "w" in name)
    assert (changed["b2_quantized"] != plain["b2_quantized"]).any()
