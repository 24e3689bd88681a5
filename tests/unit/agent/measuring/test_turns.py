"""Variants are timed in turns until they are known well enough, and only turns that nothing disturbed count."""

from __future__ import annotations

import random
from pathlib import Path

from drupelet_agent.errors import WorkerError
from drupelet_agent.measuring.gate import ServingGate
from drupelet_agent.measuring.quiet import QuietTime
from drupelet_agent.measuring.turns import TurnTaker
from drupelet_agent.planning.budget import Budget
from drupelet_agent.serving.workers.protocol import WorkerSpec
from drupelet_shared.contract.measuring import CandidateTiming, MeasureRequest
from fakes.timed_workers import TimedWorkers, Times
from support.agent.values import make_variant

MB = 10**6
ROOM = Budget(100 * MB, "limits.memory")
REFERENCE, CANDIDATE = make_variant("reference"), make_variant("candidate")


class Bench:
    """A device without processes, on which a test can let requests arrive."""

    def __init__(self, times: Times) -> None:
        self.workers = TimedWorkers(times)
        self.gate = ServingGate()
        self.is_throttled = False

    def measure(self, **changes: object) -> list[CandidateTiming]:
        request = MeasureRequest.model_validate({"source": "file:///nowhere", **changes})
        quiet = QuietTime(
            self.gate,
            is_throttled=lambda: self.is_throttled,
            is_measuring=lambda: False,
            max_wait_s=request.max_wait_s,
            observe=lambda _: None,
        )
        turns = TurnTaker(
            Path("/nowhere"),
            request=request,
            budget=ROOM,
            quiet=quiet,
            observe=lambda _: None,
            spawn=self.workers,
        )
        return turns.measure((REFERENCE, CANDIDATE))


def noisy(seed: int, *, spread: float) -> Times:
    generator = random.Random(seed)
    return lambda spec, _: (2.0 if spec.variant == "reference" else 1.0) * generator.uniform(1, 1 + spread)


def test_candidate_and_reference_take_turns_and_are_loaded_together() -> None:
    bench = Bench(noisy(1, spread=0.01))
    reference, candidate = bench.measure()
    assert bench.workers.rounds[:4] == [("reference", 1), ("candidate", 1), ("reference", 1), ("candidate", 1)]
    assert bench.workers.loaded == 2
    assert reference.p50_ms is not None
    assert candidate.p50_ms is not None
    assert reference.p50_ms > 1.9 * candidate.p50_ms


def test_a_narrow_interval_takes_more_runs_than_a_wide_one_and_says_that_it_is_precise() -> None:
    few, _ = Bench(noisy(1, spread=1.0)).measure(precision=0.2)
    many, _ = Bench(noisy(1, spread=1.0)).measure(precision=0.02)
    assert few.is_precise
    assert many.is_precise
    assert many.runs > few.runs
    assert many.p50_interval is not None
    assert many.p50_interval.high_ms is not None
    assert many.p50_ms is not None
    assert many.p50_interval.high_ms - many.p50_interval.low_ms <= 0.04 * many.p50_ms


def test_the_99th_percentile_takes_more_runs_than_the_median() -> None:
    median, _ = Bench(noisy(1, spread=0.2)).measure(precision=0.05)
    tail, _ = Bench(noisy(1, spread=0.2)).measure(precision=0.05, percentile="p99")
    assert tail.is_precise
    assert tail.runs > median.runs


def test_a_variant_that_never_becomes_precise_ends_and_says_so() -> None:
    timing, _ = Bench(noisy(1, spread=1.0)).measure(precision=1e-9, max_seconds=600)
    assert not timing.is_precise
    assert timing.runs >= 20_000


def test_turns_in_which_a_request_arrived_do_not_count() -> None:
    def disturbed_at_first(spec: WorkerSpec, run: int) -> float:
        if spec.variant == "candidate" and run == 0:
            bench.gate.request_started()
            bench.gate.request_finished()
            return 1000.0
        return 1.0

    bench = Bench(disturbed_at_first)
    _, candidate = bench.measure()
    assert candidate.mean_ms == 1.0


def test_turns_become_short_enough_for_the_gaps_that_frequent_requests_leave() -> None:
    clock_ms = 0

    def between_requests(_spec: WorkerSpec, _run: int) -> float:
        nonlocal clock_ms
        clock_ms += 1
        if clock_ms % 20 == 0:
            bench.gate.request_started()
            bench.gate.request_finished()
        return 1.0

    bench = Bench(between_requests)
    for timing in bench.measure(max_wait_s=2.0):
        assert timing.p50_ms == 1.0
        assert timing.is_precise


def test_a_worker_that_dies_is_reported_and_the_other_variant_is_measured() -> None:
    def dying(spec: WorkerSpec, _: int) -> float:
        if spec.variant == "candidate":
            raise WorkerError("worker 7 ended: signal SIGSEGV")
        return 1.0

    reference, candidate = Bench(dying).measure()
    assert reference.error is None
    assert candidate.error is not None
    assert "SIGSEGV" in candidate.error
    assert candidate.code == "worker_failed"
    assert candidate.runs == 0
