"""Continues a search whose own measurements the last measurement contradicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from drupelet_host.selection.check import Check
from drupelet_host.selection.frontier import JudgedCandidate

_LATENCY = "max_latency"
# The limit of the search shrinks by this beyond the disagreement: the search may have ended below its limit.
_LEAST_SHRINKING = 0.97


class SearchOutcome(Protocol):
    """The outcome of a search; `pruning.ratio.progressive.PruningResult` implements it."""

    @property
    def candidates(self) -> tuple[JudgedCandidate, ...]:
        """Everything that the search judged; empty where nothing was searched."""


Outcome = TypeVar("Outcome", bound=SearchOutcome)


@dataclass(frozen=True, slots=True)
class SearchContinuation(Generic[Outcome]):
    """The point from which a search is continued.

    Attributes:
        outcome: Its outcome so far.
        factor: The factor on the limit of the latency: the ratio by which the measurements disagree.
    """

    outcome: Outcome
    factor: float


def find_continuation(
    checks: Sequence[Check], outcome: Outcome | None, *, before: SearchContinuation[Outcome] | None = None
) -> SearchContinuation[Outcome] | None:
    """Return the continuation of a search that ended with the constraints met, where the last measurement misses them.

    Args:
        checks: Every constraint against every variant, by the last measurement.
        outcome: The outcome of the search; None if there was none.
        before: The continuation that this search was itself; None for the first.

    Returns:
        The continuation; None where nothing was searched, or no variant misses the latency alone.
    """
    if outcome is None or not outcome.candidates:
        return None
    missed = {check.variant: list[Check]() for check in checks}
    for check in checks:
        if not check.met:
            missed[check.variant].append(check)
    near = [faults[0] for faults in missed.values() if len(faults) == 1 and faults[0].constraint == _LATENCY]
    if not near:
        return None
    nearest = min(near, key=lambda check: check.bound / check.limit)
    factor = 1.0 if before is None else before.factor
    return SearchContinuation(outcome, factor * _LEAST_SHRINKING * min(1.0, nearest.limit / nearest.bound))
