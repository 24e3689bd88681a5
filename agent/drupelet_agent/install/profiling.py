"""The time of each operator of a model on this device, from its engine's profiler in a worker of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from drupelet_agent.config.agent import AgentConfig
from drupelet_agent.errors import MemoryBudgetError, WorkerError
from drupelet_agent.install.activation import MEASURING_TIMEOUT_S, Observe, Progress, stored_manifest
from drupelet_agent.install.time_limit import TimeLimit
from drupelet_agent.serving.workers.protocol import Benchmark, EndProfile, Measured, Profiled, Ready, WorkerSpec
from drupelet_agent.serving.workers.worker_process import WorkerProcess
from drupelet_agent.store.store import Store
from drupelet_shared.contract.measuring import OperatorTime, ProfileReport, ProfileRequest
from drupelet_shared.engines.onnxruntime_profile import count_operators, read_operators
from drupelet_shared.errors import CommandFailedError, ProfilingUnavailableError

_START_TIMEOUT_S = 60.0
_SLOW_MODEL_S = 60.0
_MIN_SLOT_BYTES = 4096
_WARMUP_RUNS = 3
# Recorded operators take about 1 KB each, in the worker's memory and then in a file.
_MAX_RECORDED = 20_000

# The mean of an operator disagrees with its median beyond this factor and this share of the inference.
_OUTLIER_FACTOR = 1.5
_OUTLIER_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class _Recorded:
    file: Path
    engine_version: str
    measured: Measured


@dataclass(frozen=True, slots=True)
class RecordedOperators:
    """What a profiled worker recorded.

    Attributes:
        operators: The operators, in the order they ran.
        engine_version: The version of the engine.
        measured: The inference as a whole, recording included.
    """

    operators: tuple[OperatorTime, ...]
    engine_version: str
    measured: Measured


def profile(request: ProfileRequest, config: AgentConfig, *, observe: Observe) -> ProfileReport:
    """Measure the time of each operator of a model's active release.

    Args:
        request: The model, and what to record.
        config: The agent's configuration.
        observe: Called at each stage.

    Returns:
        Medians and means of the operators, with a note if they disagree.

    Raises:
        StoreError: The model is not installed, or another process measures.
        ManifestError: The release has no such variant.
        ProfilingUnavailableError: The variant's engine has no profiler that a program can read.
        MemoryBudgetError: The worker needs more than the model's plan allows.
        CommandFailedError: The worker died or cannot load the model.
    """
    store = Store(config.state_dir)
    active = store.require_active(request.model)
    folder = store.package_folder(active.digest)
    variant = stored_manifest(folder).variant(request.variant or active.variant)
    spec = WorkerSpec(
        package_folder=str(folder),
        variant=variant.id,
        threads=active.plan.threads,
        memory_limit_bytes=active.plan.memory_budget_bytes,
        slot_bytes=_MIN_SLOT_BYTES,
    )
    tuning = config.tuning_of(request.model)
    with store.measuring(timeout_s=MEASURING_TIMEOUT_S), tempfile.TemporaryDirectory(prefix="drupelet-") as work:
        observe(Progress("profiling", f"{variant.id} on {spec.threads} threads"))
        recorded = record_operators(
            spec,
            Path(work),
            runs=request.runs,
            max_seconds=tuning.max_seconds,
            limit=TimeLimit(tuning.total_seconds),
        )
    return ProfileReport(
        model=active.model,
        version=active.version,
        release=active.release,
        variant=variant.id,
        engine=variant.engine,
        engine_version=recorded.engine_version,
        threads=spec.threads,
        runs=recorded.measured.runs,
        mean_ms=recorded.measured.mean_ms,
        p50_ms=recorded.measured.p50_ms,
        p99_ms=recorded.measured.p99_ms,
        operators=recorded.operators,
        note=describe_outliers(recorded.operators),
    )


def record_operators(
    spec: WorkerSpec, work: Path, *, runs: int, max_seconds: float, limit: TimeLimit
) -> RecordedOperators:
    """Record the time of each operator of a variant, in a worker of its own.

    Args:
        spec: The worker, without a folder for the profile.
        work: An empty folder for the profile.
        runs: The inferences to record; fewer for a model of very many operators.
        max_seconds: The most time to spend in them.
        limit: The time for everything that the worker does.

    Returns:
        The operators and the inference as a whole.

    Raises:
        ProfilingUnavailableError: The variant's engine has no profiler that a program can read.
        MemoryBudgetError: The worker needs more memory than its limit.
        CommandFailedError: The worker died or cannot load the model.
    """
    # One run to count the operators of an inference, since everything that is recorded is held in memory.
    first = _record(spec, work / "first", Benchmark(warmup=0, runs=1, max_seconds=0.0), limit)
    each = max(1, count_operators(first.file) // 2)
    benchmark = Benchmark(warmup=_WARMUP_RUNS, runs=max(1, min(runs, _MAX_RECORDED // each)), max_seconds=max_seconds)
    recorded = _record(spec, work / "all", benchmark, limit)
    operators = read_operators(recorded.file, runs=recorded.measured.runs)
    return RecordedOperators(operators, recorded.engine_version, recorded.measured)


def describe_outliers(operators: Sequence[OperatorTime]) -> str | None:
    """Return which operators took much longer in single runs than in half of them; None if none did."""
    total_ms = sum(operator.self_mean_ms or 0.0 for operator in operators)
    outliers = [
        f"{operator.name}: median {operator.self_ms:.3f} ms, mean {operator.self_mean_ms:.3f} ms"
        for operator in operators
        if operator.self_mean_ms is not None
        and operator.self_mean_ms > _OUTLIER_FACTOR * operator.self_ms
        and operator.self_mean_ms - operator.self_ms > _OUTLIER_SHARE * total_ms
    ]
    if not outliers:
        return None
    return f"single runs were interrupted, so means are misleading; times are medians ({'; '.join(outliers)})"


def _record(spec: WorkerSpec, folder: Path, benchmark: Benchmark, limit: TimeLimit) -> _Recorded:
    folder.mkdir()
    try:
        with closing(WorkerProcess(replace(spec, profile_folder=str(folder)))) as worker:
            ready = limit.expect(worker, Ready, timeout_s=_START_TIMEOUT_S)
            worker.send(benchmark)
            measured = limit.expect(worker, Measured, timeout_s=2 * benchmark.max_seconds + _SLOW_MODEL_S)
            worker.send(EndProfile())
            name = limit.expect(worker, Profiled, timeout_s=_SLOW_MODEL_S).name
    except WorkerError as error:
        for known in (ProfilingUnavailableError, MemoryBudgetError):
            if error.reported_code == known.code:
                raise known(str(error)) from error
        raise CommandFailedError(f"command profile, {spec.variant}: {error}") from error
    # Only the name counts: a worker that has read a hostile model must not choose the folder.
    return _Recorded(folder / Path(name).name, ready.engine_version, measured)
