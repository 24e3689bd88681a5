"""Timing several models against each other on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median_low

from drupelet_shared.engines.base import Session, example_inputs
from drupelet_shared.engines.benchmark import time_session
from drupelet_shared.engines.timing import Timing

_ROUNDS = 5


def compare_latency(sessions: Mapping[str, Session], *, seconds: float = 0.5) -> dict[str, Timing]:
    """Time the sessions in turns, so that what else the machine does meets all of them alike.

    Args:
        sessions: Loaded models by name, all at the same number of threads.
        seconds: Most time for one session in one round; a round is at most 200 runs.

    Returns:
        For each session the round with the median p50.
    """
    rounds: dict[str, list[Timing]] = {name: [] for name in sessions}
    for _ in range(_ROUNDS):
        for name, session in sessions.items():
            inputs = example_inputs(session.inputs)
            rounds[name].append(time_session(session, inputs, warmup=10, runs=200, max_seconds=seconds))
    return {name: _median_round(timings) for name, timings in rounds.items()}


def _median_round(timings: list[Timing]) -> Timing:
    middle = median_low([timing.p50_ms for timing in timings])
    return next(timing for timing in timings if timing.p50_ms == middle)
