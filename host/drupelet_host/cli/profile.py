"""`drupelet profile`: the time of each operator of a model, measured on the device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from drupelet_host.cli.control_options import ControlCommand, ControlOptions, control_options, run_on_devices
from drupelet_host.cli.names import ModelName
from drupelet_host.cli.output import console, progress_console
from drupelet_host.cli.paragraphs import print_paragraph
from drupelet_host.cli.paths import OutputPath
from drupelet_host.fleet.printable import printable
from drupelet_shared.contract.measuring import ProfileReport, ProfileRequest

if TYPE_CHECKING:
    from drupelet_host.client.control.control import ControlClient


@click.command(cls=ControlCommand)
@click.argument("model", type=ModelName())
@control_options
@click.option("--variant", metavar="NAME", help="Variant of the active release; the one being served by default.")
@click.option(
    "--runs", metavar="COUNT", type=click.IntRange(1, 1000), default=30, show_default=True, help="Inferences to record."
)
@click.option(
    "--top", metavar="COUNT", type=click.IntRange(min=1), default=20, show_default=True, help="Operators to list."
)
@click.option("--html", type=OutputPath(), help="Write a page with a flame graph; for one device.")
def profile(
    *, model: str, control: ControlOptions, variant: str | None, runs: int, top: int, html: Path | None
) -> None:
    """Show how long each operator of MODEL takes on a device, by the profiler of the model's engine.

    The device profiles in an extra process, which slows down the serving ones while it runs. LiteRT has no profiler
    that a program can read; profile a variant for ONNX Runtime with --variant instead.

    Example: drupelet profile digits --device pi-7 --html digits.html
    """
    if html is not None and len(control.devices) != 1:
        raise click.UsageError("--html needs exactly one device: name it with --device")
    request = ProfileRequest(model=model, variant=variant, runs=runs)

    def work(client: ControlClient, device: str) -> ProfileReport:
        return client.command(device, "profile", request, ProfileReport)

    def show(device: str, report: ProfileReport) -> None:
        _print(device, report, top=top)

    with progress_console.status(f"profiling {model}"):
        reports = run_on_devices(control, work, show=show, shows_waiting=False)
    if html is not None:
        from drupelet_host.profile.page import render_page  # noqa: PLC0415 - only the page needs Jinja

        for device, report in reports.items():
            html.write_text(render_page(report, device=device), encoding="utf-8")
            click.echo(f"wrote {html}", err=True)


def _print(device: str, report: ProfileReport, *, top: int) -> None:
    from drupelet_host.profile.totals import operators_ms, share_of, slowest, total_by_type  # noqa: PLC0415 - as above

    print_paragraph(
        f"{report.model} {report.version} on {device}: {report.variant}, {report.engine} {report.engine_version}, "
        f"{report.threads} thread{'' if report.threads == 1 else 's'}, {report.runs} inferences recorded; "
        f"{report.p50_ms:.3f} ms each (median), {operators_ms(report):.3f} ms of it in operators",
        to=console,
    )
    types = _table("type", "operators", "ms", "share")
    for total in total_by_type(report):
        types.add_row(_text(total.type), str(total.operators), f"{total.self_ms:.3f}", f"{total.share:.1%}")
    console.print(types)
    operators = _table("operator", "ms", "share", "type", "output")
    for operator in slowest(report)[:top]:
        share = f"{share_of(operator, report):.1%}"
        cells = (_text(operator.type), _text(operator.output or ""))
        operators.add_row(_text(operator.name), f"{operator.self_ms:.3f}", share, *cells)
    console.print(operators)
    if len(report.operators) > top:
        console.print(f"and {len(report.operators) - top} more; --top N shows more")
    if report.note is not None:
        print_paragraph(printable(f"note: {report.note}"), to=console)


def _table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        numbers = heading in {"operators", "ms", "share"}
        table.add_column(heading, justify="right" if numbers else "left", overflow="fold")
    return table


def _text(text: str) -> Text:
    # Names come from the device and must not act as markup or as control sequences of the terminal.
    return Text(printable(text))
