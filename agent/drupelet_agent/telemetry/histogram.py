"""A latency histogram of bounded memory and known error, after HdrHistogram: linear steps within powers of two."""

from __future__ import annotations

from drupelet_shared.contract.messages import Percentiles
from drupelet_shared.timing import nearest_rank

# 64 steps an octave: a reported value is at most 1/64 (1.6 %) above the recorded one, or 1 µs if that is more.
_STEP_BITS = 6
MAX_RELATIVE_ERROR = 1 / (1 << _STEP_BITS)
# 71 minutes. A longer duration counts in the last bucket, and is reported as the maximum.
_MAX_MICROSECONDS = (1 << 32) - 1


class Histogram:
    """Counts durations in buckets of microseconds, of which at most 1,728 exist."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._counts: dict[int, int] = {}
        self._total = 0
        self._max_ms = 0.0
        self._sum_ms = 0.0

    @property
    def buckets(self) -> int:
        """How many buckets are in use."""
        return len(self._counts)

    def record(self, value_ms: float) -> None:
        """Count one duration; a negative one, which a clock that was set back gives, counts as 0."""
        value_ms = max(0.0, value_ms)
        microseconds = _MAX_MICROSECONDS if value_ms >= _MAX_MICROSECONDS / 1e3 else int(value_ms * 1e3)
        bucket = _bucket(microseconds)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._total += 1
        self._max_ms = max(self._max_ms, value_ms)
        self._sum_ms += value_ms

    def percentiles(self) -> Percentiles | None:
        """Return the distribution so far; None if nothing was recorded."""
        if not self._total:
            return None
        return Percentiles(
            count=self._total,
            p50_ms=self._quantile(0.50),
            p90_ms=self._quantile(0.90),
            p95_ms=self._quantile(0.95),
            p99_ms=self._quantile(0.99),
            max_ms=round(self._max_ms, 3),
            mean_ms=round(self._sum_ms / self._total, 3),
        )

    def _quantile(self, fraction: float) -> float:
        rank, seen = nearest_rank(self._total, fraction), 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= rank and bucket != _LAST_BUCKET:
                return min(_upper_microseconds(bucket) / 1e3, round(self._max_ms, 3))
        return round(self._max_ms, 3)


def _bucket(microseconds: int) -> int:
    """Return the bucket: each value below 2 * 2**_STEP_BITS has its own; above, each power of two has 2**_STEP_BITS."""
    shift = max(0, microseconds.bit_length() - _STEP_BITS - 1)
    return (shift << _STEP_BITS) + (microseconds >> shift)


def _upper_microseconds(bucket: int) -> int:
    shift = max(0, (bucket >> _STEP_BITS) - 1)
    return ((bucket - (shift << _STEP_BITS) + 1) << shift) - 1


_LAST_BUCKET = _bucket(_MAX_MICROSECONDS)
