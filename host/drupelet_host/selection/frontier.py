"""Every candidate that a search judged, and the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.selection.pareto import pareto_front
from drupelet_shared.units import format_bytes

_POINTS_IN_MESSAGE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCandidate:
    """One model of a search, measured as every variant it would be shipped as.

    Attributes:
        number: 0 is the unpruned model, then in the order of the search.
        measurements: The variants by id.
        parameters: Counted before quantization.
        macs: Multiply-accumulates of one inference.
        kept: Whether the search went on from here.
        reason: Why it was kept or rolled back.
    """

    number: int
    measurements: Mapping[str, Measurement]
    parameters: int
    macs: int
    kept: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Point:
    """One variant of one candidate.

    Attributes:
        candidate: The number of the candidate.
        variant: The id of its variant.
        measurement: What was measured of it.
    """

    candidate: int
    variant: str
    measurement: Measurement


def best_points(candidates: Sequence[JudgedCandidate]) -> tuple[Point, ...]:
    """Return the points that no other beats in both metric and size, smallest first."""
    points = [
        Point(candidate.number, variant, measurement)
        for candidate in candidates
        for variant, measurement in candidate.measurements.items()
    ]
    front = pareto_front(
        points, cost=lambda point: point.measurement.size_bytes, value=lambda point: point.measurement.metric
    )
    return tuple(front)


def describe_frontier(candidates: Sequence[JudgedCandidate]) -> str:
    """Return the best points in one line, for a message."""
    points = best_points(candidates)
    shown = "; ".join(_describe(point) for point in points[:_POINTS_IN_MESSAGE])
    return f"{len(candidates)} candidates were judged, the best: {shown}"


def _describe(point: Point) -> str:
    found = point.measurement
    return (
        f"candidate {point.candidate} as {point.variant}: metric {found.metric:.4f}, {format_bytes(found.size_bytes)},"
        f" p50 {found.timing.p50_ms:.3g} ms here"
    )
