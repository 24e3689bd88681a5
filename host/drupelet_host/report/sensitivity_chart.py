"""Draws sensitivity as small multiples: one curve for each group, on a common scale, with the chosen ratio marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from drupelet_host.report.axes import Axis, linear_axis
from drupelet_host.report.document import CurveRow, Report
from drupelet_host.report.quantities import MetricStyle, format_percent, tick_percent

_WIDTH, _HEIGHT = 230, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 20, 10, 24


@dataclass(frozen=True, slots=True)
class Corner:
    """A measured point of a curve.

    Attributes:
        x: The horizontal position in pixels.
        y: The vertical position in pixels.
        title: The tooltip.
    """

    x: float
    y: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One group's curve.

    Attributes:
        group: The group's name.
        robustness: The mean share of the metric that is kept; 1 means no loss at any ratio.
        corners: The measured points.
        polyline: The measured points in the syntax of the SVG attribute.
        ratio: The pruning ratio that was applied; None where the group was not part of the pruning.
        mark_x: The horizontal position of that ratio in pixels; None where nothing was removed.
        mark_y: The vertical position of the curve there; None beyond the last measured ratio.
        label: A description of the curve for screen readers.
    """

    group: str
    robustness: float
    corners: tuple[Corner, ...]
    polyline: str
    ratio: float | None
    mark_x: float | None
    mark_y: float | None
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityCharts:
    """All sensitivity curves and their common axes.

    Attributes:
        x: The horizontal axis: the pruning ratio.
        y: The vertical axis: the metric.
        curves: The curves, the least robust group first.
        width: The width of each chart in pixels.
        height: The height of each chart in pixels.
    """

    x: Axis
    y: Axis
    curves: tuple[Curve, ...]
    width: int = _WIDTH
    height: int = _HEIGHT


def draw_sensitivity(report: Report) -> SensitivityCharts | None:
    """Draw the charts; return None where no sensitivity was measured."""
    if not report.sensitivity:
        return None
    metric = MetricStyle.of(report.metric)
    values = [value for row in report.sensitivity for _, value in row.points]
    margin = (max(values) - min(values)) * 0.05
    x = linear_axis(0.0, 1.0, start=_LEFT, end=_WIDTH - _RIGHT, tick=tick_percent, most_ticks=2)
    y = linear_axis(
        min(values) - margin, max(values) + margin, start=_HEIGHT - _BOTTOM, end=_TOP, tick=metric.tick, most_ticks=4
    )
    ratios = {row.group: row.ratio for row in report.groups}
    rows = sorted(report.sensitivity, key=lambda row: (row.robustness, row.group))
    return SensitivityCharts(x=x, y=y, curves=tuple(_curve(row, x, y, ratios=ratios, metric=metric) for row in rows))


def _curve(row: CurveRow, x: Axis, y: Axis, *, ratios: Mapping[str, float], metric: MetricStyle) -> Curve:
    corners = tuple(
        Corner(x.place(ratio), y.place(value), f"{format_percent(ratio)} removed: {metric.show(value)}")
        for ratio, value in row.points
    )
    ratio = ratios.get(row.group)
    ends = f"{metric.show(row.points[0][1])} unpruned, {metric.show(row.points[-1][1])} without"
    removed = "" if ratio is None else f"; {format_percent(ratio)} were removed"
    return Curve(
        group=row.group,
        robustness=row.robustness,
        corners=corners,
        polyline=" ".join(f"{corner.x:g},{corner.y:g}" for corner in corners),
        ratio=ratio,
        mark_x=x.place(ratio) if ratio else None,
        mark_y=_height_at(row, ratio, y) if ratio else None,
        label=f"{row.group}: {ends} {format_percent(row.points[-1][0])} of its channels{removed}",
    )


def _height_at(row: CurveRow, ratio: float, y: Axis) -> float | None:
    ratios = [point[0] for point in row.points]
    if ratio > ratios[-1]:
        return None
    return y.place(float(np.interp(ratio, ratios, [point[1] for point in row.points])))
