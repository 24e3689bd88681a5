"""Compiles one run: the task of a sweep."""

from __future__ import annotations

import time
from pathlib import Path

from drupelet_host.compiler.compile import compile_recipe
from drupelet_host.compiler.state import CompileState
from drupelet_host.compute.backend import ComputeBackend
from drupelet_host.compute.in_process import InProcess
from drupelet_host.errors import ConstraintError
from drupelet_host.sweep.results import RunResult, VariantResult, write_result
from drupelet_host.sweep.runs import Run
from drupelet_shared.errors import DrupeletError

# Not the person's own cache: two runs that share passes would write the same entries at the same time.
_CACHE = "cache"


def compile_run(run: Run, compute: ComputeBackend | None = None) -> RunResult:
    """Compile a run, write its result to its folder and return it.

    Finished passes are kept in the folder until the run is done, so that an interrupted one continues.

    Args:
        run: The run.
        compute: What computes its tasks; this process by default.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    try:
        recipe = run.recipe()
        backend = compute or InProcess(threads=recipe.compute.threads or 1)
        state = compile_recipe(recipe, cache=run.folder / _CACHE, compute=backend)
        result = _describe(run, state)
    except ConstraintError as error:
        result = RunResult(digest=run.digest, state="not_met", code=error.code, message=str(error))
    except DrupeletError as error:
        result = RunResult(digest=run.digest, state="failed", code=error.code, message=str(error))
    result = result.model_copy(update={"seconds": round(time.perf_counter() - start, 3)})
    write_result(run, result)
    return result


def _describe(run: Run, state: CompileState) -> RunResult:
    variants = []
    for name in state.ranking:
        measured = state.measurements[name]
        latency = measured.target_latency
        variants.append(
            VariantResult(
                variant=name,
                metric=measured.metric,
                size_bytes=measured.size_bytes,
                p50_ms=latency.p50_ms,
                latency_source=latency.source,
            )
        )
    assert state.package is not None, "the package pass comes last"
    return RunResult(
        digest=run.digest,
        state="done",
        metric_name=state.metric.name,
        original_metric=state.reference.metric,
        variants=tuple(variants),
        package=Path(state.package),
    )
