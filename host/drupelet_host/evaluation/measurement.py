"""What is known of one model file once it was measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drupelet_shared.package.manifest import EngineName
from drupelet_shared.timing import Timing

# One thread: the same on every machine that compiles, and the case that scales to several models on one device.
THREADS = 1
_ENGINES: dict[str, EngineName] = {".onnx": "onnxruntime", ".tflite": "litert", ".param": "ncnn"}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One model file in its engine, on this machine; the peak memory is None where nobody asked for it."""

    path: Path
    size_bytes: int
    metric: float
    timing: Timing
    peak_memory_bytes: int | None


def engine_of(path: Path) -> EngineName:
    """The name of the engine that loads a model file."""
    return _ENGINES[path.suffix]
