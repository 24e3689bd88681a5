"""What lost too much of the metric is not packed, whatever was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.recipe.schema import Constraints
from drupelet_host.selection.dominance import find_worse_than_original
from drupelet_host.selection.metric_floor import find_below_floor
from drupelet_shared.timing import Timing


def measured(metric: float, *, size: int = 1000, p50_ms: float = 1.0, weakest: str | None = None) -> Measurement:
    timing = Timing(runs=10, p50_ms=p50_ms, p95_ms=p50_ms, p99_ms=p50_ms, mean_ms=p50_ms)
    return Measurement(Path("model.onnx"), size, metric, timing, None, weakest=weakest)


@pytest.mark.parametrize(
    ("stated", "floor"),
    [({}, 0.95), ({"max_size": 10}, 0.95), ({"max_metric_drop": 0.2}, None), ({"metric_floor": 0.5}, 0.5)],
)
def test_the_default_floor_holds_where_no_drop_is_stated(stated: dict[str, float], floor: float | None) -> None:
    assert Constraints.model_validate(stated).floor == floor


def test_what_lies_below_the_floor_is_named_with_its_numbers() -> None:
    variants = {"good": measured(0.9), "bad": measured(0.5, weakest="output 'y', channels 4 to 9: 0.5")}
    found = find_below_floor(variants, baseline=0.94, floor=0.95, metric="fidelity")
    assert found == {
        "bad": "its fidelity is 0.5 (weakest: output 'y', channels 4 to 9: 0.5): the original has 0.94, and below "
        "0.893 nothing is packed; constraints.metric_floor = 0.95 sets that"
    }


def test_a_metric_below_zero_has_its_floor_below_it() -> None:
    variants = {"good": measured(-2.05), "bad": measured(-2.2)}
    assert set(find_below_floor(variants, baseline=-2.0, floor=0.95, metric="loss")) == {"bad"}


def test_no_floor_keeps_everything() -> None:
    assert find_below_floor({"bad": measured(0.0)}, baseline=1.0, floor=None, metric="fidelity") == {}
    assert find_below_floor({"bad": measured(0.0)}, baseline=1.0, floor=0.0, metric="fidelity") == {}


def test_a_variant_that_is_larger_slower_and_less_right_than_the_original_is_named() -> None:
    original = {"onnxruntime": measured(1.0, size=100_000, p50_ms=1.0)}
    variants = {
        "worse": measured(0.99, size=200_000, p50_ms=2.0),
        "smaller": measured(0.99, size=5_000, p50_ms=2.0),
        "faster": measured(0.99, size=200_000, p50_ms=0.5),
        "as right": measured(1.0, size=200_000, p50_ms=2.0),
        "a few bytes more": measured(0.9999, size=110_000, p50_ms=1.5),
    }
    assert set(find_worse_than_original(variants, original)) == {"worse"}


@pytest.mark.parametrize(
    ("size", "p50_ms", "metric", "worse"),
    [
        (118_384, 1.04, 0.99, False),  # 2 % and 16 KiB more
        (118_385, 1.04, 0.99, True),
        (118_385, 1.03, 0.99, False),  # 3 % are noise
        (118_385, 1.04, 1.0, False),
    ],
)
def test_a_difference_of_a_few_bytes_or_percent_is_none(
    size: int,
    p50_ms: float,
    metric: float,
    worse: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    original = {"onnxruntime": measured(1.0, size=100_000, p50_ms=1.0)}
    variant = measured(metric, size=size, p50_ms=p50_ms)
    assert bool(find_worse_than_original({"variant": variant}, original)) is worse


def test_the_floor_is_a_share_of_the_original() -> None:
    variants = {"at": measured(0.4), "below": measured(0.399)}
    assert set(find_below_floor(variants, baseline=0.8, floor=0.5, metric="fidelity")) == {"below"}
