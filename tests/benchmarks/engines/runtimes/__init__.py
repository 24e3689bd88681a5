"""One module for each runtime: `load(path, *, threads)` gives a function from an image to the scores.

They need numpy and their runtime alone, on the host and on the emulated board.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
Infer = Callable[[Images], Images]

_MODULES = {
    "onnxruntime": "benchmarks.engines.runtimes.product",
    "litert": "benchmarks.engines.runtimes.product",
    "ncnn": "benchmarks.engines.runtimes.product",
    "mnn": "benchmarks.engines.runtimes.with_mnn",
}
RUNTIMES = tuple(_MODULES)


def load(runtime: str, path: Path, *, threads: int) -> Infer:
    """Load a model file in a runtime of `RUNTIMES`.

    Returns:
        A function from an array of shape (1, 3, 224, 224) to one of shape (1, 1000), both float32.
    """
    infer: Infer = importlib.import_module(_MODULES[runtime]).load(runtime, path, threads=threads)
    return infer
