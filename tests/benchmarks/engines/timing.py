"""Times side by side: all runtimes have the network loaded, each in a process of its own, and are asked in turns."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.child import BenchmarkError, read_line
from benchmarks.engines.agreement import check_answer
from benchmarks.engines.environments import host_python, search_path
from benchmarks.engines.models import Case, Model
from drupelet_shared.timing import summarize

THREADS = (1, 2)
_WARM_UP = 3
# Idle pool threads spin for a few milliseconds and would take a core from the next in turn.
_PAUSE_S = 0.1
_START_TIMEOUT_S, _TURN_TIMEOUT_S = 120.0, 300.0


@dataclass(frozen=True, slots=True)
class Effort:
    """How long: `rounds` turns of `seconds` for each model, five inferences at least."""

    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """One model in its runtime at a number of threads.

    Attributes:
        network: Of `NETWORKS`.
        runtime: What ran it.
        precision: Of the file.
        threads: That one inference may use.
        p50_ms: The median inference of all rounds.
        p99_ms: The 99th percentile of all rounds.
        inferences: How many were timed.
        fastest_round_ms: The lowest of the rounds' medians; with the next, the spread.
        slowest_round_ms: The highest of them.
        of_first: Of the time of the case's first model in the same round: the median over the rounds.
        of_first_low: The lower quartile of that.
        of_first_high: The upper quartile.
        difference: From PyTorch, of the largest score.
    """

    network: str
    runtime: str
    precision: str
    threads: int
    p50_ms: float
    p99_ms: float
    inferences: int
    fastest_round_ms: float
    slowest_round_ms: float
    of_first: float
    of_first_low: float
    of_first_high: float
    difference: float


def time_case(
    case: Case, *, threads: int, effort: Effort, environments: Path, say: Callable[[str], None]
) -> list[EngineTimes]:
    """Check every model's answer, then time all in turns.

    Raises:
        BenchmarkError: A runtime cannot load its model, computes something else, or hangs.
    """
    with ExitStack() as processes, tempfile.TemporaryDirectory() as folder:
        workers = [
            processes.enter_context(_worker(model, case, threads=threads, environments=environments))
            for model in case.models
        ]
        differences = []
        for number, (model, worker) in enumerate(zip(case.models, workers, strict=True)):
            answer = Path(folder) / f"{number}.npy"
            _ask(worker, {"answer": str(answer)})
            differences.append(check_answer(model, answer, case=case))
        rounds = _take_turns(workers, effort, say=say)
    return [
        _summarize(model, rows, first=rounds[0], threads=threads, difference=difference)
        for model, rows, difference in zip(case.models, rounds, differences, strict=True)
    ]


def _take_turns(
    workers: Sequence[subprocess.Popen[str]], effort: Effort, *, say: Callable[[str], None]
) -> list[list[list[float]]]:
    """For each worker, for each round, its times in milliseconds."""
    rounds: list[list[list[float]]] = [[] for _ in workers]
    for number in range(effort.rounds):
        say(f"round {number + 1} of {effort.rounds}")
        for rows, worker in zip(rounds, workers, strict=True):
            time.sleep(_PAUSE_S)
            rows.append(_ask(worker, {"warm_up": _WARM_UP, "seconds": effort.seconds})["times_ms"])
    return rounds


def _summarize(
    model: Model, rounds: list[list[float]], *, first: list[list[float]], threads: int, difference: float
) -> EngineTimes:
    timing = summarize([time_ms for row in rounds for time_ms in row])
    medians = [statistics.median(row) for row in rounds]
    ratios = [own / statistics.median(row) for own, row in zip(medians, first, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return EngineTimes(
        network=model.network,
        runtime=model.runtime,
        precision=model.precision,
        threads=threads,
        p50_ms=round(timing.p50_ms, 3),
        p99_ms=round(timing.p99_ms, 3),
        inferences=timing.runs,
        fastest_round_ms=round(min(medians), 3),
        slowest_round_ms=round(max(medians), 3),
        of_first=round(middle, 3),
        of_first_low=round(low, 3),
        of_first_high=round(high, 3),
        difference=difference,
    )


@contextmanager
def _worker(model: Model, case: Case, *, threads: int, environments: Path) -> Iterator[subprocess.Popen[str]]:
    python = host_python(model.runtime, environments)
    words = ["-m", "benchmarks.engines.worker", model.runtime, model.path, str(threads), case.image]
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [python, *words], env=search_path(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
    ):
        try:
            if not read_line(process, timeout_s=_START_TIMEOUT_S):
                said.seek(0)
                last = (said.read().strip().splitlines() or ["nothing"])[-1]
                raise BenchmarkError(f"{model.path}: {model.runtime} ended before it was ready: {last}")
            yield process
        finally:
            process.kill()


def _ask(worker: subprocess.Popen[str], request: dict[str, object]) -> dict[str, Any]:
    assert worker.stdin is not None
    worker.stdin.write(json.dumps(request) + "\n")
    worker.stdin.flush()
    line = read_line(worker, timeout_s=_TURN_TIMEOUT_S)
    if not line:
        raise BenchmarkError(f"{worker.args!r}: ended while it was asked")
    reply: dict[str, Any] = json.loads(line)
    return reply
