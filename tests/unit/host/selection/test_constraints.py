from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from drupelet_host.errors import ConstraintError
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.latency.source import LatencyEstimate
from drupelet_host.recipe.latency import LatencyLimit
from drupelet_host.recipe.schema import Constraints
from drupelet_host.selection.constraints import check_constraints, describe_misses, rank_variants
from drupelet_shared.package.manifest import EngineName
from drupelet_shared.timing import Interval, Timing


def measurement(
    *, metric: float = 0.95, size_bytes: int = 300_000, p50_ms: float, memory: int = 50_000_000
) -> Measurement:
    return Measurement(Path("model.onnx"), size_bytes, metric, Timing(p50_ms, p50_ms, p50_ms, 10, p50_ms), memory)


ORIGINAL = measurement(metric=0.95, size_bytes=4_000_000, p50_ms=10.0)
VARIANTS = {
    "fp32": measurement(metric=0.945, size_bytes=1_000_000, p50_ms=4.0),
    "int8": measurement(metric=0.94, size_bytes=300_000, p50_ms=6.0),
}


def estimate(p50_ms: float, *, low_ms: float, high_ms: float, p99_ms: float | None = None) -> LatencyEstimate:
    return LatencyEstimate(p50_ms=p50_ms, interval=Interval(low_ms, high_ms), source="measured on pi-7", p99_ms=p99_ms)


def rank(**limits: object) -> tuple[str, ...]:
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
    checks = check_constraints(
        Constraints.model_validate({"max_latency": 0.95}), slow_but_small, references={"onnxruntime": ORIGINAL}
    )
    assert rank_variants(checks, slow_but_small) == ("fp32", "int8", "tiny")


