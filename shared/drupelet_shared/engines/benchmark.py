"""The timing loop for sessions, the same on the host and on the device."""

from __future__ import annotations

import time
from array import array

from drupelet_shared.engines.base import Session, Tensors
from drupelet_shared.timing import Timing, summarize


def time_session(session: Session, inputs: Tensors, *, warmup: int, runs: int, max_seconds: float) -> Timing:
    """Time single inferences one after another, and summarise the times.

    Args:
        session: The loaded model.
        inputs: One input set, used for every run.
        warmup: Runs that are not counted, first.
        runs: Runs that are counted.
        max_seconds: Time limit of each of the two phases; each makes at least one run.

    Returns:
        Percentiles and mean of the counted runs.
    """
    return summarize(measure_times(session, inputs, warmup=warmup, runs=runs, max_seconds=max_seconds))


def measure_times(session: Session, inputs: Tensors, *, warmup: int, runs: int, max_seconds: float) -> array[float]:
    """Time single inferences one after another.

    Args:
        session: The loaded model.
        inputs: One input set, used for every run.
        warmup: Runs that are not counted, first.
        runs: Runs that are counted.
        max_seconds: Time limit of each of the two phases; each makes at least one run.

    Returns:
        The time of each counted run in milliseconds.
    """
    outputs = [spec.name for spec in session.outputs]

    def repeat(count: int) -> array[float]:
        times_ms = array("d")
        deadline = time.perf_counter() + max_seconds
        while not times_ms or (len(times_ms) < count and time.perf_counter() < deadline):
            start = time.perf_counter_ns()
            session.run(inputs, outputs)
            times_ms.append((time.perf_counter_ns() - start) / 1e6)
        return times_ms

    repeat(warmup)
    return repeat(runs)
