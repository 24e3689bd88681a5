"""Times several models against each other on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_low

from drupelet_shared.engines.base import Session, Tensors
from drupelet_shared.engines.benchmark import time_session
from drupelet_shared.timing import Timing


@dataclass(frozen=True, slots=True)
class TimingBudget:
    """How long each model is timed.

    Attributes:
        rounds: How many times each model is timed, alternating with the others.
        seconds: The longest a round takes; it also ends after 200 runs.
    """

    rounds: int
    seconds: float


THOROUGH = TimingBudget(rounds=5, seconds=0.5)
# For models whose latency decides nothing.
BRIEF = TimingBudget(rounds=1, seconds=0.1)


def compare_latency(
    sessions: Mapping[str, Session], feed: Tensors, *, budget: TimingBudget = THOROUGH
) -> dict[str, Timing]:
    """Time the sessions in alternating rounds, so that other load on the machine affects all of them alike.

    Args:
        sessions: Loaded models by name, all with the same number of threads.
        feed: The inputs of one inference, which every model takes.
        budget: How long each model is timed.

    Returns:
        For each session, the round with the median p50.
    """
    rounds: dict[str, list[Timing]] = {name: [] for name in sessions}
    for _ in range(budget.rounds):
        for name, session in sessions.items():
            rounds[name].append(time_session(session, feed, warmup=10, runs=200, max_seconds=budget.seconds))
    return {name: _median_round(timings) for name, timings in rounds.items()}


def _median_round(timings: list[Timing]) -> Timing:
    middle = median_low([timing.p50_ms for timing in timings])
    return next(timing for timing in timings if timing.p50_ms == middle)
