"""Measures several model files in the engines that will run them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from drupelet_host.data.samples import Samples
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.evaluation.memory import measure_peak_memory
from drupelet_host.evaluation.metrics import Metric
from drupelet_host.evaluation.scoring import evaluate_session
from drupelet_host.latency.engines import THREADS, engine_of
from drupelet_host.latency.source import LatencySource
from drupelet_host.latency.workstation import THOROUGH, TimingBudget, compare_latency
from drupelet_shared.engines.files import model_size_bytes
from drupelet_shared.engines.registry import load_engine


def measure_models(
    paths: Mapping[str, Path],
    samples: Samples,
    metric: Metric,
    *,
    budget: TimingBudget = THOROUGH,
    memory: bool = True,
    source: LatencySource | None = None,
) -> dict[str, Measurement]:
    """Load each model in its engine, score it over all samples, and time all models in alternation.

    Args:
        paths: The model files by name.
        samples: The samples that are scored; the first one is also the input of the timed inferences.
        metric: Scores the outputs.
        budget: How long each model is timed.
        memory: Whether to measure the peak memory of each model, in a process of its own.
        source: What tells the latency on the target besides; None where it decides nothing, or is this machine's.

    Returns:
        The measurement of each model by name.

    Raises:
        EngineError: A model does not load or run.
        DataError: The samples lack the labels or reference outputs that the metric needs.
        LatencyError: The latency source has no numbers for a model.
    """
    sessions = {name: load_engine(engine_of(path)).load(path, threads=THREADS) for name, path in paths.items()}
    timings = compare_latency(sessions, samples.feeds[0], budget=budget)
    latencies = {} if source is None else source.measure(paths, feed=samples.feeds[0])
    return {
        name: Measurement(
            path=path,
            size_bytes=model_size_bytes(path),
            metric=evaluate_session(sessions[name], samples, metric),
            timing=timings[name],
            peak_memory_bytes=_peak_memory(path, samples) if memory else None,
            latency=latencies.get(name),
        )
        for name, path in paths.items()
    }


def _peak_memory(path: Path, samples: Samples) -> int:
    return measure_peak_memory(path, samples.feeds[0], engine=engine_of(path), threads=THREADS)
