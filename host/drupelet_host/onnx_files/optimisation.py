"""Optimises ONNX files: folds constants, fuses operators, removes dead nodes, and checks the result."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnxruntime as ort

from drupelet_host.data.samples import Tensors
from drupelet_host.errors import DataError, ExportError
from drupelet_host.onnx_files.canonical import write_canonical
from drupelet_host.onnx_files.graph import load_model, relative_error
from drupelet_host.onnx_files.preparation import prepare
from drupelet_host.onnx_files.running import run_samples

# Folding and fusing change the order of float32 operations.
OPTIMISE_TOLERANCE = 1e-3


def optimise(source: Path, path: Path, *, samples: Sequence[Tensors], tolerance: float = OPTIMISE_TOLERANCE) -> float:
    """Write an equivalent model with folded constants, fused batch norms and no dead nodes.

    The names of inputs and outputs, variable dimensions and the file's metadata are unchanged. The result does not
    depend on this machine's processor. Operator sets older than 13 are converted to 13.

    Args:
        source: The model, with its external data if it has any.
        path: The file to write; it contains all data.
        samples: The inputs on which both models are compared.
        tolerance: The largest difference allowed, relative to an output's largest value.

    Returns:
        The largest difference, relative to the output's largest value.

    Raises:
        DataError: There is no sample, or the model fails on one.
        ExportError: ONNX Runtime cannot run the model, it cannot be converted, or its outputs differ afterwards.
    """
    if len(samples) == 0:
        raise DataError(f"{source.name}: 0 samples to check the optimised model on: expected at least 1")
    original = load_model(source)
    model = prepare(source)
    del model.graph.value_info[:]
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        candidate = Path(folder) / "optimised.onnx"
        write_canonical(model, candidate)
        difference = _compare(original, candidate, samples=samples)
        if not difference <= tolerance:
            raise ExportError(
                f"{source.name}: the optimised model's outputs differ by {difference:.3g} of the largest: "
                f"tolerance {tolerance:.3g}"
            )
    write_canonical(model, path)
    return difference


def _compare(original: onnx.ModelProto, candidate: Path, *, samples: Sequence[Tensors]) -> float:
    """Compare the original without optimisation and the candidate with the optimisation that a device uses."""
    level = ort.GraphOptimizationLevel
    expected = run_samples(original, samples, optimisation=level.ORT_DISABLE_ALL)
    found = run_samples(candidate, samples, optimisation=level.ORT_ENABLE_ALL)
    return max(relative_error(*pair) for pair in zip(found, expected, strict=True))
