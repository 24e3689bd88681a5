"""Static int8 for ncnn: the files load in ncnn's own int8 layers and keep the answers of trained networks."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from drupelet_host.errors import DataError, ExportError
from drupelet_host.export.ncnn import export_ncnn
from drupelet_host.latency.modelled.table import load_table
from drupelet_host.ncnn_files.graph import parse_graph
from drupelet_host.ncnn_files.running import run_tensors
from drupelet_host.quantization.ncnn.bias import correct_biases
from drupelet_host.quantization.ncnn.choice import choose_ncnn_method, keep_costly_layers, measure_errors
from drupelet_host.quantization.ncnn.float16 import store_ncnn_float16
from drupelet_host.quantization.ncnn.savings import look_up_savings, rank_by_worth
from drupelet_host.quantization.ncnn.static import (
    NcnnCalibrated,
    NcnnInt8Settings,
    calibrate_ncnn,
    quantize_rows,
    write_ncnn_int8,
)
from drupelet_shared.engines.files import model_size_bytes
from drupelet_shared.engines.registry import load_engine
from support.model.architecture_project import draw_patterns, train
from support.model.architectures import ARCHITECTURES

NETWORKS = ("resnet", "mobilenet", "squeeze-excite")
SETTINGS = NcnnInt8Settings("minmax")


@dataclass(frozen=True)
class Trained:
    """A small trained network with its data."""

    model: nn.Module
    input_shape: tuple[int, ...]
    train_inputs: np.ndarray
    inputs: np.ndarray
    labels: np.ndarray


@cache
def trained(name: str) -> Trained:
    torch.manual_seed(0)
    architecture = ARCHITECTURES[name]
    model, shape = architecture.build(), architecture.input_shape
    seen, classes = draw_patterns(256, shape[1:], seed=1)
    train(model, torch.from_numpy(seen), torch.from_numpy(classes))
    held, labels = draw_patterns(96, shape[1:], seed=2)
    return Trained(model.eval(), shape, seen, held, labels)


def calibrated(name: str, folder: Path) -> NcnnCalibrated:
    network, path = trained(name), folder / "float.param"
    export_ncnn(network.model, network.input_shape, path)
    return calibrate_ncnn(path, samples=[{"input": network.train_inputs[i : i + 1]} for i in range(32)])


def answers(path: Path, name: str) -> np.ndarray:
    session = load_engine("ncnn").load(path, threads=1)
    inputs = trained(name).inputs
    return np.concatenate([session.run({"input": inputs[i : i + 1]}, ["output"])["output"] for i in range(len(inputs))])


def accuracy(path: Path, name: str) -> float:
    return float((answers(path, name).argmax(1) == trained(name).labels).mean())


def closeness(path: Path, name: str, folder: Path) -> float:
    """1 minus the relative RMS error against the float32 model."""
    expected = answers(folder / "float.param", name)
    difference = answers(path, name) - expected
    return 1 - float(np.sqrt(np.mean(difference**2) / np.mean(expected**2)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "separate"])
def test_a_trained_network_keeps_its_accuracy_in_a_third_of_the_size(tmp_path: Path, name: str, fuse: bool) -> None:  # noqa: FBT001 - a parameter of the test
    model = calibrated(name, tmp_path)
    path = tmp_path / "int8.param"
    write_ncnn_int8(model, path, settings=SETTINGS, fuse=fuse)
    assert accuracy(path, name) >= accuracy(tmp_path / "float.param", name) - 0.02
    assert model_size_bytes(path) < 0.4 * model_size_bytes(tmp_path / "float.param")


def test_a_grouped_convolution_which_ncnn_gets_wrong_in_int8_stays_float(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(16, 16, 3, groups=2), nn.ReLU(), nn.Conv2d(16, 8, 1)).eval()
    path = tmp_path / "float.param"
    export_ncnn(model, (1, 16, 8, 8), path)
    image = np.random.default_rng(0).standard_normal((1, 16, 8, 8)).astype(np.float32)
    write_ncnn_int8(
        calibrate_ncnn(path, samples=[{"input": image}]), tmp_path / "int8.param", settings=SETTINGS, fuse=False
    )
    one, other = (
        load_engine("ncnn").load(tmp_path / name, threads=1).run({"input": image}, ["output"])["output"]
        for name in ("float.param", "int8.param")
    )
    np.testing.assert_allclose(other, one, atol=0.05 * float(np.abs(one).max()))


@pytest.mark.slow
def test_every_convolution_and_product_is_int8_in_ncnn(tmp_path: Path) -> None:
    model = calibrated("mobilenet", tmp_path)
    write_ncnn_int8(model, tmp_path / "int8.param", settings=SETTINGS)
    layers = parse_graph((tmp_path / "int8.param").read_text()).layers
    terms = {layer.integer(8) % 100 for layer in layers if layer.kind in {"Convolution", "InnerProduct"}}
    assert terms == {2}
    assert {layer.integer(8) % 100 for layer in layers if layer.kind == "ConvolutionDepthWise"} == {1}
    assert any(layer.integer(8) >= 100 for layer in layers), "activations between convolutions stay int8"


@pytest.mark.slow
def test_a_layer_that_is_kept_in_float_has_no_scales(tmp_path: Path) -> None:
    model = calibrated("resnet", tmp_path)
    first = model.layers[0].name
    write_ncnn_int8(model, tmp_path / "int8.param", settings=NcnnInt8Settings("minmax", frozenset({first})))
    terms = {layer.name: layer.integer(8) for layer in parse_graph((tmp_path / "int8.param").read_text()).layers}
    assert terms[first] == 0
    assert terms[model.layers[1].name] > 0


def test_a_model_with_every_layer_in_float_is_refused(tmp_path: Path) -> None:
    model = calibrated("resnet", tmp_path)
    every = frozenset(layer.name for layer in model.layers)
    with pytest.raises(ExportError, match="no layer is left for int8"):
        write_ncnn_int8(model, tmp_path / "int8.param", settings=NcnnInt8Settings("minmax", every))


def test_rounding_keeps_rows_of_zeros_and_of_tiny_weights() -> None:
    rows = np.array([[0, 0], [1e-9, -5e-10], [3, -1.5], [1e-38, 0]], np.float32)
    levels, scales = quantize_rows(rows)
    assert np.isfinite(scales).all()
    np.testing.assert_allclose((levels / scales[:, None])[:3], rows[:3], rtol=0.01)
    np.testing.assert_array_equal(levels[0], 0)


def test_a_channel_of_tiny_weights_keeps_its_bias(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 3)).eval()
    with torch.no_grad():
        model[0].weight[0] = 1e-9
        model[0].bias[0] = 5.0
        model[0].weight[1] = 0.0
    path = tmp_path / "float.param"
    export_ncnn(model, (1, 2, 8, 8), path)
    images = np.random.default_rng(0).standard_normal((8, 1, 2, 8, 8)).astype(np.float32)
    observed = calibrate_ncnn(path, samples=[{"input": image} for image in images])
    write_ncnn_int8(observed, tmp_path / "int8.param", settings=SETTINGS)
    one, other = (
        load_engine("ncnn").load(tmp_path / name, threads=1).run({"input": images[0]}, ["output"])["output"]
        for name in ("float.param", "int8.param")
    )
    np.testing.assert_allclose(other, one, atol=0.05 * float(np.abs(one).max()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet", "mobilenet"])
def test_bias_correction_brings_the_answers_nearer(tmp_path: Path, name: str) -> None:
    model = calibrated(name, tmp_path)
    corrected = correct_biases(model, SETTINGS)
    for file, settings in (("plain", SETTINGS), ("corrected", corrected)):
        write_ncnn_int8(model, tmp_path / f"{file}.param", settings=settings)
    plain, better = (closeness(tmp_path / f"{file}.param", name, tmp_path) for file in ("plain", "corrected"))
    assert better > plain


@pytest.mark.slow
def test_the_method_with_the_best_score_is_chosen(tmp_path: Path) -> None:
    model = calibrated("resnet", tmp_path)
    choice = choose_ncnn_method(
        model, judge=lambda path: closeness(path, "resnet", tmp_path), methods=("minmax", "mse")
    )
    assert [(one.method, one.bias_correction) for one in choice.scores] == [
        ("minmax", False),
        ("minmax", True),
        ("mse", False),
        ("mse", True),
    ]
    assert choice.score == max(one.score for one in choice.scores)


@pytest.mark.slow
def test_the_fewest_costly_layers_stay_in_float(tmp_path: Path) -> None:
    model = calibrated("mobilenet", tmp_path)
    judge = partial(closeness, name="mobilenet", folder=tmp_path)
    choice = choose_ncnn_method(model, judge=judge, methods=("minmax",))
    lowest = choice.score + 0.4 * (1 - choice.score)
    saved_ms = look_up_savings(model, load_table("raspberry_pi_4"))
    mixed = keep_costly_layers(model, choice, judge=judge, lowest_score=lowest, saved_ms=saved_ms)
    assert mixed is not None
    assert mixed.score >= lowest
    ranked = rank_by_worth(measure_errors(model, choice.settings), saved_ms)
    assert mixed.settings.keep_float == frozenset(ranked[: len(mixed.settings.keep_float)])
    assert keep_costly_layers(model, choice, judge=judge, lowest_score=2.0) is None


GROWTH = """
import sys
from pathlib import Path
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.process_memory import read_memory
engine = load_engine("ncnn")
before = read_memory().resident_bytes
session = engine.load(Path(sys.argv[1]), threads=1)
print(read_memory().resident_bytes - before)
"""


@pytest.mark.slow
def test_a_loaded_int8_model_takes_less_than_ten_times_its_file(tmp_path: Path) -> None:
    """With all of ncnn's algorithms allowed this one takes fifteen times."""
    torch.manual_seed(0)
    path, int8 = tmp_path / "float.param", tmp_path / "int8.param"
    model = nn.Sequential(*(nn.Conv2d(256, 256, 3, padding=1) for _ in range(6))).eval()
    export_ncnn(model, (1, 256, 8, 8), path)
    image = np.random.default_rng(0).standard_normal((1, 256, 8, 8)).astype(np.float32)
    write_ncnn_int8(calibrate_ncnn(path, samples=[{"input": image}]), int8, settings=SETTINGS)
    command = [sys.executable, "-c", GROWTH, str(int8)]
    growth = int(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)
    assert model_size_bytes(int8) < growth < 10 * model_size_bytes(int8)


def test_calibration_without_samples_or_layers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.param"
    export_ncnn(nn.Sequential(nn.ReLU()), (1, 4), path)
    with pytest.raises(DataError, match="0 samples"):
        calibrate_ncnn(path, samples=[])
    with pytest.raises(ExportError, match="nothing to quantize"):
        calibrate_ncnn(path, samples=[{"input": np.zeros((1, 4), np.float32)}])


def test_float16_weights_halve_the_file_and_keep_the_answers(tmp_path: Path) -> None:
    calibrated("resnet", tmp_path)
    store_ncnn_float16(tmp_path / "float.param", tmp_path / "half.param")
    sizes = [(tmp_path / f"{name}.bin").stat().st_size for name in ("half", "float")]
    assert sizes[0] < 0.55 * sizes[1]
    assert closeness(tmp_path / "half.param", "resnet", tmp_path) > 0.999


def test_a_sample_that_lacks_an_input_is_an_error_of_the_data(tmp_path: Path) -> None:
    calibrated("resnet", tmp_path)
    with pytest.raises(DataError, match="sample 0 lacks input"):
        list(run_tensors(tmp_path / "float.param", [{}], ["out0"]))
