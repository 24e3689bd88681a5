"""Inferences between marks for the counting plugin; runs in the emulated Python, with the agent's own engine adapters.

Arguments: the engine, the model file, how many inferences are marked.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.instructions.marks import mark_inferences
from drupelet_shared.engines.base import Array, Session, example_inputs
from drupelet_shared.engines.registry import load_engine


def main() -> None:
    """Mark before each inference, and after the last."""
    engine, path, runs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    session = load_engine(engine).load(path, threads=1)
    inputs, outputs = _inputs(session), [spec.name for spec in session.outputs]
    mark_inferences(lambda: session.run(inputs, outputs), model=path, runs=runs)


def _inputs(session: Session) -> Mapping[str, Array]:
    """Return the same noise every time for floats, zeros for the rest; variable dimensions are 1."""
    generator = np.random.default_rng(0)
    return {
        name: generator.standard_normal(zeros.shape).astype(zeros.dtype) if zeros.dtype.kind == "f" else zeros
        for name, zeros in example_inputs(session.inputs).items()
    }


if __name__ == "__main__":
    main()
