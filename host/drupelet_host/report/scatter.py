"""A scatter chart: metric (vertical) against cost (horizontal), with limits as lines and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from drupelet_host.report.axes import Axis, Format, cost_axis, linear_axis
from drupelet_host.selection.pareto import pareto_front

_WIDTH, _HEIGHT = 480, 310
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 18, 26, 48
# Dots far below the best would compress the rest of the scale, so they are drawn at its lower edge. The scale extends
# down by the largest of: this many allowed drops, this many times the drop of the worst kept dot, this share.
_DROPS, _KEPT_SPANS, _LEAST_SHARE = 4.0, 2.0, 0.02
_ABOVE_EDGE = 14
# Labels closer to each other than this would overlap.
_LABEL_WIDTH, _LABEL_HEIGHT = 22, 12
_SHAPES = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0z",
    "M-4.5 -4.5h9v9h-9z",
    "M0 -5.8L5.8 4.6H-5.8z",
    "M0 -6.2L6.2 0L0 6.2L-6.2 0z",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point to draw.

    Attributes:
        cost: The horizontal value; positive.
        metric: The vertical value.
        series: The name of the series, which determines the shape of the dot.
        is_kept: Whether the candidate was kept: the dot is filled, otherwise hollow.
        is_chosen: Whether the candidate was chosen: the dot has a ring.
        label: Short text beside the dot, drawn where it does not overlap others.
        title: The tooltip.
    """

    cost: float
    metric: float
    series: str
    is_kept: bool
    is_chosen: bool
    label: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A point of the chart.

    Attributes:
        shape: The SVG path of the dot.
        is_chosen: Whether the candidate was chosen: the dot has a ring.
        x: The horizontal position in pixels.
        y: The vertical position in pixels.
        is_kept: Whether the candidate was kept.
        is_below: Whether the value is below the scale, so that the dot is drawn at its lower edge.
        is_on_edge: Whether the point is on the Pareto front.
        label: The text beside the dot; empty where it would overlap others.
        title: The tooltip.
    """

    x: float
    y: float
    shape: str
    is_kept: bool
    is_chosen: bool
    is_below: bool
    is_on_edge: bool
    label: str
    title: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit set by a constraint, with its label."""

    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """The line of a limit across the chart.

    Attributes:
        position: The position in pixels.
        text: Its label.
        is_past_middle: Whether the line is in the second half of the axis; its label is then placed before it.
    """

    position: float
    text: str
    is_past_middle: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """The drawing of a scatter chart, in pixels from the upper left corner.

    Attributes:
        series: The legend: name and SVG path of each series.
        x: The horizontal axis.
        y: The vertical axis.
        x_label: The title of the horizontal axis.
        y_label: The title of the vertical axis.
        dots: The points.
        edge: The SVG path of the Pareto front.
        x_limit: The limit of the horizontal axis, if there is one.
        y_limit: The limit of the vertical axis, if there is one.
        width: The width of the chart.
        height: The height of the chart.
    """

    x: Axis
    y: Axis
    x_label: str
    y_label: str
    dots: tuple[Dot, ...]
    edge: str
    x_limit: Line | None
    y_limit: Line | None
    series: tuple[tuple[str, str], ...]
    width: int = _WIDTH
    height: int = _HEIGHT

    @property
    def allowed(self) -> tuple[float, float] | None:
        """The lower right corner of the area within the limits, which begins at the upper left; None without limits."""
        if self.x_limit is None and self.y_limit is None:
            return None
        return (
            self.x_limit.position if self.x_limit else self.x.end,
            self.y_limit.position if self.y_limit else self.y.start,
        )

    @property
    def has_dots_below(self) -> bool:
        """Whether any dot is below the scale."""
        return any(dot.is_below for dot in self.dots)


