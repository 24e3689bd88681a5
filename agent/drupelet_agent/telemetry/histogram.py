"""A latency histogram of bounded memory and known error, after HdrHistogram: linear steps inside powers of two."""

from __future__ import annotations

from drupelet_shared.messages import Percentiles

# 64 steps an octave: a reported value is at most 1/64 (1.6 %) above the recorded one.
_STEP_BITS = 6
_STEPS = 1 << _STEP_BITS
_MAX_MICROSECONDS = 1 << 32


class Histogram:
    """Durations in milliseconds, kept in microsecond buckets; at most 1,728 of them ever exist."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._total = 0
        self._max_ms = 0.0

    def record(self, value_ms: float) -> None:
        """Count one duration."""
        bucket = _bucket(min(_MAX_MICROSECONDS, max(0, int(value_ms * 1e3))))
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._total += 1
        self._max_ms = max(self._max_ms, value_ms)

    def percentiles(self) -> Percentiles | None:
        """The distribution so far; None if nothing was recorded."""
        if not self._total:
            return None
        return Percentiles(
            count=self._total,
            p50_ms=self._quantile(0.50),
            p90_ms=self._quantile(0.90),
            p95_ms=self._quantile(0.95),
            p99_ms=self._quantile(0.99),
            max_ms=round(self._max_ms, 3),
        )

    def _quantile(self, fraction: float) -> float:
        wanted, seen = fraction * self._total, 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                return min(_upper_microseconds(bucket) / 1e3, round(self._max_ms, 3))
        return round(self._max_ms, 3)


def _bucket(microseconds: int) -> int:
    """Values below 2 * _STEPS have a bucket each; above, each power of two has _STEPS of them."""
    shift = max(0, microseconds.bit_length() - _STEP_BITS - 1)
    return (shift << _STEP_BITS) + (microseconds >> shift)


def _upper_microseconds(bucket: int) -> int:
    shift = max(0, (bucket >> _STEP_BITS) - 1)
    return ((bucket - (shift << _STEP_BITS) + 1) << shift) - 1
