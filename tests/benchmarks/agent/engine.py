"""An ONNX file run in a loop, as its own process: what the engine does with nothing around it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.child import READY, child, read_line
from drupelet_shared.engines.base import Session
from drupelet_shared.engines.registry import load_engine

_WARM_UP = 5


def measure_engine(model: Path, *, seconds: float, threads: int = 1) -> float:
    """Inferences a second, one after another, on zeros of the model's shape (a variable dimension is one)."""
    with child("benchmarks.agent.engine", [str(model), seconds, threads]) as process:
        return float(read_line(process, timeout_s=seconds + 30))


def main() -> None:
    """Load, say ready, loop, print the rate; the one argument is the file, seconds and threads as JSON."""
    path, seconds, threads = json.loads(sys.argv[1])
    session = load_engine("onnxruntime").load(Path(path), threads=threads)
    print(READY, flush=True)
    print(_loop(session, seconds), flush=True)


def _loop(session: Session, seconds: float) -> float:
    inputs = {spec.name: np.zeros([max(size, 1) for size in spec.shape], np.float32) for spec in session.inputs}
    names = [spec.name for spec in session.outputs]
    for _ in range(_WARM_UP):
        session.run(inputs, names)
    done, start_s = 0, time.monotonic()
    while (elapsed_s := time.monotonic() - start_s) < seconds:
        session.run(inputs, names)
        done += 1
    return done / elapsed_s


if __name__ == "__main__":
    main()
