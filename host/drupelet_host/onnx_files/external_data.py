"""ONNX files with external data: weights stored in separate files."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx.external_data_helper import uses_external_data

from drupelet_host.errors import ModelError
from drupelet_host.onnx_files.graph import first_line


def join_external_data(source: Path, folder: Path) -> Path:
    """Return the model as one file: the source itself, or a copy in the folder that includes its external data.

    Raises:
        ModelError: The file is not an ONNX model, or external data is missing.
    """
    try:
        model = onnx.load(source, load_external_data=False)
        if not any(uses_external_data(tensor) for tensor in model.graph.initializer):
            return source
        joined = folder / source.name
        onnx.save(onnx.load(source), joined)
    except Exception as error:  # protobuf's, onnx's and the system's exceptions share no base class
        raise ModelError(f"{source.name}: not a complete ONNX model: {first_line(error)}") from error
    return joined
