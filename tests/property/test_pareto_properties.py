from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drupelet_host.selection.pareto import pareto_front

POINTS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30)


def front_of(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return pareto_front(points, cost=lambda point: point[0], value=lambda point: point[1])


@given(POINTS)
def test_no_point_of_the_front_is_beaten_by_any_point(points: list[tuple[int, int]]) -> None:
    for cost, value in front_of(points):
        assert not any((c <= cost and v > value) or (c < cost and v >= value) for c, v in points)


@given(POINTS)
def test_every_other_point_is_beaten_or_equalled_by_one_of_the_front(points: list[tuple[int, int]]) -> None:
    front = front_of(points)
    for cost, value in points:
        assert any(c <= cost and v >= value for c, v in front)


@given(POINTS)
def test_the_front_rises_in_cost_and_in_value(points: list[tuple[int, int]]) -> None:
    front = front_of(points)
    assert front == sorted(set(front))
    assert [value for _, value in front] == sorted({value for _, value in front})
