"""ONNX Runtime, LiteRT and ncnn as the agent runs them: through the product's own adapters."""

from __future__ import annotations

from pathlib import Path

from benchmarks.engines.runtimes import Infer
from drupelet_shared.engines.registry import load_engine


def load(runtime: str, path: Path, *, threads: int) -> Infer:
    """See `benchmarks.engines.runtimes.load`."""
    session = load_engine(runtime).load(path, threads=threads)
    (taken,), (given,) = session.inputs, session.outputs
    return lambda image: session.run({taken.name: image}, [given.name])[given.name]
