"""Writes ONNX files in canonical form: without paths and stack traces, the same bytes for the same model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from drupelet_shared.files import write_atomically

PRODUCER = "drupelet"
# The newest that ONNX Runtime 1.20 loads; see `engine_versions`.
MAX_IR_VERSION = 10


def write_canonical(model: onnx.ModelProto, path: Path) -> None:
    """Remove metadata that tools add, in place, and write the model."""
    model.producer_name, model.producer_version, model.doc_string = PRODUCER, "", ""
    model.graph.name = "main"
    # What newer ones add (devices, types of 2 and 4 bits), no engine of a device needs; older engines refuse them.
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    for holder in _documented(model):
        holder.doc_string = ""
        # The exporter stores the source file and line of every node here.
        del holder.metadata_props[:]
    for position, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{position}"
    write_atomically(path, model.SerializeToString(deterministic=True))


def _documented(model: onnx.ModelProto) -> list[Any]:
    graph = model.graph
    return [graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info]
