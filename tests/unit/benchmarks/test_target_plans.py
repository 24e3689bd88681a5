"""Two ways of a search are compared at equal metric, by their points that no faster one is as good as."""

from __future__ import annotations

import pytest
import torch

from benchmarks.target.plans import Point, compare_at_equal_metric, spread_time_per_mac
from benchmarks.target.yolo import ShapeFinder
from drupelet_host.latency.modelled.layers import LayerShape
from drupelet_host.pruning.search.savings import CostMeasure, CostWeights
from drupelet_host.pruning.search.time_cost import MacCost


def way(*points: tuple[float, float]) -> list[Point]:
    return [Point(metric=metric, ms=ms, macs=1) for metric, ms in points]


def test_the_times_at_the_metrics_of_the_first_way_are_compared() -> None:
    reductions = compare_at_equal_metric(
        way((1.0, 10.0), (0.8, 6.0), (0.6, 4.0)), way((1.0, 10.0), (0.8, 3.0), (0.6, 3.0))
    )
    assert reductions == {0.8: pytest.approx(0.5), 0.6: pytest.approx(0.25)}


def test_between_two_points_a_way_takes_what_the_line_says() -> None:
    reductions = compare_at_equal_metric(way((1.0, 10.0), (0.7, 6.0)), way((1.0, 10.0), (0.6, 2.0)))
    assert reductions == {0.7: pytest.approx(1 - 4.0 / 6.0)}


def test_a_point_that_a_faster_one_beats_does_not_count() -> None:
    # The second point of the first way is worse than its faster third.
    reductions = compare_at_equal_metric(
        way((1.0, 10.0), (0.7, 8.0), (0.9, 5.0)), way((1.0, 10.0), (0.9, 4.0), (0.5, 1.0))
    )
    assert reductions == {0.9: pytest.approx(0.2)}


def test_with_classes_top1_counts_at_fixed_drops() -> None:
    one = [Point(metric=0.0, ms=ms, macs=1, top1=top1) for ms, top1 in ((10.0, 0.9), (5.0, 0.88))]
    two = [Point(metric=0.0, ms=ms, macs=1, top1=top1) for ms, top1 in ((10.0, 0.9), (3.0, 0.88))]
    reductions = compare_at_equal_metric(one, two)
    assert list(reductions) == [0.895, 0.89, 0.88]
    assert reductions[0.88] == pytest.approx(0.4)


class WideIsFree(MacCost):
    """Layers of many channels cost nothing."""

    def of_layer(self, shape: LayerShape) -> float:
        return shape.macs if shape.in_channels < 32 else 0.0


def test_time_per_arithmetic_is_one_where_time_is_arithmetic_and_spread_where_it_is_not() -> None:
    network, example = ShapeFinder().eval(), torch.zeros(1, 1, 64, 64)
    by_macs, by_time = (CostMeasure(CostWeights(parameters=0.0, time=1.0), cost) for cost in (MacCost(), WideIsFree()))
    alike = spread_time_per_mac(network, example, by_macs)
    assert alike == {"q1": 1.0, "median": 1.0, "q3": 1.0}
    spread = spread_time_per_mac(network, example, by_time)
    assert spread["q1"] < 0.9 * spread["q3"]
