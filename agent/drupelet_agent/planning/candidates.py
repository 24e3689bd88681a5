"""The ways to run a package that are worth measuring: pure functions of variants, cores and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from drupelet_agent.planning.budget import Budget
from drupelet_shared.package.manifest import Variant
from drupelet_shared.units import format_bytes

# More candidates that are loaded at once would only delay each other's start.
_MAX_LOADED = 8


@dataclass(frozen=True, slots=True)
class PlanCandidate:
    """One way to run a package.

    Attributes:
        variant: The variant that its workers load.
        threads: Threads of each worker.
        instances: Worker processes that run at once.
    """

    variant: Variant
    threads: int
    instances: int = 1

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from the other candidates of its package."""
        return self.variant.id, self.threads, self.instances

    @property
    def cores(self) -> int:
        """The cores that all its threads occupy."""
        return self.threads * self.instances

    @property
    def label(self) -> str:
        """The candidate in plans and messages: "ort-fp32 x2", "2 of ort-fp32 x1"."""
        name = f"{self.variant.id} x{self.threads}"
        return name if self.instances == 1 else f"{self.instances} of {name}"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A candidate that cannot run on this device.

    Attributes:
        candidate: The candidate.
        reason: Why it cannot run.
        out_of_memory: Whether the reason is a lack of memory.
    """

    candidate: PlanCandidate
    reason: str
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """What a plan is chosen for.

    Attributes:
        objective: The lowest latency, or the most inferences per second.
        p99_bound_ms: The highest p99 for `throughput`; None is no bound.
        contract_p99_ms: The highest p99 with which the model may run at all; None is no limit.
    """

    objective: Literal["latency", "throughput"] = "latency"
    p99_bound_ms: float | None = None
    contract_p99_ms: float | None = None


def thread_counts(cores: int, *, configured: Sequence[int] | None) -> tuple[int, ...]:
    """Return the counts of threads, or of instances, to measure: powers of two up to the cores, and the cores.

    Args:
        cores: Cores that this process may use.
        configured: Counts from the configuration; those above `cores` are reduced to it, as threads would take turns.
    """
    if configured is not None:
        return tuple(sorted({min(count, cores) for count in configured}))
    powers = [1 << exponent for exponent in range(cores.bit_length()) if 1 << exponent <= cores]
    return tuple(sorted({*powers, cores}))


def instance_counts(cores: int, *, configured: Sequence[int] | None, goal: Goal) -> tuple[int, ...]:
    """Determine the instance counts to measure.

    Args:
        cores: Cores that this process may use.
        configured: Counts from the configuration, for either objective.
        goal: What the plan is chosen for.

    Returns:
        The counts, ascending; for latency one alone, as a second instance takes cores from the first.
    """
    if configured is None and goal.objective == "latency":
        return (1,)
    return thread_counts(cores, configured=configured)


def candidates(
    variants: Sequence[Variant], *, threads: Sequence[int], instances: Sequence[int], cores: int, budget: Budget
) -> tuple[list[PlanCandidate], list[Rejection]]:
    """Combine every variant with every count of instances and threads that the cores can run at once.

    If the configuration names only counts that are too many together, the smallest of each are combined nevertheless.

    Args:
        variants: The variants of the package, best first.
        threads: Thread counts to measure.
        instances: Instance counts to measure.
        cores: Cores that the model may use.
        budget: The memory that all instances may use.

    Returns:
        The candidates to measure, and those rejected because the host has already measured more memory than there is.
    """
    pairs = [(n, t) for n in instances for t in threads if n * t <= cores] or [(instances[0], threads[0])]
    accepted, rejected = [], dict[tuple[str, int], Rejection]()
    for variant in variants:
        for instance_count, thread_count in pairs:
            candidate = PlanCandidate(variant=variant, threads=thread_count, instances=instance_count)
            needed_bytes = variant.peak_memory_bytes * instance_count
            if needed_bytes <= budget.limit_bytes:
                accepted.append(candidate)
            else:
                # The number of threads makes no difference, so one rejection stands for all of them.
                rejection = Rejection(candidate, does_not_fit(needed_bytes, budget), out_of_memory=True)
                rejected.setdefault((variant.id, instance_count), rejection)
    return accepted, list(rejected.values())


def batches(tried: Sequence[PlanCandidate], *, budget: Budget) -> list[list[PlanCandidate]]:
    """Group candidates whose workers fit in memory at the same time, so that they can be measured in turns.

    Args:
        tried: The candidates, each of which fits alone by what the host measured.
        budget: The memory for all workers that are loaded at once.
    """
    groups: list[list[PlanCandidate]] = []
    room_bytes = 0
    for candidate in tried:
        needed_bytes = candidate.variant.peak_memory_bytes * candidate.instances
        if not groups or needed_bytes > room_bytes or len(groups[-1]) == _MAX_LOADED:
            groups.append([])
            room_bytes = budget.limit_bytes
        groups[-1].append(candidate)
        room_bytes -= needed_bytes
    return groups


def does_not_fit(needed_bytes: int, budget: Budget) -> str:
    """Return why a candidate is rejected that needs more memory than there is."""
    return (
        f"needs {format_bytes(needed_bytes)}, the memory budget leaves {format_bytes(budget.limit_bytes)} "
        f"({budget.reason})"
    )
