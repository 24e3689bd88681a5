"""What a profile says about operators whose mean and median disagree."""

from __future__ import annotations

from drupelet_agent.install.profiling import describe_outliers
from drupelet_shared.contract.measuring import OperatorTime


def operator(name: str, *, median_ms: float, mean_ms: float) -> OperatorTime:
    return OperatorTime(
        name=name, type="Conv", calls=1.0, mean_ms=mean_ms, self_ms=median_ms, p50_ms=median_ms, self_mean_ms=mean_ms
    )


def test_an_operator_that_one_run_interrupted_is_named_with_both_numbers() -> None:
    operators = [operator("conv", median_ms=2.0, mean_ms=2.1), operator("mean", median_ms=0.1, mean_ms=8.0)]
    assert describe_outliers(operators) == (
        "single runs were interrupted, so means are misleading; times are medians "
        "(mean: median 0.100 ms, mean 8.000 ms)"
    )


def test_operators_that_agree_need_no_note() -> None:
    assert describe_outliers([operator("conv", median_ms=2.0, mean_ms=2.1)]) is None


def test_a_small_operator_that_disagrees_does_not_matter() -> None:
    operators = [operator("conv", median_ms=20.0, mean_ms=20.1), operator("mean", median_ms=0.01, mean_ms=0.05)]
    assert describe_outliers(operators) is None
