"""PyTorch to ONNX, checked against PyTorch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from drupelet_host.conversion.canonical import write_canonical
from drupelet_host.errors import ExportError
from drupelet_host.recipe import INPUT_NAME, OUTPUT_NAME
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.errors import EngineError, RequestError

if TYPE_CHECKING:
    import onnx

# Fused and reordered float32 arithmetic differs by a few ulps a layer; a wrong graph differs by far more.
EXPORT_TOLERANCE = 1e-3
_CHECK_SAMPLES = 3


def export_onnx(
    model: nn.Module, input_shape: tuple[int, ...], path: Path, *, tolerance: float = EXPORT_TOLERANCE
) -> None:
    """Write the model as one ONNX file for inputs of exactly this shape; the same model gives the same bytes.

    Args:
        model: The module; it is left in evaluation mode.
        input_shape: The input's, batch first; the device runs one sample at a time.
        path: The file.
        tolerance: The largest difference from PyTorch allowed, as a fraction of the largest output.

    Raises:
        ExportError: The exporter fails, or ONNX Runtime computes something else than PyTorch.
    """
    model.eval()
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                model,
                (torch.zeros(input_shape),),
                dynamo=True,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter's exceptions share no base class
        raise ExportError(f"{path.name}: torch.onnx cannot export the model: {_first_line(error)}") from error
    assert program is not None, "dynamo=True always returns a program"
    proto: onnx.ModelProto = program.model_proto
    write_canonical(proto, path)
    _check_against_pytorch(model, input_shape, path, tolerance=tolerance)


def _check_against_pytorch(model: nn.Module, input_shape: tuple[int, ...], path: Path, *, tolerance: float) -> None:
    random = np.random.default_rng(0)
    try:
        session = load_engine("onnxruntime").load(path, threads=1)
        for _ in range(_CHECK_SAMPLES):
            sample = random.standard_normal(input_shape, dtype=np.float32)
            found = session.run({INPUT_NAME: sample}, [OUTPUT_NAME])[OUTPUT_NAME]
            with torch.inference_mode():
                expected = model(torch.from_numpy(sample)).numpy()
            _compare(found, expected, path=path, tolerance=tolerance)
    except (EngineError, RequestError) as error:
        raise ExportError(f"{path.name}: the exported model does not run: {error}") from error


def _compare(
    found: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    expected: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    *,
    path: Path,
    tolerance: float,
) -> None:
    if found.shape != expected.shape:
        raise ExportError(f"{path.name}: the output has shape {found.shape}: PyTorch gives {expected.shape}")
    scale = float(np.abs(expected).max()) or 1.0
    difference = float(np.nan_to_num(np.abs(found - expected).max(), nan=np.inf)) / scale
    if difference > tolerance:
        raise ExportError(
            f"{path.name}: outputs differ from PyTorch's by {difference:.3g} of the largest: tolerance {tolerance:.3g}"
        )


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep what the exporter says about its own inside (deprecations, optional packages) from the person compiling."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
