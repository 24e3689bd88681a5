"""The planner: budgets, candidates and the choice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drupelet_agent.device.snapshot import Snapshot
from drupelet_agent.errors import ContractError, MemoryBudgetError, PlanError
from drupelet_agent.planning.budget import Budget, Cores, core_share, memory_budget
from drupelet_agent.planning.candidates import (
    Goal,
    PlanCandidate,
    Rejection,
    batches,
    candidates,
    instance_counts,
    thread_counts,
)
from drupelet_agent.planning.choice import CandidateMeasurement, choose, to_plan, undecided
from drupelet_shared.contract.messages import ConfidenceInterval
from drupelet_shared.timing import Interval, Timing
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
    candidate: PlanCandidate, *, p99_ms: float, throughput_per_s: float = 100.0, footprint_bytes: int = 100 * MB
) -> CandidateMeasurement:
    timing = Timing(p50_ms=p99_ms / 2, p95_ms=p99_ms, p99_ms=p99_ms, runs=100, mean_ms=p99_ms / 2)
    return CandidateMeasurement(
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
        tried, _ = candidates([INT8], threads=(2, 4), instances=(4, 8), cores=4, budget=ROOM)
        assert [(candidate.instances, candidate.threads) for candidate in tried] == [(4, 2)]


class TestBatches:
    def test_candidates_that_fit_together_are_measured_in_turns(self) -> None:
        small = [PlanCandidate(INT8, threads) for threads in (1, 2, 4)]
        assert batches(small, budget=ROOM) == [small]

    def test_what_does_not_fit_together_is_measured_after_each_other(self) -> None:
        large = [PlanCandidate(make_variant(name, peak_memory_bytes=200 * MB), 1) for name in ("a", "b", "c")]
        assert batches(large, budget=ROOM) == [large[:2], large[2:]]

    def test_instances_need_memory_each(self) -> None:
        large = make_variant("large", peak_memory_bytes=200 * MB)
        tried = [PlanCandidate(large, 1), PlanCandidate(large, 1, instances=2)]
        assert batches(tried, budget=ROOM) == [tried[:1], tried[1:]]


def timed(
    candidate: PlanCandidate, *, p50: tuple[float, float, float], p99: tuple[float, float, float]
) -> CandidateMeasurement:
    """A measurement of p50 and p99, each with its interval: low, value, high."""
    timing = Timing(
        p50_ms=p50[1],
        p95_ms=p99[1],
        p99_ms=p99[1],
        runs=100,
        mean_ms=p50[1],
        p50_interval=Interval(p50[0], p50[2]),
        p99_interval=Interval(p99[0], p99[2]),
    )
    return CandidateMeasurement(candidate, timing, throughput_per_s=1e3 / p50[1], footprint_bytes=100 * MB)


class TestTies:
    def test_p99s_whose_intervals_overlap_are_decided_by_the_median(self) -> None:
        # Measured on a device: the variant with the lower p99 of 100 runs had the higher median.
        slow = timed(PlanCandidate(FLOAT, 1), p50=(12.0, 12.1, 12.2), p99=(12.9, 13.5, float("inf")))
        fast = timed(PlanCandidate(INT8, 1), p50=(11.0, 11.1, 11.2), p99=(13.0, 14.6, float("inf")))
        assert choose([slow, fast], [], budget=ROOM, goal=LATENCY) is fast

    def test_a_difference_that_nobody_notices_is_not_worth_a_second_core(self) -> None:
        one = timed(PlanCandidate(INT8, 1), p50=(0.059, 0.06, 0.061), p99=(0.079, 0.08, 0.081))
        two = timed(PlanCandidate(INT8, 2), p50=(0.049, 0.05, 0.051), p99=(0.069, 0.07, 0.071))
        assert choose([one, two], [], budget=ROOM, goal=LATENCY) is one
        assert choose([two, one], [], budget=ROOM, goal=LATENCY) is one

    def test_p99s_beyond_their_intervals_decide_against_the_median(self) -> None:
        steady = timed(PlanCandidate(FLOAT, 1), p50=(9.9, 10.0, 10.1), p99=(10.8, 11.0, 11.2))
        jumpy = timed(PlanCandidate(INT8, 1), p50=(5.9, 6.0, 6.1), p99=(19.0, 20.0, 21.0))
        assert choose([jumpy, steady], [], budget=ROOM, goal=LATENCY) is steady

    def test_medians_whose_intervals_overlap_are_decided_by_cores_and_then_by_rank(self) -> None:
        ranked = [PlanCandidate(INT8, 2), PlanCandidate(INT8, 1), PlanCandidate(FLOAT, 1)]
        tied = [timed(candidate, p50=(9.0, 10.0, 11.0), p99=(11.0, 12.0, 13.0)) for candidate in ranked]
        assert choose(tied, [], budget=ROOM, goal=LATENCY) is tied[1]

    def test_a_tie_does_not_break_the_contract(self) -> None:
        fast = timed(PlanCandidate(FLOAT, 2), p50=(9.0, 10.0, 11.0), p99=(11.0, 12.0, 14.0))
        tied = timed(PlanCandidate(INT8, 1), p50=(9.0, 10.0, 11.0), p99=(11.5, 12.6, 14.0))
        assert choose([tied, fast], [], budget=ROOM, goal=LATENCY) is tied
        assert choose([tied, fast], [], budget=ROOM, goal=Goal(contract_p99_ms=12.5)) is fast

    def test_the_plan_says_that_it_won_a_tie_and_has_the_intervals(self) -> None:
        slow = timed(PlanCandidate(FLOAT, 1), p50=(12.0, 12.1, 12.2), p99=(12.9, 13.5, float("inf")))
        fast = timed(PlanCandidate(INT8, 1), p50=(11.0, 11.1, 11.2), p99=(13.0, 14.6, float("inf")))
        plan = to_plan(fast, [slow, fast], budget=ROOM, cores=FOUR_CORES, goal=LATENCY)
        assert plan.reason.startswith(
            "p99 tied with the lowest, then lowest median and fewest cores, of those that fit"
        )
        assert plan.runs == 100
        assert plan.p50_interval == ConfidenceInterval(low_ms=11.0, high_ms=11.2)
        assert plan.p99_interval == ConfidenceInterval(low_ms=13.0)

    def test_only_what_ties_with_the_fastest_is_undecided(self) -> None:
        fast = timed(PlanCandidate(INT8, 1), p50=(9.0, 10.0, 11.0), p99=(11.0, 12.0, 14.0))
        near = timed(PlanCandidate(INT8, 2), p50=(9.0, 10.0, 11.0), p99=(13.0, 15.0, 16.0))
        far = timed(PlanCandidate(FLOAT, 1), p50=(19.0, 20.0, 21.0), p99=(21.0, 22.0, 24.0))
        assert undecided([far, near, fast]) == [near, fast]
        assert undecided([]) == []

    def test_a_median_above_the_lowest_p99_is_decided_by_few_runs(self) -> None:
        fast = timed(PlanCandidate(INT8, 1), p50=(9.0, 10.0, 11.0), p99=(11.0, 12.0, float("inf")))
        slow = timed(PlanCandidate(FLOAT, 1), p50=(19.0, 20.0, 21.0), p99=(21.0, 22.0, float("inf")))
        assert undecided([fast, slow]) == [fast]


class TestPlanCandidate:
    def test_it_occupies_a_core_for_each_thread_of_each_instance(self) -> None:
        assert PlanCandidate(INT8, 2, instances=3).cores == 6

    def test_it_is_told_from_others_by_variant_threads_and_instances(self) -> None:
        assert PlanCandidate(INT8, 2, instances=3).key == ("ort-static-wi8-ai8", 2, 3)

    def test_its_label_names_instances_only_where_there_are_several(self) -> None:
        assert PlanCandidate(INT8, 2).label == "ort-static-wi8-ai8 x2"
        assert PlanCandidate(INT8, 2, instances=3).label == "3 of ort-static-wi8-ai8 x2"


class TestBounds:
    """What lies exactly on a bound keeps it."""

    def test_a_footprint_of_the_whole_budget_fits(self) -> None:
        exact = measured(PlanCandidate(FLOAT, 1), p99_ms=1.0, footprint_bytes=ROOM.limit_bytes)
        assert choose([exact], [], budget=ROOM, goal=LATENCY) is exact
        tried, rejected = candidates(
            [make_variant(peak_memory_bytes=ROOM.limit_bytes)], threads=(1,), instances=(1,), cores=1, budget=ROOM
        )
        assert (len(tried), rejected) == (1, [])
        assert batches(tried, budget=ROOM) == [tried]

    def test_a_p99_of_the_bound_keeps_it_and_one_above_does_not(self) -> None:
        goal = Goal(objective="throughput", p99_bound_ms=9.0)
        assert choose([TestThroughput.ONE, TestThroughput.TWO], [], budget=ROOM, goal=goal) is TestThroughput.TWO
        # Faster in throughput, and below the other candidates in p99: within the bound all the same.
        quick = measured(PlanCandidate(INT8, 1), p99_ms=3.0, throughput_per_s=900.0)
        assert choose([TestThroughput.TWO, quick], [], budget=ROOM, goal=goal) is quick

    def test_a_p99_of_the_contract_keeps_it(self) -> None:
        exact = measured(PlanCandidate(FLOAT, 1), p99_ms=5.0)
        assert choose([exact], [], budget=ROOM, goal=Goal(contract_p99_ms=5.0)) is exact

    def test_a_throughput_within_three_percent_of_the_highest_ties_with_it(self) -> None:
        high = measured(PlanCandidate(INT8, 4), p99_ms=5.0, throughput_per_s=100.0)
        tied = measured(PlanCandidate(INT8, 1), p99_ms=5.0, throughput_per_s=97.0)
        lower = measured(PlanCandidate(INT8, 1), p99_ms=5.0, throughput_per_s=96.9)
        assert choose([high, tied], [], budget=ROOM, goal=THROUGHPUT) is tied
        assert choose([high, lower], [], budget=ROOM, goal=THROUGHPUT) is high

    def test_of_tied_throughputs_on_as_many_cores_fewer_processes_win(self) -> None:
        processes = measured(PlanCandidate(INT8, 1, instances=4), p99_ms=5.0)
        threads = measured(PlanCandidate(INT8, 4), p99_ms=5.0)
        assert choose([processes, threads], [], budget=ROOM, goal=THROUGHPUT) is threads

    @pytest.mark.parametrize(("p99_ms", "wins"), [(10.3, "one"), (10.4, "two")])
    def test_a_difference_counts_beyond_three_percent(self, p99_ms: float, wins: str) -> None:
        one = measured(PlanCandidate(INT8, 1), p99_ms=p99_ms)
        two = measured(PlanCandidate(INT8, 2), p99_ms=10.0)
        assert choose([one, two], [], budget=ROOM, goal=LATENCY) is {"one": one, "two": two}[wins]

    @pytest.mark.parametrize(("p99_ms", "wins"), [(0.14, "one"), (0.16, "two")])
    def test_a_difference_counts_beyond_fifty_microseconds(self, p99_ms: float, wins: str) -> None:
        one = measured(PlanCandidate(INT8, 1), p99_ms=p99_ms)
        two = measured(PlanCandidate(INT8, 2), p99_ms=0.1)
        timing = {"one": one, "two": two}
        assert choose([one, two], [], budget=ROOM, goal=LATENCY) is timing[wins]

    def test_at_most_eight_candidates_are_loaded_at_once(self) -> None:
        tried = [PlanCandidate(make_variant(f"v{number}", peak_memory_bytes=1), 1) for number in range(9)]
        assert batches(tried, budget=ROOM) == [tried[:8], tried[8:]]


class TestWithoutMemory:
    def test_a_rejection_for_lack_of_memory_is_an_error_of_the_memory_budget(self) -> None:
        rejection = Rejection(PlanCandidate(FLOAT, 1), "needs 1 GB", out_of_memory=True)
        with pytest.raises(MemoryBudgetError, match="no variant fits in memory: ort-fp32 x1: needs 1 GB"):
            choose([], [rejection], budget=ROOM, goal=LATENCY)

    def test_one_rejection_stands_for_all_thread_counts(self) -> None:
        huge = make_variant("huge", peak_memory_bytes=300 * MB)
        tried, rejected = candidates([huge], threads=(1, 2), instances=(1, 2), cores=4, budget=ROOM)
        assert len(tried) == 2
        assert [(one.candidate.instances, one.out_of_memory) for one in rejected] == [(2, True)]


class TestChoose:
    def test_the_lowest_p99_wins(self) -> None:
        slow, fast = measured(PlanCandidate(INT8, 1), p99_ms=9.0), measured(PlanCandidate(FLOAT, 2), p99_ms=5.0)
        assert choose([slow, fast], [], budget=ROOM, goal=LATENCY) is fast

    def test_a_gain_within_the_noise_does_not_beat_the_earlier_candidate(self) -> None:
        one, two = measured(PlanCandidate(INT8, 1), p99_ms=5.0), measured(PlanCandidate(INT8, 2), p99_ms=4.9)
        assert choose([one, two], [], budget=ROOM, goal=LATENCY) is one

    def test_a_faster_candidate_that_does_not_fit_is_passed_over(self) -> None:
        fits = measured(PlanCandidate(INT8, 1), p99_ms=9.0)
        grows = measured(PlanCandidate(FLOAT, 1), p99_ms=1.0, footprint_bytes=501 * MB)
        assert choose([grows, fits], [], budget=ROOM, goal=LATENCY) is fits

    def test_when_nothing_fits_both_numbers_are_named(self) -> None:
        grows = measured(PlanCandidate(FLOAT, 1), p99_ms=1.0, footprint_bytes=501 * MB)
        with pytest.raises(
            MemoryBudgetError, match=r"ort-fp32 x1: needs 501\.0 MB, the memory budget leaves 500\.0 MB"
        ):
            choose([grows], [], budget=ROOM, goal=LATENCY)

    def test_when_nothing_runs_each_reason_is_named(self) -> None:
        rejections = [
            Rejection(PlanCandidate(FLOAT, 1), "golden mismatch"),
            Rejection(PlanCandidate(INT8, 1), "will not load"),
        ]
        with pytest.raises(PlanError, match="ort-fp32 x1: golden mismatch; ort-static-wi8-ai8 x1: will not load"):
            choose([], rejections, budget=ROOM, goal=LATENCY)


class TestThroughput:
    ONE = measured(PlanCandidate(INT8, 4), p99_ms=5.0, throughput_per_s=250.0)
    TWO = measured(PlanCandidate(INT8, 2, instances=2), p99_ms=9.0, throughput_per_s=400.0)
    FOUR = measured(PlanCandidate(INT8, 1, instances=4), p99_ms=20.0, throughput_per_s=500.0)

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
        same = measured(PlanCandidate(INT8, 1, instances=4), p99_ms=5.0, throughput_per_s=405.0)
        assert choose([self.TWO, same], [], budget=ROOM, goal=THROUGHPUT) is self.TWO

    def test_the_plan_tells_instances_objective_and_what_was_compared(self) -> None:
        goal = Goal(objective="throughput", p99_bound_ms=10.0)
        plan = to_plan(self.TWO, [self.ONE, self.TWO], budget=ROOM, cores=FOUR_CORES, goal=goal)
        assert (plan.instances, plan.threads, plan.objective, plan.throughput_per_s) == (2, 2, "throughput", 400.0)
        assert plan.reason.startswith("most inferences per second under a p99 of 10.00 ms of those that fit")
        assert "2 of ort-static-wi8-ai8 x2 p50 4.50 ms, p99 9.00 ms 400.0/s" in plan.reason


class TestContract:
    def test_the_contract_has_the_last_word_over_throughput(self) -> None:
        goal = Goal(objective="throughput", contract_p99_ms=6.0)
        assert choose([TestThroughput.ONE, TestThroughput.FOUR], [], budget=ROOM, goal=goal) is TestThroughput.ONE

    def test_a_model_that_cannot_keep_its_contract_is_refused_with_both_numbers(self) -> None:
        with pytest.raises(ContractError, match=r"p99 2\.00 ms here; the fastest is ort-static-wi8-ai8 x4: p99 5\.00"):
            choose([TestThroughput.ONE], [], budget=ROOM, goal=Goal(contract_p99_ms=2.0))


def test_the_plan_says_what_it_was_compared_with() -> None:
    slow, fast = measured(PlanCandidate(INT8, 1), p99_ms=9.0), measured(PlanCandidate(FLOAT, 2), p99_ms=5.0)
    plan = to_plan(fast, [slow, fast], budget=ROOM, cores=FOUR_CORES, goal=LATENCY)
    assert (plan.threads, plan.p99_ms, plan.memory_budget_bytes) == (2, 5.0, 500 * MB)
    assert "ort-static-wi8-ai8 x1 p50 4.50 ms, p99 9.00 ms, ort-fp32 x2 p50 2.50 ms, p99 5.00 ms" in plan.reason


def test_the_plan_names_each_skipped_variant_once_with_its_reason() -> None:
    fast = measured(PlanCandidate(FLOAT, 2), p99_ms=5.0)
    rejections = [Rejection(PlanCandidate(INT8, threads), "engine 'ncnn' is not installed") for threads in (1, 2)]
    plan = to_plan(fast, [fast], budget=ROOM, cores=FOUR_CORES, goal=LATENCY, rejections=rejections)
    assert plan.reason.endswith("p99 5.00 ms; skipped: ort-static-wi8-ai8: engine 'ncnn' is not installed")
    assert "skipped" not in to_plan(fast, [fast], budget=ROOM, cores=FOUR_CORES, goal=LATENCY).reason
