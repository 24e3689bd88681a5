"""`drupelet sweep`: compile one recipe with many settings as one job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.live import Live
from rich.table import Table

from drupelet_host.cli.command_group import GroupedCommand
from drupelet_host.cli.output import console, explain_interruption, print_json, progress_console
from drupelet_host.cli.paragraphs import print_paragraph, short_path
from drupelet_host.errors import ConstraintError, SweepError
from drupelet_shared.units import format_bytes

if TYPE_CHECKING:
    from drupelet_host.sweep.document import BestSection
    from drupelet_host.sweep.results import RunResult
    from drupelet_host.sweep.run_sweep import OnResult
    from drupelet_host.sweep.runs import Run

_STATES = {"done": "done", "not_met": "a constraint was not met", "failed": "failed"}


@click.command(cls=GroupedCommand)
@click.argument("sweep", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--on",
    "where",
    metavar="WHERE",
    help="Where runs are computed: local, local:N, ray, or ray://HOST:PORT; that of the sweep by default.",
)
@click.option("--plan", "is_plan", is_flag=True, help="List the runs and compile nothing.")
@click.option("--fresh", "is_fresh", is_flag=True, help="Compile runs again that have a result.")
@click.option("--open", "open_report", is_flag=True, help="Open the report in the browser.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on standard output.")
@click.option("--quiet", is_flag=True, help="Show no table while runs are compiled.")
def sweep_command(
    sweep: Path,
    *,
    where: str | None,
    is_plan: bool,
    is_fresh: bool,
    open_report: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compile every combination of the axes in SWEEP and report the frontier over all of them.

    SWEEP is a TOML file with the base recipe and the axes, such as targets, constraints, seeds and models. Each
    combination is a run with a package and a report of its own. An interrupted sweep continues: runs that are done are
    not compiled again unless their recipe or a file that it names has changed. Exit code 3 means that no run met its
    constraints, 1 that a run failed otherwise; the others are done in both cases.

    Example: drupelet sweep sweep.toml

    Example: drupelet sweep sweep.toml --on ray://head:10001 --json
    """
    # Training frameworks take seconds to import; faults in the file are reported before.
    from drupelet_host.cli.compile import read_compute  # noqa: PLC0415 - as above
    from drupelet_host.compute.choice import make_backend  # noqa: PLC0415 - as above
    from drupelet_host.sweep.document import load_sweep  # noqa: PLC0415 - as above
    from drupelet_host.sweep.page import describe_sweep, write_report  # noqa: PLC0415 - as above
    from drupelet_host.sweep.run_sweep import run_sweep  # noqa: PLC0415 - as above
    from drupelet_host.sweep.runs import plan_runs  # noqa: PLC0415 - as above

    loaded = load_sweep(sweep)
    runs = plan_runs(loaded)
    if is_plan:
        _print_plan(runs, as_json=as_json)
        return
    with (
        explain_interruption(
            lambda: f"finished runs are kept in {loaded.output}. The same command compiles the others."
        ),
        make_backend(read_compute(loaded.compute, where), on_notice=_notice) as backend,
        _show_table(runs, quiet=quiet) as on_result,
    ):
        outcome = run_sweep(runs, backend, on_result=on_result, is_fresh=is_fresh)
    assert loaded.output is not None, "load_sweep sets it"
    page = write_report(outcome.results, loaded.best, folder=loaded.output)
    report = describe_sweep(outcome.results, loaded.best)
    if as_json:
        print_json({**report, "resumed": outcome.resumed, "report": str(page)})
    else:
        _print_results(outcome.results, loaded.best)
        console.print(f"report: {short_path(page)}", soft_wrap=True, markup=False)
    if open_report:
        click.launch(str(page))
    _raise_for(outcome.results)


def _notice(message: str) -> None:
    print_paragraph(message, to=progress_console)


def _print_plan(runs: Sequence[Run], *, as_json: bool) -> None:
    if as_json:
        print_json([{"name": run.name, "changes": dict(run.changes)} for run in runs])
        return
    for run in runs:
        print_paragraph(f"{run.name}  {run.label}", to=console)


@contextmanager
def _show_table(runs: Sequence[Run], *, quiet: bool) -> Iterator[OnResult]:
    """Yield a function that takes each result and draws a table of all runs on standard error."""
    results: dict[str, RunResult] = {}
    if quiet or not progress_console.is_terminal:

        def note(run: Run, result: RunResult) -> None:
            results[run.name] = result
            if not quiet:
                _notice(f"{len(results)}/{len(runs)} {run.name} ({run.label}): {_STATES[result.state]}")

        yield note
        return
    with Live(_table(runs, results), console=progress_console, transient=True) as live:

        def draw(run: Run, result: RunResult) -> None:
            results[run.name] = result
            live.update(_table(runs, results))

        yield draw


def _table(runs: Sequence[Run], results: dict[str, RunResult], *, best: str | None = None) -> Table:
    table = Table(title=f"{len(results)} of {len(runs)} runs", title_justify="left")
    for heading in ("run", "changes", "leading variant", "metric", "size", "p50", "state"):
        table.add_column(heading, justify="right" if heading in {"metric", "size", "p50"} else "left")
    for run in runs:
        result = results.get(run.name)
        if result is None:
            table.add_row(run.name, run.label, "", "", "", "", "waiting")
        elif not result.variants:
            table.add_row(run.name, run.label, "", "", "", "", _STATES[result.state])
        else:
            lead = result.lead
            state = "best" if run.name == best else "done"
            numbers = (f"{lead.metric:.4f}", format_bytes(lead.size_bytes), f"{lead.p50_ms:.3f} ms")
            table.add_row(run.name, run.label, lead.variant, *numbers, state)
    return table


def _print_results(results: Sequence[tuple[Run, RunResult]], rule: BestSection) -> None:
    from drupelet_host.sweep.results import describe_rule, find_best  # noqa: PLC0415 - loaded with the compiler

    by_name = {run.name: result for run, result in results}
    console.print(_table([run for run, _ in results], by_name, best=find_best(results, rule)))
    for run, result in results:
        if result.state != "done":
            print_paragraph(f"{run.name}: {result.message} [{result.code}]", to=console)
    print_paragraph(f"{describe_rule(rule)}.", to=console)


def _raise_for(results: Sequence[tuple[Run, RunResult]]) -> None:
    """Raise what the exit code follows from.

    Raises:
        SweepError: A run failed.
        ConstraintError: No run met its constraints.
    """
    failed = [run.name for run, result in results if result.state == "failed"]
    if failed:
        raise SweepError(f"{len(failed)} of {len(results)} runs failed: {', '.join(failed)}; the others are done")
    if all(result.state == "not_met" for _, result in results):
        raise ConstraintError(f"none of {len(results)} runs meets the constraints of its recipe")
