"""Whether a runtime computes the network that PyTorch computes; what does not is neither timed nor counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.child import BenchmarkError
from benchmarks.engines.models import FLOAT, Case, Model

# The largest difference as a fraction of the largest score. float32 differs by the order of its additions. int8 has 255
# steps for each tensor, and an untrained MobileNetV2 lets their roundings grow over 50 layers: 0.22 to 0.28 were seen.
_FLOAT_TOLERANCE, _INT8_TOLERANCE = 1e-3, 0.4


def check_answer(model: Model, answer: Path, *, case: Case) -> float:
    """Return the largest difference from PyTorch's scores, as a fraction of the largest of them.

    Raises:
        BenchmarkError: It is more than the precision explains.
    """
    expected, found = np.load(case.scores), np.load(answer)
    if found.shape != expected.shape:
        raise BenchmarkError(f"{model.path}: {model.runtime} answers shape {found.shape}, expected {expected.shape}")
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    # Written so that an answer that is not a number fails.
    limit = _FLOAT_TOLERANCE if model.precision == FLOAT else _INT8_TOLERANCE
    if not difference <= limit:
        raise BenchmarkError(
            f"{model.path}: {model.runtime} differs from PyTorch by {difference:.2g} of the largest score, "
            f"limit {limit:g}"
        )
    return difference
