"""Brings the model file of a recipe into the form that an engine loads."""

from __future__ import annotations

from pathlib import Path

from drupelet_host.export.program import convert_program
from drupelet_host.onnx_files.external_data import join_external_data
from drupelet_host.recipe.model import TFLITE_SUFFIX


def make_loadable(source: Path, folder: Path) -> Path:
    """Return a model file that an engine loads: one ONNX file with its weights, or the LiteRT file unchanged.

    Args:
        source: A file with one of `MODEL_SUFFIXES`.
        folder: The folder for what must be converted.

    Raises:
        ExportError: A `torch.export` program cannot be converted.
        ModelError: The external weights of an ONNX file cannot be read.
    """
    if source.suffix == TFLITE_SUFFIX:
        return source
    if source.suffix == ".pt2":
        source = convert_program(source, folder / f"{source.stem}.onnx")
    return join_external_data(source, folder)
