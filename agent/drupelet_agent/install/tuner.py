"""Measures candidates on this device, each in worker processes of its own."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from pathlib import Path

from drupelet_agent.config.sections import TuningConfig
from drupelet_agent.errors import MemoryBudgetError, WorkerError
from drupelet_agent.planning.budget import Budget
from drupelet_agent.planning.choice import Candidate, Measurement, Rejection
from drupelet_agent.serving.workers.protocol import Benchmark, CheckGolden, GoldenPassed, Measured, Ready, WorkerSpec
from drupelet_agent.serving.workers.worker_process import WorkerProcess, expect
from drupelet_shared.timing import Timing

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 60.0
# What a golden check or a warm-up may take beyond the time that is measured.
_SLOW_MODEL_S = 60.0
_SMALLEST_SLOT_BYTES = 4096
# More than any engine does in the time that is measured.
_UNTIL_TIME_IS_UP = 10**6

Result = Measurement | Rejection


def measure(package_folder: Path, candidate: Candidate, *, budget: Budget, config: TuningConfig) -> Result:
    """Load and check every instance of a candidate, then time all of them at once.

    Args:
        package_folder: The unpacked, verified package.
        candidate: What to try.
        budget: The memory that its workers may allocate together.
        config: How long to measure, and for what.
    """
    with ExitStack() as stack:
        try:
            workers = _start(stack, package_folder, candidate, budget=budget)
            measured = _time(workers, _benchmark(candidate, config))
        except WorkerError as error:
            return _rejection(candidate, error)
    slowest = max(measured, key=lambda one: one.p99_ms)
    return Measurement(
        candidate=candidate,
        timing=Timing(
            p50_ms=slowest.p50_ms,
            p95_ms=slowest.p95_ms,
            p99_ms=slowest.p99_ms,
            runs=slowest.runs,
            mean_ms=slowest.mean_ms,
        ),
        throughput_per_s=sum(1e3 / one.mean_ms for one in measured),
        footprint_bytes=sum(one.footprint_bytes for one in measured),
    )


def check(package_folder: Path, candidate: Candidate, *, budget: Budget) -> Rejection | None:
    """Load every instance of a candidate and compare it with the golden vectors; None if all agree."""
    with ExitStack() as stack:
        try:
            _start(stack, package_folder, candidate, budget=budget)
        except WorkerError as error:
            return _rejection(candidate, error)
    return None


def _start(stack: ExitStack, package_folder: Path, candidate: Candidate, *, budget: Budget) -> list[WorkerProcess]:
    spec = WorkerSpec(
        package_folder=str(package_folder),
        variant=candidate.variant.id,
        threads=candidate.threads,
        memory_limit_bytes=budget.limit_bytes // candidate.instances,
        slot_bytes=_SMALLEST_SLOT_BYTES,
    )
    workers = [stack.enter_context(closing(WorkerProcess(spec))) for _ in range(candidate.instances)]
    for worker in workers:
        expect(worker, Ready, timeout_s=_START_TIMEOUT_S)
        worker.send(CheckGolden())
    for worker in workers:
        expect(worker, GoldenPassed, timeout_s=_SLOW_MODEL_S)
    return workers


def _benchmark(candidate: Candidate, config: TuningConfig) -> Benchmark:
    # Instances must be at work at the same time, so they stop by the clock; and a throughput is compared over the same
    # time for one instance as for several.
    by_clock = candidate.instances > 1 or config.objective == "throughput"
    runs = _UNTIL_TIME_IS_UP if by_clock else config.runs
    return Benchmark(warmup=config.warmup, runs=runs, max_seconds=config.max_seconds)


def _time(workers: list[WorkerProcess], benchmark: Benchmark) -> list[Measured]:
    for worker in workers:
        worker.send(benchmark)
    return [expect(worker, Measured, timeout_s=benchmark.max_seconds + _SLOW_MODEL_S) for worker in workers]


def _rejection(candidate: Candidate, error: WorkerError) -> Rejection:
    log.warning(
        "candidate rejected variant=%s threads=%d instances=%d: %s",
        candidate.variant.id,
        candidate.threads,
        candidate.instances,
        error,
    )
    return Rejection(candidate, str(error), out_of_memory=error.reported_code == MemoryBudgetError.code)
