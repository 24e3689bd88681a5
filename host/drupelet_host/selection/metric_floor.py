"""The floor of the metric: a variant below it is not packed, even without a constraint."""

from __future__ import annotations

from collections.abc import Mapping

from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.selection.metric_limit import MetricLimit


def find_below_floor(
    measurements: Mapping[str, Measurement], *, baseline: float, floor: float | None, metric: str
) -> dict[str, str]:
    """Return the variants that lost too much of the metric, with the reason in words.

    Args:
        measurements: The variants by id.
        baseline: The metric of the original; for one below zero the floor lies below it too.
        floor: The fraction that a variant keeps; None for no floor.
        metric: The name of the metric.
    """
    if floor is None:
        return {}
    limit = MetricLimit(baseline, (1 - floor) * abs(baseline))
    return {
        name: _describe(measured, limit, metric=metric, floor=floor)
        for name, measured in measurements.items()
        if not limit.allows(measured.metric)
    }


def _describe(measured: Measurement, limit: MetricLimit, *, metric: str, floor: float) -> str:
    where = f" (weakest: {measured.weakest})" if measured.weakest else ""
    return (
        f"its {metric} is {measured.metric:.4g}{where}: the original has {limit.baseline:.4g}, and below "
        f"{limit.lowest:.4g} nothing is packed; constraints.metric_floor = {floor:g} sets that"
    )
