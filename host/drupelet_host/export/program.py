"""Converts saved `torch.export` programs to ONNX."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch

from drupelet_host.errors import ExportError, ModelError
from drupelet_host.export.onnx import describe_cause, quiet_exporter
from drupelet_host.onnx_files.canonical import write_canonical
from drupelet_host.torch_models.outputs import name_outputs


def convert_program(source: Path, path: Path) -> Path:
    """Write a `torch.export` program as an ONNX file with the program's own dynamic dimensions.

    Args:
        source: The `.pt2` file.
        path: The ONNX file to write.

    Returns:
        The path of the ONNX file.

    Raises:
        ExportError: The file is not a `torch.export` program, or ONNX lacks one of its operators.
    """
    if not zipfile.is_zipfile(source):
        # torch.export logs a traceback of such a file.
        raise ExportError(f"{source.name}: not a program that torch.export.save has written")
    try:
        with quiet_exporter():
            loaded = torch.export.load(source)
            program = torch.onnx.export(
                loaded, dynamo=True, output_names=_find_names(loaded), external_data=False, verbose=False
            )
    except Exception as error:  # the exceptions of loading and exporting share no base class
        raise ExportError(f"{source.name}: cannot be converted to ONNX: {describe_cause(error)}") from error
    assert program is not None, "dynamo=True always returns a program"
    write_canonical(program.model_proto, path)
    return path


def _find_names(program: torch.export.ExportedProgram) -> list[str] | None:
    """Return the names of a program's outputs, or None where they are nested and the exporter must name them."""
    spec = program.call_spec.out_spec
    if spec is None:
        return None
    try:
        return list(name_outputs(spec.unflatten([torch.zeros(0)] * spec.num_leaves)))
    except ModelError:
        return None
