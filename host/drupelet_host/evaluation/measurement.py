"""Everything that is measured of one model file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drupelet_host.data.dataset import Dataset
from drupelet_host.evaluation.latency import compare_latency
from drupelet_host.evaluation.memory import measure_peak_memory
from drupelet_host.evaluation.metrics import evaluate_session
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.engines.timing import Timing
from drupelet_shared.manifest import EngineName

ENGINE = "onnxruntime"
# One thread: the same on every machine that compiles, and the case that scales to several models on one device.
THREADS = 1
_ENGINES: dict[str, EngineName] = {".onnx": "onnxruntime", ".tflite": "litert"}


@dataclass(frozen=True, slots=True)
class Measurement:
    """One model file in its engine, on this machine."""

    path: Path
    size_bytes: int
    metric: float
    timing: Timing
    peak_memory_bytes: int


def engine_of(path: Path) -> EngineName:
    """The name of the engine that loads a model file."""
    return _ENGINES[path.suffix]


def measure_models(paths: Mapping[str, Path], validation: Dataset) -> dict[str, Measurement]:
    """Load each model in its engine, measure it over the whole validation data, and time all of them in turns.

    Args:
        paths: The model files by name.
        validation: Labelled samples.

    Raises:
        EngineError: A model does not load or run.
    """
    sessions = {name: load_engine(engine_of(path)).load(path, threads=THREADS) for name, path in paths.items()}
    timings = compare_latency(sessions)
    return {
        name: Measurement(
            path=path,
            size_bytes=path.stat().st_size,
            metric=evaluate_session(sessions[name], validation),
            timing=timings[name],
            peak_memory_bytes=measure_peak_memory(path, engine=engine_of(path), threads=THREADS),
        )
        for name, path in paths.items()
    }
