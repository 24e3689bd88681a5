"""Measures candidates on this device, each in a worker process of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from drupelet_agent.config import TuningConfig
from drupelet_agent.errors import MemoryBudgetError, WorkerError
from drupelet_agent.resources.planner import Budget, Candidate, Measurement, Rejection
from drupelet_agent.serving.process import WorkerProcess
from drupelet_agent.serving.protocol import Benchmark, CheckGolden, GoldenPassed, Measured, Ready, WorkerSpec
from drupelet_shared.engines.timing import Timing

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 60.0
# What a golden check or a warm-up may take beyond the time that is measured.
_SLOW_MODEL_S = 60.0
_SMALLEST_SLOT_BYTES = 4096

Result = Measurement | Rejection


def measure(
    package_folder: Path,
    candidates: list[Candidate],
    *,
    budget: Budget,
    config: TuningConfig,
    observe: Callable[[Result], None],
) -> list[Result]:
    """Load, check and time every candidate, one after another.

    Args:
        package_folder: The unpacked, verified package.
        candidates: What to try, in order.
        budget: The memory a worker may allocate.
        config: How long to measure.
        observe: Told of each result as it comes.
    """
    results = []
    for candidate in candidates:
        result = _measure_one(package_folder, candidate, budget=budget, config=config)
        observe(result)
        results.append(result)
    return results


def _measure_one(package_folder: Path, candidate: Candidate, *, budget: Budget, config: TuningConfig) -> Result:
    spec = WorkerSpec(
        package_folder=str(package_folder),
        variant=candidate.variant.id,
        threads=candidate.threads,
        memory_limit_bytes=budget.limit_bytes,
        slot_bytes=_SMALLEST_SLOT_BYTES,
    )
    try:
        with closing(WorkerProcess(spec)) as worker:
            worker.expect(Ready, timeout_s=_START_TIMEOUT_S)
            worker.send(CheckGolden())
            worker.expect(GoldenPassed, timeout_s=_SLOW_MODEL_S)
            worker.send(Benchmark(warmup=config.warmup, runs=config.runs, max_seconds=config.max_seconds))
            measured = worker.expect(Measured, timeout_s=config.max_seconds + _SLOW_MODEL_S)
    except WorkerError as error:
        log.warning("candidate rejected variant=%s threads=%d: %s", candidate.variant.id, candidate.threads, error)
        out_of_memory = error.reported_code == MemoryBudgetError.code
        return Rejection(candidate=candidate, reason=str(error), out_of_memory=out_of_memory)
    return Measurement(
        candidate=candidate,
        timing=Timing(p50_ms=measured.p50_ms, p95_ms=measured.p95_ms, p99_ms=measured.p99_ms, runs=measured.runs),
        footprint_bytes=measured.footprint_bytes,
    )
