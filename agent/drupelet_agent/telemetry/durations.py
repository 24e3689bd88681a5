"""Durations since the start, counted in the fixed buckets of a Prometheus histogram."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

# Seconds; each bound is inclusive, and one more bucket counts durations beyond the last bound.
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Durations:
    """A Prometheus histogram of durations."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def cumulative(self) -> list[tuple[float, int]]:
        """Return the number of durations up to each bound, infinity last."""
        bounds = (*BOUNDS_S, float("inf"))
        return list(zip(bounds, accumulate(self._counts), strict=True))
