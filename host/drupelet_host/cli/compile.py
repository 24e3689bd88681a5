"""`drupelet compile`: compile a recipe into a package."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from pydantic import ValidationError
from rich.table import Table

from drupelet_host.cli.broker_options import BrokerCommand, broker_address, broker_options
from drupelet_host.cli.command_group import GroupedOption
from drupelet_host.cli.folders import default_cache
from drupelet_host.cli.output import console, print_json, table_console
from drupelet_host.cli.paragraphs import print_paragraph, short_path
from drupelet_host.cli.paths import InputPath
from drupelet_shared.contract.faults import describe_faults
from drupelet_shared.errors import InvalidValueError
from drupelet_shared.names import check_name
from drupelet_shared.units import format_bytes

if TYPE_CHECKING:
    from drupelet_host.client.connection.address import BrokerAddress
    from drupelet_host.compiler.state import CompileState
    from drupelet_host.evaluation.measurement import Measurement
    from drupelet_host.latency.source import LatencyEstimate
    from drupelet_host.recipe.compute import ComputeSection
    from drupelet_host.recipe.schema import Recipe

# At fewer columns the names of variants would be cut.
_WIDE = 96
# Distances of the ends of a range from its middle that differ by less are shown as one.
_ALIKE = 0.02


@click.command(cls=BrokerCommand)
@click.argument("recipe", type=InputPath(dir_okay=False))
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the package; by default that of output.folder in the recipe.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the results of finished passes; by default $XDG_CACHE_HOME/drupelet/compile.",
)
@click.option("--no-cache", is_flag=True, help="Run all passes anew and cache nothing.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="NAME",
    cls=GroupedOption,
    group="Device options",
    help="Board to time candidates on, which must allow it (trust.measure); several share the work: NAME,NAME.",
)
@broker_options
@click.option(
    "--on",
    "where",
    metavar="WHERE",
    help="Where tasks run: local, local:N for N processes, ray, or ray://HOST:PORT; that of the recipe by default.",
)
@click.option("--open", "open_report", is_flag=True, help="Open the report in the browser.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
@click.option("--quiet", is_flag=True, help="Print no progress.")
def compile_command(
    recipe: Path,
    output: Path | None,
    cache: Path | None,
    *,
    devices: tuple[str, ...],
    no_cache: bool,
    where: str | None,
    open_report: bool,
    as_json: bool,
    quiet: bool,
    **connection: Any,  # noqa: ANN401 - the values of the broker options, which `board_options` reads
) -> None:
    """Prune, quantize, measure and pack the model that RECIPE describes.

    The results of finished passes are cached for two weeks, by default in $XDG_CACHE_HOME/drupelet/compile: an
    interrupted compile continues from them, and a changed recipe repeats only what depends on the change. Exit code 3
    means that a constraint was not met and nothing was written.

    With --device, or [target.boards] in the recipe, candidates are timed on real boards while they go on serving, and
    max_latency is that of the boards. Without, decisions use modelled times of the target's processor, whose range is
    printed with them; target.latency in the recipe names another source.

    With --on, or [compute] in the recipe, sensitivity, calibration, conversions and the candidates of a search run in
    several processes or on a Ray cluster; the models are the same wherever they ran.

    Example: drupelet compile recipe.toml --output build

    Example: drupelet compile recipe.toml --on ray://head:10001

    Example: drupelet compile recipe.toml --device pi-7 --broker mqtt://broker.local
    """
    # Training frameworks take seconds to import; faults in the recipe are reported before.
    from drupelet_host.recipe.schema import load_recipe  # noqa: PLC0415 - pydantic is loaded when the command runs

    loaded = load_recipe(recipe)
    if output is not None:
        section = loaded.output.model_copy(update={"folder": output.resolve()})
        loaded = loaded.model_copy(update={"output": section})
    loaded = loaded.model_copy(update={"compute": read_compute(loaded.compute, where)})
    loaded, broker = _with_boards(loaded, devices, connection)
    from drupelet_host.cli.compile_progress import show_progress  # noqa: PLC0415 - as above
    from drupelet_host.compiler.compile import compile_recipe  # noqa: PLC0415 - as above
    from drupelet_host.compiler.latency_sources.choice import check_source, make_latency_source  # noqa: PLC0415 - as above
    from drupelet_host.compiler.registry import passes_of  # noqa: PLC0415 - as above

    check_source(loaded, broker=broker)
    kept = None if no_cache else cache or default_cache()
    with show_progress(quiet=quiet, cache=kept, passes=passes_of(loaded)) as observer:
        source = make_latency_source(loaded, observer=observer, broker=broker)
        state = compile_recipe(loaded, observer=observer, cache=kept, latency_source=source)
    if as_json:
        print_json(_as_json(state))
    else:
        _print_result(state, device=loaded.target.device)
        _print_dropped(state)
        _print_next(state, is_signed=loaded.output.key is not None)
        _print_missing(state, loaded)
    if open_report:
        click.launch(str(_report_of(state)))


def read_compute(section: ComputeSection, where: str | None) -> ComputeSection:
    """Return the section with the value of --on.

    Args:
        section: [compute].
        where: The value; None where the option is not given.

    Raises:
        click.UsageError: The value is malformed.
    """
    if where is None:
        return section
    try:
        return type(section).model_validate({**section.model_dump(), "on": where})
    except ValidationError as error:
        raise click.UsageError(f"--on {describe_faults(error).removeprefix('on: ')}") from error


def _with_boards(
    recipe: Recipe, devices: tuple[str, ...], connection: dict[str, Any]
) -> tuple[Recipe, BrokerAddress | None]:
    """Return the recipe with the boards of --device in place of its own, and their broker; None for the recipe's."""
    prefix, url = connection.pop("prefix"), connection.pop("broker")
    if not devices:
        return recipe, None
    from drupelet_host.recipe.latency import BoardsSection  # noqa: PLC0415 - pydantic is loaded when the command runs

    names = [name.strip() for option in devices for name in option.split(",") if name.strip()]
    try:
        names = [check_name(name, what="device") for name in names]
    except InvalidValueError as error:
        raise click.UsageError(f"--device: {error}") from error
    if not names:
        raise click.UsageError("--device: expected NAME, or NAME,NAME for several")
    own = recipe.target.boards
    is_given = click.get_current_context().get_parameter_source("broker") is not ParameterSource.DEFAULT
    changes = {"devices": tuple(names)} | ({"prefix": prefix} if own is None or is_given else {})
    kept = {} if own is None else own.model_dump(exclude={"devices"})
    try:
        boards = BoardsSection.model_validate({**kept, **changes})
    except ValidationError as error:
        raise click.UsageError(f"--device: {describe_faults(error)}") from error
    target = recipe.target.model_copy(update={"boards": boards, "latency": "boards"})
    address = broker_address(url, **connection) if own is None or is_given else None
    return recipe.model_copy(update={"target": target}), address


