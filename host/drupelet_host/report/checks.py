"""Describes constraint checks and the result of a compile in words."""

from __future__ import annotations

from dataclasses import dataclass

from drupelet_host.report.document import CheckRow, Report
from drupelet_host.report.quantities import MetricStyle, format_factor, format_ms
from drupelet_shared.units import format_bytes

_LABELS = {
    "max_metric_drop": "metric drop",
    "max_size": "size",
    "max_latency": "latency",
    "memory_limit": "peak memory",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckLine:
    """One constraint checked on one variant, formatted for the page.

    Attributes:
        label: The limited quantity.
        stated: The limit in the recipe's syntax.
        variant: The variant's id.
        limit: The limit with its unit.
        value: The variant's value in the same unit.
        margin: The distance of the value from the limit, in percent of the limit.
        is_met: Whether the value is within the limit.
    """

    label: str
    stated: str
    variant: str
    limit: str
    value: str
    margin: str
    is_met: bool


@dataclass(frozen=True, slots=True)
class ResultSummary:
    """The result of a compile in two sentences.

    Attributes:
        is_met: Whether the best variant meets every constraint.
        constraints: States how many constraints are met, and names those that are not.
        gains: Compares the best variant's size, latency and metric with the original's.
    """

    is_met: bool
    constraints: str
    gains: str


def describe_checks(report: Report) -> tuple[CheckLine, ...]:
    """Return all constraint checks, in the order of the package's ranking."""
    order = {name: place for place, name in enumerate(report.packaged)}
    rows = sorted(report.checks, key=lambda check: order.get(check.variant, len(order)))
    return tuple(_line(check, report) for check in rows)


def summarize_result(report: Report) -> ResultSummary:
    """Summarize the result of the variant that the package ranks first."""
    mine = [check for check in report.checks if check.variant == report.best.name]
    missed = [check for check in mine if not check.met]
    if not mine:
        constraints = "The recipe sets no constraint."
    elif missed:
        names = ", ".join(_label(check.constraint) for check in missed)
        constraints = f"{len(missed)} of {len(mine)} constraints missed: {names}."
    elif len(mine) == 1:
        constraints = "The constraint is met."
    else:
        constraints = f"All {len(mine)} constraints are met."
    return ResultSummary(not missed, constraints, _describe_gains(report))


def _describe_gains(report: Report) -> str:
    original, best, metric = report.original, report.best, MetricStyle.of(report.metric)
    before_ms, after_ms = report.decisive_ms(report.original_of(best)), report.decisive_ms(best)
    size = format_factor(original.size_bytes, best.size_bytes, less="smaller", more="larger")
    speed = format_factor(before_ms, after_ms, less="faster", more="slower")
    change = metric.show_change(best.metric - original.metric)
    return (
        f"{_as_change(size, 'size')} and {_as_change(speed, 'speed')} than the original on {_place(report)},"
        f" at {metric.show(best.metric)} {metric.label} (before: {metric.show(original.metric)}, {change})."
    )


def _place(report: Report) -> str:
    return "the machine that compiled it" if report.place == report.machine else report.place


def _as_change(factor: str, what: str) -> str:
    return f"the same {what}" if factor == "the same" else factor


def _line(check: CheckRow, report: Report) -> CheckLine:
    return CheckLine(
        label=_label(check.constraint),
        stated=f"{check.constraint} = {_plain(check.limit)}{check.unit and ' ' + check.unit}",
        variant=check.variant,
        limit=_show(check, check.limit, report),
        value=_show(check, check.value, report),
        margin=_describe_margin(check),
        is_met=check.met,
    )


def _plain(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() else f"{value:.6g}"


def _label(constraint: str) -> str:
    return _LABELS.get(constraint, constraint)


def _describe_margin(check: CheckRow) -> str:
    if check.value == check.limit:
        return "exactly at the limit"
    if check.value <= 0:
        return "nothing of the limit used"
    if check.limit <= 0:
        return "over a limit of 0"
    used = check.value / check.limit
    if check.met:
        return f"{(1 - used) * 100:.3g} % to spare"
    return f"{(used - 1) * 100:.3g} % over"


def _show(check: CheckRow, value: float, report: Report) -> str:
    if check.constraint == "max_metric_drop":
        size = MetricStyle.of(report.metric).show_size(value)
        return f"{size} better" if value < 0 else size
    if check.constraint == "max_latency":
        variant = next(row for row in report.variants if row.name == check.variant)
        return format_ms(value if check.unit == "ms" else value * report.decisive_ms(report.original_of(variant)))
    if check.constraint in {"max_size", "memory_limit"}:
        return format_bytes(value)
    return f"{value:.6g}"
