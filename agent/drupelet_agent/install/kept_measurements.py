"""Measurements that are kept, so that the same package under the same conditions is not measured twice."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

from drupelet_agent import __version__
from drupelet_agent.config.sections import TuningConfig
from drupelet_agent.device.snapshot import Snapshot
from drupelet_agent.planning.choice import Candidate, Measurement
from drupelet_agent.store.measurements import KeptMeasurement, KeptMeasurements
from drupelet_shared.timing import Timing

_CONDITIONS_KEPT = 8
_ENGINE_DISTRIBUTIONS = ("onnxruntime", "ai-edge-litert", "tflite-runtime", "ncnn")


def key_of(snapshot: Snapshot, config: TuningConfig) -> str:
    """The conditions that a measurement holds for, besides the package's own digest.

    Memory limits are no part of them: whether a footprint fits is asked anew each time, and they change no time.
    """
    parts = {
        "agent": __version__,
        **{name: version for name in _ENGINE_DISTRIBUTIONS if (version := _version(name))},
        "cpu": snapshot.cpu_model,
        "cores": snapshot.cores,
        "quota": snapshot.cpu_quota,
        "throttled": bool(snapshot.throttled),
        # Percentiles of few runs and of many do not compare.
        "measured": f"{config.objective} {config.warmup}+{config.runs} runs in {config.max_seconds:g} s",
    }
    return "; ".join(f"{name}={value}" for name, value in parts.items())


def recall(kept: KeptMeasurements, key: str, candidate: Candidate) -> Measurement | None:
    """What a candidate did under these conditions, if that is known."""
    for known in kept.by_conditions.get(key, ()):
        if (known.variant, known.threads, known.instances) == _identity(candidate):
            return Measurement(
                candidate=candidate,
                timing=Timing(
                    p50_ms=known.p50_ms,
                    p95_ms=known.p95_ms,
                    p99_ms=known.p99_ms,
                    runs=known.runs,
                    mean_ms=known.mean_ms,
                ),
                throughput_per_s=known.throughput_per_s,
                footprint_bytes=known.footprint_bytes,
            )
    return None


def remember(kept: KeptMeasurements, key: str, measurements: Sequence[Measurement]) -> KeptMeasurements:
    """Add measurements in place of older ones of the same candidates; the oldest conditions are forgotten first."""
    new = {_identity(measurement.candidate): _to_record(measurement) for measurement in measurements}
    old = {(one.variant, one.threads, one.instances): one for one in kept.by_conditions.get(key, ())}
    others = [(other, known) for other, known in kept.by_conditions.items() if other != key]
    latest = [*others[-(_CONDITIONS_KEPT - 1) :], (key, tuple((old | new).values()))]
    return KeptMeasurements(by_conditions=dict(latest))


def _identity(candidate: Candidate) -> tuple[str, int, int]:
    return candidate.variant.id, candidate.threads, candidate.instances


def _to_record(measurement: Measurement) -> KeptMeasurement:
    timing = measurement.timing
    return KeptMeasurement(
        variant=measurement.candidate.variant.id,
        threads=measurement.candidate.threads,
        instances=measurement.candidate.instances,
        p50_ms=timing.p50_ms,
        p95_ms=timing.p95_ms,
        p99_ms=timing.p99_ms,
        mean_ms=timing.mean_ms,
        runs=timing.runs,
        throughput_per_s=measurement.throughput_per_s,
        footprint_bytes=measurement.footprint_bytes,
    )


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
