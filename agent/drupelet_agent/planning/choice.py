"""Which variant, how many threads, how many instances: pure functions from measurements to a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from drupelet_agent.errors import ContractError, MemoryBudgetError, PlanError
from drupelet_agent.planning.budget import Budget, Cores
from drupelet_shared.contract.messages import Plan
from drupelet_shared.package.manifest import Variant
from drupelet_shared.timing import Timing
from drupelet_shared.units import format_bytes

# A candidate must beat an earlier one (better ranked, fewer processes and threads) by this much: less is noise.
_WORTHWHILE = 0.97


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a package, to be measured: `instances` worker processes of `threads` threads each."""

    variant: Variant
    threads: int
    instances: int = 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a candidate did on this device.

    Attributes:
        timing: Of single inferences; with several instances, of the slowest of them.
        throughput_per_s: Inferences per second of all instances at work together.
        footprint_bytes: Most memory that all instances together held.
    """

    candidate: Candidate
    timing: Timing
    throughput_per_s: float
    footprint_bytes: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a candidate cannot run here, and whether that is for want of memory."""

    candidate: Candidate
    reason: str
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted of a model.

    Attributes:
        objective: The lowest p99, or the most inferences per second.
        p99_bound_ms: What p99 may be at most for `throughput`; None is no bound.
        contract_p99_ms: What p99 may be at most for the model to run at all; None is no such limit.
    """

    objective: Literal["latency", "throughput"] = "latency"
    p99_bound_ms: float | None = None
    contract_p99_ms: float | None = None


def thread_counts(cores: int, *, configured: Sequence[int] | None) -> tuple[int, ...]:
    """The counts of threads, or of instances, worth measuring: powers of two up to the cores, and the cores themselves.

    Args:
        cores: Cores this process may use.
        configured: Counts from the configuration; those above `cores` are cut, as they would only take turns.
    """
    if configured is not None:
        return tuple(sorted({min(count, cores) for count in configured}))
    powers = [1 << exponent for exponent in range(cores.bit_length()) if 1 << exponent <= cores]
    return tuple(sorted({*powers, cores}))


def instance_counts(cores: int, *, configured: Sequence[int] | None, goal: Goal) -> tuple[int, ...]:
    """The instance counts worth measuring: one is the best for latency, since a second one only takes its cores.

    Args:
        cores: Cores this process may use.
        configured: Counts from the configuration, for either objective.
        goal: What is wanted.
    """
    if configured is None and goal.objective == "latency":
        return (1,)
    return thread_counts(cores, configured=configured)


def candidates(
    variants: Sequence[Variant], *, threads: Sequence[int], instances: Sequence[int], cores: int, budget: Budget
) -> tuple[list[Candidate], list[Rejection]]:
    """Every variant at every count of instances and threads that the cores can run at the same time.

    Those whose memory on the host already exceeds the budget are rejected unmeasured. Where the configuration names
    only counts that are too many together, the smallest of each are tried all the same.
    """
    pairs = [(n, t) for n in instances for t in threads if n * t <= cores] or [(instances[0], threads[0])]
    tried, rejected = [], dict[tuple[str, int], Rejection]()
    for variant in variants:
        for number, count in pairs:
            candidate = Candidate(variant=variant, threads=count, instances=number)
            needed = variant.peak_memory_bytes * number
            if needed <= budget.limit_bytes:
                tried.append(candidate)
            else:
                # Threads make no difference here, so one rejection speaks for all of them.
                rejection = Rejection(candidate, _does_not_fit(needed, budget), out_of_memory=True)
                rejected.setdefault((variant.id, number), rejection)
    return tried, list(rejected.values())


def choose(
    measurements: Sequence[Measurement], rejections: Sequence[Rejection], *, budget: Budget, goal: Goal
) -> Measurement:
    """The best measurement of those that fit; near ties go to the earlier candidate.

    Where `throughput` has a bound on p99 and nothing keeps it, the lowest p99 is taken, as nearest to what was asked.

    Args:
        measurements: In the order of `candidates`: best-ranked variant first, fewest processes and threads first.
        rejections: Candidates that could not run, for the message when none can.
        budget: The memory there is.
        goal: What is wanted.

    Raises:
        MemoryBudgetError: Something ran, and nothing fits.
        ContractError: Something fits, and nothing is as fast as the contract wants.
        PlanError: Nothing could run.
    """
    fitting = [m for m in measurements if m.footprint_bytes <= budget.limit_bytes]
    if not fitting:
        raise _nothing_runs(measurements, rejections, budget)
    within = _within_bound(fitting, goal)
    best = _most_throughput(within) if goal.objective == "throughput" and within else _lowest_p99(fitting)
    limit = goal.contract_p99_ms
    if limit is not None and best.timing.p99_ms > limit:
        # The objective may have traded latency away; the contract has the last word.
        best = _lowest_p99(fitting)
        if best.timing.p99_ms > limit:
            found = f"{name_of(best.candidate)}: p99 {best.timing.p99_ms:.2f} ms"
            raise ContractError(f"no variant keeps the contract of p99 {limit:.2f} ms here; the fastest is {found}")
    return best


def to_plan(
    chosen: Measurement, measurements: Sequence[Measurement], *, budget: Budget, cores: Cores, goal: Goal
) -> Plan:
    """The plan that a measurement stands for, with the reason a person can read."""
    compared = ", ".join(_describe(measurement, goal) for measurement in measurements)
    fits = f"of those that fit in {format_bytes(budget.limit_bytes)} ({budget.reason}) on {cores.reason}"
    return Plan(
        engine=chosen.candidate.variant.engine,
        threads=chosen.candidate.threads,
        instances=chosen.candidate.instances,
        memory_budget_bytes=budget.limit_bytes,
        p50_ms=round(chosen.timing.p50_ms, 4),
        p99_ms=round(chosen.timing.p99_ms, 4),
        footprint_bytes=chosen.footprint_bytes,
        reason=f"{_what_was_chosen(measurements, budget, goal)} {fits}: {compared}",
        objective=goal.objective,
        p99_bound_ms=goal.p99_bound_ms,
        throughput_per_s=round(chosen.throughput_per_s, 2),
        cores=cores.count,
    )


def name_of(candidate: Candidate) -> str:
    """A candidate in the words of plans and messages: "ort-fp32 x2", "2 of ort-fp32 x1"."""
    name = f"{candidate.variant.id} x{candidate.threads}"
    return name if candidate.instances == 1 else f"{candidate.instances} of {name}"


def _lowest_p99(measurements: Sequence[Measurement]) -> Measurement:
    best = measurements[0]
    for measurement in measurements[1:]:
        if measurement.timing.p99_ms < best.timing.p99_ms * _WORTHWHILE:
            best = measurement
    return best


def _most_throughput(measurements: Sequence[Measurement]) -> Measurement:
    best = measurements[0]
    for measurement in measurements[1:]:
        if measurement.throughput_per_s * _WORTHWHILE > best.throughput_per_s:
            best = measurement
    return best


def _within_bound(measurements: Sequence[Measurement], goal: Goal) -> list[Measurement]:
    bound = goal.p99_bound_ms
    return [m for m in measurements if bound is None or m.timing.p99_ms <= bound]


def _what_was_chosen(measurements: Sequence[Measurement], budget: Budget, goal: Goal) -> str:
    if goal.objective == "latency":
        return "lowest p99"
    if goal.p99_bound_ms is None:
        return "most inferences per second"
    bound = f"p99 of {goal.p99_bound_ms:.2f} ms"
    if _within_bound([m for m in measurements if m.footprint_bytes <= budget.limit_bytes], goal):
        return f"most inferences per second under a {bound}"
    return f"lowest p99, since none keeps the {bound} that throughput may cost,"


def _describe(measurement: Measurement, goal: Goal) -> str:
    text = f"{name_of(measurement.candidate)} p99 {measurement.timing.p99_ms:.2f} ms"
    return text if goal.objective == "latency" else f"{text} {measurement.throughput_per_s:.1f}/s"


def _nothing_runs(measurements: Sequence[Measurement], rejections: Sequence[Rejection], budget: Budget) -> PlanError:
    too_large = [f"{name_of(m.candidate)}: {_does_not_fit(m.footprint_bytes, budget)}" for m in measurements]
    reasons = "; ".join([*too_large, *(f"{name_of(r.candidate)}: {r.reason}" for r in rejections)])
    if too_large or any(rejection.out_of_memory for rejection in rejections):
        return MemoryBudgetError(f"no variant fits in memory: {reasons}")
    return PlanError(f"no variant runs on this device: {reasons}")


def _does_not_fit(needed_bytes: int, budget: Budget) -> str:
    return (
        f"needs {format_bytes(needed_bytes)}, the memory budget leaves {format_bytes(budget.limit_bytes)} "
        f"({budget.reason})"
    )
