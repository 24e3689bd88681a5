"""The statistics of a benchmark's samples."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Distribution:
    """Samples in few numbers; the quartiles are the spread."""

    count: int
    lower_quartile: float
    median: float
    upper_quartile: float
    p99: float
    maximum: float


def describe(samples: Sequence[float]) -> Distribution:
    """Summarise at least two samples; percentiles between two samples are interpolated."""
    hundredths = statistics.quantiles(samples, n=100, method="inclusive")
    lower, median, upper, p99 = (round(hundredths[percent - 1], _DIGITS) for percent in (25, 50, 75, 99))
    return Distribution(
        count=len(samples),
        lower_quartile=lower,
        median=median,
        upper_quartile=upper,
        p99=p99,
        maximum=round(max(samples), _DIGITS),
    )