def draw_scatter(
    points: Sequence[Point],
    *,
    x_label: str,
    y_label: str,
    x_tick: Format,
    y_tick: Format,
    x_limit: Limit | None = None,
    y_limit: Limit | None = None,
) -> Scatter:
    """Draw a chart of at least one point; the axes include the limits.

    Args:
        points: The points.
        x_label: The title of the horizontal axis.
        y_label: The title of the vertical axis.
        x_tick: Formats the ticks of the horizontal axis.
        y_tick: Formats the ticks of the vertical axis.
        x_limit: The limit of the cost, if there is one.
        y_limit: The limit of the metric, if there is one.

    Returns:
        The chart.
    """
    costs = [point.cost for point in points] + ([x_limit.value] if x_limit else [])
    x = cost_axis(costs, start=_LEFT, end=_WIDTH - _RIGHT, tick=x_tick)
    y = _metric_axis(points, y_limit, tick=y_tick)
    edge = undominated(points)
    shapes = dict(zip(dict.fromkeys(point.series for point in points), _SHAPES * len(points), strict=False))
    dots = [_dot(point, x, y, shape=shapes[point.series], is_on_edge=point in edge) for point in points]
    return Scatter(
        x=x,
        y=y,
        x_label=x_label,
        y_label=y_label,
        dots=_space_labels(dots),
        edge=_staircase([point for point in edge if point.metric >= y.low], x, y),
        x_limit=_line(x_limit, x),
        y_limit=_line(y_limit, y),
        series=tuple(shapes.items()),
    )


def undominated(points: Sequence[Point]) -> list[Point]:
    """Return the Pareto front of the points, cheapest first."""
    return pareto_front(points, cost=lambda point: point.cost, value=lambda point: point.metric)


def _metric_axis(points: Sequence[Point], limit: Limit | None, *, tick: Format) -> Axis:
    highest = max(point.metric for point in points)
    drop = highest - limit.value if limit else 0.0
    lowest_kept = min((point.metric for point in points if point.is_kept), default=highest)
    floor = highest - max(_DROPS * drop, _KEPT_SPANS * (highest - lowest_kept), _LEAST_SHARE * abs(highest))
    seen = [max(point.metric, floor) for point in points] + ([limit.value] if limit else [])
    low, high = min(seen), max(seen)
    padding = max((high - low) * 0.08, abs(high) * 0.002)
    return linear_axis(low - padding, high + padding, start=_HEIGHT - _BOTTOM, end=_TOP, tick=tick)


def _dot(point: Point, x: Axis, y: Axis, *, shape: str, is_on_edge: bool) -> Dot:
    is_below = point.metric < y.low
    return Dot(
        x=x.place(point.cost),
        y=y.start - _ABOVE_EDGE if is_below else y.place(point.metric),
        shape=shape,
        is_kept=point.is_kept,
        is_chosen=point.is_chosen,
        is_below=is_below,
        is_on_edge=is_on_edge,
        label=point.label,
        title=point.title,
    )


def _space_labels(dots: Sequence[Dot]) -> tuple[Dot, ...]:
    """Drop labels that would overlap others: the chosen dot keeps its label, then come the front and what was kept."""
    labelled: list[Dot] = []
    for dot in sorted((dot for dot in dots if dot.label), key=_rank):
        if all(abs(dot.x - o.x) >= _LABEL_WIDTH or abs(dot.y - o.y) >= _LABEL_HEIGHT for o in labelled):
            labelled.append(dot)
    return tuple(dot if dot in labelled else replace(dot, label="") for dot in dots)


def _rank(dot: Dot) -> tuple[bool, bool, bool]:
    return not dot.is_chosen, not dot.is_on_edge, not dot.is_kept


def _staircase(edge: Sequence[Point], x: Axis, y: Axis) -> str:
    corners = [(x.place(point.cost), y.place(point.metric)) for point in edge]
    if not corners:
        return ""
    steps = [f"H{right:g}V{higher:g}" for (_, _), (right, higher) in pairwise(corners)]
    # To the axes, so that the front of one point is seen too.
    return f"M{corners[0][0]:g} {y.start:g}V{corners[0][1]:g}{''.join(steps)}H{x.end:g}"


def _line(limit: Limit | None, axis: Axis) -> Line | None:
    if limit is None:
        return None
    position = axis.place(limit.value)
    return Line(position, limit.text, position > (axis.start + axis.end) / 2)
