"""The report as one self-contained page."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from drupelet_host.report.checks import describe_checks, summarize_result
from drupelet_host.report.document import Report
from drupelet_host.report.frontier_chart import draw_frontier, draw_steps
from drupelet_host.report.quantities import (
    MetricStyle,
    format_count,
    format_factor,
    format_ms,
    format_percent,
    format_seconds,
)
from drupelet_host.report.sensitivity_chart import draw_sensitivity
from drupelet_host.report.tables import NOISE_FACTOR, compare_models, list_groups, list_passes
from drupelet_shared.units import format_bytes

# A longer table of details is collapsed.
_FEW_ROWS = 8


def _headline(text: str) -> str:
    return text[:1].upper() + text[1:]


_FILTERS = {
    "bytes": format_bytes,
    "count": format_count,
    "headline": _headline,
    "ms": format_ms,
    "percent": format_percent,
    "seconds": format_seconds,
}


def render_html(report: Report) -> str:
    """Render the page: self-contained, without scripts, and byte-identical for the same report."""
    environment = Environment(
        loader=PackageLoader("drupelet_host.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_FILTERS)
    page = environment.get_template("report.html.j2").render(
        report=report,
        metric=MetricStyle.of(report.metric),
        factor=format_factor,
        summary=summarize_result(report),
        checks=describe_checks(report),
        models=compare_models(report),
        noise_factor=NOISE_FACTOR,
        few_rows=_FEW_ROWS,
        frontier=draw_frontier(report),
        steps=draw_steps(report),
        sensitivity=draw_sensitivity(report),
        groups=list_groups(report.groups),
        passes=list_passes(report.lineage),
    )
    # The templates' indentation is removed: a page of sixty groups is a third smaller without it.
    return "\n".join(line.strip() for line in page.splitlines() if line.strip()) + "\n"
