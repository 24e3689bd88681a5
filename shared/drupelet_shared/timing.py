"""Statistics of measured times: percentiles and their confidence intervals; needs no array library.

Sources: for the nearest rank, Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50
(1996), definition 1; for the intervals, Hahn and Meeker, "Statistical Intervals", Wiley (1991), section 5.2. They hold
for every continuous distribution of times: the number of times below a percentile is binomial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CONFIDENCE = 0.95
# Products such as 0.99 * 300 are a little more than the integer they stand for.
_ROUNDING = 1e-9
# Less than one part in 10**12 of a binomial distribution lies further below its mean.
_NEGLIGIBLE_DEVIATIONS = 9


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval in milliseconds.

    Attributes:
        low_ms: The lower bound.
        high_ms: The upper bound; infinite where there are too few runs to bound a high percentile.
    """

    low_ms: float
    high_ms: float

    def overlaps(self, other: Interval) -> bool:
        """Return whether the two intervals have a value in common."""
        return self.low_ms <= other.high_ms and other.low_ms <= self.high_ms


@dataclass(frozen=True, slots=True)
class Timing:
    """Percentiles and mean of single inferences, in milliseconds.

    Attributes:
        p50_ms: The median.
        p95_ms: The 95th percentile.
        p99_ms: The 99th percentile.
        runs: How many inferences were timed.
        mean_ms: The mean.
        p50_interval: The 95 % confidence interval of the median; None where it is not known.
        p99_interval: The same of the 99th percentile.
    """

    p50_ms: float
    p95_ms: float
    p99_ms: float
    runs: int
    mean_ms: float
    p50_interval: Interval | None = None
    p99_interval: Interval | None = None


def summarize(times_ms: Sequence[float]) -> Timing:
    """Return the percentiles (nearest rank), their intervals and the mean of at least one measured time."""
    ordered = sorted(times_ms)
    return Timing(
        p50_ms=percentile(ordered, 0.50),
        p95_ms=percentile(ordered, 0.95),
        p99_ms=percentile(ordered, 0.99),
        runs=len(ordered),
        mean_ms=sum(ordered) / len(ordered),
        p50_interval=percentile_interval(ordered, 0.50),
        p99_interval=percentile_interval(ordered, 0.99),
    )


def is_precise(timing: Timing, precision: float, *, percentile: Literal["p50", "p99"] = "p50") -> bool:
    """Return whether a percentile is known to a fraction of itself: half the width of its interval is at most that.

    Args:
        timing: The measured times.
        precision: The fraction.
        percentile: The percentile.
    """
    is_median = percentile == "p50"
    value_ms, interval = (timing.p50_ms, timing.p50_interval) if is_median else (timing.p99_ms, timing.p99_interval)
    return interval is not None and interval.high_ms - interval.low_ms <= 2 * precision * value_ms


def nearest_rank(count: int, fraction: float) -> int:
    """Return a percentile's rank, from 1, among this many values: `fraction` of them have that rank or a lower one."""
    return max(1, math.ceil(fraction * count - _ROUNDING))


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """Return the nearest-rank percentile of at least one value in ascending order."""
    return ordered[nearest_rank(len(ordered), fraction) - 1]


def percentile_interval(ordered: Sequence[float], fraction: float, *, confidence: float = CONFIDENCE) -> Interval:
    """Determine the confidence interval of a percentile.

    Each side has half of the probability that the interval misses the percentile.

    Args:
        ordered: The measured times in milliseconds, ascending; at least one.
        fraction: The percentile, between 0 and 1.
        confidence: How likely the interval contains the true percentile, between 0 and 1.

    Returns:
        An interval between two of the values; a side for which there are too few of them is open: zero, or infinite.
    """
    tail = (1 - confidence) / 2
    low_rank, high_rank = _rank_bounds(len(ordered), fraction, tail)
    return Interval(
        low_ms=ordered[low_rank - 1] if low_rank >= 1 else 0.0,
        high_ms=ordered[high_rank - 1] if high_rank <= len(ordered) else math.inf,
    )


def _rank_bounds(count: int, fraction: float, tail: float) -> tuple[int, int]:
    """Return the ranks, from 1, whose values lie beyond the true percentile with a probability of at most `tail` each.

    The number of values below the true percentile is binomial: the value of rank r lies above it when fewer than r are
    below. A side that no value bounds has the rank 0 or `count + 1`.
    """
    mean, deviation = count * fraction, math.sqrt(count * fraction * (1 - fraction))
    cumulative, low, high = 0.0, 0, count + 1
    for below in range(max(0, int(mean - _NEGLIGIBLE_DEVIATIONS * deviation)), count + 1):
        cumulative += _binomial(count, below, fraction)
        if cumulative <= tail:
            low = below + 1
        if cumulative >= 1 - tail:
            high = below + 1
            break
    return low, high


def _binomial(count: int, successes: int, fraction: float) -> float:
    log_ways = math.lgamma(count + 1) - math.lgamma(successes + 1) - math.lgamma(count - successes + 1)
    return math.exp(log_ways + successes * math.log(fraction) + (count - successes) * math.log1p(-fraction))
