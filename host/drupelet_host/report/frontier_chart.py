"""The candidates of a search as dots: metric against size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drupelet_host.report.document import CandidateRow
from drupelet_shared.units import format_bytes

_WIDTH, _HEIGHT, _MARGIN = 560, 220, 12


@dataclass(frozen=True, slots=True)
class Dot:
    """One variant of one candidate, in pixels from the upper left corner."""

    x: float
    y: float
    kept: bool
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierChart:
    """The dots and their scale: sizes from 0, metrics from the lowest found to the highest."""

    dots: tuple[Dot, ...]
    largest_bytes: int
    lowest: float
    highest: float
    width: int = _WIDTH
    height: int = _HEIGHT


def draw_frontier(rows: Sequence[CandidateRow]) -> FrontierChart:
    """Place every row; without rows the chart is empty."""
    largest = max((row.size_bytes for row in rows), default=1)
    lowest = min((row.metric for row in rows), default=0.0)
    highest = max((row.metric for row in rows), default=1.0)
    span = (highest - lowest) or 1.0
    plot_width, plot_height = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN
    dots = tuple(
        Dot(
            x=round(_MARGIN + row.size_bytes / largest * plot_width, 1),
            y=round(_MARGIN + (highest - row.metric) / span * plot_height, 1),
            kept=row.kept,
            title=f"candidate {row.candidate} as {row.variant}: {row.metric:.4f}, {format_bytes(row.size_bytes)}",
        )
        for row in rows
    )
    return FrontierChart(dots=dots, largest_bytes=largest, lowest=lowest, highest=highest)
