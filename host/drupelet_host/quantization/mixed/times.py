"""Times each layer on this machine with ONNX Runtime's profiler."""

from __future__ import annotations

import json
import re
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import onnx
import onnxruntime as ort

from drupelet_host.data.samples import Tensors
from drupelet_host.onnx_files.graph import copy_model, first_output, read_constants
from drupelet_host.quantization.layers import Layer
from drupelet_shared.engines.onnxruntime import EXACT_INT8, UNWANTED_OPTIMIZERS, create_session

_RUNS = 30
_WARMUP_RUNS = 5
_MARK = re.compile(r"drupelet_(\d+)_")
_BLOCKED = re.compile(r"(.*)_nchwc_kernel_time$")
# Suffixes that the quantizer appends to the names of tensors.
_SUFFIX = re.compile(r"(_QuantizeLinear_(Input|Output)|_DequantizeLinear_Output|_quantized)(_\d+)?$")
_FATAL_ONLY = 4
_MICROSECONDS_PER_MS = 1000


@dataclass(frozen=True, slots=True)
class ModelTimes:
    """The time of one inference by layer.

    Attributes:
        layers_ms: The time of each layer, by name.
        total_ms: The total, including nodes that belong to no layer.
    """

    layers_ms: Mapping[str, float]
    total_ms: float


def time_layers(
    models: Mapping[str, onnx.ModelProto], layers: Sequence[Layer], *, sample: Tensors, runs: int = _RUNS
) -> dict[str, ModelTimes]:
    """Time the layers of one model in several precisions, at one thread, in turns.

    The time to quantize a tensor counts for the layer that reads it, the time to dequantize for the layer that computed
    it, and nodes that ONNX Runtime inserts (reordering, transposing) for the layer that ran before them.

    Args:
        models: The float model that the layers belong to, and the models quantized from it, by name.
        layers: From `find_layers`.
        sample: The inputs of one inference.
        runs: The number of inferences of each model; a layer's time is their median.

    Returns:
        The times of each model's layers, by the model's name.
    """
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        sessions = {
            name: _open(_mark_nodes(model, layers), Path(folder) / str(position))
            for position, (name, model) in enumerate(models.items())
        }
        for _ in range(_WARMUP_RUNS + runs):
            for session in sessions.values():
                session.run(None, dict(sample))
        events = {name: json.loads(Path(session.end_profiling()).read_text()) for name, session in sessions.items()}
    return {name: _read_times(recorded, layers) for name, recorded in events.items()}


def _open(model: onnx.ModelProto, prefix: Path) -> ort.InferenceSession:
    def make_options(exact: bool) -> ort.SessionOptions:  # noqa: FBT001 - the callable's only parameter
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = _FATAL_ONLY
        options.enable_profiling = True
        options.add_session_config_entry(EXACT_INT8, "1" if exact else "0")
        options.profile_file_prefix = str(prefix)
        return options

    return create_session(model.SerializeToString(), make_options, disabled=UNWANTED_OPTIMIZERS)


def _mark_nodes(model: onnx.ModelProto, layers: Sequence[Layer]) -> onnx.ModelProto:
    """Name each node after its layer; a node fused by ONNX Runtime keeps one of the names."""
    marked = copy_model(model)
    owners = _find_owners(marked.graph, layers)
    for position, node in enumerate(marked.graph.node):
        owner = owners.get(first_output(node))
        node.name = f"other_{position}" if owner is None else f"drupelet_{owner}_{position}"
    return marked


def _find_owners(graph: onnx.GraphProto, layers: Sequence[Layer]) -> dict[str, int]:
    """Return the layer of each node by the node's first output."""
    known = {name: position for position, layer in enumerate(layers) for name in layer.nodes}
    constants = read_constants(graph)
    readers: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, node)

    def find_reader(name: str) -> int | None:
        node = readers.get(name)
        while node is not None and node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            node = readers.get(node.output[0])
        return None if node is None else known.get(_base(first_output(node)))

    owners: dict[str, int] = {}
    for node in graph.node:
        output = first_output(node)
        reads_ahead = node.op_type == "QuantizeLinear" or (
            node.op_type == "DequantizeLinear" and node.input[0] in constants
        )
        owner = find_reader(output) if reads_ahead else None
        if owner is None:
            owner = known.get(_base(output))
        if owner is not None:
            owners[output] = owner
    return owners


def _base(tensor: str) -> str:
    """Return the name in the float model of a tensor of the quantized model."""
    return _SUFFIX.sub("", tensor)


def _read_times(events: Sequence[Mapping[str, Any]], layers: Sequence[Layer]) -> ModelTimes:
    starts = sorted(event["ts"] for event in events if event["name"] == "model_run")[_WARMUP_RUNS:]
    spent: list[dict[int | None, float]] = [{} for _ in starts]
    for owner, event in _attribute(events, layers):
        run = bisect_right(starts, event["ts"]) - 1
        if run >= 0:
            spent[run][owner] = spent[run].get(owner, 0.0) + event["dur"] / _MICROSECONDS_PER_MS
    return ModelTimes(
        {layer.name: median(run.get(index, 0.0) for run in spent) for index, layer in enumerate(layers)},
        median(sum(run.values()) for run in spent),
    )


def _attribute(
    events: Sequence[Mapping[str, Any]], layers: Sequence[Layer]
) -> Iterator[tuple[int | None, Mapping[str, Any]]]:
    """Yield each execution of a node with the layer it belongs to."""
    known = {name: position for position, layer in enumerate(layers) for name in layer.nodes}
    before: int | None = None
    kernels = (event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"))
    for event in sorted(kernels, key=lambda event: int(event["ts"])):
        mark, blocked = _MARK.search(event["name"]), _BLOCKED.match(event["name"])
        if mark is not None:
            before = int(mark.group(1))
        elif blocked is not None and blocked.group(1) in known:
            before = known[blocked.group(1)]
        yield before, event
