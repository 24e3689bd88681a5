"""Times several models against each other on this machine."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

from drupelet_host.latency.engines import THREADS, engine_of
from drupelet_host.latency.machine import WORKSTATION, describe_machine
from drupelet_host.latency.source import DEFAULT_PRECISION, LatencyEstimate, Percentile, estimate_of
from drupelet_shared.engines.base import Session, Tensors
from drupelet_shared.engines.benchmark import measure_times
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.timing import Timing, is_precise, summarize


@dataclass(frozen=True, slots=True)
class TimingBudget:
    """How long each model is timed.

    Attributes:
        rounds: How many times each model is timed, alternating with the others.
        seconds: The maximum duration of a round, which also ends after 200 runs.
    """

    rounds: int
    seconds: float


THOROUGH = TimingBudget(rounds=5, seconds=0.5)
# For models whose latency no decision depends on.
BRIEF = TimingBudget(rounds=1, seconds=0.1)
# A median that is still imprecise after these rounds will not become precise on this machine.
_MOST_ROUNDS = 15


class WorkstationSource:
    """This machine as a latency source, which ranks models but is not representative of another processor."""

    label = WORKSTATION
    is_quick = False

    @property
    def fingerprint(self) -> str:
        """The machine."""
        return f"{WORKSTATION}: {describe_machine()}"

    def measure(
        self,
        models: Mapping[str, Path],
        *,
        feed: Tensors,
        references: Collection[str] = (),  # noqa: ARG002 - one machine measures all of them together
        precision: float = DEFAULT_PRECISION,
        percentile: Percentile = "p50",
    ) -> dict[str, LatencyEstimate]:
        """Time the models in alternating rounds until each is known precisely, for at most 15 rounds.

        Args:
            models: The model files by name.
            feed: The inputs of one inference.
            references: The names of the originals, which are timed like the others.
            precision: The half width of the interval to aim for, as a fraction of the percentile.
            percentile: The percentile whose interval it is.

        Returns:
            One estimate for each model, by name.

        Raises:
            EngineError: A model does not load or run.
        """
        sessions = {name: load_engine(engine_of(path)).load(path, threads=THREADS) for name, path in models.items()}
        times_ms: dict[str, array[float]] = {name: array("d") for name in sessions}
        for done in range(_MOST_ROUNDS):
            for name, session in sessions.items():
                times_ms[name].extend(_time_round(session, feed, seconds=THOROUGH.seconds / THOROUGH.rounds))
            timings = {name: summarize(times) for name, times in times_ms.items()}
            known = (is_precise(timing, precision, percentile=percentile) for timing in timings.values())
            if done + 1 >= THOROUGH.rounds and all(known):
                break
        return {name: estimate_of(timing, source=self.label) for name, timing in timings.items()}


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
            rounds[name].append(summarize(_time_round(session, feed, seconds=budget.seconds)))
    return {name: _median_round(timings) for name, timings in rounds.items()}


def _time_round(session: Session, feed: Tensors, *, seconds: float) -> array[float]:
    return measure_times(session, feed, warmup=10, runs=200, max_seconds=seconds)


def _median_round(timings: Sequence[Timing]) -> Timing:
    middle = median_low([timing.p50_ms for timing in timings])
    return next(timing for timing in timings if timing.p50_ms == middle)
