"""From sensitivity curves and the layer policy to a pruning ratio, and a channel count, for each group."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drupelet_host.sensitivity import SensitivityCurve

MAX_RATIO = 0.9
MIN_CHANNELS = 8


def allocate_ratios(
    factors: Mapping[str, float], *, curves: Mapping[str, SensitivityCurve], prune_ratio: float
) -> dict[str, float]:
    """The final pruning ratio of each group.

    A group's robustness is the mean of its curve, relative to the metric of the unpruned model; a group of average
    robustness gets `prune_ratio`, a more robust one proportionally more.

    Args:
        factors: The policy's factor by group.
        curves: The measured curves by group; groups without one count as average.
        prune_ratio: The ratio for a group of average robustness and factor 1.
    """
    robustness = {name: curves[name].robustness for name in factors if name in curves}
    mean = sum(robustness.values()) / len(robustness) if robustness else 0.0
    relative = {name: robustness[name] / mean if mean > 0 and name in robustness else 1.0 for name in factors}
    return {name: min(MAX_RATIO, prune_ratio * factor * relative[name]) for name, factor in factors.items()}


def channels_to_keep(channels: int, *, ratio: float, multiple: int, minimum: int = MIN_CHANNELS) -> int:
    """How many channels stay: the nearest multiple, at least 8 and at most all of them.

    Args:
        channels: How many there are in the original.
        ratio: The fraction to remove.
        multiple: What the target's kernels like and the group's layers need: the least common multiple of both.
        minimum: The fewest that the group's layers need.
    """
    rounded = round(channels * (1 - ratio) / multiple) * multiple
    lowest = math.ceil(max(MIN_CHANNELS, minimum) / multiple) * multiple
    return min(channels, max(lowest, rounded))
