"""Boards as a latency source: each measures its part of the candidates beside the references, over MQTT."""

from __future__ import annotations

import math
import tempfile
import threading
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from drupelet_host.errors import EngineMissingError, LatencyError, PackageRefusedError
from drupelet_host.latency.candidate_package import CandidatePacker
from drupelet_host.latency.engines import engine_of
from drupelet_host.latency.jobs import Job, JobMaker
from drupelet_host.latency.source import DEFAULT_PRECISION, LatencyAnswers, LatencyEstimate, Percentile
from drupelet_shared.contract.measuring import CandidateTiming, MeasureReport
from drupelet_shared.contract.messages import ConfidenceInterval
from drupelet_shared.engines.base import Tensors
from drupelet_shared.errors import EngineUnavailableError
from drupelet_shared.package.manifest import EngineName
from drupelet_shared.timing import Interval


class MeasuringBoard(Protocol):
    """A board that measures packages; `board.Board` implements it."""

    @property
    def device(self) -> str:
        """The device's name."""

    def measure(
        self, package: Path, *, precision: float, percentile: Percentile = "p50", layers: bool = False
    ) -> MeasureReport:
        """Measure the variants of a package.

        Args:
            package: The package file.
            precision: The half width of the interval to aim for, as a fraction.
            percentile: The percentile whose interval it is.
            layers: Whether operators are timed too.

        Returns:
            What the board measured.

        Raises:
            LatencyError: The board refuses, was never quiet, or stayed away.
        """


class DeviceSource:
    """Real boards of one kind, which share the work."""

    is_quick = False

    def __init__(self, boards: Sequence[MeasuringBoard], packer: CandidatePacker, *, layers: bool = False) -> None:
        """Use boards; nothing is connected yet.

        Args:
            boards: At least one.
            packer: Packs models for them.
            layers: Whether layers are timed too.
        """
        self._boards = tuple(boards)
        self._packer = packer
        self._layers = layers
        self._kinds: dict[str, str] = {}
        self._lacking: dict[str, dict[EngineName, MeasureReport]] = {board.device: {} for board in self._boards}
        self._lock = threading.Lock()

    @property
    def label(self) -> str:
        """Where the numbers come from, for people."""
        return f"measured on {', '.join(board.device for board in self._boards)}"

    @property
    def fingerprint(self) -> str:
        """The boards: times of others are others."""
        return self.label

    def measure(
        self,
        models: Mapping[str, Path],
        *,
        feed: Tensors,
        references: Collection[str] = (),
        precision: float = DEFAULT_PRECISION,
        percentile: Percentile = "p50",
    ) -> LatencyAnswers:
        """Have the models measured; see `LatencySource.measure`.

        Args:
            models: The model files by name.
            feed: The inputs of one inference.
            references: The names of those that every board measures beside its candidates.
            precision: The half width of the interval to aim for, as a fraction of the percentile.
            percentile: The percentile whose interval it is.

        Returns:
            One estimate for each model by name, or the error that says why it does not run on a board.

        Raises:
            LatencyError: No board is left that measures, a reference does not run on a board, or the boards differ.
        """
        with tempfile.TemporaryDirectory(prefix="drupelet-measure-") as folder:
            maker = JobMaker(self._packer, feed=feed, folder=Path(folder))
            jobs = self._make_jobs(models, maker, references=references)
            answers = dict(self._work(jobs, maker, precision=precision, percentile=percentile))
        for name in models.keys() - answers.keys():
            answers[name] = LatencyError(f"model {name}: the board's report does not have it")
        for name in references:
            answer = answers[name]
            if isinstance(answer, LatencyError):
                raise answer
        return {name: answers[name] for name in models}

    def _make_jobs(self, models: Mapping[str, Path], maker: JobMaker, *, references: Collection[str]) -> list[Job]:
        jobs: list[Job] = []
        for engine in dict.fromkeys(engine_of(path) for path in models.values()):
            ours = {name: path for name, path in models.items() if engine_of(path) == engine}
            beside = {name: path for name, path in ours.items() if name in references}
            candidates = [name for name in ours if name not in beside]
            able = sum(engine not in self._lacking[board.device] for board in self._boards)
            size = max(1, math.ceil(len(candidates) / max(1, able)))
            parts = [candidates[start : start + size] for start in range(0, len(candidates), size)] or [[]]
            jobs += [maker.make(engine, beside | {name: ours[name] for name in part}, references) for part in parts]
        return jobs

    def _work(
        self, jobs: Sequence[Job], maker: JobMaker, *, precision: float, percentile: Percentile
    ) -> LatencyAnswers:
        waiting, reports, failures = deque(jobs), list[tuple[str, MeasureReport]](), dict[str, LatencyError]()
        refused: dict[str, LatencyError] = {}

        def run(board: MeasuringBoard) -> None:
            while (job := self._take(waiting, board)) is not None:
                try:
                    report = board.measure(job.package, precision=precision, percentile=percentile, layers=self._layers)
                except PackageRefusedError as error:
                    # Fewer models may fit; a model that does not fit alone is the only one to blame.
                    refused.update(dict.fromkeys(job.blamed, error))
                    with self._lock:
                        waiting.extend(maker.split(job))
                except LatencyError as error:
                    failures[board.device] = error
                    # Another board may still take it.
                    with self._lock:
                        waiting.appendleft(job)
                    return
                else:
                    self._sort_in(board, job, report, waiting=waiting, reports=reports)

        with ThreadPoolExecutor(len(self._boards)) as pool:
            list(pool.map(run, self._boards))
        while able := [
            board for board in self._boards if board.device not in failures and self._has_work(waiting, board)
        ]:
            # A board failed, or lacks an engine, after the others had found nothing left to do.
            run(able[0])
        reports.extend(self._find_refusal(job, failures) for job in waiting)
        for device, report in reports:
            self._check_kind(device, report.board)
        return refused | _merge(reports)

    def _sort_in(
        self,
        board: MeasuringBoard,
        job: Job,
        report: MeasureReport,
        *,
        waiting: deque[Job],
        reports: list[tuple[str, MeasureReport]],
    ) -> None:
        """Keep a report, or leave the job to the other boards where this one lacks the engine."""
        if not _lacks_engine(report):
            reports.append((board.device, report))
            return
        self._lacking[board.device][job.engine] = report
        with self._lock:
            waiting.append(job)

    def _take(self, waiting: deque[Job], board: MeasuringBoard) -> Job | None:
        """Take the first job for an engine that the board is not known to lack."""
        with self._lock:
            job = next((job for job in waiting if job.engine not in self._lacking[board.device]), None)
            if job is not None:
                waiting.remove(job)
            return job

    def _has_work(self, waiting: Collection[Job], board: MeasuringBoard) -> bool:
        return any(job.engine not in self._lacking[board.device] for job in waiting)

    def _find_refusal(self, job: Job, failures: Mapping[str, LatencyError]) -> tuple[str, MeasureReport]:
        """Return the report of a board without the engine of a job that no board can do.

        Raises:
            LatencyError: A board that may have the engine failed.
        """
        lacking = {device: lacks[job.engine] for device, lacks in self._lacking.items() if job.engine in lacks}
        able = [board.device for board in self._boards if board.device not in lacking]
        if failed := [str(failures[device]) for device in able if device in failures]:
            others = f"; {', '.join(lacking)} cannot take its part: {job.engine} is not installed there"
            raise LatencyError("; ".join(failed) + (others if lacking else ""))
        device, report = next(iter(lacking.items()))
        unavailable = report.variants[0]
        # A report of an earlier package says the same of these models.
        timings = tuple(unavailable.model_copy(update={"variant": name}) for name in job.models)
        return device, report.model_copy(update={"variants": timings})

    def _check_kind(self, device: str, kind: str) -> None:
        with self._lock:
            self._kinds[device] = kind
            if len(set(self._kinds.values())) > 1:
                listed = ", ".join(f"{name} is {what!r}" for name, what in self._kinds.items())
                raise LatencyError(f"boards differ: {listed}; times of different boards cannot be compared")


