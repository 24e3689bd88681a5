"""Tensors whose parts have unlike ranges: one int8 scale over boxes in pixels and scores would zero every score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
_MOST_BYTES = 2**29
_HEAD = "its channels have unlike ranges, which one int8 scale cannot hold"
_MERGE = "it merges tensors of unlike ranges, which one int8 scale cannot hold"


def find_heads(model: onnx.ModelProto, samples: Sequence[Tensors]) -> dict[str, str]:
    """Return the nodes between the last layers and the outputs that must stay in float, with the reason.

    From each output back: a node whose result has groups of channels of unlike range is one of them, and what it reads
    is looked at next, up to the first layer, which is the last that can be one. Branches with like ranges of their own
    stay int8, each with its own scale.

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
    reasons: dict[str, str] = {}
    done: set[str] = set()
    while pending:
        name = pending.pop()
        node = makers.get(name)
        if node is None or name in done or name not in seen or find_groups(seen[name]) == (WHOLE,):
            continue
        done.add(name)
        reasons[node.name] = _HEAD
        if node.op_type not in LAYER_OPS:
            pending.extend(read for read in node.input if read in seen)
    return reasons


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
        ends = [peak for name in node.input if (peak := peaks.get(name, 0.0)) > 0]
        if node.op_type != "Concat" or len(ends) <= 1 or max(ends) <= _LOST_RANGES * min(ends):
            continue
        reasons[node.name] = _MERGE
        for reader in _follow(node, readers, movable=movable):
            reasons.setdefault(reader, f"it reads {node.name}, which merges tensors of unlike ranges")
    return reasons


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
        if makers[name].op_type not in LAYER_OPS:
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
