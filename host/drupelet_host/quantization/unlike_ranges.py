"""Tensors whose parts have unlike ranges: one int8 scale over boxes in pixels and scores would zero every score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from drupelet_host.data.samples import Tensors
from drupelet_host.evaluation.channel_groups import WHOLE, find_groups
from drupelet_host.onnx_files.graph import Array, copy_model, find_float_tensors, read_constants
from drupelet_host.onnx_files.running import run_samples
from drupelet_host.quantization.layers import LAYER_OPS
from drupelet_host.quantization.observation import Histogram

# With four of 256 steps for the smaller part, a layer behind the merge no longer tells its values apart.
_LOST_RANGES = 64.0
_SAMPLES = 8
_RECURRENT = frozenset({"GRU", "LSTM", "RNN"})
_MOST_BYTES = 2**29
_HEAD = "its channels have unlike ranges, which one int8 scale cannot hold"
_READS = "it reads channels of unlike ranges, which one int8 scale cannot hold"
_SPLIT = "it splits channels of unlike ranges, which one int8 scale cannot hold"
_MERGE = "it merges tensors of unlike ranges, which one int8 scale cannot hold"


def find_heads(model: onnx.ModelProto, samples: Sequence[Tensors]) -> dict[str, str]:
    """Return the nodes between the last layers and the outputs that must stay in float, with the reason.

    From each output back to the first layers: a node whose result has groups of channels of unlike range is one of
    them, and so is what reads that result. Branches with like ranges of their own stay int8, each with its own scale,
    before a merge as after a split.

    Args:
        model: The prepared graph.
        samples: Calibration samples.

    Raises:
        DataError: A sample does not run.
    """
    makers = {name: node for node in model.graph.node for name in node.output if name}
    floats = find_float_tensors(model.graph)
    pending = [info.name for info in model.graph.output if info.name in floats]
    seen = _observe(model, _list_head_tensors(pending, makers, floats), samples)
    unlike = {name for name, values in seen.items() if find_groups(values) != (WHOLE,)}
    made = {makers[name].name: _HEAD for name in seen if name in unlike}
    # A layer has a scale of its own for what it makes; what only moves values has that of what it reads.
    read = {
        makers[name].name: _READS
        for name in seen
        if makers[name].op_type not in LAYER_OPS and unlike.intersection(makers[name].input)
    }
    return read | made


def find_merges(
    model: onnx.ModelProto, histograms: Mapping[str, Histogram], *, movable: frozenset[str]
) -> dict[str, str]:
    """Return the merges inside the network that would lose a branch in int8, and what reads them up to a layer.

    Args:
        model: The prepared graph.
        histograms: What calibration saw of the tensors.
        movable: The operators, besides layers, that a quantizer would make int8.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    peaks = _find_peaks(model, histograms)
    reasons: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type != "Concat" or not _are_unlike(peaks, node.input):
            continue
        reasons[node.name] = _MERGE
        for reader in _follow(node, readers, movable=movable):
            reasons.setdefault(reader, f"it reads {node.name}, which merges tensors of unlike ranges")
    return reasons


def find_splits(
    model: onnx.ModelProto, histograms: Mapping[str, Histogram], *, movable: frozenset[str]
) -> dict[str, str]:
    """Return the splits inside the network that would lose a part in int8, and what leads to them from a layer on.

    Args:
        model: The prepared graph.
        histograms: What calibration saw of the tensors.
        movable: The operators, besides layers, that a quantizer would make int8.
    """
    makers = {name: node for node in model.graph.node for name in node.output if name}
    peaks = _find_peaks(model, histograms)
    reasons: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type != "Split" or not _are_unlike(peaks, node.output):
            continue
        reasons[node.name] = _SPLIT
        pending = [node.input[0]]
        while pending:
            maker = makers.get(pending.pop())
            if maker is None or maker.name in reasons or maker.op_type not in movable | LAYER_OPS:
                continue
            reasons[maker.name] = f"it makes what {node.name} splits into parts of unlike ranges"
            if maker.op_type not in LAYER_OPS:
                pending.extend(maker.input)
    return reasons


def _are_unlike(peaks: Mapping[str, float], names: Iterable[str]) -> bool:
    ends = [peak for name in names if (peak := peaks.get(name, 0.0)) > 0]
    return len(ends) > 1 and max(ends) > _LOST_RANGES * min(ends)


def _find_peaks(model: onnx.ModelProto, histograms: Mapping[str, Histogram]) -> dict[str, float]:
    peaks = {name: max(abs(seen.lowest), abs(seen.highest)) for name, seen in histograms.items() if seen.limit}
    for name, tensor in read_constants(model.graph).items():
        if tensor.data_type == onnx.TensorProto.FLOAT:
            peaks[name] = float(np.abs(numpy_helper.to_array(tensor)).max(initial=0.0))
    return peaks


def _follow(
    node: onnx.NodeProto, readers: Mapping[str, Sequence[onnx.NodeProto]], *, movable: frozenset[str]
) -> list[str]:
    """Return what reads a node's output in int8, and its readers in turn, up to and with the first layers."""
    names: dict[str, None] = {}
    pending = list(node.output)
    while pending:
        for reader in readers.get(pending.pop(), ()):
            if reader.name in names or reader.op_type not in movable | LAYER_OPS:
                continue
            names[reader.name] = None
            if reader.op_type not in LAYER_OPS:
                pending.extend(reader.output)
    return list(names)


def _list_head_tensors(outputs: Sequence[str], makers: Mapping[str, onnx.NodeProto], floats: set[str]) -> list[str]:
    names: dict[str, None] = {}
    pending = list(outputs)
    while pending:
        name = pending.pop()
        if name in names or name not in makers or name not in floats:
            continue
        names[name] = None
        if makers[name].op_type not in LAYER_OPS | _RECURRENT:
            pending.extend(makers[name].input)
    return list(names)


def _observe(model: onnx.ModelProto, tensors: Sequence[str], samples: Sequence[Tensors]) -> dict[str, list[Array]]:
    """Return the values of some tensors for a few samples, fewer where they are large."""
    observed = copy_model(model)
    del observed.graph.output[:]
    observed.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tensors)
    seen: dict[str, list[Array]] = {name: [] for name in tensors}
    held = 0
    if not tensors:
        return seen
    for outputs in run_samples(observed, samples[:: max(1, len(samples) // _SAMPLES)][:_SAMPLES]):
        for name, values in outputs.items():
            seen[name].append(values)
            held += values.nbytes
        if held > _MOST_BYTES:
            break
    return seen
