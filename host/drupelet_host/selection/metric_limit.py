"""The lowest metric that a model may have, and how far a metric fell."""

from __future__ import annotations

from dataclasses import dataclass

# Metrics are ratios of counts: without rounding, 0.99 - 0.98 is more than 0.01.
_DIGITS = 9


def metric_drop(baseline: float, metric: float) -> float:
    """How far a metric fell below a baseline; negative where it rose."""
    return round(baseline - metric, _DIGITS)


@dataclass(frozen=True, slots=True)
class MetricLimit:
    """How far the metric may fall.

    Attributes:
        baseline: The metric of the original.
        max_drop: The largest drop allowed, a fraction: 0.01 is one point. Below 0 the metric must rise.
    """

    baseline: float
    max_drop: float

    @property
    def lowest(self) -> float:
        """The lowest metric allowed."""
        return round(self.baseline - self.max_drop, _DIGITS)

    def allows(self, metric: float) -> bool:
        """Return whether a metric is within the limit."""
        return metric >= self.lowest
