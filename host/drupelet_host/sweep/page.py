"""The report of a sweep: its document, and its rendering as one page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from drupelet_host.packaging.builder import report_path
from drupelet_host.report.quantities import MetricStyle, format_ms, tick_bytes, tick_ms
from drupelet_host.report.scatter import Point, Scatter, draw_scatter
from drupelet_host.sweep.document import BestSection
from drupelet_host.sweep.results import RunResult, describe_rule, find_best, find_frontier
from drupelet_host.sweep.runs import Run, describe_value
from drupelet_shared.files import write_atomically
from drupelet_shared.units import format_bytes

Results = Sequence[tuple[Run, RunResult]]


def describe_sweep(results: Results, rule: BestSection) -> dict[str, Any]:
    """Return the report as a JSON document.

    Args:
        results: The runs and their results.
        rule: What counts as best.
    """
    return {
        "best": find_best(results, rule),
        "rule": describe_rule(rule),
        "runs": [
            {"name": run.name, "changes": dict(run.changes), **result.model_dump(mode="json")}
            for run, result in results
        ],
        "frontier": {
            "size": [point.model_dump(mode="json") for point in find_frontier(results, by="size")],
            "latency": [point.model_dump(mode="json") for point in find_frontier(results, by="latency")],
        },
    }


def render_sweep(results: Results, rule: BestSection, *, folder: Path) -> str:
    """Render the page: self-contained, without scripts.

    Args:
        results: The runs and their results.
        rule: What counts as best.
        folder: The folder of the page, which links are relative to.

    Returns:
        The page as HTML.
    """
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("drupelet_host.sweep", "templates"), PackageLoader("drupelet_host.report", "templates")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        {"bytes": format_bytes, "ms": format_ms, "headline": lambda text: text[:1].upper() + text[1:]}
    )
    best = find_best(results, rule)
    charts = _draw(results, best)
    page = environment.get_template("sweep.html.j2").render(
        results=results,
        best=best,
        rule=describe_rule(rule),
        axes=list(results[0][0].changes),
        frontier={(point.run, point.variant.variant) for point in find_frontier(results, by="size")}
        | {(point.run, point.variant.variant) for point in find_frontier(results, by="latency")},
        charts=charts,
        links={run.name: _link(result.package, folder) for run, result in results if result.package is not None},
        metric=next((MetricStyle.of(result.metric_name) for _, result in results if result.variants), None),
        values=describe_value,
    )
    return "\n".join(line.strip() for line in page.splitlines() if line.strip()) + "\n"


def write_report(results: Results, rule: BestSection, *, folder: Path) -> Path:
    """Write `sweep.json` and `sweep.html`.

    Args:
        results: The runs and their results.
        rule: What counts as best.
        folder: The folder of the sweep.

    Returns:
        The path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps(describe_sweep(results, rule), indent=2, sort_keys=True)
    write_atomically(folder / "sweep.json", f"{document}\n".encode())
    page = folder / "sweep.html"
    write_atomically(page, render_sweep(results, rule, folder=folder).encode())
    return page


def _link(package: Path, folder: Path) -> str:
    """Return the link to the report of a package."""
    report = report_path(package, ".html")
    return report.relative_to(folder).as_posix() if report.is_relative_to(folder) else report.as_uri()


def _draw(results: Results, best: str | None) -> list[Scatter]:
    if not any(result.variants for _, result in results):
        return []
    metric = MetricStyle.of(next(result.metric_name for _, result in results if result.variants))
    charts = []
    for by, label, tick in (("size", "size", tick_bytes), ("latency", "p50 latency", tick_ms)):
        points = [
            Point(
                cost=float(variant.size_bytes) if by == "size" else variant.p50_ms,
                metric=variant.metric,
                series=variant.variant,
                is_kept=True,
                is_chosen=run.name == best and variant == result.lead,
                label=run.name.removeprefix("run-"),
                title=f"{run.name} ({run.label}) as {variant.variant}: {metric.show(variant.metric)}, "
                f"{format_bytes(variant.size_bytes)}, {format_ms(variant.p50_ms)} {variant.latency_source}",
            )
            for run, result in results
            for variant in result.variants
        ]
        charts.append(draw_scatter(points, x_label=label, y_label=metric.label, x_tick=tick, y_tick=metric.tick))
    return charts
