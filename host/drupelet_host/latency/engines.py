"""Which engine loads a model file, and with how many threads the compiler measures."""

from __future__ import annotations

from pathlib import Path

from drupelet_shared.package.manifest import EngineName

# One thread gives comparable times on every machine, and is the case that scales to several models on one device.
THREADS = 1
_ENGINES: dict[str, EngineName] = {".onnx": "onnxruntime", ".tflite": "litert", ".param": "ncnn"}


def engine_of(path: Path) -> EngineName:
    """Return the name of the engine that loads a model file, by the file's suffix."""
    return _ENGINES[path.suffix]
