"""`drupelet check`: find out whether a recipe would compile, before any work."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from drupelet_host.cli.command_group import GroupedCommand
from drupelet_host.cli.output import console, print_json
from drupelet_host.cli.paragraphs import print_paragraph, short_path
from drupelet_host.cli.paths import InputPath

_MINUTE_S = 60


@click.command(cls=GroupedCommand)
@click.argument("recipe", type=InputPath(dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check(recipe: Path, *, as_json: bool) -> None:
    """Check RECIPE and everything it names, and print the passes that a compile would run.

    Loads the model and the data as a compile does: shapes, value ranges, labels, samples that are in two parts, layer
    patterns, the output folder, the signing key, the engines that are installed, and the boards of [target.boards]:
    whether their broker answers, and whether they are online and measure. Nothing is written. The time is a
    guess from one inference on this machine.

    Example: drupelet check recipe.toml
    """
    # Training frameworks take seconds to import; faults in the recipe are reported before.
    from drupelet_host.recipe.schema import load_recipe  # noqa: PLC0415 - pydantic is loaded when the command runs

    loaded = load_recipe(recipe)
    from drupelet_host.project.checking import check_recipe  # noqa: PLC0415 - as above

    checked = check_recipe(loaded)
    if as_json:
        print_json(asdict(checked))
        return
    least, longest = checked.seconds
    rows = {
        "model": f"{loaded.model.name} {loaded.model.version}, {loaded.model.task}",
        "engines": ", ".join(f"{name} {version}" for name, version in checked.engines.items()),
        "samples": ", ".join(f"{count} {part}" for part, count in checked.samples.items()),
        "metric": checked.metric,
        "latency": checked.latency,
        "constraints": ", ".join(f"{key} {value}" for key, value in loaded.constraints if value is not None) or "none",
        "passes": ", ".join(checked.passes),
        "package": f"{short_path(loaded.output.folder)}/{loaded.model.name}-{loaded.model.version}.drupe",
        "time": f"about {_describe(least)} to {_describe(longest)} on this machine (a guess)",
    }
    table = Table(show_header=False)
    for name, text in rows.items():
        table.add_row(name, text)
    console.print(table)
    for note in checked.notes:
        print_paragraph(f"note: {note}", to=console)
    console.print(f"{recipe} is ready: drupelet compile {recipe}", markup=False, soft_wrap=True)


def _describe(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 2 * _MINUTE_S else f"{seconds / _MINUTE_S:.0f} min"
