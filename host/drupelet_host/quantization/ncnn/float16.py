"""Stores the weights of an ncnn model as float16; ncnn converts them on loading and computes in float32."""

from __future__ import annotations

from pathlib import Path

from drupelet_host.errors import ExportError
from drupelet_host.ncnn_files.graph import parse_graph
from drupelet_host.ncnn_files.weights import read_weights, write_weights
from drupelet_host.ncnn_files.writing import write_pair
from drupelet_shared.engines.files import WEIGHTS_SUFFIX
from drupelet_shared.engines.ncnn_signature import NcnnSignature


def store_ncnn_float16(source: Path, path: Path) -> None:
    """Write an ncnn model with float16 weights.

    Args:
        source: The graph file of a float32 model, its weights beside it.
        path: The graph file to write; the weights go beside it.

    Raises:
        ExportError: The model has no weights that float16 makes smaller, or weights of an unknown kind of layer.
    """
    text = source.read_text(encoding="utf-8")
    graph = parse_graph(text)
    content = source.with_suffix(WEIGHTS_SUFFIX).read_bytes()
    weights = write_weights(graph, read_weights(graph, content, name=source.name), float16=True)
    if len(weights) >= len(content):
        raise ExportError(
            f"{source.name}: float16 does not make its {len(content)} bytes of weights smaller: {len(weights)} bytes"
        )
    write_pair(path, graph, weights, signature=NcnnSignature.parse(text))
