"""What the report says in words and numbers."""

from __future__ import annotations

import pytest

from drupelet_host.report.checks import describe_checks, summarize_result
from drupelet_host.report.document import CheckRow, ModelRow, Report
from drupelet_host.report.quantities import (
    MetricStyle,
    format_count,
    format_factor,
    format_ms,
    format_seconds,
    tick_bytes,
    tick_ms,
)
from drupelet_host.report.tables import compare_models, list_groups, list_passes
from support.screen.reports import FLOAT, INT8, make_full_report, make_report

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "under 0.01 s"), (0.42, "0.42 s"), (12.34, "12.3 s"), (185.4, "3 min 05 s"), (4320.0, "1 h 12 min")],
)
def test_durations_are_in_the_unit_people_use(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(("value_ms", "text"), [(0.0361, "0.036 ms"), (12.345, "12.35 ms"), (241.94, "241.9 ms")])
def test_latencies_keep_the_digits_that_mean_something(value_ms: float, text: str) -> None:
    assert format_ms(value_ms) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [(44.7, 0.238, "188x smaller"), (10, 4, "2.5x smaller"), (10, 9, "1.11x smaller"), (4, 10, "2.5x larger")],
)
def test_factors_never_go_below_one(before: float, after: float, text: str) -> None:
    assert format_factor(before, after, less="smaller", more="larger") == text


def test_factors_of_equal_or_missing_values_claim_nothing() -> None:
    assert format_factor(3, 3, less="smaller", more="larger") == "the same"
    assert format_factor(3, 0, less="smaller", more="larger") == "not comparable"


def test_counts_and_ticks_carry_their_magnitude() -> None:
    assert [format_count(count) for count in (940, 196_418, 11_172_810)] == ["940", "196 k", "11.2 M"]
    assert [tick_bytes(size) for size in (0, 500, 50e3, 2.5e6)] == ["0", "500 B", "50 KB", "2.5 MB"]
    assert tick_ms(0.25) == "0.25 ms"


def test_a_share_is_shown_in_percent_and_its_differences_in_points() -> None:
    style = MetricStyle.of("top1")
    assert style.show(0.9288) == "92.88 %"
    assert [style.show_change(value) for value in (0.0021, -0.0024, 0.0)] == [
        "+0.21 points",
        f"{MINUS}0.24 points",
        "no change",
    ]


def test_a_metric_of_ones_own_is_shown_as_it_is() -> None:
    style = MetricStyle.of("mean_iou")
    assert (style.label, style.show(-3.25), style.show_change(-0.5)) == ("mean_iou", "-3.2500", f"{MINUS}0.5000")


def test_the_summary_states_what_was_gained_and_lost_and_where_it_was_measured() -> None:
    summary = summarize_result(make_report())
    assert summary.is_met
    assert summary.constraints == "All 4 constraints are met."
    assert summary.gains == (
        "188x smaller and 25.8x faster than the original on the machine that compiled it, at 92.88 % top-1 accuracy"
        f" (before: 93.12 %, {MINUS}0.24 points)."
    )


def test_the_summary_names_what_was_missed() -> None:
    missed = CheckRow(constraint="max_size", variant=INT8, limit=200_000, value=238_411, met=False)
    kept = CheckRow(constraint="max_metric_drop", variant=INT8, limit=0.01, value=0.0, met=True)
    summary = summarize_result(make_report(checks=(missed, kept)))
    assert not summary.is_met
    assert summary.constraints == "1 of 2 constraints missed: size."


@pytest.mark.parametrize(
    ("checks", "text"),
    [((), "The recipe sets no constraint."), (make_report().checks[1:2], "The recipe sets no constraint.")],
)
def test_only_the_constraints_on_the_best_variant_make_the_summary(checks: tuple[CheckRow, ...], text: str) -> None:
    assert all(check.variant == FLOAT for check in checks)
    assert summarize_result(make_report(checks=checks)).constraints == text


@pytest.mark.parametrize(
    ("limit", "value", "margin"),
    [
        (100.0, 75.0, "25 % to spare"),
        (100.0, 112.5, "12.5 % over"),
        (0.01, 0.01, "exactly at the limit"),
        (0.01, -0.002, "nothing of the limit used"),
        (0.0, 0.004, "over a limit of 0"),
    ],
)
def test_a_check_says_how_far_it_is_from_the_limit(limit: float, value: float, margin: str) -> None:
    check = CheckRow(constraint="max_metric_drop", variant=INT8, limit=limit, value=value, met=value <= limit)
    assert describe_checks(make_report(checks=(check,)))[0].margin == margin


def test_limits_are_shown_in_units_for_people_and_as_the_recipe_states_them() -> None:
    lines = {line.stated: (line.limit, line.value) for line in describe_checks(make_report())[:4]}
    assert lines == {
        "max_metric_drop = 0.005": ("0.50 points", "0.24 points"),
        "max_size = 900000": ("900.0 KB", "238.4 KB"),
        "max_latency = 0.0714": ("2.987 ms", "1.624 ms"),
        "memory_limit = 120000000": ("120.0 MB", "91.0 MB"),
    }


def test_the_best_variants_checks_come_first() -> None:
    assert [line.variant for line in describe_checks(make_report())] == [INT8] * 4 + [FLOAT] * 4


def litert(name: str, p50_ms: float) -> ModelRow:
    return make_report().original.model_copy(update={"name": name, "engine": "litert", "p50_ms": p50_ms})


def test_a_variant_is_timed_against_the_original_in_its_own_engine() -> None:
    report = make_report()
    report = report.model_copy(
        update={
            "originals": (*report.originals, litert("original", 80.0)),
            "variants": (*report.variants, litert("litert-fp32", 8.0)),
            "packaged": ("litert-fp32",),
        }
    )
    lines = {(line.name, line.role): line.p50.note for line in compare_models(report)}
    assert lines["litert-fp32", "litert, ranked first"] == "10.0x faster"
    assert lines[INT8, "onnxruntime, not in the package"] == "25.8x faster"
    assert "10.0x faster" in summarize_result(report).gains


def test_the_longest_bar_is_the_largest_value_and_the_others_are_in_proportion() -> None:
    original, best, second = compare_models(make_report())
    assert [original.size.percent, best.size.percent, second.size.percent] == [100.0, 0.5, 1.8]
    assert original.is_original
    assert (best.name, second.role) == (INT8, "onnxruntime, in the package, rank 2")


def test_memory_that_was_not_measured_has_no_bar() -> None:
    report = make_report()
    rows = tuple(row.model_copy(update={"peak_memory_bytes": None}) for row in report.variants)
    assert [line.memory is None for line in compare_models(report.model_copy(update={"variants": rows}))] == [
        False,
        True,
        True,
    ]


def test_groups_stay_in_the_order_of_the_network_and_are_drawn_against_the_widest() -> None:
    report = make_full_report()
    lines = list_groups(report.groups)
    assert [line.row for line in lines] == list(report.groups)
    assert max(line.before_percent for line in lines) == 100.0
    assert all(line.after_percent <= line.before_percent for line in lines)


def test_passes_show_what_they_were_told_and_the_share_of_the_longest() -> None:
    lines = list_passes(make_report().lineage)
    assert max(line.percent for line in lines) == 100.0
    assert ("ratios", "[0.25, 0.5, 0.75]") in lines[0].parameters
    assert ("top1", "0.9288") in lines[0].metrics


def test_the_document_reads_back_as_it_was_written() -> None:
    report = make_full_report()
    assert Report.model_validate_json(report.to_bytes()) == report
