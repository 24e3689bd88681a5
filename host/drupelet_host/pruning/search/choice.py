"""Which channels the next step of a search removes: the most saved for the least loss that the curves predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from drupelet_host.pruning.sensitivity import SensitivityCurve
from drupelet_host.pruning.structure.groups import PrunableGroup
from drupelet_host.pruning.widths import next_width

# Below the resolution of a curve on 512 samples: groups that seem to cost nothing are ranked by what they save.
_LOSS_FLOOR = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelChoice:
    """What the choice is made from.

    Attributes:
        savings: The share of the model's cost that goes with one channel, by group; other groups are left alone.
        curves: Sensitivity by group; the ratios are of the curve's own number of channels.
        factors: The layer policy: at 0.5 a loss counts twice, at 0 the group is left alone.
        multiple: Widths stay multiples of this.
        groups: The groups as they were found, for how many channels they can lose at once; others lose any number.
    """

    savings: Mapping[str, float]
    curves: Mapping[str, SensitivityCurve]
    factors: Mapping[str, float]
    multiple: int
    groups: Mapping[str, PrunableGroup] = field(default_factory=dict)

    def choose(self, channels: Mapping[str, int], *, goal: float) -> dict[str, int]:
        """Return the channels of each group after a step that saves about `goal`, a share of the model's cost.

        Block by block, each time the one that saves most for the loss it adds; the same input gives the same choice.
        Nothing changes where nothing can be removed.
        """
        chosen, saved = dict(channels), 0.0
        while saved < goal:
            scores = {name: self._score(name, chosen[name]) for name in chosen if self._can_shrink(name, chosen[name])}
            if not scores:
                break
            name = max(scores, key=lambda name: scores[name])
            narrower = self._next_width(name, chosen[name])
            saved += (chosen[name] - narrower) * self.savings[name]
            chosen[name] = narrower
        return chosen

    def _can_shrink(self, name: str, count: int) -> bool:
        allowed = name in self.savings and self.factors[name] > 0
        return allowed and self._next_width(name, count) < count

    def _next_width(self, name: str, count: int) -> int:
        return next_width(count, multiple=self.multiple, group=self.groups.get(name))

    def _score(self, name: str, count: int) -> float:
        narrower = self._next_width(name, count)
        curve = self.curves.get(name)
        loss = predicted_loss(curve, narrower) - predicted_loss(curve, count) if curve else 0.0
        return (count - narrower) * self.savings[name] * self.factors[name] / (loss + _LOSS_FLOOR)


def predicted_loss(curve: SensitivityCurve, count: int) -> float:
    """Return what the whole model loses when the group has `count` channels left, without recovery.

    Between the measured points it is a line; a group with no channels at all is taken to cost the whole metric. A
    point that is better than the one before it is noise and counts as equal.
    """
    ratios = [ratio for ratio, _ in curve.points]
    metrics = list(accumulate((metric for _, metric in curve.points), min))
    found = np.interp(1 - count / curve.channels, [*ratios, 1.0], [*metrics, 0.0])
    return float(metrics[0] - found)
