"""The limit on the metric of a model, and the drop of a metric."""

from __future__ import annotations

from dataclasses import dataclass

# Metrics are ratios of counts: without rounding, 0.99 - 0.98 is more than 0.01.
_DIGITS = 9


def metric_drop(baseline: float, metric: float) -> float:
    """Return how far a metric is below a baseline; negative if it is above."""
    return round(baseline - metric, _DIGITS)


@dataclass(frozen=True, slots=True)
class MetricLimit:
    """The largest drop of the metric allowed.

    Attributes:
        baseline: The metric of the original.
        max_drop: The largest drop allowed, a fraction: 0.01 is one point. If it is negative the metric must rise.
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
