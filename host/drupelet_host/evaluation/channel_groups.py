"""The channels of an output in groups of like range: what shares one int8 scale, and what must not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Channels whose ranges differ by more cannot share one int8 scale: of the smaller one, fewer than 16 of the 256 steps
# would be left.
UNLIKE_RANGES = 16.0
# Below this fraction of the largest range, a channel holds what float32 arithmetic leaves of sums that cancel out.
_NEGLIGIBLE = 1e-5
_MOST_CHANNELS = 4096
# Scores that are near zero almost everywhere: the mean is below this fraction of the largest.
_SPARSE = 0.1
_SUM_TOLERANCE = 1e-3
_VECTOR, _MATRIX = 1, 2


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Some channels of a tensor.

    Attributes:
        axis: The axis along which the channels lie; None for the whole tensor.
        channels: Their positions, ascending.
    """

    axis: int | None = None
    channels: tuple[int, ...] = ()

    def select(self, values: Array) -> Array:
        """Return the values of these channels."""
        return values if self.axis is None else values.take(self.channels, axis=self.axis)

    def __str__(self) -> str:
        if self.axis is None:
            return "all channels"
        first, last = self.channels[0], self.channels[-1]
        if len(self.channels) == 1:
            return f"channel {first}"
        joined = last - first + 1 == len(self.channels)
        which = f"{first} to {last}" if joined else ", ".join(map(str, self.channels[:4]))
        more = "" if joined or len(self.channels) <= 4 else f" and {len(self.channels) - 4} more"  # noqa: PLR2004 - as cut
        return f"channels {which}{more}"


WHOLE = ChannelGroup()


@dataclass(frozen=True, slots=True)
class _Ranges:
    """What was seen of each channel: the largest magnitude, the lowest value and the mean magnitude."""

    peaks: npt.NDArray[np.float64]
    lowest: npt.NDArray[np.float64]
    means: npt.NDArray[np.float64]


def find_groups(tensors: Sequence[Array]) -> tuple[ChannelGroup, ...]:
    """Return the groups of channels of like range; the whole tensor where all are alike.

    Channels lie along the second or the last axis. They are sorted by their largest magnitude; a channel that is more
    than `UNLIKE_RANGES` times larger than the next one ends a group. Probabilities that add up to 1 are one group, and
    scores from 0 to 1 that are near zero almost everywhere stay with the other scores.

    Args:
        tensors: The same output for several samples, batch first; with channels along two axes, both are divided.
    """
    groups = [group for axis in _list_axes(tensors) for group in _divide(tensors, axis)]
    return tuple(groups) or (WHOLE,)


def _list_axes(tensors: Sequence[Array]) -> Iterator[int]:
    ranks = {tensor.ndim for tensor in tensors}
    if len(ranks) != 1 or not np.issubdtype(tensors[0].dtype, np.floating):
        return
    rank = ranks.pop()
    axes = (0,) if rank == _VECTOR else tuple(dict.fromkeys((1, rank - 1))) if rank >= _MATRIX else ()
    for axis in axes:
        sizes = {tensor.shape[axis] for tensor in tensors}
        if len(sizes) == 1 and 1 < sizes.pop() <= _MOST_CHANNELS:
            yield axis


def _divide(tensors: Sequence[Array], axis: int) -> list[ChannelGroup]:
    ranges = _measure(tensors, axis)
    top = float(ranges.peaks.max(initial=0.0))
    if top == 0 or _is_distribution(tensors, axis):
        return []
    order = [int(channel) for channel in np.argsort(-ranges.peaks, kind="stable")]
    scores = _find_scores(ranges)
    groups: list[list[int]] = [[order[0]]]
    for before, channel in pairwise(order):
        peak = ranges.peaks[channel]
        if (
            peak <= _NEGLIGIBLE * top
            or (scores[channel] and scores[before])
            or peak * UNLIKE_RANGES >= ranges.peaks[before]
        ):
            groups[-1].append(channel)
        else:
            groups.append([channel])
    return [ChannelGroup(axis, tuple(sorted(group))) for group in groups] if len(groups) > 1 else []


def _find_scores(ranges: _Ranges) -> npt.NDArray[np.bool_]:
    """Return which channels hold scores: from 0 to 1, and all of them together near zero almost everywhere."""
    unit: npt.NDArray[np.bool_] = (ranges.lowest >= 0) & (ranges.peaks <= 1)
    if not unit.any() or ranges.means[unit].mean() > _SPARSE * ranges.peaks[unit].max():
        unit[:] = False
    return unit


def _measure(tensors: Sequence[Array], axis: int) -> _Ranges:
    channels = tensors[0].shape[axis]
    peaks, lowest = np.zeros(channels), np.full(channels, np.inf)
    sums, counts = np.zeros(channels), 0
    for tensor in tensors:
        if tensor.size == 0:
            continue
        rows = np.nan_to_num(np.moveaxis(tensor, axis, 0).reshape(channels, -1).astype(np.float64), posinf=0, neginf=0)
        peaks = np.maximum(peaks, np.abs(rows).max(axis=1))
        lowest = np.minimum(lowest, rows.min(axis=1))
        sums += np.abs(rows).sum(axis=1)
        counts += rows.shape[1]
    return _Ranges(peaks, lowest, sums / max(counts, 1))


def _is_distribution(tensors: Sequence[Array], axis: int) -> bool:
    """Whether the values along the axis are probabilities that add up to 1."""
    filled = [tensor for tensor in tensors if tensor.size]
    return all(
        bool((tensor >= 0).all()) and bool((np.abs(tensor.sum(axis=axis, dtype=np.float64) - 1) < _SUM_TOLERANCE).all())
        for tensor in filled
    )
