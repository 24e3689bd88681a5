"""The measurement of one model file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drupelet_shared.package.manifest import EngineName
from drupelet_shared.timing import Timing

# One thread gives comparable times on every machine, and is the case that scales to several models on one device.
THREADS = 1
_ENGINES: dict[str, EngineName] = {".onnx": "onnxruntime", ".tflite": "litert", ".param": "ncnn"}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One model file, measured in its engine on this machine.

    Attributes:
        path: The model file.
        size_bytes: The size of the file, and of the files beside it that belong to the model.
        metric: The metric's value; higher is better.
        timing: The latency of one inference.
        peak_memory_bytes: Peak resident memory of a process that runs the model; None where it was not measured.
    """

    path: Path
    size_bytes: int
    metric: float
    timing: Timing
    peak_memory_bytes: int | None


def engine_of(path: Path) -> EngineName:
    """Return the name of the engine that loads a model file, by the file's suffix."""
    return _ENGINES[path.suffix]
