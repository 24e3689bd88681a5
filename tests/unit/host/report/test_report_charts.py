"""The geometry of the report's charts."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from drupelet_host.report.axes import cost_axis, linear_axis, logarithmic_axis
from drupelet_host.report.document import CurveRow, GroupRow, Report
from drupelet_host.report.frontier_chart import draw_frontier, draw_steps
from drupelet_host.report.quantities import tick_bytes, tick_ms, tick_percent
from drupelet_host.report.scatter import Limit, Point, Scatter, draw_scatter, undominated
from drupelet_host.report.sensitivity_chart import draw_sensitivity
from support.screen.reports import INT8, make_report


def point(cost: float, metric: float, **changes: object) -> Point:
    fields: dict[str, object] = {"series": "a", "is_kept": True, "is_chosen": False, "label": "", "title": ""}
    return Point(cost=cost, metric=metric, **{**fields, **changes})  # type: ignore[arg-type]


def scatter(*points: Point, x_limit: float | None = None, y_limit: float | None = None) -> Scatter:
    return draw_scatter(
        points,
        x_label="size",
        y_label="metric",
        x_tick=tick_bytes,
        y_tick=tick_percent,
        x_limit=None if x_limit is None else Limit(x_limit, "at most"),
        y_limit=None if y_limit is None else Limit(y_limit, "at least"),
    )


def report_of(curves: tuple[CurveRow, ...], group: GroupRow) -> Report:
    return make_report().model_copy(update={"sensitivity": curves, "groups": (group,)})


class TestAxes:
    def test_the_ends_of_an_axis_are_its_ends_in_pixels(self) -> None:
        axis = linear_axis(10.0, 20.0, start=200.0, end=100.0, tick=str)
        assert [axis.place(value) for value in (10.0, 15.0, 20.0)] == [200.0, 150.0, 100.0]

    def test_ticks_stand_at_round_values_inside_the_axis(self) -> None:
        axis = linear_axis(0.917, 0.9312, start=0.0, end=100.0, tick=tick_percent)
        assert [tick.label for tick in axis.ticks] == ["92 %", "92.5 %", "93 %"]
        assert all(0 <= tick.position <= 100 for tick in axis.ticks)

    @pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.1, 0.9), (-3.0, 4.0), (0.99, 0.9901), (5.0, 5e6)])
    def test_a_linear_axis_has_at_least_two_ticks_and_not_too_many(self, low: float, high: float) -> None:
        assert 2 <= len(linear_axis(low, high, start=0.0, end=100.0, tick=str).ticks) <= 7

    def test_equal_factors_are_equally_far_apart_on_a_logarithmic_axis(self) -> None:
        axis = logarithmic_axis(1e3, 1e6, start=0.0, end=900.0, tick=tick_bytes)
        places = [axis.place(value) for value in (1e3, 1e4, 1e5, 1e6)]
        steps = [later - earlier for earlier, later in pairwise(places)]
        assert max(steps) - min(steps) <= 0.2
        assert [tick.label for tick in axis.ticks] == ["1 KB", "10 KB", "100 KB", "1 MB"]

    @pytest.mark.parametrize(("high", "is_logarithmic"), [(7.9, False), (8.0, True), (1e9, True)])
    def test_costs_are_logarithmic_from_eightfold_on(self, high: float, *, is_logarithmic: bool) -> None:
        axis = cost_axis([1.0, high], start=0.0, end=100.0, tick=tick_ms)
        assert axis.is_logarithmic is is_logarithmic
        assert len(axis.ticks) <= 7

    def test_a_linear_cost_starts_at_nothing(self) -> None:
        axis = cost_axis([3.0, 4.0], start=10.0, end=100.0, tick=tick_ms)
        assert axis.place(0.0) == 10.0
        assert axis.ticks[0].label == "0"

    @pytest.mark.parametrize("value", [0.0, 0.5, -1.0, 1e-12])
    def test_one_single_value_still_makes_an_axis(self, value: float) -> None:
        axis = linear_axis(value, value, start=0.0, end=100.0, tick=str)
        assert axis.place(value) == 50.0


class TestScatter:
    def test_the_edge_holds_the_points_that_no_other_beats(self) -> None:
        points = [point(1, 0.5), point(2, 0.4), point(3, 0.9), point(3, 0.8), point(4, 0.9)]
        assert [(p.cost, p.metric) for p in undominated(points)] == [(1, 0.5), (3, 0.9)]

    def test_the_edge_is_a_staircase_from_the_cheapest_to_the_best(self) -> None:
        drawn = scatter(point(100, 0.90), point(150, 0.95))
        cheap, good = drawn.dots
        bottom, right = drawn.y.start, drawn.x.end
        assert drawn.edge == f"M{cheap.x:g} {bottom:g}V{cheap.y:g}H{good.x:g}V{good.y:g}H{right:g}"
        assert cheap.x < good.x
        assert cheap.y > good.y

    def test_the_front_of_one_point_is_seen_too(self) -> None:
        drawn = scatter(point(100, 0.95), point(150, 0.90))
        best = drawn.dots[0]
        assert drawn.edge == f"M{best.x:g} {drawn.y.start:g}V{best.y:g}H{drawn.x.end:g}"
        assert [dot.is_on_edge for dot in drawn.dots] == [True, False]

    def test_a_limit_is_in_sight_and_bounds_what_is_allowed(self) -> None:
        drawn = scatter(point(100, 0.9), point(200, 0.95), x_limit=400, y_limit=0.8)
        assert drawn.x_limit is not None
        assert drawn.y_limit is not None
        assert drawn.x.start < drawn.x_limit.position < drawn.x.end
        assert drawn.y.end < drawn.y_limit.position < drawn.y.start
        assert drawn.allowed == (drawn.x_limit.position, drawn.y_limit.position)
        assert scatter(point(1, 1)).allowed is None

    def test_a_point_far_below_the_others_stands_at_the_lower_edge_and_does_not_flatten_them(self) -> None:
        lost = point(120, 0.1, is_kept=False)
        drawn = scatter(point(100, 0.92), point(150, 0.93), lost, y_limit=0.925)
        assert [dot.is_below for dot in drawn.dots] == [False, False, True]
        assert drawn.has_dots_below
        assert drawn.dots[2].y < drawn.y.start
        assert drawn.dots[0].y - drawn.dots[1].y > 40
        assert not scatter(point(1, 0.9), point(2, 0.89)).has_dots_below

    def test_what_was_kept_is_never_below_the_scale(self) -> None:
        drawn = scatter(point(100, 0.3), point(150, 0.93), y_limit=0.925)
        assert not drawn.has_dots_below

    def test_labels_do_not_cover_each_other_and_the_chosen_one_stays(self) -> None:
        crowd = [point(100 + n, 0.9 + n / 1e5, label=str(n), is_chosen=n == 3) for n in range(6)]
        labels = [dot.label for dot in scatter(*crowd, point(200, 0.95, label="far")).dots if dot.label]
        assert labels == ["3", "far"]

    def test_each_series_has_its_own_shape(self) -> None:
        drawn = scatter(*(point(n, 0.9, series=name) for n, name in enumerate("abcd", start=1)))
        assert len({dot.shape for dot in drawn.dots}) == 4
        assert [name for name, _ in drawn.series] == list("abcd")


class TestFrontier:
    def test_without_a_search_there_is_no_frontier(self) -> None:
        assert draw_frontier(make_report()) is None
        assert draw_steps(make_report()) is None

    def test_every_candidate_is_in_both_charts_and_one_is_ringed(self) -> None:
        report = make_report(candidates=15)
        frontier = draw_frontier(report)
        assert frontier is not None
        for chart in (frontier.by_size, frontier.by_latency):
            assert len(chart.dots) == len(report.frontier) == 30
            (ringed,) = (dot for dot in chart.dots if dot.is_chosen)
            assert f"candidate 14 as {INT8}, kept, chosen" in ringed.title
            assert [name for name, _ in chart.series] == ["ort-fp32", INT8]

    def test_the_limits_are_those_of_the_recipe(self) -> None:
        frontier = draw_frontier(make_report(candidates=3))
        assert frontier is not None
        assert frontier.by_size.x_limit is not None
        assert frontier.by_size.x_limit.text == "at most 900.0 KB"
        assert frontier.by_latency.x_limit is not None
        assert frontier.by_latency.x_limit.text == "at most 2.987 ms"
        assert frontier.by_size.y_limit is not None
        assert frontier.by_size.y_limit.text == "at least 92.62 %"

    def test_without_constraints_there_are_no_limits(self) -> None:
        frontier = draw_frontier(make_report(candidates=3, checks=()))
        assert frontier is not None
        assert (frontier.by_size.x_limit, frontier.by_size.y_limit) == (None, None)

    def test_the_last_step_that_was_kept_is_ringed(self) -> None:
        chart = draw_steps(make_report(steps=3))
        assert chart is not None
        assert [(dot.is_kept, dot.is_chosen) for dot in chart.dots] == [(True, False), (True, True), (False, False)]


class TestSensitivity:
    def test_the_most_sensitive_group_comes_first(self) -> None:
        charts = draw_sensitivity(make_report(groups=20))
        assert charts is not None
        robustness = [curve.robustness for curve in charts.curves]
        assert robustness == sorted(robustness)
        assert len(set(robustness)) > 1

    def test_the_chosen_ratio_is_marked_where_it_meets_the_curve(self) -> None:
        row = CurveRow(group="a", robustness=0.9, points=((0.0, 1.0), (0.5, 0.8)))
        group = GroupRow(group="a", channels_before=16, channels_after=12)
        charts = draw_sensitivity(report_of((row,), group))
        assert charts is not None
        (curve,) = charts.curves
        left, right = curve.corners
        assert curve.ratio == 0.25
        assert curve.mark_x == pytest.approx((left.x + right.x) / 2, abs=0.1)
        assert curve.mark_y == pytest.approx((left.y + right.y) / 2, abs=0.1)

    def test_beyond_what_was_measured_the_mark_has_no_height(self) -> None:
        row = CurveRow(group="a", robustness=0.9, points=((0.0, 1.0), (0.5, 0.8)))
        group = GroupRow(group="a", channels_before=16, channels_after=4)
        charts = draw_sensitivity(report_of((row,), group))
        assert charts is not None
        assert charts.curves[0].mark_x is not None
        assert charts.curves[0].mark_y is None

    def test_a_group_left_alone_or_unknown_to_pruning_has_no_mark(self) -> None:
        rows = tuple(CurveRow(group=name, robustness=1.0, points=((0.0, 1.0), (0.5, 1.0))) for name in "ab")
        group = GroupRow(group="a", channels_before=16, channels_after=16)
        charts = draw_sensitivity(report_of(rows, group))
        assert charts is not None
        assert [(curve.ratio, curve.mark_x) for curve in charts.curves] == [(0.0, None), (None, None)]

    def test_all_curves_have_one_scale_and_stay_inside_it(self) -> None:
        charts = draw_sensitivity(make_report(groups=12))
        assert charts is not None
        heights = [corner.y for curve in charts.curves for corner in curve.corners]
        assert charts.y.end <= min(heights) < max(heights) <= charts.y.start
        assert all(re.fullmatch(r"[\d.,]+( [\d.,]+){3}", curve.polyline) for curve in charts.curves)

    def test_without_curves_there_are_no_charts(self) -> None:
        assert draw_sensitivity(make_report(groups=0)) is None
