"""Runs one target for a number of inputs within limits of time and memory, and keeps what broke it."""

from __future__ import annotations

import hashlib
import resource
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from drupelet_shared.process_memory import read_memory
from fuzz.target import Target

# Processor time, which a busy machine does not stretch.
INPUT_LIMIT_S = 2.0
MEMORY_LIMIT_BYTES = 2**30
_MAX_FAULTS = 20


@dataclass
class Report:
    """What a run has seen; `faults` counts each kind by its text, `slowest_s` is processor time."""

    target: str
    inputs: int = 0
    taken: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    grown_bytes: int = 0
    faults: dict[str, int] = field(default_factory=dict)


def limit_memory() -> None:
    """Let one input allocate a gigabyte at most; more is a `MemoryError`, which no target expects."""
    limit_bytes = read_memory().data_bytes + MEMORY_LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def run(
    target: Target, *, inputs: int, seed: int, keep: Path | None, progress: Callable[[Report], None] | None = None
) -> Report:
    """Check the seeds, then changed ones; every fault is counted and its first input kept.

    Args:
        target: What to run.
        inputs: How many.
        seed: The same seed gives the same inputs.
        keep: Where the inputs go that broke the target; nowhere if None.
        progress: Told every 10,000 inputs.

    Raises:
        AssertionError: A seed is refused, so that the run would show nothing.
    """
    report, random = Report(target.name), Random(seed)
    # A parser may warn of what it reads; to the caller of a parser that is not an answer.
    warnings.simplefilter("ignore")
    assert any(target.check(data) for data in target.seeds), f"{target.name} refuses all of its seeds"
    start_s, before_bytes = time.monotonic(), read_memory().resident_bytes
    while report.inputs < inputs and len(report.faults) < _MAX_FAULTS:
        _run_one(target, target.next_input(random), report, keep)
        if progress is not None and not report.inputs % 10_000:
            progress(report)
    report.seconds = round(time.monotonic() - start_s, 1)
    report.grown_bytes = read_memory().resident_bytes - before_bytes
    return report


def _run_one(target: Target, data: bytes, report: Report, keep: Path | None) -> None:
    report.inputs += 1
    start_s = time.thread_time()
    try:
        report.taken += target.check(data)
    except Exception as error:  # noqa: BLE001 - whatever comes here is what the run looks for
        _note(f"{type(error).__name__}: {str(error)[:120]}", data, report, keep)
    elapsed_s = time.thread_time() - start_s
    report.slowest_s = max(report.slowest_s, elapsed_s)
    if elapsed_s > INPUT_LIMIT_S:
        _note(f"an input takes more than {INPUT_LIMIT_S} s", data, report, keep)


def _note(fault: str, data: bytes, report: Report, keep: Path | None) -> None:
    report.faults[fault] = report.faults.get(fault, 0) + 1
    if keep is not None and report.faults[fault] == 1:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{report.target}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
