"""Durations counted since the start in the fixed buckets that Prometheus wants."""

from __future__ import annotations

from bisect import bisect_left

# Seconds; each bound is inclusive, and one more bucket takes what is beyond the last.
BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Durations:
    """A Prometheus histogram of durations."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def cumulative(self) -> list[tuple[float, int]]:
        """How many durations were at most as long as each bound, infinity last."""
        found, seen = [], 0
        for bound, count in zip((*BOUNDS_S, float("inf")), self._counts, strict=True):
            seen += count
            found.append((bound, seen))
        return found
