"""Timing a session the same way on the host and on the device."""

from __future__ import annotations

import time

from drupelet_shared.engines.base import Session, Tensors
from drupelet_shared.timing import Timing, summarize


def time_session(session: Session, inputs: Tensors, *, warmup: int, runs: int, max_seconds: float) -> Timing:
    """Time single inferences one after another.

    Args:
        session: The loaded model.
        inputs: One input set, used for every run.
        warmup: Runs that are not counted, first.
        runs: Runs that are counted.
        max_seconds: Most time for each of the two; at least one run is made of each.
    """
    outputs = [spec.name for spec in session.outputs]

    def repeat(count: int) -> list[float]:
        times_ms: list[float] = []
        deadline = time.perf_counter() + max_seconds
        while not times_ms or (len(times_ms) < count and time.perf_counter() < deadline):
            start = time.perf_counter_ns()
            session.run(inputs, outputs)
            times_ms.append((time.perf_counter_ns() - start) / 1e6)
        return times_ms

    repeat(warmup)
    return summarize(repeat(runs))
