from __future__ import annotations

from drupelet_host.selection.pareto import pareto_front


def front(*points: tuple[float, float]) -> list[tuple[float, float]]:
    return pareto_front(points, cost=lambda point: point[0], value=lambda point: point[1])


def test_a_costlier_point_is_on_the_front_only_with_a_higher_value() -> None:
    assert front((1.0, 0.5), (2.0, 0.4), (3.0, 0.5), (4.0, 0.7), (5.0, 0.6)) == [(1.0, 0.5), (4.0, 0.7)]


def test_of_points_of_the_same_cost_the_one_with_the_highest_value_is_on_the_front() -> None:
    assert front((1.0, 0.25), (1.0, 0.75), (1.0, 0.5)) == [(1.0, 0.75)]


def test_of_equal_points_the_first_is_on_the_front() -> None:
    points = [("first", 1.0, 0.5), ("second", 1.0, 0.5)]

    assert pareto_front(points, cost=lambda point: point[1], value=lambda point: point[2]) == points[:1]


def test_without_points_the_front_is_empty() -> None:
    assert front() == []
