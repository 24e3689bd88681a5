"""When XNNPACK computes a convolution in less time over groups of pixels.

Its kernels read input channels by eight in int8, and by four in float32, at each place of a window: of three-channel
images more than half is filled up with zeros.
"""

from __future__ import annotations

import math

# How many input channels a kernel reads at once.
INT8_LANES, FLOAT_LANES = 8, 4
# What each place of a window costs a kernel besides, in channels read. Of files run in the timing model of the
# Cortex-A72, in float32 windows of three columns take 5 % more time over groups of two, and windows of six 20 % less.
_COST_OF_PLACE = 4


def count_groups(columns: int, *, left: int, step: int) -> int:
    """Return how many groups of pixels a window covers.

    Args:
        columns: Of the window.
        left: How many pixels are padded on the left; groups begin with the first pixel that is not.
        step: How many pixels a group has, and the window moves by.
    """
    return -(-(-left % step + columns) // step)


def saves_time(columns: int, groups: int, *, channels: int, step: int, lanes: int) -> bool:
    """Return whether a window of so many groups takes less time than one of so many columns.

    Args:
        columns: Of the window.
        groups: From `count_groups`.
        channels: Of a pixel.
        step: How many pixels a group has.
        lanes: `INT8_LANES` or `FLOAT_LANES`.
    """

    def cost(places: int, read: int) -> int:
        return places * (math.ceil(read / lanes) * lanes + _COST_OF_PLACE)

    return cost(groups, step * channels) < cost(columns, channels)
