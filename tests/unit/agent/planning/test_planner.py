"""The planner: budgets, candidates and the choice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drupelet_agent.device.snapshot import Snapshot
from drupelet_agent.errors import ContractError, MemoryBudgetError, PlanError
from drupelet_agent.planning.budget import Budget, Cores, core_share, memory_budget
from drupelet_agent.planning.choice import (
    Candidate,
    Goal,
    Measurement,
    Rejection,
    candidates,
    choose,
    instance_counts,
    thread_counts,
    to_plan,
)
from drupelet_shared.timing import Timing
from support.agent.values import make_variant

MB = 10**6
PI = Snapshot(
    cpu_model="Raspberry Pi 4 Model B Rev 1.4",
    cores=4,
    cpu_quota=None,
    memory_total_bytes=1000 * MB,
    memory_available_bytes=700 * MB,
    temperature_celsius=50.0,
    throttled=False,
)
ROOM = Budget(limit_bytes=500 * MB, reason="limits.memory")
LATENCY, THROUGHPUT = Goal(), Goal(objective="throughput")
FOUR_CORES = Cores(4, "4 usable cores")
FLOAT, INT8 = make_variant("ort-fp32"), make_variant("ort-static-wi8-ai8")


def measured(
    candidate: Candidate, *, p99_ms: float, throughput_per_s: float = 100.0, footprint_bytes: int = 100 * MB
) -> Measurement:
    timing = Timing(p50_ms=p99_ms / 2, p95_ms=p99_ms, p99_ms=p99_ms, runs=100, mean_ms=p99_ms / 2)
    return Measurement(
        candidate=candidate, timing=timing, throughput_per_s=throughput_per_s, footprint_bytes=footprint_bytes
    )


class TestMemoryBudget:
    def test_the_configured_limit_counts_when_it_is_the_smallest(self) -> None:
        budget = memory_budget(PI, limit_bytes=300 * MB, share=0.75, in_use_bytes=0)
        assert budget == Budget(limit_bytes=300 * MB, reason="limits.memory")

    def test_the_share_counts_when_it_is_the_smallest(self) -> None:
        budget = memory_budget(PI, limit_bytes=None, share=0.5, in_use_bytes=0)
        assert budget == Budget(limit_bytes=500 * MB, reason="50% of the machine's memory")

    def test_free_memory_counts_when_it_is_the_smallest(self) -> None:
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


class TestInstanceCounts:
    def test_one_is_enough_for_latency(self) -> None:
        assert instance_counts(4, configured=None, goal=LATENCY) == (1,)

    def test_throughput_measures_powers_of_two_up_to_the_cores(self) -> None:
        assert instance_counts(4, configured=None, goal=THROUGHPUT) == (1, 2, 4)

    def test_configured_counts_are_measured_for_either(self) -> None:
        assert instance_counts(4, configured=(2,), goal=LATENCY) == (2,)


class TestCoreShare:
    def test_a_model_alone_has_all_cores(self) -> None:
        assert core_share(PI, limit=None, others=(), policy="split") == Cores(4, "4 usable cores")

    def test_models_that_share_may_each_use_all_cores(self) -> None:
        assert core_share(PI, limit=None, others=("faces",), policy="shared").count == 4

    def test_models_that_split_get_equal_parts(self) -> None:
        share = core_share(PI, limit=None, others=("faces",), policy="split")
        assert share == Cores(2, "its part of 4 usable cores, split with faces")

    def test_more_models_than_cores_get_one_each(self) -> None:
        assert core_share(PI, limit=None, others=tuple("abcdef"), policy="split").count == 1

    def test_the_configured_limit_is_what_is_shared(self) -> None:
        assert core_share(PI, limit=2, others=("faces",), policy="split").count == 1


class TestCandidates:
    def test_a_variant_the_host_saw_exceed_the_budget_is_not_loaded(self) -> None:
        huge = make_variant("huge", peak_memory_bytes=900 * MB)
        tried, rejected = candidates([huge, INT8], threads=(1, 2), instances=(1,), cores=4, budget=ROOM)
        assert [(candidate.variant.id, candidate.threads) for candidate in tried] == [(INT8.id, 1), (INT8.id, 2)]
        assert [one.reason for one in rejected] == ["needs 900.0 MB, the memory budget leaves 500.0 MB (limits.memory)"]

    def test_instances_and_threads_never_need_more_cores_than_there_are(self) -> None:
        tried, _ = candidates([INT8], threads=(1, 2, 4), instances=(1, 2, 4), cores=4, budget=ROOM)
        pairs = [(candidate.instances, candidate.threads) for candidate in tried]
        assert pairs == [(1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (4, 1)]

    def test_each_instance_counts_against_the_budget(self) -> None:
        large = make_variant("large", peak_memory_bytes=200 * MB)
        tried, rejected = candidates([large], threads=(1,), instances=(1, 2, 4), cores=4, budget=ROOM)
        assert [candidate.instances for candidate in tried] == [1, 2]
        assert "needs 800.0 MB" in rejected[0].reason

    def test_counts_that_are_too_many_together_are_tried_at_their_smallest(self) -> None:
        tried, _ = candidates([INT8], threads=(2, 4), instances=(4,), cores=4, budget=ROOM)
        assert [(candidate.instances, candidate.threads) for candidate in tried] == [(4, 2)]


class TestChoose:
    def test_the_lowest_p99_wins(self) -> None:
        slow, fast = measured(Candidate(INT8, 1), p99_ms=9.0), measured(Candidate(FLOAT, 2), p99_ms=5.0)
        assert choose([slow, fast], [], budget=ROOM, goal=LATENCY) is fast

    def test_a_gain_within_the_noise_does_not_beat_the_earlier_candidate(self) -> None:
        one, two = measured(Candidate(INT8, 1), p99_ms=5.0), measured(Candidate(INT8, 2), p99_ms=4.9)
        assert choose([one, two], [], budget=ROOM, goal=LATENCY) is one

    def test_a_faster_candidate_that_does_not_fit_is_passed_over(self) -> None:
        fits = measured(Candidate(INT8, 1), p99_ms=9.0)
        grows = measured(Candidate(FLOAT, 1), p99_ms=1.0, footprint_bytes=501 * MB)
        assert choose([grows, fits], [], budget=ROOM, goal=LATENCY) is fits

    def test_when_nothing_fits_both_numbers_are_named(self) -> None:
        grows = measured(Candidate(FLOAT, 1), p99_ms=1.0, footprint_bytes=501 * MB)
        with pytest.raises(
            MemoryBudgetError, match=r"ort-fp32 x1: needs 501\.0 MB, the memory budget leaves 500\.0 MB"
        ):
            choose([grows], [], budget=ROOM, goal=LATENCY)

    def test_when_nothing_runs_each_reason_is_named(self) -> None:
        rejections = [Rejection(Candidate(FLOAT, 1), "golden mismatch"), Rejection(Candidate(INT8, 1), "will not load")]
        with pytest.raises(PlanError, match="ort-fp32 x1: golden mismatch; ort-static-wi8-ai8 x1: will not load"):
            choose([], rejections, budget=ROOM, goal=LATENCY)


class TestThroughput:
    ONE = measured(Candidate(INT8, 4), p99_ms=5.0, throughput_per_s=250.0)
    TWO = measured(Candidate(INT8, 2, instances=2), p99_ms=9.0, throughput_per_s=400.0)
    FOUR = measured(Candidate(INT8, 1, instances=4), p99_ms=20.0, throughput_per_s=500.0)

    def test_the_most_inferences_per_second_win(self) -> None:
        assert choose([self.ONE, self.TWO, self.FOUR], [], budget=ROOM, goal=THROUGHPUT) is self.FOUR

    def test_the_bound_on_p99_is_kept(self) -> None:
        goal = Goal(objective="throughput", p99_bound_ms=10.0)
        assert choose([self.ONE, self.TWO, self.FOUR], [], budget=ROOM, goal=goal) is self.TWO

    def test_where_nothing_keeps_the_bound_the_lowest_p99_is_taken_and_the_plan_says_so(self) -> None:
        goal = Goal(objective="throughput", p99_bound_ms=1.0)
        tried = [self.ONE, self.TWO]
        assert choose(tried, [], budget=ROOM, goal=goal) is self.ONE
        plan = to_plan(self.ONE, tried, budget=ROOM, cores=FOUR_CORES, goal=goal)
        assert plan.reason.startswith("lowest p99, since none keeps the p99 of 1.00 ms")

    def test_a_gain_within_the_noise_is_not_worth_another_process(self) -> None:
        same = measured(Candidate(INT8, 1, instances=4), p99_ms=5.0, throughput_per_s=405.0)
        assert choose([self.TWO, same], [], budget=ROOM, goal=THROUGHPUT) is self.TWO

    def test_the_plan_tells_instances_objective_and_what_was_compared(self) -> None:
        goal = Goal(objective="throughput", p99_bound_ms=10.0)
        plan = to_plan(self.TWO, [self.ONE, self.TWO], budget=ROOM, cores=FOUR_CORES, goal=goal)
        assert (plan.instances, plan.threads, plan.objective, plan.throughput_per_s) == (2, 2, "throughput", 400.0)
        assert plan.reason.startswith("most inferences per second under a p99 of 10.00 ms of those that fit")
        assert "2 of ort-static-wi8-ai8 x2 p99 9.00 ms 400.0/s" in plan.reason


class TestContract:
    def test_the_contract_has_the_last_word_over_throughput(self) -> None:
        goal = Goal(objective="throughput", contract_p99_ms=6.0)
        assert choose([TestThroughput.ONE, TestThroughput.FOUR], [], budget=ROOM, goal=goal) is TestThroughput.ONE

    def test_a_model_that_cannot_keep_its_contract_is_refused_with_both_numbers(self) -> None:
        with pytest.raises(ContractError, match=r"p99 2\.00 ms here; the fastest is ort-static-wi8-ai8 x4: p99 5\.00"):
            choose([TestThroughput.ONE], [], budget=ROOM, goal=Goal(contract_p99_ms=2.0))


def test_the_plan_says_what_it_was_compared_with() -> None:
    slow, fast = measured(Candidate(INT8, 1), p99_ms=9.0), measured(Candidate(FLOAT, 2), p99_ms=5.0)
    plan = to_plan(fast, [slow, fast], budget=ROOM, cores=FOUR_CORES, goal=LATENCY)
    assert (plan.threads, plan.p99_ms, plan.memory_budget_bytes) == (2, 5.0, 500 * MB)
    assert "ort-static-wi8-ai8 x1 p99 9.00 ms, ort-fp32 x2 p99 5.00 ms" in plan.reason
