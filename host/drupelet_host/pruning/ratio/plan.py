"""The way from all channels to the planned ones, and where on it the next step leads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from drupelet_host.pruning.structure.groups import PrunableGroup
from drupelet_host.pruning.widths import channels_to_keep

_SMALLEST_STRIDE = 1 / 64


@dataclass(frozen=True, slots=True)
class Target:
    """The state that a step leads to.

    Attributes:
        fraction: The fraction of the plan that is done.
        stride: The stride that led there.
        channels: The channels of each group.
    """

    fraction: float
    stride: float
    channels: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PruningPlan:
    """The final pruning ratio of each group.

    Attributes:
        groups: The groups.
        ratios: The final ratio of each group by name.
        channel_multiple: Every width is a multiple of it.
    """

    groups: tuple[PrunableGroup, ...]
    ratios: Mapping[str, float]
    channel_multiple: int

    def channels_at(self, fraction: float) -> dict[str, int]:
        """Return the channels of each group when `fraction` of its ratio is gone; at 0 they are the original's."""
        if fraction == 0:
            return {group.name: group.channels for group in self.groups}
        return {group.name: self._keep(group, self.ratios[group.name] * fraction) for group in self.groups}

    def next_target(
        self, fraction: float, *, stride: float, current: Mapping[str, int], failed: Mapping[str, int]
    ) -> Target | None:
        """Return the next state worth trying, or None at the end of the way.

        Args:
            fraction: How much of the plan is done.
            stride: How far to go at once.
            current: The channels now; a target that rounds to the same is passed over.
            failed: Channels that could not be recovered; a target that rounds to them is approached in halves.
        """
        while fraction < 1 and stride >= _SMALLEST_STRIDE:
            ahead = fraction + stride
            # Strides of thirds and the like do not add up to exactly 1.
            ahead = 1.0 if ahead > 1 - _SMALLEST_STRIDE else ahead
            channels = self.channels_at(ahead)
            if channels == current:
                fraction = ahead
            elif channels == failed:
                stride /= 2
            else:
                return Target(ahead, stride, channels)
        return None

    def _keep(self, group: PrunableGroup, ratio: float) -> int:
        multiple = math.lcm(self.channel_multiple, group.multiple)
        return channels_to_keep(group.channels, ratio=ratio, multiple=multiple, minimum=group.minimum)
