from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from drupelet_host.errors import ConstraintError
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.recipe.schema import Constraints
from drupelet_host.selection.constraints import check_constraints, rank_variants
from drupelet_shared.timing import Timing


def measurement(*, metric: float, size_bytes: int, p50_ms: float, memory: int = 50_000_000) -> Measurement:
    return Measurement(Path("model.onnx"), size_bytes, metric, Timing(p50_ms, p50_ms, p50_ms, 10, p50_ms), memory)


ORIGINAL = measurement(metric=0.95, size_bytes=4_000_000, p50_ms=10.0)
VARIANTS = {
    "fp32": measurement(metric=0.945, size_bytes=1_000_000, p50_ms=4.0),
    "int8": measurement(metric=0.94, size_bytes=300_000, p50_ms=6.0),
}


def rank(**limits: float) -> tuple[str, ...]:
    constraints = Constraints.model_validate(limits)
    return rank_variants(check_constraints(constraints, VARIANTS, references={"onnxruntime": ORIGINAL}), VARIANTS)


def test_without_constraints_the_fastest_comes_first() -> None:
    assert rank() == ("fp32", "int8")


def test_a_drop_of_exactly_the_limit_is_allowed() -> None:
    assert rank(max_metric_drop=0.01) == ("fp32", "int8")


def test_a_variant_that_is_too_large_is_left_out() -> None:
    assert rank(max_size=500_000) == ("int8",)


def test_a_variant_that_is_slow_on_this_machine_alone_stays_behind() -> None:
    assert rank(max_latency=0.5) == ("fp32", "int8")


def test_meeting_everything_comes_before_being_fast() -> None:
    slow_but_small = {**VARIANTS, "tiny": measurement(metric=0.95, size_bytes=1, p50_ms=9.0)}
    checks = check_constraints(Constraints(max_latency=0.95), slow_but_small, references={"onnxruntime": ORIGINAL})
    assert rank_variants(checks, slow_but_small) == ("fp32", "int8", "tiny")


def test_constraints_that_no_single_variant_meets_fail_with_the_best_of_each() -> None:
    with pytest.raises(ConstraintError) as caught:
        rank(max_size=500_000, max_latency=0.5, memory_limit=40_000_000)
    text = str(caught.value)
    assert "max_size wanted 500.0 KB (500000 bytes), best 300.0 KB (300000 bytes) (int8): met" in text
    assert "max_latency wanted 0.5, best 0.4 (fp32): met" in text
    assert "memory_limit wanted 40.0 MB (40000000 bytes), best 50.0 MB (50000000 bytes) (fp32): missed" in text


def test_a_metric_that_fell_too_far_is_never_packed() -> None:
    with pytest.raises(ConstraintError, match=r"max_metric_drop wanted 0\.001, best 0\.005"):
        rank(max_metric_drop=0.001)


def test_an_engine_without_a_variant_that_meets_everything_fails_the_compile() -> None:
    for_litert = replace(VARIANTS["int8"], path=Path("model.tflite"), size_bytes=700_000)
    both = {**VARIANTS, "litert-int8": for_litert}
    references = {"onnxruntime": ORIGINAL, "litert": replace(ORIGINAL, path=Path("original.tflite"))}
    checks = check_constraints(Constraints(max_size=500_000), both, references=references)
    with pytest.raises(
        ConstraintError,
        match=r"no variant for litert meets all .*best 700\.0 KB \(700000 bytes\) \(litert-int8\): missed",
    ):
        rank_variants(checks, both)
    checks = check_constraints(Constraints(max_size=800_000), both, references=references)
    assert rank_variants(checks, both) == ("int8", "litert-int8")
