"""`drupelet diff`: the differences between two packages, two reports, or two releases on devices."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from drupelet_host.cli.control_options import ControlOptions, ReadingCommand, control_options, run_on_devices
from drupelet_host.cli.output import console, print_error, print_json
from drupelet_host.cli.paragraphs import print_paragraph
from drupelet_host.fleet.printable import printable
from drupelet_shared.errors import DrupeletError
from drupelet_shared.units import format_bytes

if TYPE_CHECKING:
    from drupelet_host.comparison.facts import Comparison, Difference, Value

# As `diff` itself has them; wrong usage ends with 2 too.
EXIT_SAME, EXIT_DIFFERENT, EXIT_TROUBLE = 0, 1, 2
_REPORT = ".json"
_ABSENT = "–"  # noqa: RUF001 - the typographic dash
_PIPE_WIDTH = 400
_UTC = "+00:00"
# A smaller one would be shown as zero.
_LEAST_CHANGE = 0.0005


@click.command(cls=ReadingCommand)
@click.argument("before")
@click.argument("after", required=False)
@control_options
def diff(*, before: str, after: str | None, control: ControlOptions) -> None:
    """Show the differences between the packages or reports BEFORE and AFTER, or between the releases of a model.

    Two packages, each a .drupe file or the folder of an unpacked one, are compared by inputs, outputs, variants, sizes,
    metrics, latency, constraints, passes and signatures. Signatures are named and not checked. Two reports, .json, are
    compared by their measurements and choices. With one argument BEFORE is a model on devices: its active release is
    compared with the staged one, or else the previous one with the active one.

    The exit code is 0 if there is no difference, 1 if there is one, and 2 if the comparison failed.

    Example: drupelet diff digits-1.0.0.drupe digits-1.1.0.drupe

    Example: drupelet diff digits --device pi-7
    """
    try:
        if after is None:
            comparisons = _compare_on_devices(before, control)
        else:
            comparisons = [_compare_files(_existing(before), _existing(after))]
            _show(comparisons[0], as_json=control.as_json)
    except DrupeletError as error:
        print_error(error)
        sys.exit(EXIT_TROUBLE)
    sys.exit(EXIT_SAME if all(comparison.same for comparison in comparisons) else EXIT_DIFFERENT)


def _existing(path: str) -> Path:
    if not Path(path).exists():
        raise click.UsageError(f"{path} does not exist: name two packages or two reports")
    return Path(path)


def _compare_files(before: Path, after: Path) -> Comparison:
    # Imported here because they import numpy, which `drupelet --help` does without.
    from drupelet_host.comparison.packages import compare_packages  # noqa: PLC0415
    from drupelet_host.comparison.reports import compare_reports  # noqa: PLC0415

    reports = [path for path in (before, after) if path.suffix == _REPORT]
    if len(reports) == 1:
        raise click.UsageError(f"{reports[0]} is a report and the other is not: name two packages or two reports")
    return compare_reports(before, after) if reports else compare_packages(before, after)


def _compare_on_devices(model: str, control: ControlOptions) -> list[Comparison]:
    from drupelet_host.comparison.releases import compare_releases  # noqa: PLC0415 - as above
    from drupelet_shared.contract.commands import InstalledModels, ListRequest  # noqa: PLC0415 - as above

    if Path(model).exists():
        raise click.UsageError(f"{model} is a file: name the second package or report too")
    try:
        return list(
            run_on_devices(
                control,
                lambda client, device: compare_releases(
                    device, client.command(device, "list", ListRequest(), InstalledModels), model
                ),
                show=lambda _, comparison: _print(comparison),
            ).values()
        )
    except SystemExit:
        # One device failed; its error has been printed.
        sys.exit(EXIT_TROUBLE)


def _show(comparison: Comparison, *, as_json: bool) -> None:
    if as_json:
        print_json(comparison.model_dump(mode="json"))
    else:
        _print(comparison)


def _print(comparison: Comparison) -> None:
    # A file or a pipe gets whole values, whatever the width of a window.
    output = console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)
    for word, side in (("before", comparison.before), ("after", comparison.after)):
        line = f"{word:<6}  {side.name} {side.version} (release {side.release}), {side.place}"
        print_paragraph(printable(line), to=output)
    if comparison.same:
        output.print("no difference")
        return
    output.print(_table(comparison))
    for note in comparison.notes:
        print_paragraph(f"note: {printable(note)}", to=output)


def _table(comparison: Comparison) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for heading in ("before", "after"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("change", justify="right", no_wrap=True)
    for section, differences in groupby(comparison.differences, key=lambda difference: difference.section):
        for row in _rows(section, list(differences)):
            table.add_row(*row)
    return table


def _rows(section: str, differences: list[Difference]) -> Iterator[tuple[Text, ...]]:
    if all(difference.before is None for difference in differences):
        yield Text(printable(section), style="bold"), Text(_ABSENT), Text("new"), Text("")
    elif all(difference.after is None for difference in differences):
        yield Text(printable(section), style="bold"), Text("gone"), Text(_ABSENT), Text("")
    else:
        yield (Text(printable(section), style="bold"),)
    for difference in differences:
        yield (
            Text(f"  {printable(difference.name)}"),
            Text(_format(difference.before, difference.unit)),
            Text(_format(difference.after, difference.unit)),
            Text("" if difference.change is None else _percent(difference.change)),
        )


def _percent(change: float) -> str:
    return "< 0.1 %" if 0 < abs(change) < _LEAST_CHANGE else f"{change:+.1%}".replace("%", " %")


def _format(value: Value | None, unit: str) -> str:
    if value is None:
        return _ABSENT
    if isinstance(value, str):
        # As "Z", a time in UTC fits a narrow column.
        return printable(value.removesuffix(_UTC) + "Z" if value.endswith(_UTC) else value)
    if unit == "bytes":
        return format_bytes(value)
    if unit == "ms":
        return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"  # noqa: PLR2004 - three digits
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
