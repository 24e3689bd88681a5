"""Which channels the next step of a search removes: the most saved for the least loss that the curves predict."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from drupelet_host.pruning.search.savings import Savings
from drupelet_host.pruning.sensitivity import SensitivityCurve
from drupelet_host.pruning.structure.groups import PrunableGroup
from drupelet_host.pruning.widths import next_width

# Below the resolution of a curve on 512 samples: groups that seem to cost nothing are ranked by what they save.
_LOSS_FLOOR = 1e-3
# How many blocks are looked ahead: a step in the cost is passed where several blocks together pay.
_BLOCKS_AHEAD = 8
# Of choices that are worth the same within rounding, the smallest is made.
_BETTER = 1 + 1e-9


@dataclass(frozen=True, slots=True)
class _Option:
    """A group made narrower: its channels then, what that saves, and what it is worth."""

    name: str
    count: int
    saved: float
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelChoice:
    """What the choice is made from.

    Attributes:
        curves: Sensitivity by group; the ratios are of the curve's own number of channels.
        factors: The layer policy: at 0.5 a loss counts twice, at 0 the group is left alone.
        multiple: Widths stay multiples of this.
        groups: The groups as they were found, for how many channels they can lose at once; others lose any number.
        blocked: Groups that are left alone.
    """

    curves: Mapping[str, SensitivityCurve]
    factors: Mapping[str, float]
    multiple: int
    groups: Mapping[str, PrunableGroup] = field(default_factory=dict)
    blocked: Collection[str] = ()

    def choose(self, savings: Savings, channels: Mapping[str, int], *, goal: float) -> dict[str, int]:
        """Return the channels of each group after a step that saves about `goal`, a share of the model's cost.

        A knapsack with one width for each group, filled greedily: each time the group and the width that save most for
        the loss they add (Sinha and Zoltners, 1979, "The multiple-choice knapsack problem"). What a width saves is
        asked again after each choice, as groups share layers. The same input gives the same choice. Nothing changes
        where nothing can be saved.

        Args:
            savings: What narrower groups save.
            channels: The channels of each group now.
            goal: The share to save.
        """
        chosen, saved = dict(channels), 0.0
        while saved < goal:
            best: _Option | None = None
            options = list(self._options(savings, chosen))
            for option in options:
                if option.saved > 0 and (best is None or option.score > best.score * _BETTER):
                    best = option
            if best is None:
                break
            # The last choice removes no more of its group than the goal needs.
            enough = (option for option in options if option.name == best.name and option.saved >= goal - saved)
            best = next(enough, best)
            saved += best.saved
            chosen[best.name] = best.count
        return chosen

    def _options(self, savings: Savings, channels: Mapping[str, int]) -> Iterator[_Option]:
        for name, count in channels.items():
            if name not in savings.groups or name in self.blocked or self.factors[name] <= 0:
                continue
            for blocks, narrower in enumerate(self._widths(name, count), start=1):
                saved = savings.saved(channels, name, narrower)
                loss = self._loss(name, count, narrower) + _LOSS_FLOOR * blocks
                yield _Option(name, narrower, saved, saved * self.factors[name] / loss)

    def _widths(self, name: str, count: int) -> Iterator[int]:
        for _ in range(_BLOCKS_AHEAD):
            narrower = next_width(count, multiple=self.multiple, group=self.groups.get(name))
            if narrower == count:
                return
            yield narrower
            count = narrower

    def _loss(self, name: str, count: int, narrower: int) -> float:
        curve = self.curves.get(name)
        return predicted_loss(curve, narrower) - predicted_loss(curve, count) if curve else 0.0


def predicted_loss(curve: SensitivityCurve, count: int) -> float:
    """Return what the whole model loses when the group has `count` channels left, without recovery.

    Between the measured points it is a line; a group with no channels at all is taken to cost the whole metric. A
    point that is better than the one before it is noise and counts as equal.
    """
    ratios = [ratio for ratio, _ in curve.points]
    metrics = list(accumulate((metric for _, metric in curve.points), min))
    metric = np.interp(1 - count / curve.channels, [*ratios, 1.0], [*metrics, 0.0])
    return float(metrics[0] - metric)
