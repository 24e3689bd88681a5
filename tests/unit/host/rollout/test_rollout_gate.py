"""The gate of a wave."""

from __future__ import annotations

import pytest

from drupelet_host.rollout.gate import WaveMeasurement, find_early_failure, judge_wave, parse_gate
from drupelet_shared.errors import InvalidValueError


def results(text: str, measured: WaveMeasurement) -> list[str]:
    return [one.result for one in judge_wave(parse_gate(text), measured)]


def test_a_gate_is_read_as_it_is_written_and_no_device_may_fail_by_default() -> None:
    assert str(parse_gate("errors<1%, p99<=1.2x,p50<20ms")) == "errors<1%, p99<=1.2x, p50<20ms, failed<=0%"
    assert str(parse_gate("failed<2%")) == "failed<2%"
    assert str(parse_gate("")) == "failed<=0%"
    assert str(parse_gate("p99<1.2x, p99<50ms")) == "p99<1.2x, p99<50ms, failed<=0%"


@pytest.mark.parametrize(
    "text", ["errors<1", "errors>1%", "p99<20", "p99<5%", "failed<2x", "latency<1ms", "errors<1%,errors<2%", "p99<x"]
)
def test_malformed_conditions_are_named(text: str) -> None:
    with pytest.raises(InvalidValueError, match="gate"):
        parse_gate(text)


def test_a_wave_passes_within_every_limit_and_fails_beyond_one() -> None:
    good = WaveMeasurement(10, requests=1000, errors=9, ratios={"p99": [0.9, 1.1, 1.9]}, latencies_ms={"p50": [4, 5]})
    assert results("errors<1%, p99<1.2x, p50<5ms", good) == ["passed"] * 4
    assert results("errors<0.9%", good)[0] == "failed"
    assert results("errors<=0.9%", good)[0] == "passed"
    assert results("p99<1.1x", good)[0] == "failed"
    assert results("failed<10%", WaveMeasurement(10, failed=1)) == ["failed"]
    assert results("failed<=10%", WaveMeasurement(10, failed=1)) == ["passed"]


def test_without_requests_errors_and_latency_are_undecided_and_failures_are_not() -> None:
    assert results("errors<1%, p99<1.2x, p50<5ms", WaveMeasurement(3)) == ["undecided"] * 3 + ["passed"]


def test_the_median_device_decides_on_latency() -> None:
    assert results("p99<1.2x", WaveMeasurement(3, ratios={"p99": [1.0, 1.1, 9.0]}))[0] == "passed"
    assert results("p99<1.2x", WaveMeasurement(3, ratios={"p99": [1.0, 1.3, 1.4]}))[0] == "failed"


def test_a_failure_beyond_the_limit_ends_a_wave_early_and_errors_do_once_they_are_certain() -> None:
    gate = parse_gate("errors<1%, failed<20%")
    assert find_early_failure(gate, WaveMeasurement(10, failed=1)) is None
    early = find_early_failure(gate, WaveMeasurement(10, failed=2))
    assert str(early) == "failed<20%: failed with 20 %"
    # Two errors in a hundred requests may be chance, two hundred in ten thousand are not.
    assert find_early_failure(gate, WaveMeasurement(10, requests=100, errors=2)) is None
    assert find_early_failure(gate, WaveMeasurement(10, requests=10_000, errors=200)) is not None
    assert find_early_failure(gate, WaveMeasurement(0)) is None
