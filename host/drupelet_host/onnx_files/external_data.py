"""ONNX files whose weights lie in other files beside them."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx.external_data_helper import uses_external_data

from drupelet_host.errors import ModelError
from drupelet_host.onnx_files.graph import first_line


def join_external_data(source: Path, folder: Path) -> Path:
    """Return the model as one file: the file itself, or for external data a copy in the folder with all of it.

    Raises:
        ModelError: It is no ONNX model, or data beside it is missing.
    """
    try:
        model = onnx.load(source, load_external_data=False)
        if not any(uses_external_data(tensor) for tensor in model.graph.initializer):
            return source
        joined = folder / source.name
        onnx.save(onnx.load(source), joined)
    except Exception as error:  # protobuf's, onnx's and the system's exceptions share no base class
        raise ModelError(f"{source.name}: not a whole ONNX model: {first_line(error)}") from error
    return joined
