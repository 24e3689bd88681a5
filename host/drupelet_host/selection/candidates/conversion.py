"""Converts a pruned candidate for one engine, quantizes it there and scores its files."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from drupelet_host.compute.model_files import ModelFiles
from drupelet_host.data.samples import Samples
from drupelet_host.errors import ExportError
from drupelet_host.evaluation.measure import FileScore, score_file
from drupelet_host.evaluation.metrics import Metric
from drupelet_host.export.litert import export_litert, quantize_litert
from drupelet_host.export.ncnn import export_ncnn
from drupelet_host.export.onnx import export_onnx
from drupelet_host.quantization.ncnn.static import NcnnInt8Settings, calibrate_ncnn, write_ncnn_int8
from drupelet_host.quantization.ranges import Method
from drupelet_host.quantization.static import StaticSettings, quantize_static
from drupelet_host.selection.variants import FLOAT, LITERT_FLOAT, LITERT_STATIC, NCNN_FLOAT, NCNN_STATIC, STATIC
from drupelet_host.torch_models.inputs import Example
from drupelet_shared.package.manifest import EngineName

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConversionSettings:
    """How candidates become model files.

    Attributes:
        engine: The engine that they are for.
        method: The calibration method.
        example: A few samples, on which each export is compared with PyTorch; or the shape of a float input.
        output_names: The names of the model's outputs.
    """

    engine: EngineName
    method: Method
    example: Example
    output_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScoredFiles:
    """A variant of a candidate: its files and their score."""

    files: ModelFiles
    score: FileScore


def convert_candidate(
    model: nn.Module,
    calibration: Samples,
    samples: Samples,
    metric: Metric,
    settings: ConversionSettings,
) -> dict[str, ScoredFiles]:
    """Return the variants of a candidate for one engine, by id.

    Args:
        model: The candidate.
        calibration: The calibration samples.
        samples: The validation samples.
        metric: Scores the outputs.
        settings: How files are made, and for which engine.

    Raises:
        ExportError: The candidate cannot be exported. One that cannot be quantized comes in float alone.
    """
    with tempfile.TemporaryDirectory(prefix="drupelet-candidate-") as folder:
        paths = _WRITERS[settings.engine](model, calibration, settings, Path(folder))
        return {
            name: ScoredFiles(ModelFiles.read(path), score_file(path, samples, metric)) for name, path in paths.items()
        }


def _write_onnx(model: nn.Module, calibration: Samples, settings: ConversionSettings, folder: Path) -> dict[str, Path]:
    paths = {name: folder / f"{name}.onnx" for name in (FLOAT, STATIC)}
    export_onnx(model, settings.example, paths[FLOAT], output_names=settings.output_names)
    try:
        quantize_static(
            paths[FLOAT], paths[STATIC], calibration=calibration.feeds, settings=StaticSettings(settings.method)
        )
    except ExportError as error:
        log.debug("a candidate stays in float reason=%s", error)
        del paths[STATIC]
    return paths


def _write_litert(
    model: nn.Module, calibration: Samples, settings: ConversionSettings, folder: Path
) -> dict[str, Path]:
    paths = {name: folder / f"{name}.tflite" for name in (LITERT_FLOAT, LITERT_STATIC)}
    export_litert(model, settings.example, paths[LITERT_FLOAT], output_names=settings.output_names)
    quantize_litert(paths[LITERT_FLOAT], paths[LITERT_STATIC], calibration=calibration.feeds)
    return paths


def _write_ncnn(model: nn.Module, calibration: Samples, settings: ConversionSettings, folder: Path) -> dict[str, Path]:
    paths = {name: folder / f"{name}.param" for name in (NCNN_FLOAT, NCNN_STATIC)}
    export_ncnn(model, settings.example, paths[NCNN_FLOAT], output_names=settings.output_names)
    try:
        calibrated = calibrate_ncnn(paths[NCNN_FLOAT], samples=calibration.feeds)
        write_ncnn_int8(calibrated, paths[NCNN_STATIC], settings=NcnnInt8Settings(settings.method))
    except ExportError as error:
        log.debug("a candidate for ncnn stays in float reason=%s", error)
        del paths[NCNN_STATIC]
    return paths


_WRITERS: Mapping[EngineName, Callable[[nn.Module, Samples, ConversionSettings, Path], dict[str, Path]]] = {
    "onnxruntime": _write_onnx,
    "litert": _write_litert,
    "ncnn": _write_ncnn,
}

ENGINES: tuple[EngineName, ...] = tuple(_WRITERS)
