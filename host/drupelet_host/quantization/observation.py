"""Calibration: collects a histogram of each tensor's values, for any number and shapes of samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from drupelet_host.data.samples import Tensors
from drupelet_host.errors import DataError
from drupelet_host.onnx_files.graph import Array, copy_model
from drupelet_host.onnx_files.running import run_samples

BINS = 4096
# The maximum number of values held at a time, over all tensors observed in one inference: 128 MiB.
_MAX_HELD = 2**25
# Masks contain infinity or the lowest float; a range that includes them would leave no resolution for the rest.
_MAX_MAGNITUDE = 1e9
# Smaller values count as zero: the bins of such a histogram, and int8 scales, have no float32 number.
_SMALLEST_MAGNITUDE = 1e-30


@dataclass(slots=True)
class Histogram:
    """Counts a tensor's values in equal bins over [-limit, limit].

    The limit is a power of two and doubles when larger values arrive, so that bins merge in pairs exactly.

    Attributes:
        counts: The number of values in each bin.
        limit: The end of the last bin; 0 until a value other than 0 was counted.
        lowest: The smallest value.
        highest: The largest value.
        bounded: Whether all values were finite and not as large as those of masks.
    """

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    limit: float = 0.0
    lowest: float = math.inf
    highest: float = -math.inf
    bounded: bool = True

    def add(self, values: Array) -> None:
        """Count the values of a float32 tensor of any shape."""
        flat = values.ravel()
        if flat.size == 0:
            return
        low, high = float(flat.min()), float(flat.max())
        if max(abs(low), abs(high)) < _SMALLEST_MAGNITUDE:
            flat, low, high = np.zeros_like(flat), 0.0, 0.0
        if not max(abs(low), abs(high)) <= _MAX_MAGNITUDE:  # NaN too
            self.bounded = False
            return
        self.lowest, self.highest = min(self.lowest, low), max(self.highest, high)
        self._grow(max(abs(low), abs(high)))
        scale = BINS / 2 / self.limit if self.limit else 0.0
        bins = (flat * np.float32(scale) + np.float32(BINS / 2)).astype(np.int32)
        self.counts += np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)

    def _grow(self, magnitude: float) -> None:
        if magnitude <= self.limit:
            return
        needed = 2.0 ** math.ceil(math.log2(magnitude))
        quarter = BINS // 4
        doublings = round(math.log2(needed / self.limit)) if self.limit else 0
        for _ in range(min(doublings, BINS.bit_length())):
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.pad(merged, quarter)
        self.limit = needed


def observe(model: onnx.ModelProto, tensors: Sequence[str], *, samples: Sequence[Tensors]) -> dict[str, Histogram]:
    """Run samples through a float model and collect histograms of some of its float32 tensors.

    Args:
        model: The model.
        tensors: The names of the tensors: inputs and nodes' outputs.
        samples: The inputs of one inference each; shapes may differ.

    Returns:
        A histogram for each tensor, by name.

    Raises:
        DataError: There is no sample, or the model fails on one.
        ExportError: ONNX Runtime cannot load the model.
    """
    if len(samples) == 0:
        raise DataError("calibration has 0 samples: expected at least 1")
    histograms = {name: Histogram() for name in tensors}
    inputs = {info.name for info in model.graph.input}
    for position, sample in enumerate(samples):
        if missing := sorted(inputs - sample.keys()):
            raise DataError(f"calibration sample {position} lacks {', '.join(missing)}: it has {', '.join(sample)}")
    for name in [name for name in tensors if name in inputs]:
        for sample in samples:
            histograms[name].add(sample[name])
    for chunk in _chunks(model, [name for name in tensors if name not in inputs], samples=samples):
        for outputs in run_samples(_with_outputs(model, chunk), samples):
            for name in chunk:
                histograms[name].add(outputs[name])
    return histograms


def _chunks(model: onnx.ModelProto, tensors: Sequence[str], *, samples: Sequence[Tensors]) -> Iterator[list[str]]:
    """Yield groups of tensors whose values fit in memory together."""
    sizes = _measure_sizes(model, tensors, samples=samples)
    chunk: list[str] = []
    held = 0
    for name in tensors:
        if chunk and held + sizes[name] > _MAX_HELD:
            yield chunk
            chunk, held = [], 0
        chunk.append(name)
        held += sizes[name]
    if chunk:
        yield chunk


def _measure_sizes(model: onnx.ModelProto, tensors: Sequence[str], *, samples: Sequence[Tensors]) -> Mapping[str, int]:
    """Return the largest number of values of each tensor; the model computes it, so that no values are held."""
    if not tensors:
        return {}
    sized = copy_model(model)
    del sized.graph.output[:]
    for position, name in enumerate(tensors):
        size = f"drupelet_size_{position}"
        sized.graph.node.append(helper.make_node("Size", [name], [size]))
        sized.graph.output.append(helper.make_tensor_value_info(size, onnx.TensorProto.INT64, ()))
    sizes = dict.fromkeys(tensors, 0)
    for answers in run_samples(sized, samples):
        for position, name in enumerate(tensors):
            sizes[name] = max(sizes[name], int(answers[f"drupelet_size_{position}"]))
    return sizes


def _with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    changed = copy_model(model)
    del changed.graph.output[:]
    changed.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tensors)
    return changed
