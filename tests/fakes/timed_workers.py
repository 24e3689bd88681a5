"""Workers of the tuner without a process: their inferences take the times that a test gives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from drupelet_agent.errors import WorkerError
from drupelet_agent.serving.workers.protocol import (
    Benchmark,
    CheckGolden,
    Failed,
    GoldenPassed,
    Measured,
    Message,
    TimedRuns,
    TimeRuns,
    WorkerSpec,
)
from drupelet_shared.timing import summarize
from fakes.workers import FakeWorker

Times = Callable[[WorkerSpec, int], float]


class TimedWorkers:
    """Implements `Spawn`.

    Attributes:
        rounds: The variant and threads of each benchmark, in their order.
        loaded: The most workers that were open at once.
    """

    def __init__(self, times: Times, *, golden: Callable[[WorkerSpec], Message | WorkerError] | None = None) -> None:
        """Create workers.

        Args:
            times: The milliseconds of an inference, by the worker's specification and the number of the run.
            golden: The answer to a golden check; an error of a `WorkerError` ends the worker. All agree if None.
        """
        self.rounds: list[tuple[str, int]] = []
        self.specs: list[WorkerSpec] = []
        self.loaded = 0
        self._times = times
        self._golden = golden or (lambda _: GoldenPassed(difference=0.0))
        self._open: list[FakeWorker] = []
        self._measured: defaultdict[int, list[float]] = defaultdict(list)

    def __call__(self, spec: WorkerSpec) -> FakeWorker:
        self.specs.append(spec)
        worker = FakeWorker(spec, lambda message: self._answer(worker, message))
        worker.become_ready()
        self._open = [other for other in self._open if not other.closed] + [worker]
        self.loaded = max(self.loaded, len(self._open))
        return worker

    def _answer(self, worker: FakeWorker, message: Message) -> Message | WorkerError:
        if isinstance(message, CheckGolden):
            return self._golden(worker.spec)
        if not isinstance(message, Benchmark | TimeRuns):
            return Failed(code="unknown", message="")
        self.rounds.append((worker.spec.variant, worker.spec.threads))
        times_ms = self._measured[worker.pid]
        new_ms = self._run(worker.spec, message, first=len(times_ms))
        times_ms.extend(new_ms)
        if isinstance(message, TimeRuns):
            return TimedRuns(new_ms, footprint_bytes=50_000_000)
        return to_measured(times_ms)

    def _run(self, spec: WorkerSpec, benchmark: Benchmark | TimeRuns, *, first: int) -> list[float]:
        times_ms: list[float] = []
        while not times_ms or (len(times_ms) < benchmark.runs and sum(times_ms) < benchmark.max_seconds * 1e3):
            times_ms.append(self._times(spec, first + len(times_ms)))
        return times_ms


def to_measured(times_ms: Sequence[float], *, footprint_bytes: int = 50_000_000) -> Measured:
    """What a worker answers that measured these times."""
    timing = summarize(times_ms)
    assert timing.p50_interval is not None
    assert timing.p99_interval is not None
    return Measured(
        p50_ms=timing.p50_ms,
        p95_ms=timing.p95_ms,
        p99_ms=timing.p99_ms,
        runs=timing.runs,
        mean_ms=timing.mean_ms,
        p50_low_ms=timing.p50_interval.low_ms,
        p50_high_ms=timing.p50_interval.high_ms,
        p99_low_ms=timing.p99_interval.low_ms,
        p99_high_ms=timing.p99_interval.high_ms,
        footprint_bytes=footprint_bytes,
    )
