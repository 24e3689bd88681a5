"""Writes a pair of ncnn files with a signature that covers the weights."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from drupelet_host.ncnn_files.graph import NcnnGraph
from drupelet_shared.engines.files import WEIGHTS_SUFFIX
from drupelet_shared.engines.ncnn_signature import NcnnSignature
from drupelet_shared.files import write_atomically


def write_pair(path: Path, graph: NcnnGraph, weights: bytes, *, signature: NcnnSignature) -> None:
    """Write the graph file and the weights beside it.

    Args:
        path: The graph file.
        graph: The layers.
        weights: The content of the weights file.
        signature: The tensors of the model; the digest in it is replaced by that of the weights.
    """
    covering = replace(signature, weights_sha256=hashlib.sha256(weights).hexdigest())
    write_atomically(path.with_suffix(WEIGHTS_SUFFIX), weights)
    write_atomically(path, (graph.to_text() + covering.to_line()).encode())
