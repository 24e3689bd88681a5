"""Caches measurements of a package, so that it is not measured twice under the same conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import metadata

from drupelet_agent import __version__
from drupelet_agent.config.tuning import TuningConfig
from drupelet_agent.device.snapshot import Snapshot
from drupelet_agent.planning.candidates import PlanCandidate
from drupelet_agent.planning.choice import CandidateMeasurement
from drupelet_agent.store.measurements import KeptMeasurement, KeptMeasurements
from drupelet_shared.timing import Interval, Timing

_MAX_CONDITIONS = 8
_ENGINE_DISTRIBUTIONS = ("onnxruntime", "ai-edge-litert", "tflite-runtime", "ncnn")


def conditions_key(snapshot: Snapshot, config: TuningConfig) -> str:
    """Return the conditions under which a measurement of a package is valid.

    Memory limits are no part of them: whether a footprint fits is checked at each choice, and limits change no time.
    """
    parts = {
        "agent": __version__,
        **{name: version for name in _ENGINE_DISTRIBUTIONS if (version := _version(name))},
        "cpu": snapshot.cpu_model,
        "cores": snapshot.cores,
        "quota": snapshot.cpu_quota,
        "throttled": bool(snapshot.throttled),
        # Percentiles of few runs do not compare with those of many.
        "measured": f"{config.objective} {config.warmup}+{config.runs} runs in turns in {config.max_seconds:g} s",
    }
    return "; ".join(f"{name}={value}" for name, value in parts.items())


def look_up(kept: KeptMeasurements, key: str, candidate: PlanCandidate) -> CandidateMeasurement | None:
    """Look up the measurement of a candidate under some conditions.

    Args:
        kept: The measurements of the package.
        key: The conditions.
        candidate: The candidate.

    Returns:
        The measurement; None if there is none.
    """
    for known in kept.by_conditions.get(key, ()):
        if (known.variant, known.threads, known.instances) == candidate.key:
            return CandidateMeasurement(
                candidate=candidate,
                timing=Timing(
                    p50_ms=known.p50_ms,
                    p95_ms=known.p95_ms,
                    p99_ms=known.p99_ms,
                    runs=known.runs,
                    mean_ms=known.mean_ms,
                    p50_interval=_to_interval(known.p50_interval_ms),
                    p99_interval=_to_interval(known.p99_interval_ms),
                ),
                throughput_per_s=known.throughput_per_s,
                footprint_bytes=known.footprint_bytes,
            )
    return None


def add(kept: KeptMeasurements, key: str, measurements: Sequence[CandidateMeasurement]) -> KeptMeasurements:
    """Add new measurements in place of older ones of the same candidates; the oldest conditions are dropped.

    Args:
        kept: The measurements of the package.
        key: The conditions of the new ones.
        measurements: The new ones.

    Returns:
        The old and the new measurements.
    """
    new = {measurement.candidate.key: _to_record(measurement) for measurement in measurements}
    old = {(one.variant, one.threads, one.instances): one for one in kept.by_conditions.get(key, ())}
    others = [(other, known) for other, known in kept.by_conditions.items() if other != key]
    latest = [*others[-(_MAX_CONDITIONS - 1) :], (key, tuple((old | new).values()))]
    return KeptMeasurements(by_conditions=dict(latest))


def _to_record(measurement: CandidateMeasurement) -> KeptMeasurement:
    timing, (variant, threads, instances) = measurement.timing, measurement.candidate.key
    return KeptMeasurement(
        variant=variant,
        threads=threads,
        instances=instances,
        p50_ms=timing.p50_ms,
        p95_ms=timing.p95_ms,
        p99_ms=timing.p99_ms,
        mean_ms=timing.mean_ms,
        runs=timing.runs,
        p50_interval_ms=_to_pair(timing.p50_interval),
        p99_interval_ms=_to_pair(timing.p99_interval),
        throughput_per_s=measurement.throughput_per_s,
        footprint_bytes=measurement.footprint_bytes,
    )


def _to_pair(interval: Interval | None) -> tuple[float, float | None] | None:
    if interval is None:
        return None
    return interval.low_ms, None if math.isinf(interval.high_ms) else interval.high_ms


def _to_interval(pair: tuple[float, float | None] | None) -> Interval | None:
    if pair is None:
        return None
    low_ms, high_ms = pair
    return Interval(low_ms, math.inf if high_ms is None else high_ms)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
