"""Draws the candidates of a search: the metric against size, and against latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from drupelet_host.report.document import CandidateRow, Report
from drupelet_host.report.quantities import MetricStyle, format_ms, tick_bytes, tick_count, tick_ms
from drupelet_host.report.scatter import Limit, Point, Scatter, draw_scatter
from drupelet_shared.units import format_bytes


@dataclass(frozen=True, slots=True)
class Frontier:
    """The charts of a search: the metric against size and against latency."""

    by_size: Scatter
    by_latency: Scatter


def draw_frontier(report: Report) -> Frontier | None:
    """Draw both charts with the constraints as limits; return None if there was no search."""
    if not report.frontier:
        return None
    metric, size = MetricStyle.of(report.metric), report.limit("max_size")
    size_limit = None if size is None else Limit(size, f"at most {format_bytes(size)}")
    latency_ms = report.limit_ms
    latency_limit = None if latency_ms is None else Limit(latency_ms, f"at most {format_ms(latency_ms)}")
    return Frontier(
        by_size=draw_scatter(
            _points(report, lambda row: row.size_bytes),
            x_label="size",
            y_label=metric.label,
            x_tick=tick_bytes,
            y_tick=metric.tick,
            x_limit=size_limit,
            y_limit=_metric_limit(report, metric),
        ),
        by_latency=draw_scatter(
            _points(report, lambda row: row.p50_ms),
            x_label="p50 latency",
            y_label=metric.label,
            x_tick=tick_ms,
            y_tick=metric.tick,
            x_limit=latency_limit,
            y_limit=_metric_limit(report, metric),
        ),
    )


def draw_steps(report: Report) -> Scatter | None:
    """Draw the steps towards a fixed pruning ratio: metric against parameters; return None without steps."""
    if not report.steps:
        return None
    metric = MetricStyle.of(report.metric)
    kept = [number for number, step in enumerate(report.steps, start=1) if step.kept]
    points = [
        Point(
            cost=step.parameters,
            metric=step.metric,
            series="step",
            is_kept=step.kept,
            is_chosen=kept[-1:] == [number],
            label=f"step {number}",
            title=f"step {number}, {_decision(is_kept=step.kept)}: {metric.show(step.metric)}",
        )
        for number, step in enumerate(report.steps, start=1)
    ]
    return draw_scatter(
        points,
        x_label="parameters",
        y_label=metric.label,
        x_tick=tick_count,
        y_tick=metric.tick,
        y_limit=_metric_limit(report, metric),
    )


def _points(report: Report, cost: Callable[[CandidateRow], float]) -> list[Point]:
    metric = MetricStyle.of(report.metric)
    return [
        Point(
            cost=cost(row),
            metric=row.metric,
            series=row.variant,
            is_kept=row.kept,
            is_chosen=row.chosen,
            label=str(row.candidate),
            title=_title(row, metric),
        )
        for row in report.frontier
    ]


def _title(row: CandidateRow, metric: MetricStyle) -> str:
    chosen = ", chosen" if row.chosen else ""
    return (
        f"candidate {row.candidate} as {row.variant}, {_decision(is_kept=row.kept)}{chosen}: {metric.show(row.metric)},"
        f" {format_bytes(row.size_bytes)}, {format_ms(row.p50_ms)}"
    )


def _decision(*, is_kept: bool) -> str:
    return "kept" if is_kept else "rolled back"


def _metric_limit(report: Report, metric: MetricStyle) -> Limit | None:
    drop = report.limit("max_metric_drop")
    if drop is None:
        return None
    lowest = report.selection.lowest if report.selection else report.original.metric - drop
    if lowest is None:
        return None
    return Limit(lowest, f"at least {metric.show(lowest)}")
