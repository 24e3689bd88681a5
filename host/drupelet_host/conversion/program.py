"""A `torch.export` program as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import torch

from drupelet_host.conversion.canonical import write_canonical
from drupelet_host.conversion.export import first_line, quiet_exporter
from drupelet_host.errors import ExportError


def convert_program(source: Path, path: Path) -> Path:
    """Write the program as ONNX, with its own dynamic dimensions.

    Args:
        source: The `.pt2` file.
        path: The ONNX file.

    Raises:
        ExportError: It is no such program, or has an operator that ONNX lacks.
    """
    try:
        with quiet_exporter():
            program = torch.onnx.export(torch.export.load(source), dynamo=True, external_data=False, verbose=False)
    except Exception as error:  # loading and exporting raise what they like
        raise ExportError(f"{source.name}: cannot become an ONNX file: {first_line(error)}") from error
    assert program is not None, "dynamo=True always returns a program"
    write_canonical(program.model_proto, path)
    return path
