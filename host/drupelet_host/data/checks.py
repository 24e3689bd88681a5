"""Checks across the parts of the data: equal preparation, also to that of images, and no samples in common."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from drupelet_host.data.dataset import Dataset
from drupelet_host.data.samples import Samples, Tensors, split_dataset
from drupelet_host.errors import DataError
from drupelet_shared.package.manifest import ImagePreprocessing

# Pixels of 0 to 255 differ from those of 0 to 1 by 255, from normalised ones by about 100; a quiet recording differs
# from a loud one by less.
_UNLIKE = 50.0
_SAMPLES = 256
# Normalised pixels go clearly below zero; rounding and padding do not.
_BELOW_ZERO = -0.25

Parts = Mapping[str, Dataset | Samples]


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The values of one input over some samples.

    Attributes:
        low: The lowest, or 0 where none is below.
        high: The highest, or 0 where none is above.
        rms: The root of the mean square.
    """

    low: float
    high: float
    rms: float

    @property
    def peak(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))

    def __str__(self) -> str:
        return f"{self.low:.3g} to {self.high:.3g}"


def check_ranges(parts: Parts, *, image: ImagePreprocessing | None) -> None:
    """Check that the inputs of all parts have similar ranges, also to those that [image] gives.

    Args:
        parts: The parts of the data by name.
        image: How an image becomes an input; None where the model takes tensors alone.

    Raises:
        DataError: The values of an input differ by a factor that only different preprocessing explains.
    """
    ranges = {part: _find_ranges(_list_feeds(data)) for part, data in parts.items()}
    for (one, these), (other, those) in itertools.combinations(ranges.items(), 2):
        for name in these.keys() & those.keys():
            first, second = these[name], those[name]
            if _are_unlike(first, second):
                raise DataError(
                    f"input {name!r}: {one} data has values from {first}, {other} data from {second}: "
                    "preprocess both in the same way, for example both as pixel / 255"
                )
    if image is not None:
        _check_image(ranges, image)


def find_overlaps(parts: Parts) -> tuple[str, ...]:
    """Return a sentence for each two parts that have samples in common.

    Args:
        parts: The parts of the data by name.

    Returns:
        The sentences, with the number of samples.
    """
    digests = {part: [_digest(feed) for feed in _list_feeds(data)] for part, data in parts.items()}
    notes = []
    for (one, first), (other, second) in itertools.combinations(digests.items(), 2):
        seen = set(first)
        if shared := sum(digest in seen for digest in second):
            notes.append(
                f"{shared} of {len(second)} {other} samples are among the {one} samples: measurements on them say "
                "little about new data"
            )
    return tuple(notes)


def _list_feeds(data: Dataset | Samples) -> Sequence[Tensors]:
    if isinstance(data, Samples):
        return data.feeds
    return split_dataset(data).feeds


def _digest(feed: Tensors) -> bytes:
    digest = hashlib.sha256()
    for name, values in sorted(feed.items()):
        array = np.asarray(values)
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(repr(array.tolist()).encode() if array.dtype == object else array.tobytes())
    return digest.digest()


def _find_ranges(feeds: Sequence[Tensors]) -> dict[str, ValueRange]:
    """Return the ranges of the float inputs, over samples spread over the data."""
    chosen = feeds[:: max(1, len(feeds) // _SAMPLES)]
    names = [name for name, values in feeds[0].items() if np.asarray(values).dtype.kind == "f"]
    return {name: _find_range(np.asarray(feed[name]) for feed in chosen) for name in names}


def _find_range(tensors: Iterable[np.ndarray]) -> ValueRange:
    low, high, squares, count = 0.0, 0.0, 0.0, 0
    for values in tensors:
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            squares += float(np.square(values, dtype=np.float64).sum())
            count += values.size
    return ValueRange(low, high, float(np.sqrt(squares / max(count, 1))))


def _are_unlike(first: ValueRange, second: ValueRange) -> bool:
    small, large = sorted((first, second), key=lambda values: values.peak)
    return small.peak > 0 and large.peak > _UNLIKE * small.peak and large.rms > _UNLIKE * small.rms


def _check_image(ranges: Mapping[str, Mapping[str, ValueRange]], image: ImagePreprocessing) -> None:
    means, stds = np.broadcast_arrays(np.array(image.mean), np.array(image.std))
    given = ValueRange(float((-means / stds).min()), float(((1 - means) / stds).max()), 0.0)
    for part, by_input in ranges.items():
        values = by_input.get(image.input) or (next(iter(by_input.values())) if len(by_input) == 1 else None)
        if values is None or values.peak == 0:
            continue
        is_scaled = values.peak > _UNLIKE * given.peak or given.peak > _UNLIKE * values.peak
        is_shifted = (given.low < _BELOW_ZERO) != (values.low < _BELOW_ZERO)
        if is_scaled or is_shifted:
            raise DataError(
                f"{part} data has values from {values}: [image] gives the model {given} on the device; preprocess "
                "the data as (pixel / 255 - image.mean) / image.std, or state the mean and std of the data in [image]"
            )
