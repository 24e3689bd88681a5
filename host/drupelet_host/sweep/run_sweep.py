"""Runs a sweep: what is not done yet, as one job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drupelet_host.compiler.latency_sources.choice import describe_source
from drupelet_host.compute.backend import ComputeBackend, Task, run_tasks
from drupelet_host.latency.machine import WORKSTATION
from drupelet_host.sweep.compile_run import compile_run
from drupelet_host.sweep.results import RunResult, read_result
from drupelet_host.sweep.runs import Run

# Called for each finished run with its result.
OnResult = Callable[[Run, RunResult], None]


@dataclass(frozen=True, slots=True)
class SweepOutcome:
    """The results of a sweep.

    Attributes:
        results: The result of each run, in order.
        resumed: How many of them an earlier call has left.
    """

    results: tuple[tuple[Run, RunResult], ...]
    resumed: int


def run_sweep(
    runs: Sequence[Run], compute: ComputeBackend, *, on_result: OnResult, is_fresh: bool = False
) -> SweepOutcome:
    """Compile every run that has no result yet; an interrupted sweep goes on where it was.

    Runs are tasks, several at a time. A run whose latency constraint is measured on this machine is compiled alone,
    with its own tasks in parallel: beside other runs its times would say nothing.

    Args:
        runs: The runs.
        compute: What computes.
        on_result: Called for each result, including those of earlier sweeps.
        is_fresh: Whether to compile again what has a result.

    Returns:
        The results.
    """
    results: dict[str, RunResult] = {}
    for run in runs:
        earlier = None if is_fresh else read_result(run)
        if earlier is not None and earlier.state != "failed":
            results[run.name] = earlier
            on_result(run, earlier)
    resumed = len(results)
    left = [run for run in runs if run.name not in results]
    alone = [run for run in left if _is_timed_here(run)]
    together = {run.name: run for run in left if run not in alone}

    def report(name: str, _done: int, _total: int) -> None:
        # The task has written it: the results of tasks come only when all are done.
        earlier = read_result(together[name])
        if earlier is not None:
            on_result(together[name], earlier)

    tasks = [Task(name, compile_run, (run,), threads=run.recipe().compute.threads) for name, run in together.items()]
    for run, result in zip(together.values(), run_tasks(compute, tasks, on_done=report), strict=True):
        results[run.name] = result
    for run in alone:
        results[run.name] = compile_run(run, compute)
        on_result(run, results[run.name])
    return SweepOutcome(tuple((run, results[run.name]) for run in runs), resumed)


def _is_timed_here(run: Run) -> bool:
    recipe = run.recipe()
    return recipe.constraints.max_latency is not None and describe_source(recipe) == WORKSTATION
