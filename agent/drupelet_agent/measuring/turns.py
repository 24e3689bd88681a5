"""Times the variants of one package in turns, until each is known well enough or its time is up."""

from __future__ import annotations

import logging
import math
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from drupelet_agent.errors import WorkerError
from drupelet_agent.measuring.quiet import QuietTime
from drupelet_agent.planning.budget import Budget
from drupelet_agent.planning.candidates import PlanCandidate, batches
from drupelet_agent.planning.shares import share_out
from drupelet_agent.serving.workers.port import Spawn, Worker
from drupelet_agent.serving.workers.protocol import MAX_TIMED_RUNS, Ready, TimedRuns, TimeRuns, WorkerSpec
from drupelet_agent.serving.workers.worker_process import WorkerProcess, expect
from drupelet_shared.contract.measuring import CandidateTiming, MeasureRequest
from drupelet_shared.contract.messages import ConfidenceInterval
from drupelet_shared.package.manifest import Variant
from drupelet_shared.timing import Interval, Timing, summarize

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 60.0
_SLOW_MODEL_S = 60.0
_MIN_SLOT_BYTES = 4096
# Short enough that a request which arrives in a turn soon has the memory bus to itself.
_TURN_S = 0.05
# Requests that come often leave short gaps only: a turn that one arrived in makes the next ones shorter.
_SHORTEST_TURN_S = 0.002
_SHORTER, _LONGER = 0.5, 1.1
# In at least this many turns, whatever slows the device down for a while slows every variant down alike.
_MIN_TURNS = 5
_MIN_RUNS = 10
# The 99th percentile of so many runs is known better than any constraint asks for.
_MAX_RUNS = 20_000
_WARMUP_RUNS = 5
# The statistics are made again once there are so many times more runs.
_GROWTH = 1.2
_OBSERVE_S = 1.0


@dataclass(slots=True)
class _Entry:
    """A variant whose worker is loaded, and what was measured of it so far."""

    candidate: PlanCandidate
    worker: Worker
    engine_version: str
    times_ms: array[float] = field(default_factory=lambda: array("d"))
    timing: Timing | None = None
    turns: int = 0
    seconds: float = 0.0
    footprint_bytes: int = 0


