"""The judged candidates of a search, and their Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.selection.pareto import pareto_front
from drupelet_shared.units import format_bytes

_POINTS_IN_MESSAGE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCandidate:
    """One model of a search, measured in each variant that it would ship as.

    Attributes:
        number: The number of the candidate in the order of the search; 0 is the unpruned model.
        measurements: The measurement of each variant, by id.
        parameters: The number of parameters before quantization.
        macs: Multiply-accumulates of one inference.
        kept: Whether the search continued from this candidate.
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
        variant: The id of the variant.
        measurement: The measurement of the variant.
    """

    candidate: int
    variant: str
    measurement: Measurement


def best_points(candidates: Sequence[JudgedCandidate]) -> tuple[Point, ...]:
    """Return the Pareto front of metric and size, smallest first."""
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
    """Describe the Pareto front in one line, for a message."""
    points = best_points(candidates)
    shown = "; ".join(_describe(point) for point in points[:_POINTS_IN_MESSAGE])
    return f"{len(candidates)} candidates were judged, the best: {shown}"


def _describe(point: Point) -> str:
    measured = point.measurement
    return (
        f"candidate {point.candidate} as {point.variant}: metric {measured.metric:.4f}, "
        f"{format_bytes(measured.size_bytes)}, p50 {measured.timing.p50_ms:.3g} ms here"
    )
