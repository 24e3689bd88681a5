"""Computes the int8 range of a tensor from its histogram, by one of several methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from drupelet_host.quantization.observation import BINS, Histogram

Method = Literal["minmax", "entropy", "percentile", "mse"]
METHODS: tuple[Method, ...] = ("minmax", "entropy", "percentile", "mse")

Floats = npt.NDArray[np.float64]
Range = tuple[float, float]

_LEVELS = 256
_LOWEST_LEVEL = -128
# The fraction of values that may lie outside the range. Wu et al. 2020, "Integer Quantization for Deep Learning
# Inference", table 5: no network there loses accuracy at a percentile of 99.99 %.
_OUTSIDE = 1e-4
_ENTROPY_STRIDE = 8
# Candidate ends of the range, as fractions of the extreme values.
_MSE_RATIOS = np.linspace(1.0, 0.05, 39)
_MSE_ROUNDS = 2
_HALF = BINS // 2


def find_range(histogram: Histogram, *, method: Method) -> Range:
    """Return the lowest and highest value of the range, which always contains zero."""
    if not histogram.lowest <= histogram.highest or histogram.limit == 0:
        return 0.0, 0.0
    low, high = _METHODS[method](histogram)
    return min(max(low, histogram.lowest), 0.0), max(min(high, histogram.highest), 0.0)


def _minmax(histogram: Histogram) -> Range:
    return histogram.lowest, histogram.highest


def _percentile(histogram: Histogram) -> Range:
    """Clip half of the allowed outliers at each end."""
    edges = np.linspace(-histogram.limit, histogram.limit, BINS + 1)
    seen = np.cumsum(histogram.counts) / histogram.counts.sum()
    first = int(np.searchsorted(seen, _OUTSIDE / 2, side="right"))
    last = int(np.searchsorted(seen, 1 - _OUTSIDE / 2))
    return float(edges[first]), float(edges[min(last, BINS - 1) + 1])


def _entropy(histogram: Histogram) -> Range:
    """Choose the magnitude threshold whose 8-bit distribution has the least Kullback-Leibler divergence.

    Method: Migacz 2017, "8-bit Inference with TensorRT". The bin of zero gets its neighbour's count: zeros are exact in
    int8 at every threshold, and after a rectifier they are so many that they would decide alone.
    """
    magnitudes = histogram.counts[_HALF:] + histogram.counts[:_HALF][::-1]
    magnitudes[0] = magnitudes[1]
    levels = _LEVELS if histogram.lowest >= 0 or histogram.highest <= 0 else _LEVELS // 2
    used = int(np.flatnonzero(magnitudes).max(initial=levels)) + 1
    candidates = [*range(levels, used, _ENTROPY_STRIDE), used]
    best = min(candidates, key=lambda count: _divergence(magnitudes, count, levels=levels))
    threshold = histogram.limit * best / _HALF
    return -threshold, threshold


def _divergence(magnitudes: npt.NDArray[np.int64], count: int, *, levels: int) -> float:
    """Return the divergence of the first `count` bins, outliers in the last, from the same bins in `levels` levels."""
    kept = magnitudes[:count].astype(np.float64)
    clipped = kept.copy()
    clipped[-1] += magnitudes[count:].sum()
    total = clipped.sum()
    if total == 0:
        return 0.0
    step = np.arange(count) * levels // count
    filled = kept > 0
    shares = np.bincount(step[filled], minlength=levels)
    sums = np.bincount(step, weights=kept, minlength=levels)
    coarse = np.where(filled, (sums / np.maximum(shares, 1))[step], 0.0)
    coarse_total = coarse.sum() or 1.0
    present = clipped > 0
    # A bin with only outliers has an empty counterpart; a small value there keeps the logarithm finite.
    ratio = (clipped[present] / total) / np.maximum(coarse[present] / coarse_total, 1e-9)
    return float((clipped[present] / total * np.log(ratio)).sum())


def _mse(histogram: Histogram) -> Range:
    """Choose the range with the least squared error of clipping and rounding; the ends are searched in turn.

    Source: Nagel et al. 2021, "A White Paper on Neural Network Quantization", section 3.1.
    """
    used = np.flatnonzero(histogram.counts)
    width = 2 * histogram.limit / BINS
    centres: Floats = ((used + 0.5) * width - histogram.limit).astype(np.float64)
    weights = histogram.counts[used].astype(np.float64)
    low, high = min(histogram.lowest, 0.0), max(histogram.highest, 0.0)
    lows = [float(ratio) * low for ratio in _MSE_RATIOS]
    highs = [float(ratio) * high for ratio in _MSE_RATIOS]
    for _ in range(_MSE_ROUNDS):
        if high > 0:
            high = min(highs, key=lambda end: _squared_error(centres, weights, low=low, high=end))
        if low < 0:
            low = min(lows, key=lambda end: _squared_error(centres, weights, low=end, high=high))
    return low, high


def _squared_error(centres: Floats, weights: Floats, *, low: float, high: float) -> float:
    scale = (high - low) / (_LEVELS - 1)
    if scale == 0:
        return float("inf")
    zero_point = round(_LOWEST_LEVEL - low / scale)
    levels = np.clip(np.round(centres / scale) + zero_point, _LOWEST_LEVEL, _LOWEST_LEVEL + _LEVELS - 1)
    return float((weights * (centres - (levels - zero_point) * scale) ** 2).sum())


_METHODS: dict[Method, Callable[[Histogram], Range]] = {
    "minmax": _minmax,
    "entropy": _entropy,
    "percentile": _percentile,
    "mse": _mse,
}
