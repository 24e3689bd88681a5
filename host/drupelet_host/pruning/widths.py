"""How wide a layer may be: multiples that the target's kernels and the group's layers take, and never too narrow."""

from __future__ import annotations

import math

from drupelet_host.pruning.structure.groups import PrunableGroup

_MIN_CHANNELS = 8


def channels_to_keep(channels: int, *, ratio: float, multiple: int, minimum: int = _MIN_CHANNELS) -> int:
    """Return how many channels stay: the nearest multiple, at least 8 and at most all of them.

    Args:
        channels: How many there are in the original.
        ratio: The fraction to remove.
        multiple: What the target's kernels like and the group's layers need: the least common multiple of both.
        minimum: The fewest that the group's layers need.
    """
    rounded = round(channels * (1 - ratio) / multiple) * multiple
    lowest = math.ceil(max(_MIN_CHANNELS, minimum) / multiple) * multiple
    return min(channels, max(lowest, rounded))


def next_width(count: int, *, multiple: int, group: PrunableGroup | None = None) -> int:
    """Return the widest layer below `count` channels whose width is a multiple, at least 8; `count` if there is none.

    Args:
        count: How wide it is.
        multiple: What the target's kernels like.
        group: What it belongs to, where its channels can only go several at a time or some must stay.
    """
    step, minimum = (group.multiple, max(_MIN_CHANNELS, group.minimum)) if group else (1, _MIN_CHANNELS)
    narrower = (width for width in range(count - step, minimum - 1, -step) if width % multiple == 0)
    return next(narrower, count)
