"""Counts of what one server served, in windows."""

from __future__ import annotations

from drupelet_agent.planning.contract import ContractLimits
from drupelet_agent.serving.guard.served_counts import ContractResult, ServedCounts
from drupelet_agent.serving.job import Outcome
from fakes.clock import FakeClock
from support.agent.serving import answered

LIMITS = ContractLimits(p99_ms=50.0, error_rate=0.5, window_s=60.0, min_requests=20)


def counts_of(clock: FakeClock, *, planned_p99_ms: float = 10.0) -> ServedCounts:
    return ServedCounts(LIMITS, planned_p99_ms=planned_p99_ms, drift_factor=2.0, clock=clock)


def record(counts: ServedCounts, outcome: Outcome, times: int) -> None:
    for _ in range(times):
        counts.record(outcome)


def test_there_is_no_result_before_the_window_is_over_and_has_enough_requests() -> None:
    clock = FakeClock()
    counts = counts_of(clock)
    record(counts, answered(1.0), 20)
    clock.advance(59.9)
    assert counts.end_contract_window(throttled=False) is None
    clock.advance(0.1)
    assert counts.end_contract_window(throttled=False) == ContractResult(None)


def test_a_window_starts_with_nothing_of_the_one_before() -> None:
    clock = FakeClock()
    counts = counts_of(clock)
    record(counts, answered(51.0), 20)
    clock.advance(60)
    result = counts.end_contract_window(throttled=False)
    assert result is not None
    assert result.violation is not None
    record(counts, answered(1.0), 20)
    clock.advance(60)
    assert counts.end_contract_window(throttled=False) == ContractResult(None)


def test_errors_of_clients_are_no_failures() -> None:
    clock = FakeClock()
    counts = counts_of(clock)
    record(counts, Outcome(code="invalid_request", payload=b""), 100)
    clock.advance(60)
    assert counts.end_contract_window(throttled=False) is None


def test_drift_holds_until_twenty_more_requests_say_otherwise() -> None:
    counts = counts_of(FakeClock())
    record(counts, answered(20.1), 20)
    assert counts.drift() == "served latency has left the plan: 20 of 20 inferences took longer than 20.00 ms"
    record(counts, answered(1.0), 19)
    assert counts.drift() is not None
    record(counts, answered(1.0), 1)
    assert counts.drift() is None


def test_a_plan_of_microseconds_is_not_exceeded_by_what_nobody_notices() -> None:
    counts = counts_of(FakeClock(), planned_p99_ms=0.1)
    record(counts, answered(5.0), 20)
    assert counts.drift() is None


def test_a_reset_drops_everything() -> None:
    clock = FakeClock()
    counts = counts_of(clock)
    record(counts, answered(51.0), 20)
    assert counts.drift() is not None
    counts.reset()
    clock.advance(60)
    assert counts.drift() is None
    assert counts.end_contract_window(throttled=False) is None
