"""The choice among measured candidates: pure functions from measurements to a plan.

A difference counts only beyond the confidence intervals of both measurements and where a client could notice it.
Candidates without such a difference in p99 are tied; the tie goes to the lower median, then to fewer cores, then to the
better rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drupelet_agent.errors import ContractError, MemoryBudgetError, PlanError
from drupelet_agent.planning.budget import Budget, Cores
from drupelet_agent.planning.candidates import Goal, PlanCandidate, Rejection, does_not_fit
from drupelet_shared.contract.messages import ConfidenceInterval, Plan
from drupelet_shared.timing import Interval, Timing
from drupelet_shared.units import format_bytes

# A smaller gain is not worth another process, another thread or a variant of lower rank.
_MIN_GAIN = 0.03
# The agent and the broker add several hundred microseconds to an inference, so less than this cannot be noticed.
_MIN_GAIN_MS = 0.05


@dataclass(frozen=True, slots=True)
class CandidateMeasurement:
    """What was measured of a candidate on this device.

    Attributes:
        candidate: The candidate.
        timing: Of single inferences; with several instances, of the slowest of them.
        throughput_per_s: Inferences per second of all instances at work together.
        footprint_bytes: The most memory that all instances held together.
    """

    candidate: PlanCandidate
    timing: Timing
    throughput_per_s: float
    footprint_bytes: int


def choose(
    measurements: Sequence[CandidateMeasurement], rejections: Sequence[Rejection], *, budget: Budget, goal: Goal
) -> CandidateMeasurement:
    """Choose the best measurement of those that fit in memory.

    If `throughput` has a bound on p99 and no candidate keeps it, the fastest one is chosen, as nearest to the goal.

    Args:
        measurements: In the order of `candidates`: best-ranked variant first, fewest processes and threads first.
        rejections: Candidates that could not run, for the message if none can.
        budget: The memory for the model.
        goal: What the plan is chosen for.

    Returns:
        One of the measurements.

    Raises:
        MemoryBudgetError: A candidate ran, and none fits in memory.
        ContractError: A candidate fits, and none is as fast as the contract requires.
        PlanError: No candidate could run.
    """
    fitting = [measurement for measurement in measurements if measurement.footprint_bytes <= budget.limit_bytes]
    if not fitting:
        raise _nothing_runs(measurements, rejections, budget)
    within = _within_bound(fitting, goal)
    best = _highest_throughput(within) if goal.objective == "throughput" and within else _lowest_latency(fitting)
    limit_ms = goal.contract_p99_ms
    if limit_ms is not None and best.timing.p99_ms > limit_ms:
        # The tie or the objective may have traded p99 away; the contract has precedence.
        best = min(fitting, key=lambda measurement: measurement.timing.p99_ms)
        if best.timing.p99_ms > limit_ms:
            fastest = f"{best.candidate.label}: p99 {best.timing.p99_ms:.2f} ms"
            raise ContractError(
                f"no variant keeps the contract of p99 {limit_ms:.2f} ms here; the fastest is {fastest}"
            )
    return best


def undecided(measurements: Sequence[CandidateMeasurement]) -> list[CandidateMeasurement]:
    """Return the measurements among which more runs may still decide: those tied with the lowest p99.

    One whose median lies above that p99 is slower, also where few runs leave the interval of the p99 open.
    """
    if not measurements:
        return []
    lowest_ms = min(measurement.timing.p99_ms for measurement in measurements)
    return [measurement for measurement in _tied(measurements, _p99) if _p50(measurement.timing)[1].low_ms <= lowest_ms]


def to_plan(
    chosen: CandidateMeasurement,
    measurements: Sequence[CandidateMeasurement],
    *,
    budget: Budget,
    cores: Cores,
    goal: Goal,
    rejections: Sequence[Rejection] = (),
) -> Plan:
    """Convert a measurement to a plan, with the reason for the choice in words.

    Args:
        chosen: The measurement that was chosen.
        measurements: All that it was compared with, itself included.
        budget: The memory for the model.
        cores: The cores that the model may use.
        goal: What the plan was chosen for.
        rejections: Candidates that could not run, which the reason names.

    Returns:
        The plan.
    """
    compared = ", ".join(_describe(measurement, goal) for measurement in measurements)
    fits = f"of those that fit in {format_bytes(budget.limit_bytes)} ({budget.reason}) on {cores.reason}"
    timing = chosen.timing
    return Plan(
        engine=chosen.candidate.variant.engine,
        threads=chosen.candidate.threads,
        instances=chosen.candidate.instances,
        memory_budget_bytes=budget.limit_bytes,
        p50_ms=round(timing.p50_ms, 4),
        p99_ms=round(timing.p99_ms, 4),
        p50_interval=_to_message(timing.p50_interval),
        p99_interval=_to_message(timing.p99_interval),
        runs=timing.runs,
        footprint_bytes=chosen.footprint_bytes,
        reason=f"{_criterion(chosen, measurements, budget, goal)} {fits}: {compared}{_skipped(rejections)}",
        objective=goal.objective,
        p99_bound_ms=goal.p99_bound_ms,
        throughput_per_s=round(chosen.throughput_per_s, 2),
        cores=cores.count,
    )


def _lowest_latency(measurements: Sequence[CandidateMeasurement]) -> CandidateMeasurement:
    tied = _tied(_tied(measurements, _p99), _p50)
    # The first of equals is the best-ranked one.
    return min(tied, key=lambda measurement: measurement.candidate.cores)


def _highest_throughput(measurements: Sequence[CandidateMeasurement]) -> CandidateMeasurement:
    highest = max(measurement.throughput_per_s for measurement in measurements)
    tied = [measurement for measurement in measurements if measurement.throughput_per_s >= highest * (1 - _MIN_GAIN)]
    return min(tied, key=lambda measurement: (measurement.candidate.cores, measurement.candidate.instances))


def _tied(
    measurements: Sequence[CandidateMeasurement], percentile: Callable[[Timing], tuple[float, Interval]]
) -> list[CandidateMeasurement]:
    """Return the measurements that are not slower in a percentile than the fastest one, in their order."""
    fastest_ms, fastest = min(
        (percentile(measurement.timing) for measurement in measurements), key=lambda pair: pair[0]
    )
    tied = []
    for measurement in measurements:
        value_ms, interval = percentile(measurement.timing)
        is_noticeable = value_ms - fastest_ms > max(_MIN_GAIN_MS, value_ms * _MIN_GAIN)
        if interval.overlaps(fastest) or not is_noticeable:
            tied.append(measurement)
    return tied


def _p50(timing: Timing) -> tuple[float, Interval]:
    return timing.p50_ms, timing.p50_interval or Interval(timing.p50_ms, timing.p50_ms)


def _p99(timing: Timing) -> tuple[float, Interval]:
    return timing.p99_ms, timing.p99_interval or Interval(timing.p99_ms, timing.p99_ms)


def _to_message(interval: Interval | None) -> ConfidenceInterval | None:
    if interval is None:
        return None
    high_ms = None if math.isinf(interval.high_ms) else round(interval.high_ms, 4)
    return ConfidenceInterval(low_ms=round(interval.low_ms, 4), high_ms=high_ms)


def _within_bound(measurements: Sequence[CandidateMeasurement], goal: Goal) -> list[CandidateMeasurement]:
    bound_ms = goal.p99_bound_ms
    return [measurement for measurement in measurements if bound_ms is None or measurement.timing.p99_ms <= bound_ms]


def _criterion(
    chosen: CandidateMeasurement, measurements: Sequence[CandidateMeasurement], budget: Budget, goal: Goal
) -> str:
    fitting = [measurement for measurement in measurements if measurement.footprint_bytes <= budget.limit_bytes]
    if goal.objective == "latency":
        fastest = min(fitting, key=lambda measurement: measurement.timing.p99_ms)
        return "lowest p99" if chosen is fastest else "p99 tied with the lowest, then lowest median and fewest cores,"
    if goal.p99_bound_ms is None:
        return "most inferences per second"
    bound = f"p99 of {goal.p99_bound_ms:.2f} ms"
    if _within_bound(fitting, goal):
        return f"most inferences per second under a {bound}"
    return f"lowest p99, since none keeps the {bound} that throughput may cost,"


def _skipped(rejections: Sequence[Rejection]) -> str:
    """Name each rejected variant once for each reason, without the threads with which it was tried."""
    reasons = dict.fromkeys(f"{rejection.candidate.variant.id}: {rejection.reason}" for rejection in rejections)
    return f"; skipped: {'; '.join(reasons)}" if reasons else ""


def _describe(measurement: CandidateMeasurement, goal: Goal) -> str:
    timing = measurement.timing
    text = f"{measurement.candidate.label} p50 {timing.p50_ms:.2f} ms, p99 {timing.p99_ms:.2f} ms"
    return text if goal.objective == "latency" else f"{text} {measurement.throughput_per_s:.1f}/s"


def _nothing_runs(
    measurements: Sequence[CandidateMeasurement], rejections: Sequence[Rejection], budget: Budget
) -> PlanError:
    too_large = [f"{m.candidate.label}: {does_not_fit(m.footprint_bytes, budget)}" for m in measurements]
    reasons = "; ".join([*too_large, *(f"{r.candidate.label}: {r.reason}" for r in rejections)])
    if too_large or any(rejection.out_of_memory for rejection in rejections):
        return MemoryBudgetError(f"no variant fits in memory: {reasons}")
    return PlanError(f"no variant runs on this device: {reasons}")