def _rows(state: CompileState) -> dict[str, Measurement]:
    return {"original": state.reference, **{name: state.measurements[name] for name in state.ranking}}


def _as_json(state: CompileState) -> dict[str, Any]:
    models = {
        name: {
            "metric": measured.metric,
            "size_bytes": measured.size_bytes,
            "p50_ms": measured.measured_latency.p50_ms,
            "p99_ms": measured.measured_latency.p99_ms,
            "latency_source": measured.measured_latency.source,
            "modelled": None if measured.modelled is None else _estimate_as_json(measured.modelled),
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


def _estimate_as_json(estimate: LatencyEstimate) -> dict[str, Any]:
    interval = estimate.interval
    return {
        "p50_ms": estimate.p50_ms,
        "low_ms": interval.low_ms,
        "high_ms": interval.high_ms,
        "source": estimate.source,
    }


def _modelled(measured: Measurement) -> str:
    if measured.modelled is None:
        return ""
    estimate, interval = measured.modelled, measured.modelled.interval
    below, above = estimate.p50_ms - interval.low_ms, interval.high_ms - estimate.p50_ms
    if not math.isclose(below, above, rel_tol=_ALIKE):
        return f"{interval.low_ms:.3g} to {interval.high_ms:.3g} ms"
    return f"{estimate.p50_ms:.3g} ms ± {above / estimate.p50_ms:.0%}".replace("%", " %")


def _short(device: str) -> str:
    return device.replace("raspberry_pi_", "Pi ")


def _print_result(state: CompileState, *, device: str) -> None:
    assert state.package is not None, "the package pass comes last"
    sources = ", ".join(dict.fromkeys(measured.measured_latency.source for measured in _rows(state).values()))
    table = Table(box=None, padding=(0, 2, 0, 0))
    headings = ["model", state.metric.name, "size", "p50", "p99", f"{_short(device)}, modelled", "peak memory"]
    if console.is_terminal and console.width < _WIDE:
        # The report and --json have it.
        headings.remove("peak memory")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for name, measured in _rows(state).items():
        latency = measured.measured_latency
        times = (f"{latency.p50_ms:.3f} ms", "" if latency.p99_ms is None else f"{latency.p99_ms:.3f} ms")
        size, memory = format_bytes(measured.size_bytes), format_bytes(measured.peak_memory_bytes or 0)
        cells = (name, f"{measured.metric:.4f}", size, *times, _modelled(measured), memory)
        table.add_row(*cells[: len(headings)])
    output = table_console()
    print_paragraph(f"p50 and p99 {sources}, one thread; the device measures again", to=output)
    output.print(table)
    size = format_bytes(state.package.stat().st_size)
    console.print(f"package: {short_path(state.package)} ({size})", soft_wrap=True, markup=False)


def _report_of(state: CompileState) -> Path:
    from drupelet_host.packaging.builder import report_path  # noqa: PLC0415 - loaded with the compiler

    assert state.package is not None, "the package pass comes last"
    return report_path(state.package, ".html")


def _print_next(state: CompileState, *, is_signed: bool) -> None:
    """Print where the report is, and the command that usually follows."""
    console.print(f"report: {short_path(_report_of(state))}", soft_wrap=True, markup=False)
    assert state.package is not None, "the package pass comes last"
    package = shlex.quote(short_path(state.package))
    following = f"push {package} --device NAME" if is_signed else f"sign {package} --key maker.key"
    console.print(f"next: drupelet {following}", soft_wrap=True, markup=False)


def _print_dropped(state: CompileState) -> None:
    """Print what the package does not hold, and why."""
    for name, reason in state.dropped.items():
        if name not in state.ranking:
            print_paragraph(f"NOT PACKED {name}: {reason}", to=console)


def _print_missing(state: CompileState, recipe: Recipe) -> None:
    """Print, last of all, which of the variants that the recipe names the package lacks."""
    from drupelet_host.selection.stated_variants import list_missing, list_stated  # noqa: PLC0415 - loaded with the compiler

    if missing := list_missing(list_stated(recipe), state.ranking):
        names, made = ", ".join(missing), ", ".join(state.ranking)
        print_paragraph(f"of quantize.variants the package lacks: {names}; it holds {made}", to=console)
