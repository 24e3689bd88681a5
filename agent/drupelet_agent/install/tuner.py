"""Measures candidates on this device in turns, with more runs while they are tied."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from drupelet_agent.config.tuning import TuningConfig
from drupelet_agent.errors import MemoryBudgetError, TimeLimitError, WorkerError, WorkerTimeoutError
from drupelet_agent.install.time_limit import TimeLimit
from drupelet_agent.planning.budget import Budget
from drupelet_agent.planning.candidates import PlanCandidate, Rejection, batches
from drupelet_agent.planning.choice import CandidateMeasurement, undecided
from drupelet_agent.planning.shares import share_out
from drupelet_agent.serving.workers.port import Spawn, Worker
from drupelet_agent.serving.workers.protocol import Benchmark, CheckGolden, GoldenPassed, Measured, Ready, WorkerSpec
from drupelet_agent.serving.workers.worker_process import WorkerProcess

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 60.0
# The longest time of a golden check, or of a warm-up beyond the time that is measured.
_SLOW_MODEL_S = 60.0
_MIN_SLOT_BYTES = 4096
# More runs than any engine makes in the time that is measured.
_UNTIL_TIME_IS_UP = 10**6
# In turns of this many, whatever slows the device down for a while slows every candidate down alike.
_ROUNDS = 10
# Candidates that cannot be told apart are measured with up to this multiple of the configured runs.
_MAX_RUNS_FACTOR = 10

Result = CandidateMeasurement | Rejection
Observe = Callable[[Result], None]
Key = tuple[str, int, int]


@dataclass(slots=True)
class _Loaded:
    """A candidate whose workers are loaded, and their measurements so far."""

    candidate: PlanCandidate
    workers: list[Worker]
    measured: list[Measured]
    seconds: float = 0.0
    is_interrupted: bool = False

    def measurement(self) -> CandidateMeasurement:
        slowest = max(self.measured, key=lambda one: one.p99_ms)
        return CandidateMeasurement(
            candidate=self.candidate,
            timing=slowest.timing,
            throughput_per_s=sum(1e3 / one.mean_ms for one in self.measured),
            footprint_bytes=sum(one.footprint_bytes for one in self.measured),
        )


class Tuner:
    """Measures candidates of one package, each in worker processes of its own.

    Candidates whose workers fit in memory together are loaded at once and measured in turns. All make the configured
    number of runs; those whose intervals overlap make more, until they differ or a limit of runs or time is reached.
    Everything together ends within `tuning.total_seconds`: candidates that were measured by then count.
    """

    def __init__(
        self,
        package_folder: Path,
        *,
        budget: Budget,
        config: TuningConfig,
        spawn: Spawn = WorkerProcess,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a tuner, whose time starts now.

        Args:
            package_folder: The unpacked, verified package.
            budget: The memory that all workers together may allocate.
            config: The limits and the goal of the measurement.
            spawn: Starts a worker.
            clock: Returns the time in seconds.
        """
        self._package_folder = package_folder
        self._budget = budget
        self._config = config
        self._spawn = spawn
        self._limit = TimeLimit(config.total_seconds, clock=clock)
        self._hung: dict[str, str] = {}

    def measure(self, candidates: Sequence[PlanCandidate], *, observe: Observe) -> list[Result]:
        """Load, check and time candidates.

        Args:
            candidates: The candidates.
            observe: Called with each result once it is final.

        Returns:
            One result for each candidate, in their order.
        """
        results: dict[Key, Result] = {}
        alone: list[list[PlanCandidate]] = []
        for batch in batches(candidates, budget=self._budget):
            for result in self._measure_batch(batch):
                if len(batch) > 1 and isinstance(result, Rejection) and result.out_of_memory:
                    # By itself it may use the whole budget.
                    alone.append([result.candidate])
                else:
                    _conclude(result, results, observe)
        for batch in alone:
            for result in self._measure_batch(batch):
                _conclude(result, results, observe)
        return [results[candidate.key] for candidate in candidates]

    def check(self, candidate: PlanCandidate) -> Rejection | None:
        """Load every instance of a candidate and compare it with the golden vectors; None if all agree."""
        with ExitStack() as stack:
            loaded = self._load(stack, candidate, memory_bytes=self._budget.limit_bytes)
            return loaded if isinstance(loaded, Rejection) else None

    def _measure_batch(self, batch: Sequence[PlanCandidate]) -> list[Result]:
        footprints = [candidate.variant.peak_memory_bytes * candidate.instances for candidate in batch]
        shares = share_out(footprints, capacity_bytes=self._budget.limit_bytes)
        with ExitStack() as stack:
            tried = [
                self._load(stack, candidate, memory_bytes=share) for candidate, share in zip(batch, shares, strict=True)
            ]
            failures = self._time([entry for entry in tried if isinstance(entry, _Loaded)])
        return [
            entry if isinstance(entry, Rejection) else failures.get(entry.candidate.key) or entry.measurement()
            for entry in tried
        ]

    def _load(self, stack: ExitStack, candidate: PlanCandidate, *, memory_bytes: int) -> _Loaded | Rejection:
        if candidate.variant.id in self._hung:
            return Rejection(candidate, self._hung[candidate.variant.id])
        spec = WorkerSpec(
            package_folder=str(self._package_folder),
            variant=candidate.variant.id,
            threads=candidate.threads,
            memory_limit_bytes=memory_bytes // candidate.instances,
            slot_bytes=_MIN_SLOT_BYTES,
        )
        try:
            self._limit.check()
            workers = [stack.enter_context(closing(self._spawn(spec))) for _ in range(candidate.instances)]
            for worker in workers:
                self._limit.expect(worker, Ready, timeout_s=_START_TIMEOUT_S)
                worker.send(CheckGolden())
            for worker in workers:
                self._limit.expect(worker, GoldenPassed, timeout_s=_SLOW_MODEL_S)
        except WorkerError as error:
            return self._reject(candidate, error)
        return _Loaded(candidate, workers, [])

    def _time(self, loaded: Sequence[_Loaded]) -> dict[Key, Rejection]:
        """Measure in turns, and return the candidates that failed."""
        failures: dict[Key, Rejection] = {}
        active, rounds = list(loaded), 0
        while active:
            for entry in active:
                try:
                    self._measure_round(entry, is_first=rounds == 0)
                except WorkerError as error:
                    if entry.measured and isinstance(error, TimeLimitError):
                        # What it has measured so far counts.
                        entry.is_interrupted = True
                    else:
                        failures[entry.candidate.key] = self._reject(entry.candidate, error)
            rounds += 1
            running = [entry for entry in loaded if entry.candidate.key not in failures]
            undone = running if rounds < _ROUNDS else self._undecided(running)
            active = [entry for entry in undone if not self._is_exhausted(entry)]
        return failures

    def _undecided(self, measured: Sequence[_Loaded]) -> list[_Loaded]:
        if self._by_clock(measured):
            # A throughput is compared over the same time, which the rounds so far have taken.
            return []
        tied = {measurement.candidate.key for measurement in undecided([entry.measurement() for entry in measured])}
        return [entry for entry in measured if entry.candidate.key in tied] if len(tied) > 1 else []

    def _by_clock(self, measured: Sequence[_Loaded]) -> bool:
        return self._config.objective == "throughput" or any(entry.candidate.instances > 1 for entry in measured)

    def _is_exhausted(self, entry: _Loaded) -> bool:
        if entry.is_interrupted:
            return True
        runs = max(measured.runs for measured in entry.measured)
        if self._by_clock([entry]):
            return entry.seconds >= self._config.max_seconds
        return entry.seconds >= self._config.max_seconds or runs >= _MAX_RUNS_FACTOR * self._config.runs

    def _measure_round(self, entry: _Loaded, *, is_first: bool) -> None:
        """Let all instances of a candidate run at once for one turn."""
        config = self._config
        warmup = config.warmup if is_first else 1
        if self._by_clock([entry]):
            # Instances must compute at the same time, so they stop by the clock.
            benchmark = Benchmark(warmup=warmup, runs=_UNTIL_TIME_IS_UP, max_seconds=config.max_seconds / _ROUNDS)
        else:
            runs = -(-config.runs // _ROUNDS)
            benchmark = Benchmark(warmup=warmup, runs=runs, max_seconds=config.max_seconds - entry.seconds)
        for worker in entry.workers:
            worker.send(benchmark)
        timeout_s = 2 * config.max_seconds + _SLOW_MODEL_S
        entry.measured = [self._limit.expect(worker, Measured, timeout_s=timeout_s) for worker in entry.workers]
        entry.seconds = max(measured.runs * measured.mean_ms for measured in entry.measured) / 1e3

    def _reject(self, candidate: PlanCandidate, error: WorkerError) -> Rejection:
        log.warning(
            "candidate rejected variant=%s threads=%d instances=%d: %s",
            candidate.variant.id,
            candidate.threads,
            candidate.instances,
            error,
        )
        if isinstance(error, WorkerTimeoutError):
            # It would not end with other threads either, and each try takes a minute.
            self._hung[candidate.variant.id] = str(error)
        return Rejection(candidate, str(error), out_of_memory=error.reported_code == MemoryBudgetError.code)


def _conclude(result: Result, results: dict[Key, Result], observe: Observe) -> None:
    results[result.candidate.key] = result
    observe(result)
