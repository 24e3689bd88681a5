"""The planner: budgets, candidates and the choice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drupelet_agent.errors import MemoryBudgetError, PlanError
from drupelet_agent.resources.planner import (
    Budget,
    Candidate,
    Measurement,
    Rejection,
    candidates,
    choose,
    memory_budget,
    thread_counts,
    to_plan,
)
from drupelet_agent.resources.snapshot import Snapshot
from drupelet_shared.engines.timing import Timing
from support.values import make_variant

MB = 10**6
PI = Snapshot(
    cpu_model="Raspberry Pi 4 Model B Rev 1.4",
    cores=4,
    memory_total_bytes=1000 * MB,
    memory_available_bytes=700 * MB,
    temperature_celsius=50.0,
    throttled=False,
)
ROOM = Budget(limit_bytes=500 * MB, reason="limits.memory")
FLOAT, INT8 = make_variant("ort-fp32"), make_variant("ort-static-wi8-ai8")


def measured(candidate: Candidate, *, p99_ms: float, footprint_bytes: int = 100 * MB) -> Measurement:
    timing = Timing(p50_ms=p99_ms / 2, p95_ms=p99_ms, p99_ms=p99_ms, runs=100)
    return Measurement(candidate=candidate, timing=timing, footprint_bytes=footprint_bytes)


class TestMemoryBudget:
    def test_the_configured_limit_counts_when_it_is_the_smallest(self) -> None:
        budget = memory_budget(PI, limit_bytes=300 * MB, share=0.75, in_use_bytes=0)
        assert budget == Budget(limit_bytes=300 * MB, reason="limits.memory")

    def test_the_share_counts_when_it_is_the_smallest(self) -> None:
        budget = memory_budget(PI, limit_bytes=None, share=0.5, in_use_bytes=0)
        assert budget == Budget(limit_bytes=500 * MB, reason="50% of the machine's memory")

    def test_what_is_free_counts_when_it_is_the_smallest(self) -> None:
        busy = replace(PI, memory_available_bytes=80 * MB)
        assert memory_budget(busy, limit_bytes=300 * MB, share=0.75, in_use_bytes=0).limit_bytes == 80 * MB

    def test_other_models_leave_less(self) -> None:
        assert memory_budget(PI, limit_bytes=300 * MB, share=0.75, in_use_bytes=120 * MB).limit_bytes == 180 * MB

    def test_it_is_never_negative(self) -> None:
        assert memory_budget(PI, limit_bytes=100 * MB, share=0.75, in_use_bytes=120 * MB).limit_bytes == 0


class TestThreadCounts:
    @pytest.mark.parametrize(
        ("cores", "counts"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 4)), (6, (1, 2, 4, 6))]
    )
    def test_powers_of_two_up_to_the_cores_are_measured(self, cores: int, counts: tuple[int, ...]) -> None:
        assert thread_counts(cores, configured=None) == counts

    def test_configured_counts_are_cut_to_the_cores(self) -> None:
        assert thread_counts(2, configured=(1, 3, 8)) == (1, 2)


def test_a_variant_the_host_saw_exceed_the_budget_is_not_loaded() -> None:
    huge = make_variant("huge", peak_memory_bytes=900 * MB)
    tried, rejected = candidates([huge, INT8], threads=(1, 2), budget=ROOM)
    assert [(candidate.variant.id, candidate.threads) for candidate in tried] == [(INT8.id, 1), (INT8.id, 2)]
    assert rejected[0].reason == "needs 900.0 MB, the memory budget leaves 500.0 MB (limits.memory)"


class TestChoose:
    def test_the_lowest_p99_wins(self) -> None:
        slow, fast = measured(Candidate(INT8, 1), p99_ms=9.0), measured(Candidate(FLOAT, 2), p99_ms=5.0)
        assert choose([slow, fast], [], budget=ROOM) is fast

    def test_a_gain_within_the_noise_does_not_beat_the_earlier_candidate(self) -> None:
        one, two = measured(Candidate(INT8, 1), p99_ms=5.0), measured(Candidate(INT8, 2), p99_ms=4.9)
        assert choose([one, two], [], budget=ROOM) is one

    def test_a_faster_candidate_that_does_not_fit_is_passed_over(self) -> None:
        fits = measured(Candidate(INT8, 1), p99_ms=9.0)
        grows = measured(Candidate(FLOAT, 1), p99_ms=1.0, footprint_bytes=501 * MB)
        assert choose([grows, fits], [], budget=ROOM) is fits

    def test_when_nothing_fits_both_numbers_are_named(self) -> None:
        grows = measured(Candidate(FLOAT, 1), p99_ms=1.0, footprint_bytes=501 * MB)
        with pytest.raises(
            MemoryBudgetError, match=r"ort-fp32 x1: needs 501\.0 MB, the memory budget leaves 500\.0 MB"
        ):
            choose([grows], [], budget=ROOM)

    def test_when_nothing_runs_each_reason_is_named(self) -> None:
        rejections = [Rejection(Candidate(FLOAT, 1), "golden mismatch"), Rejection(Candidate(INT8, 1), "will not load")]
        with pytest.raises(PlanError, match="ort-fp32 x1: golden mismatch; ort-static-wi8-ai8 x1: will not load"):
            choose([], rejections, budget=ROOM)


def test_the_plan_says_what_it_was_compared_with() -> None:
    slow, fast = measured(Candidate(INT8, 1), p99_ms=9.0), measured(Candidate(FLOAT, 2), p99_ms=5.0)
    plan = to_plan(fast, [slow, fast], budget=ROOM)
    assert (plan.threads, plan.p99_ms, plan.memory_budget_bytes) == (2, 5.0, 500 * MB)
    assert "ort-static-wi8-ai8 x1 p99 9.00 ms, ort-fp32 x2 p99 5.00 ms" in plan.reason
