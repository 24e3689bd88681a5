"""The comparison of two reports of a compile, `report.json` or `NAME.report.json`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from drupelet_host.comparison.facts import Comparison, Fact, Facts, Side, Unit, make_comparison
from drupelet_host.report.document import CheckRow, ModelRow, Report
from drupelet_shared.errors import InvalidValueError

Item = tuple[tuple[str, str], Fact]
_UNITS: dict[str, Unit] = {"max_size": "bytes", "memory_limit": "bytes"}
_OTHER_PLACES = "Latency comes from different places ({before}; {after}): its differences say nothing about the models."


def compare_reports(before: Path, after: Path) -> Comparison:
    """Compare two reports.

    Raises:
        InvalidValueError: A file is not a report of this version of drupelet.
    """
    first, second = _read_report(before), _read_report(after)
    notes: tuple[str, ...] = ()
    if first.place != second.place:
        notes = (_OTHER_PLACES.format(before=first.place, after=second.place),)
    return make_comparison(_side(before, first), _side(after, second), notes=notes)


def _read_report(path: Path) -> Report:
    try:
        return Report.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise InvalidValueError(f"{path} is not a report that this version reads: {reason}") from error


def _side(path: Path, report: Report) -> tuple[Side, Facts]:
    side = Side(place=str(path), name=report.name, version=report.version, release=report.release)
    return side, dict(_facts(report))


def _facts(report: Report) -> Iterator[Item]:
    values: dict[str, str | int | None] = {
        "name": report.name,
        "version": report.version,
        "release": str(report.release),
        "created": report.created.isoformat(),
        "task": report.task,
        "target": report.device,
        "measured samples": report.samples,
        "parameters before": report.parameters_before,
        "parameters after": report.parameters_after,
        "MACs before": report.macs_before,
        "MACs after": report.macs_after,
        "packed variants, best first": ", ".join(report.packaged),
    }
    for name, value in values.items():
        if value is not None:
            yield ("report", name), Fact(value=value)
    for original in report.originals:
        yield from _model(f"original in {original.engine}", original, report.metric)
    for row in report.variants:
        yield from _model(f"variant {row.name}", row, report.metric)
    for check in report.checks:
        yield from _check(check)
    for dropped in report.dropped:
        yield (f"variant {dropped.variant}", "is not packed"), Fact(value=dropped.reason)
    for group in report.groups:
        yield ("channels", group.group), Fact(value=f"{group.channels_after} of {group.channels_before}")
    for layer in report.precisions:
        yield ("precision", layer.layer), Fact(value=layer.precision)


def _model(section: str, row: ModelRow, metric: str) -> Iterator[Item]:
    yield (section, metric), Fact(value=row.metric)
    yield (section, "size"), Fact(value=row.size_bytes, unit="bytes")
    yield (section, "p50"), Fact(value=row.p50_ms, unit="ms")
    if row.p99_ms is not None:
        yield (section, "p99"), Fact(value=row.p99_ms, unit="ms")
    if row.modelled is not None:
        yield (section, "p50 on the target, modelled"), Fact(value=row.modelled.p50_ms, unit="ms")
    if row.peak_memory_bytes is not None:
        yield (section, "peak memory"), Fact(value=row.peak_memory_bytes, unit="bytes")


def _check(check: CheckRow) -> Iterator[Item]:
    unit: Unit = "ms" if check.unit == "ms" else _UNITS.get(check.constraint, "")
    yield ("constraints", check.constraint), Fact(value=check.limit, unit=unit)
    yield (f"variant {check.variant}", f"meets {check.constraint}"), Fact(value="yes" if check.met else "no")
