"""An ONNX file from anywhere, made ready: folded, fused, tidied, and checked against what it was."""

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

# Folding and fusing reorder float32 arithmetic.
OPTIMISE_TOLERANCE = 1e-3


def optimise(source: Path, path: Path, *, samples: Sequence[Tensors], tolerance: float = OPTIMISE_TOLERANCE) -> float:
    """Write a model that computes the same with less: constants folded, batch norms fused, dead nodes gone.

    The names of inputs and outputs, variable dimensions and the file's own metadata stay. Nothing in the result
    depends on this machine's processor. Operator sets older than 13 become 13.

    Args:
        source: The model, with external data beside it if it has any.
        path: The optimised model, in one file.
        samples: What both are run on.
        tolerance: The largest difference allowed, as a fraction of an output's largest value.

    Returns:
        The largest difference found, likewise.

    Raises:
        DataError: There is no sample, or one does not run.
        ExportError: The file is no model ONNX Runtime runs, cannot be converted, or computes something else afterwards.
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
    """Run the original as it is written, and the candidate as a device would."""
    level = ort.GraphOptimizationLevel
    expected = run_samples(original, samples, optimisation=level.ORT_DISABLE_ALL)
    found = run_samples(candidate, samples, optimisation=level.ORT_ENABLE_ALL)
    return max(relative_error(*pair) for pair in zip(found, expected, strict=True))
