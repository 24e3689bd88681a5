"""Compiles one run: the task of a sweep."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from drupelet_host.compiler.compile import compile_recipe
from drupelet_host.compiler.state import CompileState
from drupelet_host.compute.backend import ComputeBackend
from drupelet_host.compute.in_process import InProcess
from drupelet_host.errors import ConstraintError, StorageError
from drupelet_host.sweep.results import RunResult, VariantResult, write_result
from drupelet_host.sweep.runs import Run
from drupelet_shared.errors import DrupeletError

log = logging.getLogger(__name__)

# Beside the runs' folders: what they have in common is done once, and the person's own cache may be on another machine.
_CACHE = "cache"
# The code of a run that ended with an exception that is no error of ours.
UNEXPECTED = "unexpected"


def compile_run(run: Run, compute: ComputeBackend | None = None) -> RunResult:
    """Compile a run, write its result to its folder and return it.

    Finished passes are kept in a cache of the sweep, so that an interrupted run continues.

    Args:
        run: The run.
        compute: What computes its tasks; this process by default.
    """
    start = time.perf_counter()
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        recipe = run.recipe()
        backend = compute or InProcess(threads=recipe.compute.threads or 1)
        state = compile_recipe(recipe, cache=run.folder.parent / _CACHE, compute=backend)
        result = _describe(run, state)
    except ConstraintError as error:
        result = RunResult(digest=run.digest, state="not_met", code=error.code, message=str(error))
    except DrupeletError as error:
        result = _failure(run, error.code, str(error))
    except OSError as error:
        result = _failure(run, StorageError.code, f"{error.filename or run.folder}: {error.strerror}")
    except Exception as error:
        # A fault of the program in one combination: the results of the others are worth as much without it.
        log.exception("%s (%s) failed", run.name, run.label)
        result = _failure(run, UNEXPECTED, f"{type(error).__name__}: {error}")
    result = result.model_copy(update={"seconds": round(time.perf_counter() - start, 3)})
    try:
        write_result(run, result)
    except OSError as error:
        reason = f"its result cannot be written to {run.folder}: {error.strerror}"
        return _failure(run, StorageError.code, reason if result.state != "failed" else f"{result.message}; {reason}")
    return result


def _failure(run: Run, code: str, message: str) -> RunResult:
    return RunResult(digest=run.digest, state="failed", code=code, message=message)


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