def _lacks_engine(report: MeasureReport) -> bool:
    codes = {timing.code for timing in report.variants}
    return codes == {EngineUnavailableError.code}


def _merge(reports: Sequence[tuple[str, MeasureReport]]) -> dict[str, LatencyEstimate | LatencyError]:
    answers: dict[str, LatencyEstimate | LatencyError] = {}
    for device, report in reports:
        for timing in report.variants:
            if timing.error is None and not (timing.p50_ms and timing.p50_ms > 0):
                reason = f"model {timing.variant}: {device} reports a median of {timing.p50_ms} ms and no error"
                answers[timing.variant] = LatencyError(reason)
            elif timing.error is None:
                answers[timing.variant] = _to_estimate(timing, device)
            elif timing.code == EngineUnavailableError.code:
                reason = f"board {device} cannot run {timing.engine}: {timing.error}; install it there"
                answers[timing.variant] = EngineMissingError(f"{reason}, or leave it out of export.engines")
            else:
                reason = f"model {timing.variant} does not run on {device}: {timing.error} [{timing.code}]"
                answers[timing.variant] = LatencyError(reason)
    return answers


def _to_estimate(timing: CandidateTiming, device: str) -> LatencyEstimate:
    assert timing.p50_ms is not None, "a variant without an error has times"
    operators = timing.operators or ()
    return LatencyEstimate(
        p50_ms=timing.p50_ms,
        interval=_to_interval(timing.p50_interval) or Interval(0.0, math.inf),
        source=f"measured on {device}",
        p99_ms=timing.p99_ms,
        p99_interval=_to_interval(timing.p99_interval),
        memory_bytes=timing.memory_bytes,
        layers_ms={operator.name: operator.self_ms for operator in operators} or None,
    )


def _to_interval(message: ConfidenceInterval | None) -> Interval | None:
    if message is None:
        return None
    return Interval(message.low_ms, math.inf if message.high_ms is None else message.high_ms)
