from __future__ import annotations

from pathlib import Path

import pytest

from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.selection.dominance import drop_idle
from drupelet_host.selection.variants import DYNAMIC, FLOAT, FLOAT16, LITERT_FLOAT, MIXED, STATIC
from drupelet_shared.timing import Timing


def measured(variant: str, *, size: int, metric: float, p50_ms: float) -> Measurement:
    suffix = ".tflite" if variant.startswith("litert") else ".onnx"
    timing = Timing(runs=10, p50_ms=p50_ms, p95_ms=p50_ms, p99_ms=p50_ms, mean_ms=p50_ms)
    return Measurement(Path(f"{variant}{suffix}"), size, metric, timing, None)


def kept(found: dict[str, tuple[int, float, float]]) -> tuple[tuple[str, ...], list[str]]:
    """From size, metric and time by variant, ranked by time."""
    measurements = {
        name: measured(name, size=size, metric=metric, p50_ms=time) for name, (size, metric, time) in found.items()
    }
    ranking = sorted(found, key=lambda name: found[name][2])
    ranked, reasons = drop_idle(ranking, measurements)
    return ranked, [f"{name} is left out: {reason}" for name, reason in reasons.items()]


def test_a_variant_that_another_beats_in_everything_is_left_out() -> None:
    ranking, decisions = kept({FLOAT: (100, 0.9, 2.0), FLOAT16: (50, 0.9, 1.9)})
    assert ranking == (FLOAT16,)
    assert decisions == [f"{FLOAT} is left out: {FLOAT16} is no larger, no slower and no less right"]


@pytest.mark.parametrize(
    "float16",
    [(50, 0.9, 2.2), (50, 0.9, 2.07), (50, 0.89, 1.0), (101, 0.95, 1.0)],
    ids=["slower", "slower than noise", "less right", "larger"],
)
def test_a_variant_with_one_advantage_stays(float16: tuple[int, float, float]) -> None:
    ranking, decisions = kept({FLOAT: (100, 0.9, 2.0), FLOAT16: float16})
    assert set(ranking) == {FLOAT, FLOAT16}
    assert decisions == []


def test_a_difference_that_is_noise_does_not_save_a_variant() -> None:
    assert kept({FLOAT: (100, 0.9, 2.0), FLOAT16: (50, 0.9, 2.05)})[0] == (FLOAT16,)
    assert kept({FLOAT: (100, 0.9, 2.0), FLOAT16: (50, 0.9, 2.06)})[0] == (FLOAT16,)


def test_float_and_int8_are_not_compared_for_the_device_knows_which_is_faster() -> None:
    ranking, _ = kept({FLOAT: (100, 0.8, 9.0), STATIC: (25, 0.9, 1.0)})
    assert ranking == (STATIC, FLOAT)


def test_variants_of_two_engines_are_not_compared() -> None:
    ranking, _ = kept({FLOAT: (100, 0.8, 9.0), LITERT_FLOAT: (90, 0.9, 1.0)})
    assert ranking == (LITERT_FLOAT, FLOAT)


def test_int8_variants_are_compared_with_each_other() -> None:
    ranking, decisions = kept(
        {STATIC: (25, 0.9, 1.0), DYNAMIC: (30, 0.9, 1.5), MIXED: (60, 0.95, 1.2), FLOAT: (100, 0.9, 2.0)}
    )
    assert ranking == (STATIC, MIXED, FLOAT)
    assert len(decisions) == 1


def test_of_two_that_are_equal_the_better_ranked_stays() -> None:
    ranking, _ = kept({STATIC: (25, 0.9, 1.0), DYNAMIC: (25, 0.9, 1.01)})
    assert ranking == (STATIC,)


def test_the_order_of_the_ranking_stays() -> None:
    ranking, _ = kept({FLOAT16: (50, 0.9, 3.0), STATIC: (25, 0.8, 1.0), FLOAT: (100, 0.9, 2.0)})
    assert ranking == (STATIC, FLOAT, FLOAT16)
