"""Inferences between marks for the counting plugin; runs in the emulated Python, with the agent's own engine adapters.

Arguments: the engine, the model file, how many inferences are marked.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from drupelet_shared.engines.base import Array, Session, example_inputs
from drupelet_shared.engines.registry import load_engine

# As deploy/emulator/count_instructions.c knows it.
_MARK = 0x4452
# The first inference allocates, the second may still pack weights. The interpreter specialises its byte code a few
# calls later, which moves the count by about 2,000: too much for a small model and nothing for a large one.
_WARMUP, _WARMUP_SMALL = 2, 16
_SMALL_BYTES = 2**20


def main() -> None:
    """Mark before each inference, and after the last."""
    engine, path, runs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    session = load_engine(engine).load(path, threads=1)
    inputs, outputs = _inputs(session), [spec.name for spec in session.outputs]
    mark = ctypes.CDLL(None).getpriority
    for _ in range(_WARMUP_SMALL if path.stat().st_size < _SMALL_BYTES else _WARMUP):
        session.run(inputs, outputs)
    # A collection would land in whichever inference comes next.
    gc.disable()
    for number in range(runs):
        mark(_MARK, number)
        session.run(inputs, outputs)
    mark(_MARK, runs)


def _inputs(session: Session) -> Mapping[str, Array]:
    """The same noise every time for floats, zeros for the rest; variable dimensions are 1."""
    generator = np.random.default_rng(0)
    return {
        name: generator.standard_normal(zeros.shape).astype(zeros.dtype) if zeros.dtype.kind == "f" else zeros
        for name, zeros in example_inputs(session.inputs).items()
    }


if __name__ == "__main__":
    main()
