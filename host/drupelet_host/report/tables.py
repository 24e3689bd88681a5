"""The rows of the tables with bars: models, groups of channels, passes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from drupelet_host.report.document import GroupRow, ModelledLatency, ModelRow, Report
from drupelet_host.report.quantities import MetricStyle, format_factor, format_ms
from drupelet_shared.package.manifest import LineageRecord
from drupelet_shared.units import format_bytes

# The same computation each time: on an idle machine its slowest hundredth takes little longer than its median.
NOISE_FACTOR = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """A value drawn as a bar.

    Attributes:
        text: The value.
        note: The text below it.
        percent: The length of the bar, in percent of the longest.
    """

    text: str
    note: str
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLine:
    """One model in the comparison.

    Attributes:
        role: The engine, and the rank in the package or that it is the original.
        name: The name of the model.
        metric: The metric.
        change: The change of the metric from the original.
        size: The size of the model file.
        p50: The median latency.
        p99: The 99th percentile of latency.
        p99_is_noise: Whether it is so far above the median that it says more about the machine than about the model.
        modelled: The median on the target by a model of its processor; "" without one.
        modelled_range: The range in which a board's median is expected.
        memory: The peak memory; None where it was not measured.
        is_original: Whether it is the original.
    """

    name: str
    role: str
    metric: str
    change: str
    size: Bar
    p50: Bar
    p99: str
    p99_is_noise: bool
    modelled: str
    modelled_range: str
    memory: Bar | None
    is_original: bool


@dataclass(frozen=True, slots=True)
class GroupLine:
    """The channels of one group.

    Attributes:
        row: The group.
        before_percent: The channels before pruning, in percent of the widest group.
        after_percent: The channels after pruning, in percent of the widest group.
    """

    row: GroupRow
    before_percent: float
    after_percent: float


@dataclass(frozen=True, slots=True)
class PassLine:
    """One pass.

    Attributes:
        record: Its lineage record.
        percent: The pass's duration, in percent of the longest pass.
        parameters: Names and values of its settings.
        metrics: Names and values of its measurements.
    """

    record: LineageRecord
    percent: float
    parameters: tuple[tuple[str, str], ...]
    metrics: tuple[tuple[str, str], ...]


def compare_models(report: Report) -> tuple[ModelLine, ...]:
    """Return the original in each engine, then the variants with the packaged ones first."""
    ranks = {name: rank for rank, name in enumerate(report.packaged, start=1)}
    variants = sorted(report.variants, key=lambda row: ranks.get(row.name, len(ranks) + 1))
    return tuple(_model_line(row, report, rank=ranks.get(row.name)) for row in (*report.originals, *variants))


def list_groups(rows: Sequence[GroupRow]) -> tuple[GroupLine, ...]:
    """Return the groups in the order of the network."""
    widest = max((row.channels_before for row in rows), default=1)
    return tuple(
        GroupLine(row, _percent(row.channels_before, widest), _percent(row.channels_after, widest)) for row in rows
    )


def list_passes(records: Sequence[LineageRecord]) -> tuple[PassLine, ...]:
    """Return the passes in the order they ran, their parameters and metrics by name as in the JSON document."""
    longest = max((record.seconds for record in records), default=0.0)
    return tuple(
        PassLine(
            record,
            _percent(record.seconds, longest),
            tuple((name, _value(value)) for name, value in sorted(record.parameters.items())),
            tuple((name, f"{value:.6g}") for name, value in sorted(record.metrics.items())),
        )
        for record in records
    )


def _model_line(row: ModelRow, report: Report, *, rank: int | None) -> ModelLine:
    metric, rows = MetricStyle.of(report.metric), (*report.originals, *report.variants)
    is_original = row in report.originals
    before = None if is_original else report.original_of(row)
    return ModelLine(
        name=row.name,
        role=f"{row.engine}, {'original' if is_original else _role(rank)}",
        metric=metric.show(row.metric),
        change="" if is_original else metric.show_change(row.metric - report.original.metric),
        size=_size_bar(row, before, longest=max(each.size_bytes for each in rows)),
        p50=_p50_bar(row, before, longest=max(each.p50_ms for each in rows)),
        p99="" if row.p99_ms is None else format_ms(row.p99_ms),
        p99_is_noise=row.p99_ms is not None and row.p99_ms > NOISE_FACTOR * row.p50_ms,
        modelled="" if row.modelled is None else format_ms(row.modelled.p50_ms),
        modelled_range="" if row.modelled is None else _range(row.modelled),
        memory=_memory_bar(row, before, longest=max(each.peak_memory_bytes or 0 for each in rows)),
        is_original=is_original,
    )


def _range(modelled: ModelledLatency) -> str:
    return f"{format_ms(modelled.low_ms)} to {format_ms(modelled.high_ms)}"


def _size_bar(row: ModelRow, before: ModelRow | None, *, longest: int) -> Bar:
    note = format_factor(before.size_bytes, row.size_bytes, less="smaller", more="larger") if before else ""
    return Bar(format_bytes(row.size_bytes), note, _percent(row.size_bytes, longest))


def _p50_bar(row: ModelRow, before: ModelRow | None, *, longest: float) -> Bar:
    note = format_factor(before.p50_ms, row.p50_ms, less="faster", more="slower") if before else ""
    return Bar(format_ms(row.p50_ms), note, _percent(row.p50_ms, longest))


def _memory_bar(row: ModelRow, before: ModelRow | None, *, longest: int) -> Bar | None:
    now, then = row.peak_memory_bytes, before.peak_memory_bytes if before else None
    if now is None:
        return None
    note = "" if then is None else format_factor(then, now, less="less", more="more")
    return Bar(format_bytes(now), note, _percent(now, longest))


def _role(rank: int | None) -> str:
    if rank is None:
        return "not in the package"
    return "ranked first" if rank == 1 else f"in the package, rank {rank}"


def _percent(part: float, whole: float) -> float:
    return round(part / whole * 100, 1) if whole > 0 else 0.0


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