def test_constraints_that_no_single_variant_meets_fail_with_the_best_of_each() -> None:
    with pytest.raises(ConstraintError) as caught:
        rank(max_size=500_000, max_latency=0.5, memory_limit=40_000_000)
    text = str(caught.value)
    table = [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
    rows = {cells[0]: cells[1:] for cells in table if len(cells) > 1}
    assert rows["max_size"] == ["500.0 KB (500000 bytes)", "300.0 KB (300000 bytes)", "int8", "met"]
    assert rows["max_latency"] == ["0.5", "0.4", "fp32", "met"]
    assert rows["memory_limit"] == ["40.0 MB (40000000 bytes)", "50.0 MB (50000000 bytes)", "fp32", "missed"]
    assert "\nfor memory_limit, add 'litert'" in text
    assert "for max_size" not in text


def test_a_failure_offers_limits_that_the_nearest_variant_meets() -> None:
    with pytest.raises(ConstraintError) as caught:
        rank(max_size=500_000, max_latency=0.5, memory_limit=40_000_000)
    _, offer = str(caught.value).split("limits that ")
    recipe = tomllib.loads(offer.partition("\n")[2])
    assert rank(**recipe["constraints"])


def test_a_latency_is_met_when_all_of_its_range_is_within_the_limit() -> None:
    limits = {"10 ms": True, "9 ms": False, "8.9 ms": False, "11 ms p99": False}
    for text, met in limits.items():
        variant = replace(measurement(p50_ms=9.0), latency=estimate(9.0, low_ms=8.8, high_ms=9.5, p99_ms=12.0))
        constraints = Constraints.model_validate({"max_latency": text})
        (check,) = check_constraints(constraints, {"v": variant}, references={"onnxruntime": ORIGINAL})
        assert check.met == met, text
        assert check.is_undecided == (text in {"9 ms", "8.9 ms"}), text


def test_a_variant_that_misses_the_latency_on_a_board_is_left_out() -> None:
    on_board = {
        "slow": replace(measurement(p50_ms=1.0), latency=estimate(9.0, low_ms=8.9, high_ms=9.1)),
        "fast": replace(measurement(p50_ms=2.0), latency=estimate(4.0, low_ms=3.9, high_ms=4.1)),
    }
    constraints = Constraints.model_validate({"max_latency": "5 ms"})
    checks = check_constraints(constraints, on_board, references={"onnxruntime": ORIGINAL})
    assert rank_variants(checks, on_board) == ("fast",)


@pytest.mark.parametrize(
    ("stated", "limit"),
    [
        (0.5, LatencyLimit(value=0.5)),
        (2, LatencyLimit(value=2.0)),
        ("0.5 p99", LatencyLimit(value=0.5, percentile="p99")),
        ("20 ms", LatencyLimit(value=20.0, unit="ms")),
        ("20ms p99", LatencyLimit(value=20.0, unit="ms", percentile="p99")),
        ("0.02 s", LatencyLimit(value=20.0, unit="ms")),
    ],
)
def test_a_latency_is_stated_as_a_ratio_or_a_time_with_its_percentile(stated: object, limit: LatencyLimit) -> None:
    constraints = Constraints.model_validate({"max_latency": stated})
    assert constraints.max_latency == limit
    assert Constraints.model_validate(constraints.model_dump(mode="json")) == constraints


@pytest.mark.parametrize("stated", [0, -1, "fast", "20 min", "0 ms", "20 ms p50 p99", True])
def test_a_latency_in_another_form_is_refused(stated: object) -> None:
    with pytest.raises(ValidationError):
        Constraints.model_validate({"max_latency": stated})


def test_a_metric_that_fell_too_far_is_never_packed() -> None:
    with pytest.raises(ConstraintError, match=r"max_metric_drop +0\.001 +0\.005"):
        rank(max_metric_drop=0.001)


def test_an_engine_without_a_variant_that_meets_everything_fails_the_compile() -> None:
    for_litert = replace(VARIANTS["int8"], path=Path("model.tflite"), size_bytes=700_000)
    both = {**VARIANTS, "litert-int8": for_litert}
    references = {"onnxruntime": ORIGINAL, "litert": replace(ORIGINAL, path=Path("original.tflite"))}
    checks = check_constraints(Constraints(max_size=500_000), both, references=references)
    with pytest.raises(
        ConstraintError,
        match=r"no variant for litert meets all[^\n]*\n[^\n]*\n[^\n]* 700\.0 KB \(700000 bytes\) +litert-int8 +missed",
    ):
        rank_variants(checks, both)
    checks = check_constraints(Constraints(max_size=800_000), both, references=references)
    assert rank_variants(checks, both) == ("int8", "litert-int8")


def in_two_engines(litert: Measurement) -> tuple[dict[str, Measurement], dict[EngineName, Measurement]]:
    """The int8 variant takes 6 ms of 10 ms in ONNX Runtime; LiteRT's original takes as long."""
    variants = {"int8": timed(VARIANTS["int8"]), "litert-int8": timed(replace(litert, path=Path("model.tflite")))}
    original = timed(ORIGINAL)
    return variants, {"onnxruntime": original, "litert": replace(original, path=Path("original.tflite"))}


def timed(measured: Measurement) -> Measurement:
    ms = measured.timing.p50_ms
    return replace(measured, latency=estimate(ms, low_ms=0.99 * ms, high_ms=1.01 * ms))


@pytest.mark.parametrize("limits", [{"max_latency": "7 ms"}, {"memory_limit": 60_000_000}])
def test_a_time_or_a_memory_is_enough_in_one_engine_since_devices_run_that_one(limits: dict[str, object]) -> None:
    variants, references = in_two_engines(measurement(metric=0.94, p50_ms=8.0, memory=70_000_000))
    checks = check_constraints(Constraints.model_validate(limits), variants, references=references)
    assert rank_variants(checks, variants) == ("int8",)


def test_an_engine_within_the_time_does_not_excuse_another_that_loses_too_much() -> None:
    variants, references = in_two_engines(measurement(metric=0.90, p50_ms=8.0))
    constraints = Constraints.model_validate({"max_latency": "7 ms", "max_metric_drop": 0.02})
    with pytest.raises(ConstraintError, match="no variant for litert meets all"):
        rank_variants(check_constraints(constraints, variants, references=references), variants)


def test_a_ratio_must_be_met_in_each_engine_since_each_has_an_original_of_its_own() -> None:
    variants, references = in_two_engines(measurement(metric=0.94, p50_ms=8.0))
    checks = check_constraints(Constraints.model_validate({"max_latency": 0.7}), variants, references=references)
    with pytest.raises(ConstraintError, match="no variant for litert meets all"):
        rank_variants(checks, variants)


def test_where_no_engine_is_within_the_time_the_best_of_all_is_named() -> None:
    variants, references = in_two_engines(measurement(metric=0.94, p50_ms=5.0))
    checks = check_constraints(Constraints.model_validate({"max_latency": "4 ms"}), variants, references=references)
    with pytest.raises(
        ConstraintError, match=r"no variant meets all[^\n]*\n[^\n]*\n[^\n]* 5\.05 ms +litert-int8 +missed"
    ):
        rank_variants(checks, variants)


def test_a_time_has_its_unit_and_a_ratio_has_none() -> None:
    for stated, unit in (("9 ms", "ms"), (0.5, "")):
        constraints = Constraints.model_validate({"max_latency": stated})
        checks = check_constraints(constraints, VARIANTS, references={"onnxruntime": ORIGINAL})
        assert {check.unit for check in checks} == {unit}


def test_each_variant_that_is_not_ranked_is_described_by_what_it_misses_alone() -> None:
    constraints = Constraints.model_validate(
        {"max_size": 500_000, "max_metric_drop": 0.007, "memory_limit": 60_000_000}
    )
    checks = check_constraints(constraints, VARIANTS, references={"onnxruntime": ORIGINAL})
    missed = describe_misses(checks, ranking=())
    assert missed == {
        "fp32": "misses max_size = 500.0 KB (500000 bytes): it has 1.0 MB (1000000 bytes)",
        "int8": "misses max_metric_drop = 0.007: it has 0.01",
    }
    assert describe_misses(checks, ranking=("int8",)).keys() == {"fp32"}
