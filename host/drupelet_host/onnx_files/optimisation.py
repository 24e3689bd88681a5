"""Optimises ONNX files: folds constants, fuses operators, removes dead nodes, and checks the result."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime as ort

from drupelet_host.data.samples import Tensors
from drupelet_host.errors import DataError, ExportError
from drupelet_host.onnx_files.canonical import write_canonical
from drupelet_host.onnx_files.graph import copy_model, load_model, open_session, relative_error
from drupelet_host.onnx_files.preparation import prepare
from drupelet_host.onnx_files.running import run_samples
from drupelet_shared.files import write_atomically

# Folding and fusing change the order of float32 operations.
OPTIMISE_TOLERANCE = 1e-3
# Newer operator sets write some attributes as constants.
_MOST_GROWTH, _SMALL_BYTES = 1.02, 4096


@dataclass(frozen=True, slots=True)
class Optimised:
    """The result of optimising a file.

    Attributes:
        difference: The largest difference of the written model, relative to the output's largest value.
        kept: Why the file is used unchanged; None where it was optimised.
    """

    difference: float
    kept: str | None = None


def optimise(
    source: Path, path: Path, *, samples: Sequence[Tensors], tolerance: float = OPTIMISE_TOLERANCE
) -> Optimised:
    """Write an equivalent model with folded constants, fused batch norms and no dead nodes.

    The names of inputs and outputs, variable dimensions and the file's metadata are unchanged. The result does not
    depend on this machine's processor. Operator sets older than 13 are converted to 13. A model that cannot be
    optimised, or whose outputs would differ or whose file would grow, is written unchanged.

    Args:
        source: The model, with its external data if it has any.
        path: The file to write; it contains all data.
        samples: The inputs on which both models are compared.
        tolerance: The largest difference allowed, relative to an output's largest value.

    Returns:
        The largest difference of the written model, and whether it is unchanged.

    Raises:
        DataError: There is no sample, or the model fails on one.
        ExportError: ONNX Runtime cannot run the model.
    """
    if len(samples) == 0:
        raise DataError(f"{source.name}: 0 samples to check the optimised model on: expected at least 1")
    original = load_model(source)
    open_session(original, name=source.name, optimisation=ort.GraphOptimizationLevel.ORT_DISABLE_ALL)
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        candidate = Path(folder) / "optimised.onnx"
        try:
            model = prepare(source, for_quantizer=False)
            del model.graph.value_info[:]
            write_canonical(model, candidate)
            difference = _compare(original, candidate, samples=samples)
            reason = _find_fault(candidate, original, difference=difference, tolerance=tolerance)
        except ExportError as error:
            difference, reason = 0.0, str(error)
        if reason is None:
            write_atomically(path, candidate.read_bytes())
            return Optimised(difference)
    write_canonical(copy_model(original), path)
    return Optimised(_compare(original, path, samples=samples), reason)


def _find_fault(candidate: Path, original: onnx.ModelProto, *, difference: float, tolerance: float) -> str | None:
    if not difference <= tolerance:
        return f"the optimised model's outputs differ by {difference:.3g} of the largest: tolerance {tolerance:.3g}"
    before, after = original.ByteSize(), candidate.stat().st_size
    if after > before * _MOST_GROWTH + _SMALL_BYTES:
        return f"the optimised model has {after} bytes: the file has {before}"
    return None


def _compare(original: onnx.ModelProto, candidate: Path, *, samples: Sequence[Tensors]) -> float:
    """Compare the original without optimisation and the candidate with the optimisation that a device uses."""
    level = ort.GraphOptimizationLevel
    expected = run_samples(original, samples, optimisation=level.ORT_DISABLE_ALL)
    answers = run_samples(candidate, samples, optimisation=level.ORT_ENABLE_ALL)
    return max(relative_error(*pair) for pair in zip(answers, expected, strict=True))
