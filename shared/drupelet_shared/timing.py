"""What timing a session gives; no array library needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Percentiles and mean of single inferences, in milliseconds."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    runs: int
    mean_ms: float


def summarize(times_ms: Sequence[float]) -> Timing:
    """The percentiles (nearest rank) and the mean of at least one measured time."""
    ordered = sorted(times_ms)
    return Timing(
        p50_ms=percentile(ordered, 0.50),
        p95_ms=percentile(ordered, 0.95),
        p99_ms=percentile(ordered, 0.99),
        runs=len(ordered),
        mean_ms=sum(ordered) / len(ordered),
    )


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """The nearest-rank percentile of values in ascending order."""
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]
