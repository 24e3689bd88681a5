"""`drupelet compile`: compile a recipe into a package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from drupelet_host.cli.folders import default_cache
from drupelet_host.cli.output import console, print_json
from drupelet_shared.units import format_bytes

if TYPE_CHECKING:
    from drupelet_host.compiler.state import CompileState
    from drupelet_host.evaluation.measurement import Measurement


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the package; the recipe's by default.",
)
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False), help="Folder for the results of finished passes."
)
@click.option("--no-cache", is_flag=True, help="Run all passes anew and cache nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
@click.option("--quiet", is_flag=True, help="Print no progress.")
def compile_command(
    recipe: Path, output: Path | None, cache: Path | None, *, no_cache: bool, as_json: bool, quiet: bool
) -> None:
    """Prune, quantize, measure and pack the model that RECIPE describes.

    The results of finished passes are cached for two weeks, by default in $XDG_CACHE_HOME/drupelet/compile: an
    interrupted compile continues from them, and a changed recipe repeats only what depends on the change. Exit code 3
    means that a constraint was not met and nothing was written.

    Example: drupelet compile recipe.toml --output build
    """
    # Training frameworks take seconds to import; faults in the recipe are reported before.
    from drupelet_host.recipe.schema import load_recipe  # noqa: PLC0415 - pydantic is loaded when the command runs

    loaded = load_recipe(recipe)
    if output is not None:
        section = loaded.output.model_copy(update={"folder": output.resolve()})
        loaded = loaded.model_copy(update={"output": section})
    from drupelet_host.cli.compile_progress import show_progress  # noqa: PLC0415 - as above
    from drupelet_host.compiler.compile import compile_recipe  # noqa: PLC0415 - as above

    with show_progress(quiet=quiet) as observer:
        state = compile_recipe(loaded, observer=observer, cache=None if no_cache else cache or default_cache())
    if as_json:
        print_json(_as_json(state))
    else:
        _print_result(state)
        _print_dropped(state, asked=loaded.quantize.variants)


def _rows(state: CompileState) -> dict[str, Measurement]:
    return {"original": state.reference, **{name: state.measurements[name] for name in state.ranking}}


def _as_json(state: CompileState) -> dict[str, Any]:
    models = {
        name: {
            "metric": measured.metric,
            "size_bytes": measured.size_bytes,
            "p50_ms": measured.timing.p50_ms,
            "p99_ms": measured.timing.p99_ms,
            "peak_memory_bytes": measured.peak_memory_bytes,
        }
        for name, measured in _rows(state).items()
    }
    return {
        "package": str(state.package),
        "ranking": list(state.ranking),
        "models": models,
        "dropped": dict(state.dropped),
    }


def _print_result(state: CompileState) -> None:
    assert state.package is not None, "the package pass comes last"
    table = Table(title="times on this machine, one thread; the device measures again", title_justify="left")
    for heading in ("model", state.metric.name, "size", "p50", "p99", "peak memory"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name, measured in _rows(state).items():
        timing = measured.timing
        times = (f"{timing.p50_ms:.3f} ms", f"{timing.p99_ms:.3f} ms")
        size, memory = format_bytes(measured.size_bytes), format_bytes(measured.peak_memory_bytes or 0)
        table.add_row(name, f"{measured.metric:.4f}", size, *times, memory)
    console.print(table)
    console.print(f"package: {state.package} ({format_bytes(state.package.stat().st_size)})", soft_wrap=True)


def _print_dropped(state: CompileState, *, asked: Sequence[str]) -> None:
    """Print, last of all, what the package does not hold although it was asked for, and why."""
    from drupelet_host.selection.asked import list_missing  # noqa: PLC0415 - loaded with the compiler

    for name, reason in state.dropped.items():
        if name not in state.ranking:
            console.print(f"NOT PACKED {name}: {reason}", soft_wrap=True, markup=False)
    if missing := list_missing(asked, state.ranking):
        names, made = ", ".join(missing), ", ".join(state.ranking)
        console.print(f"of quantize.variants the package lacks: {names}; it holds {made}", soft_wrap=True, markup=False)
