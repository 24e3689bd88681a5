"""Candidates are measured in turns, with as many runs as it takes to tell them apart."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Container
from pathlib import Path

import pytest

from drupelet_agent.config.tuning import TuningConfig
from drupelet_agent.errors import WorkerError, WorkerTimeoutError
from drupelet_agent.install.tuner import Result, Tuner
from drupelet_agent.planning.budget import Budget
from drupelet_agent.planning.candidates import PlanCandidate, Rejection
from drupelet_agent.planning.choice import CandidateMeasurement
from drupelet_agent.serving.workers.protocol import Failed, GoldenPassed, Message, WorkerSpec
from fakes.clock import FakeClock
from fakes.timed_workers import TimedWorkers
from fakes.workers import FakeWorker
from support.agent.values import make_variant

MB = 10**6
ROOM = Budget(100 * MB, "limits.memory")
CONFIG = TuningConfig(runs=100, warmup=5, max_seconds=3.0)
FAST, SLOW = make_variant("fast"), make_variant("slow")


def measure(workers: TimedWorkers, *candidates: PlanCandidate, config: TuningConfig = CONFIG) -> list[Result]:
    tuner = Tuner(Path("/nowhere"), budget=ROOM, config=config, spawn=workers)
    observed: list[Result] = []
    results = tuner.measure(candidates, observe=observed.append)
    assert sorted(map(str, observed)) == sorted(map(str, results))
    return results


def runs_of(result: Result) -> int:
    assert isinstance(result, CandidateMeasurement)
    return result.timing.runs


def test_candidates_take_turns() -> None:
    workers = TimedWorkers(lambda spec, _: 1.0 if spec.variant == "fast" else 2.0)
    measure(workers, PlanCandidate(FAST, 1), PlanCandidate(SLOW, 1))
    assert workers.rounds[:4] == [("fast", 1), ("slow", 1), ("fast", 1), ("slow", 1)]
    assert workers.loaded == 2


def test_candidates_that_differ_are_measured_no_longer_than_configured() -> None:
    generator = random.Random(1)
    workers = TimedWorkers(lambda spec, _: (1.0 if spec.variant == "fast" else 20.0) * generator.uniform(1, 1.1))
    fast, slow = measure(workers, PlanCandidate(FAST, 1), PlanCandidate(SLOW, 1))
    assert (runs_of(fast), runs_of(slow)) == (100, 100)


def test_candidates_that_tie_are_measured_with_up_to_ten_times_the_runs() -> None:
    generator = random.Random(1)
    workers = TimedWorkers(lambda *_: generator.uniform(1.0, 1.5))
    results = measure(workers, PlanCandidate(FAST, 1), PlanCandidate(SLOW, 1))
    assert [runs_of(result) for result in results] == [1000, 1000]


def test_a_candidate_alone_makes_the_configured_runs() -> None:
    (result,) = measure(TimedWorkers(lambda *_: 1.0), PlanCandidate(FAST, 1))
    assert runs_of(result) == 100


def test_a_slow_model_stops_by_the_clock() -> None:
    workers = TimedWorkers(lambda *_: 500.0)
    results = measure(workers, PlanCandidate(FAST, 1), PlanCandidate(SLOW, 1))
    assert [runs_of(result) for result in results] == [6, 6]


def test_a_disturbance_of_the_device_hits_every_candidate_alike() -> None:
    clock = Counter[str]()

    def time_of(spec: WorkerSpec, _: int) -> float:
        clock.update(["runs"])
        # The device is slow for a quarter of the time.
        return (1.0 if spec.variant == "fast" else 1.3) * (3.0 if 50 <= clock["runs"] < 100 else 1.0)

    fast, slow = measure(TimedWorkers(time_of), PlanCandidate(FAST, 1), PlanCandidate(SLOW, 1))
    assert isinstance(fast, CandidateMeasurement)
    assert isinstance(slow, CandidateMeasurement)
    assert (fast.timing.p50_ms, slow.timing.p50_ms) == (1.0, 1.3)
    assert fast.timing.p99_ms < slow.timing.p99_ms


def test_instances_are_timed_at_once_and_their_throughput_adds_up() -> None:
    workers = TimedWorkers(lambda *_: 10.0)
    (result,) = measure(workers, PlanCandidate(FAST, 1, instances=2))
    assert isinstance(result, CandidateMeasurement)
    assert result.throughput_per_s == pytest.approx(200.0)
    assert result.footprint_bytes == 100 * MB
    assert result.timing.runs == 300


def test_throughput_is_compared_over_the_same_time() -> None:
    config = TuningConfig(objective="throughput", max_seconds=1.0)
    workers = TimedWorkers(lambda spec, _: 1.0 if spec.variant == "fast" else 10.0)
    results = measure(workers, PlanCandidate(FAST, 1), PlanCandidate(SLOW, 1), config=config)
    assert [runs_of(result) for result in results] == [1000, 100]


class TestMemory:
    LARGE = make_variant("large", peak_memory_bytes=60 * MB)

    def test_what_does_not_fit_together_is_loaded_after_each_other(self) -> None:
        workers = TimedWorkers(lambda *_: 1.0)
        measure(workers, PlanCandidate(self.LARGE, 1), PlanCandidate(self.LARGE, 2))
        assert workers.loaded == 1
        assert [spec.memory_limit_bytes for spec in workers.specs] == [100 * MB] * 2

    def test_workers_that_are_loaded_at_once_share_the_budget(self) -> None:
        workers = TimedWorkers(lambda *_: 1.0)
        measure(workers, PlanCandidate(FAST, 1), PlanCandidate(SLOW, 1, instances=3))
        assert sum(spec.memory_limit_bytes for spec in workers.specs) <= 100 * MB
        assert [spec.memory_limit_bytes // MB for spec in workers.specs] == [25, 25, 25, 25]

    def test_a_candidate_that_outgrows_its_share_is_tried_with_the_whole_budget(self) -> None:
        def golden(spec: WorkerSpec) -> Message:
            if spec.variant == "slow" and spec.memory_limit_bytes < 80 * MB:
                return Failed(code="memory_budget_exceeded", message="slow needs more than its limit")
            return GoldenPassed(difference=0.0)

        workers = TimedWorkers(lambda *_: 1.0, golden=golden)
        results = measure(workers, PlanCandidate(FAST, 1), PlanCandidate(SLOW, 1))
        assert all(isinstance(result, CandidateMeasurement) for result in results)

    def test_a_candidate_that_outgrows_the_budget_is_rejected_for_memory(self) -> None:
        failed = Failed(code="memory_budget_exceeded", message="slow needs more than its limit")
        workers = TimedWorkers(lambda *_: 1.0, golden=lambda _: failed)
        (result,) = measure(workers, PlanCandidate(SLOW, 1))
        assert result == Rejection(PlanCandidate(SLOW, 1), "slow needs more than its limit", out_of_memory=True)


class TestFailures:
    def test_a_candidate_that_fails_leaves_the_others_measured(self) -> None:
        workers = TimedWorkers(
            lambda *_: 1.0,
            golden=lambda spec: (
                WorkerError("worker 1 ended: signal SIGSEGV") if spec.variant == "slow" else GoldenPassed(0.0)
            ),
        )
        fast, slow = measure(workers, PlanCandidate(FAST, 1), PlanCandidate(SLOW, 1))
        assert runs_of(fast) == 100
        assert slow == Rejection(PlanCandidate(SLOW, 1), "worker 1 ended: signal SIGSEGV")

    def test_a_variant_that_hangs_is_tried_once(self) -> None:
        workers = TimedWorkers(lambda *_: 1.0, golden=lambda _: WorkerTimeoutError("worker 1: no answer within 60 s"))
        results = measure(workers, *(PlanCandidate(SLOW, threads) for threads in (1, 2, 4)))
        assert [result.reason for result in results if isinstance(result, Rejection)] == [
            "worker 1: no answer within 60 s"
        ] * 3
        assert len(workers.specs) == 1

    def test_a_check_tells_whether_the_golden_vectors_agree(self) -> None:
        candidate = PlanCandidate(SLOW, 1)
        good, bad = TimedWorkers(lambda *_: 1.0), TimedWorkers(lambda *_: 1.0, golden=lambda _: Failed("x", "differs"))
        for workers, expected in ((good, None), (bad, Rejection(candidate, "differs"))):
            tuner = Tuner(Path("/nowhere"), budget=ROOM, config=CONFIG, spawn=workers)
            assert tuner.check(candidate) == expected


class HangingWorker(FakeWorker):
    """Loads, and answers nothing else; each wait for it lasts as long as it may."""

    def __init__(self, spec: WorkerSpec, clock: FakeClock) -> None:
        super().__init__(spec)
        self._clock = clock
        self.become_ready()

    def receive(self, *, timeout_s: float | None = None) -> Message:
        try:
            return super().receive(timeout_s=timeout_s)
        except WorkerTimeoutError:
            self._clock.advance(timeout_s or 0.0)
            raise


class TestTimeLimit:
    LIMITED = TuningConfig(runs=100, max_seconds=3.0, total_seconds=100.0)

    def measure(
        self, clock: FakeClock, *candidates: PlanCandidate, fast: TimedWorkers, hanging: Container[str]
    ) -> tuple[list[Result], float]:
        def spawn(spec: WorkerSpec) -> FakeWorker:
            return HangingWorker(spec, clock) if spec.variant in hanging else fast(spec)

        start_s = clock.now_s()
        tuner = Tuner(Path("/nowhere"), budget=ROOM, config=self.LIMITED, spawn=spawn, clock=clock.now_s)
        results = tuner.measure(candidates, observe=lambda _: None)
        return results, clock.now_s() - start_s

    def test_all_candidates_together_take_no_longer_than_the_limit_and_the_reason_names_it(self) -> None:
        tried = [PlanCandidate(make_variant(f"endless-{number}"), 1) for number in range(12)]
        results, seconds = self.measure(
            FakeClock(), *tried, fast=TimedWorkers(lambda *_: 1.0), hanging={one.variant.id for one in tried}
        )
        assert seconds <= 100.0
        assert all(isinstance(result, Rejection) and "tuning.total_seconds" in result.reason for result in results)
        assert "100 s" in str(results[-1])

    def test_a_variant_that_hangs_leaves_time_for_the_others(self) -> None:
        hanging = [PlanCandidate(make_variant(f"endless-{number}"), 1) for number in range(3)]
        fast = TimedWorkers(lambda *_: 1.0)
        results, _ = self.measure(
            FakeClock(), *hanging, PlanCandidate(FAST, 1), fast=fast, hanging={one.variant.id for one in hanging}
        )
        assert runs_of(results[-1]) == 100

    def test_what_was_measured_before_the_time_was_over_counts(self) -> None:
        clock = FakeClock()

        def slowly(*_: object) -> float:
            clock.advance(1.0)
            return 1.0

        results, _ = self.measure(
            clock, PlanCandidate(FAST, 1), PlanCandidate(SLOW, 1), fast=TimedWorkers(slowly), hanging=()
        )
        assert 0 < runs_of(results[0]) < 100
        assert 0 < runs_of(results[1]) < 100
