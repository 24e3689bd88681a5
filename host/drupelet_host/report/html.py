"""The report as one self-contained page."""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from drupelet_host.report.document import CurveRow, Report
from drupelet_host.report.frontier_chart import draw_frontier
from drupelet_shared.units import format_bytes

_WIDTH, _HEIGHT, _MARGIN = 220, 110, 8


@dataclass(frozen=True, slots=True)
class _Chart:
    title: str
    points: str
    lowest: float
    highest: float


def render_html(report: Report) -> str:
    """The page; it loads nothing from anywhere."""
    environment = Environment(
        loader=PackageLoader("drupelet_host.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bytes"] = format_bytes
    floor = min((metric for curve in report.sensitivity for _, metric in curve.points), default=0.0)
    ceiling = max((metric for curve in report.sensitivity for _, metric in curve.points), default=1.0)
    charts = [_chart(curve, lowest=floor, highest=ceiling) for curve in report.sensitivity]
    template = environment.get_template("report.html.j2")
    frontier = draw_frontier(report.frontier)
    return template.render(report=report, charts=charts, frontier=frontier, width=_WIDTH, height=_HEIGHT) + "\n"


def _chart(curve: CurveRow, *, lowest: float, highest: float) -> _Chart:
    """A polyline; every chart has the same scale, so that groups can be compared at a glance."""
    span = (highest - lowest) or 1.0
    plot_width, plot_height = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN
    corners = [
        f"{_MARGIN + ratio * plot_width:.1f},{_MARGIN + (highest - metric) / span * plot_height:.1f}"
        for ratio, metric in curve.points
    ]
    return _Chart(title=curve.group, points=" ".join(corners), lowest=lowest, highest=highest)
