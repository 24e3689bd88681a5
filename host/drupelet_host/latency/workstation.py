"""Timing several models against each other on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_low

from drupelet_shared.engines.base import Session, Tensors
from drupelet_shared.engines.benchmark import time_session
from drupelet_shared.timing import Timing


@dataclass(frozen=True, slots=True)
class Effort:
    """How long models are timed: `rounds` turns of at most `seconds` and 200 runs each."""

    rounds: int
    seconds: float


THOROUGH = Effort(rounds=5, seconds=0.5)
# Where nothing is decided by the time.
BRIEF = Effort(rounds=1, seconds=0.1)


def compare_latency(sessions: Mapping[str, Session], feed: Tensors, *, effort: Effort = THOROUGH) -> dict[str, Timing]:
    """Time the sessions in turns, so that what else the machine does meets all of them alike.

    Args:
        sessions: Loaded models by name, all at the same number of threads.
        feed: The inputs of one inference, which all of them take.
        effort: How long.

    Returns:
        For each session the round with the median p50.
    """
    rounds: dict[str, list[Timing]] = {name: [] for name in sessions}
    for _ in range(effort.rounds):
        for name, session in sessions.items():
            rounds[name].append(time_session(session, feed, warmup=10, runs=200, max_seconds=effort.seconds))
    return {name: _median_round(timings) for name, timings in rounds.items()}


def _median_round(timings: list[Timing]) -> Timing:
    middle = median_low([timing.p50_ms for timing in timings])
    return next(timing for timing in timings if timing.p50_ms == middle)
