"""What the planner chooses, whatever was measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drupelet_agent.errors import MemoryBudgetError, PlanError
from drupelet_agent.planning.budget import Budget
from drupelet_agent.planning.candidates import Goal, PlanCandidate, candidates, thread_counts
from drupelet_agent.planning.choice import CandidateMeasurement, choose
from drupelet_shared.timing import Timing
from support.agent.values import make_variant

# Less than either of these is not worth another core or a lower rank.
MIN_GAIN, MIN_GAIN_MS = 0.03, 0.05


@st.composite
def measurements(draw: st.DrawFn) -> CandidateMeasurement:
    p99_ms = draw(st.floats(0.01, 1e4))
    return CandidateMeasurement(
        candidate=PlanCandidate(variant=make_variant(), threads=draw(st.integers(1, 4))),
        timing=Timing(mean_ms=p99_ms / 2, p50_ms=p99_ms / 2, p95_ms=p99_ms, p99_ms=p99_ms, runs=10),
        throughput_per_s=draw(st.floats(0.1, 1e5)),
        footprint_bytes=draw(st.integers(0, 200)),
    )


@given(cores=st.integers(1, 256), configured=st.none() | st.lists(st.integers(1, 512), min_size=1).map(tuple))
def test_thread_counts_are_ascending_and_never_above_the_cores(cores: int, configured: tuple[int, ...] | None) -> None:
    counts = thread_counts(cores, configured=configured)
    assert counts
    assert list(counts) == sorted(set(counts))
    assert counts[0] >= 1
    assert counts[-1] <= cores
    assert configured is not None or counts[-1] == cores


@given(
    needed_bytes=st.lists(st.integers(0, 200), min_size=1, max_size=4),
    cores=st.integers(1, 8),
    limit_bytes=st.integers(0, 200),
)
def test_no_candidate_has_more_threads_than_cores_or_more_memory_than_the_budget(
    needed_bytes: list[int], cores: int, limit_bytes: int
) -> None:
    counts = thread_counts(cores, configured=None)
    tried, rejected = candidates(
        [make_variant(f"v{number}", peak_memory_bytes=needed) for number, needed in enumerate(needed_bytes)],
        threads=counts,
        instances=counts,
        cores=cores,
        budget=Budget(limit_bytes=limit_bytes, reason="limits.memory"),
    )
    for candidate in tried:
        assert candidate.threads * candidate.instances <= cores
        assert candidate.variant.peak_memory_bytes * candidate.instances <= limit_bytes
    assert all(rejection.out_of_memory for rejection in rejected)
    spoken_for = {candidate.variant.id for candidate in [*tried, *(rejection.candidate for rejection in rejected)]}
    assert len(spoken_for) == len(needed_bytes)


@given(
    found=st.lists(measurements(), max_size=8),
    limit_bytes=st.integers(0, 200),
    objective=st.sampled_from(["latency", "throughput"]),
)
def test_the_choice_fits_and_nothing_that_fits_is_much_better(
    found: list[CandidateMeasurement], limit_bytes: int, objective: str
) -> None:
    budget = Budget(limit_bytes=limit_bytes, reason="limits.memory")
    goal = Goal(objective=objective)  # type: ignore[arg-type] # one of the two
    fitting = [measurement for measurement in found if measurement.footprint_bytes <= limit_bytes]
    if not fitting:
        with pytest.raises(MemoryBudgetError if found else PlanError):
            choose(found, [], budget=budget, goal=goal)
        return
    chosen = choose(found, [], budget=budget, goal=goal)
    assert chosen in fitting
    if objective == "latency":
        p99_ms, fastest_ms = chosen.timing.p99_ms, min(measurement.timing.p99_ms for measurement in fitting)
        assert p99_ms - fastest_ms <= max(MIN_GAIN_MS, p99_ms * MIN_GAIN)
    else:
        highest = max(measurement.throughput_per_s for measurement in fitting)
        assert chosen.throughput_per_s >= highest * (1 - MIN_GAIN)
