"""Which variant, how many threads, how much memory: pure functions from a snapshot and measurements to a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drupelet_agent.errors import MemoryBudgetError, PlanError
from drupelet_agent.resources.snapshot import Snapshot
from drupelet_shared.engines.timing import Timing
from drupelet_shared.manifest import Variant
from drupelet_shared.messages import Plan
from drupelet_shared.units import format_bytes

# A variant or thread count must beat a higher-ranked or smaller one by this much: less is the noise of the measurement.
_WORTHWHILE = 0.97


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes all workers together may use, and which limit set it."""

    limit_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run a package, to be measured."""

    variant: Variant
    threads: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a candidate did on this device."""

    candidate: Candidate
    timing: Timing
    footprint_bytes: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a candidate cannot run here, and whether that is for want of memory."""

    candidate: Candidate
    reason: str
    out_of_memory: bool = False


def memory_budget(snapshot: Snapshot, *, limit_bytes: int | None, share: float, in_use_bytes: int) -> Budget:
    """The memory left for one more model: the smallest of the limits, less what other models use.

    Args:
        snapshot: The device now.
        limit_bytes: The configured limit for all workers, if there is one.
        share: The share of the machine's memory that workers may use.
        in_use_bytes: Footprint of the models that already run; it is no longer part of what is available.
    """
    limits = [
        (int(snapshot.memory_total_bytes * share) - in_use_bytes, f"{share:.0%} of the machine's memory"),
        (snapshot.memory_available_bytes, "memory available now"),
    ]
    if limit_bytes is not None:
        limits.append((limit_bytes - in_use_bytes, "limits.memory"))
    smallest, reason = min(limits)
    return Budget(limit_bytes=max(0, smallest), reason=reason)


def thread_counts(cores: int, *, configured: Sequence[int] | None) -> tuple[int, ...]:
    """The thread counts worth measuring: powers of two up to the cores, and the cores themselves.

    Args:
        cores: Cores this process may use.
        configured: Counts from the configuration; those above `cores` are left out, as they would only take turns.
    """
    if configured is not None:
        return tuple(sorted({min(count, cores) for count in configured}))
    powers = [1 << exponent for exponent in range(cores.bit_length()) if 1 << exponent <= cores]
    return tuple(sorted({*powers, cores}))


def candidates(
    variants: Sequence[Variant], *, threads: Sequence[int], budget: Budget
) -> tuple[list[Candidate], list[Rejection]]:
    """Every variant at every thread count, without those whose memory on the host already exceeds the budget."""
    tried, rejected = [], []
    for variant in variants:
        if variant.peak_memory_bytes > budget.limit_bytes:
            reason = _does_not_fit(variant.peak_memory_bytes, budget)
            candidate = Candidate(variant=variant, threads=threads[0])
            rejected.append(Rejection(candidate=candidate, reason=reason, out_of_memory=True))
            continue
        tried += [Candidate(variant=variant, threads=count) for count in threads]
    return tried, rejected


def choose(measurements: Sequence[Measurement], rejections: Sequence[Rejection], *, budget: Budget) -> Measurement:
    """The measurement with the lowest p99 among those that fit; near ties go to the earlier candidate.

    Args:
        measurements: In the order of `candidates`: best-ranked variant first, fewest threads first.
        rejections: Candidates that could not run, for the message when none can.
        budget: The memory there is.

    Raises:
        MemoryBudgetError: Something ran, and nothing fits.
        PlanError: Nothing could run.
    """
    fitting = [m for m in measurements if m.footprint_bytes <= budget.limit_bytes]
    if fitting:
        best = fitting[0]
        for measurement in fitting[1:]:
            if measurement.timing.p99_ms < best.timing.p99_ms * _WORTHWHILE:
                best = measurement
        return best
    too_large = [f"{_name(m.candidate)}: {_does_not_fit(m.footprint_bytes, budget)}" for m in measurements]
    reasons = "; ".join([*too_large, *(f"{_name(r.candidate)}: {r.reason}" for r in rejections)])
    if too_large or any(rejection.out_of_memory for rejection in rejections):
        raise MemoryBudgetError(f"no variant fits in memory: {reasons}")
    raise PlanError(f"no variant runs on this device: {reasons}")


def to_plan(chosen: Measurement, measurements: Sequence[Measurement], *, budget: Budget) -> Plan:
    """The plan that a measurement stands for, with the reason a person can read."""
    compared = ", ".join(f"{_name(m.candidate)} p99 {m.timing.p99_ms:.2f} ms" for m in measurements)
    return Plan(
        engine=chosen.candidate.variant.engine,
        threads=chosen.candidate.threads,
        instances=1,
        memory_budget_bytes=budget.limit_bytes,
        p50_ms=round(chosen.timing.p50_ms, 4),
        p99_ms=round(chosen.timing.p99_ms, 4),
        footprint_bytes=chosen.footprint_bytes,
        reason=f"lowest p99 of those that fit in {format_bytes(budget.limit_bytes)} ({budget.reason}): {compared}",
    )


def _does_not_fit(needed_bytes: int, budget: Budget) -> str:
    return (
        f"needs {format_bytes(needed_bytes)}, the memory budget leaves {format_bytes(budget.limit_bytes)} "
        f"({budget.reason})"
    )


def _name(candidate: Candidate) -> str:
    return f"{candidate.variant.id} x{candidate.threads}"
