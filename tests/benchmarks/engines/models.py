"""The model files: each network in each runtime's own format, made once and kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.child import BenchmarkError
from benchmarks.engines.environments import host_python, run_module, run_tool
from benchmarks.engines.networks import CALIBRATION_IMAGES, INPUT_SHAPE, NETWORKS, build, count_parameters, images
from drupelet_host.export.ncnn import export_ncnn
from drupelet_host.export.onnx import export_onnx
from drupelet_host.quantization.ncnn.bias import correct_biases
from drupelet_host.quantization.ncnn.static import NcnnInt8Settings, calibrate_ncnn, write_ncnn_int8
from drupelet_host.quantization.static import quantize_static
from drupelet_host.recipe.model import INPUT_NAME
from drupelet_shared.files import write_atomically

FLOAT, STATIC_INT8, DYNAMIC_INT8, INT8_WEIGHTS = "float32", "static int8", "dynamic int8", "int8 weights"
_TEST_SEED = 100
_ONNX, _NCNN = "float32.onnx", "float32.param"
_IMAGE, _SCORES, _FACTS = "image.npy", "scores.npy", "network.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One file.

    Attributes:
        network: Of `NETWORKS`.
        runtime: What runs it.
        precision: `FLOAT`, `STATIC_INT8`, `DYNAMIC_INT8` or `INT8_WEIGHTS`.
        path: The file; ncnn's weights are a second one beside it.
    """

    network: str
    runtime: str
    precision: str
    path: Path


@dataclass(frozen=True, slots=True)
class Case:
    """A network's models, the image that all of them are asked about, and what PyTorch answers.

    Attributes:
        network: Of `NETWORKS`.
        parameters: How many numbers it has learnt.
        image: A .npy file of shape (1, 3, 224, 224).
        scores: A .npy file of shape (1, 1000).
        models: The files.
    """

    network: str
    parameters: int
    image: Path
    scores: Path
    models: tuple[Model, ...]


def make_cases(work: Path, *, litert_python: Path, say: Callable[[str], None]) -> list[Case]:
    """Return every file that is not there yet.

    Args:
        work: Where the files are kept.
        litert_python: An interpreter with the extra litert-convert.
        say: Hears what is being made.

    Raises:
        BenchmarkError: A converter fails.
    """
    cases = []
    for network in NETWORKS:
        folder = work / "models" / network
        folder.mkdir(parents=True, exist_ok=True)
        _make_reference(network, folder, say=say)
        models = []
        for (runtime, precision), (name, make) in _FORMATS.items():
            path = folder / name
            if not path.is_file():
                say(f"{network}: {runtime}, {precision}")
                make(_Making(network, folder / _ONNX, path, work / "environments", litert_python))
            if not path.is_file():
                raise BenchmarkError(f"{network}: {runtime}'s converter wrote no {path.name} and said nothing")
            models.append(Model(network=network, runtime=runtime, precision=precision, path=path))
        parameters = json.loads((folder / _FACTS).read_text(encoding="utf-8"))["parameters"]
        cases.append(Case(network, parameters, folder / _IMAGE, folder / _SCORES, tuple(models)))
    return cases


def _make_reference(network: str, folder: Path, *, say: Callable[[str], None]) -> None:
    """The ONNX file that the others are made from, an image, and PyTorch's answer to it; the facts are written last."""
    if (folder / _FACTS).is_file():
        return
    say(f"{network}: ONNX")
    model = build(network)
    image = images(1, seed=_TEST_SEED)
    np.save(folder / _IMAGE, image)
    with torch.no_grad():
        np.save(folder / _SCORES, model(torch.from_numpy(image)).numpy())
    export_onnx(model, INPUT_SHAPE, folder / _ONNX)
    write_atomically(folder / _FACTS, json.dumps({"parameters": count_parameters(model)}).encode())


@dataclass(frozen=True, slots=True)
class _Making:
    """What a maker may need."""

    network: str
    onnx: Path
    path: Path
    environments: Path
    litert_python: Path


def _keep_onnx(making: _Making) -> None:
    raise BenchmarkError(f"{making.path}: is missing, and {_FACTS} says that it was made: remove both")


def _quantize_onnx(making: _Making) -> None:
    feeds = [{INPUT_NAME: image[None]} for image in images(CALIBRATION_IMAGES)]
    quantize_static(making.onnx, making.path, calibration=feeds)


def _convert_litert(making: _Making) -> None:
    run_module(making.litert_python, "benchmarks.engines.make_litert", making.network, making.path.parent)


def _convert_ncnn(making: _Making) -> None:
    export_ncnn(build(making.network), INPUT_SHAPE, making.path)


def _quantize_ncnn(making: _Making) -> None:
    feeds = [{INPUT_NAME: image[None]} for image in images(CALIBRATION_IMAGES)]
    calibrated = calibrate_ncnn(making.path.with_name(_NCNN), samples=feeds)
    write_ncnn_int8(calibrated, making.path, settings=correct_biases(calibrated, NcnnInt8Settings("minmax")))


def _convert_mnn(making: _Making, *options: str) -> None:
    python = host_python("mnn", making.environments)
    words = ("-f", "ONNX", "--modelFile", making.onnx, "--MNNModel", making.path, "--bizCode", "benchmark")
    # Not the wheel's own command, mnnconvert: it first installs a logging package into whichever Python `pip` is of.
    run_tool(python, "-c", "import sys, _tools; _tools.mnnconvert(sys.argv)", *words, *options)


def _convert_mnn_int8(making: _Making) -> None:
    _convert_mnn(making, "--weightQuantBits", "8")


# The product's float and static int8 of its three engines, ai-edge-quantizer's recipe for CPUs, MNN's int8 weights.
# benchmarks.engines.left_out says what is missing.
_FORMATS: Mapping[tuple[str, str], tuple[str, Callable[[_Making], None]]] = {
    ("onnxruntime", FLOAT): (_ONNX, _keep_onnx),
    ("litert", FLOAT): ("float32.tflite", _convert_litert),
    ("ncnn", FLOAT): (_NCNN, _convert_ncnn),
    ("mnn", FLOAT): ("float32.mnn", _convert_mnn),
    ("onnxruntime", STATIC_INT8): ("static-int8.onnx", _quantize_onnx),
    ("litert", STATIC_INT8): ("static-int8.tflite", _convert_litert),
    ("ncnn", STATIC_INT8): ("static-int8.param", _quantize_ncnn),
    ("litert", DYNAMIC_INT8): ("dynamic-int8.tflite", _convert_litert),
    ("mnn", INT8_WEIGHTS): ("int8-weights.mnn", _convert_mnn_int8),
}