class TurnTaker:
    """Measures the variants of one package; those that fit in memory together are loaded at once and take turns.

    Attributes:
        measured_s: The seconds in turns that count.
    """

    def __init__(
        self,
        folder: Path,
        *,
        request: MeasureRequest,
        budget: Budget,
        quiet: QuietTime,
        observe: Callable[[str], None],
        spawn: Spawn = WorkerProcess,
    ) -> None:
        """Prepare to measure.

        Args:
            folder: The unpacked, verified package.
            request: How long and how precisely to measure.
            budget: The memory that all workers together may allocate.
            quiet: Says when a turn may begin.
            observe: Called once a second with the progress, for people.
            spawn: Starts a worker.
        """
        self._folder = folder
        self._request = request
        self._budget = budget
        self._quiet = quiet
        self._observe = observe
        self._spawn = spawn
        self._observed_s = time.monotonic()
        self._turn_s = _TURN_S
        self.measured_s = 0.0

    @property
    def max_seconds(self) -> float:
        """The most seconds for the inferences of one variant."""
        return self._request.max_seconds

    def measure(self, variants: Sequence[Variant]) -> list[CandidateTiming]:
        """Time the variants; one that does not run is reported with its error.

        Returns:
            One result for each variant, in their order.

        Raises:
            MeasuringPausedError: The device was never quiet for long enough.
        """
        candidates = [PlanCandidate(variant, threads=self._request.threads, instances=1) for variant in variants]
        timings: dict[str, CandidateTiming] = {}
        for batch in batches(candidates, budget=self._budget):
            for timing in self._measure_batch(batch):
                timings[timing.variant] = timing
        return [timings[variant.id] for variant in variants]

    def spec(self, variant: str, *, memory_bytes: int) -> WorkerSpec:
        """Return how the worker of a variant is started.

        Args:
            variant: The id of the variant.
            memory_bytes: The memory that it may allocate.
        """
        return WorkerSpec(
            package_folder=str(self._folder),
            variant=variant,
            threads=self._request.threads,
            memory_limit_bytes=memory_bytes,
            slot_bytes=_MIN_SLOT_BYTES,
        )

    def _measure_batch(self, batch: Sequence[PlanCandidate]) -> list[CandidateTiming]:
        footprints = [candidate.variant.peak_memory_bytes for candidate in batch]
        shares = share_out(footprints, capacity_bytes=self._budget.limit_bytes)
        with ExitStack() as stack:
            tried: list[_Entry | CandidateTiming] = []
            for candidate, share in zip(batch, shares, strict=True):
                # Loading takes the cores and the card's bandwidth too.
                self._quiet.wait()
                tried.append(self._load(stack, candidate, memory_bytes=share))
            failures = self._take_turns([one for one in tried if isinstance(one, _Entry)])
        return [
            one if isinstance(one, CandidateTiming) else failures.get(one.candidate.variant.id) or self._result(one)
            for one in tried
        ]

    def _load(self, stack: ExitStack, candidate: PlanCandidate, *, memory_bytes: int) -> _Entry | CandidateTiming:
        try:
            worker = stack.enter_context(
                closing(self._spawn(self.spec(candidate.variant.id, memory_bytes=memory_bytes)))
            )
            ready = expect(worker, Ready, timeout_s=_START_TIMEOUT_S)
        except WorkerError as error:
            return _failed(candidate, error)
        return _Entry(candidate, worker, ready.engine_version)

    def _take_turns(self, entries: Sequence[_Entry]) -> dict[str, CandidateTiming]:
        """Measure until each entry is done, and return those that failed."""
        failures: dict[str, CandidateTiming] = {}
        active = list(entries)
        while active:
            for entry in active:
                try:
                    self._take_turn(entry)
                except WorkerError as error:
                    failures[entry.candidate.variant.id] = _failed(entry.candidate, error)
            active = [
                entry for entry in active if entry.candidate.variant.id not in failures and not self._is_done(entry)
            ]
            self._report(active)
        return failures

    def _take_turn(self, entry: _Entry) -> None:
        before = self._quiet.wait()
        start_s = time.monotonic()
        warmup = 1 if entry.times_ms else _WARMUP_RUNS
        entry.worker.send(TimeRuns(warmup=warmup, runs=MAX_TIMED_RUNS, max_seconds=self._turn_s))
        answer = expect(entry.worker, TimedRuns, timeout_s=_SLOW_MODEL_S)
        seconds = time.monotonic() - start_s
        entry.footprint_bytes = max(entry.footprint_bytes, answer.footprint_bytes)
        if self._quiet.was_disturbed(before, seconds):
            self._turn_s = max(_SHORTEST_TURN_S, _SHORTER * self._turn_s)
            return
        self._turn_s = min(_TURN_S, _LONGER * self._turn_s)
        entry.times_ms.extend(answer.times_ms)
        entry.seconds += seconds
        self.measured_s += seconds
        entry.turns += 1
        if entry.timing is None or len(entry.times_ms) >= _GROWTH * entry.timing.runs:
            entry.timing = summarize(entry.times_ms)

    def _is_done(self, entry: _Entry) -> bool:
        if entry.turns < _MIN_TURNS or len(entry.times_ms) < _MIN_RUNS:
            return entry.seconds >= self._request.max_seconds
        enough = entry.seconds >= self._request.max_seconds or len(entry.times_ms) >= _MAX_RUNS
        return enough or self._width(entry) <= 2 * self._request.precision

    def _width(self, entry: _Entry) -> float:
        """Return the width of the interval that is asked for, as a fraction of its percentile."""
        if entry.timing is None:
            return math.inf
        if self._request.percentile == "p50":
            value_ms, interval = entry.timing.p50_ms, entry.timing.p50_interval
        else:
            value_ms, interval = entry.timing.p99_ms, entry.timing.p99_interval
        return math.inf if interval is None else (interval.high_ms - interval.low_ms) / value_ms

    def _report(self, active: Sequence[_Entry]) -> None:
        now_s = time.monotonic()
        if not active or now_s - self._observed_s < _OBSERVE_S:
            return
        self._observed_s = now_s
        widest = max(active, key=self._width)
        width, runs = self._width(widest), len(widest.times_ms)
        known = "not known yet" if math.isinf(width) else f"known to {width / 2:.1%}"
        self._observe(f"{widest.candidate.variant.id}: {self._request.percentile} {known} after {runs} runs")

    def _result(self, entry: _Entry) -> CandidateTiming:
        entry.timing = summarize(entry.times_ms)
        timing, variant = entry.timing, entry.candidate.variant
        return CandidateTiming(
            variant=variant.id,
            engine=variant.engine,
            engine_version=entry.engine_version,
            runs=timing.runs,
            mean_ms=timing.mean_ms,
            p50_ms=timing.p50_ms,
            p99_ms=timing.p99_ms,
            p50_interval=_to_message(timing.p50_interval),
            p99_interval=_to_message(timing.p99_interval),
            is_precise=self._width(entry) <= 2 * self._request.precision,
            memory_bytes=entry.footprint_bytes,
        )


def _failed(candidate: PlanCandidate, error: WorkerError) -> CandidateTiming:
    variant = candidate.variant
    log.warning("candidate does not run variant=%s threads=%d: %s", variant.id, candidate.threads, error)
    code = error.reported_code or error.code
    return CandidateTiming(variant=variant.id, engine=variant.engine, error=str(error), code=code)


def _to_message(interval: Interval | None) -> ConfidenceInterval | None:
    if interval is None:
        return None
    high_ms = None if math.isinf(interval.high_ms) else interval.high_ms
    return ConfidenceInterval(low_ms=interval.low_ms, high_ms=high_ms)
