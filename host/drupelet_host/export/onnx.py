"""Exports PyTorch modules to ONNX and checks the result against PyTorch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from drupelet_host.errors import ExportError
from drupelet_host.export.agreement import EXPORT_TOLERANCE, check_against_pytorch
from drupelet_host.onnx_files.canonical import write_canonical
from drupelet_host.recipe.model import OUTPUT_NAME
from drupelet_host.torch_models.inputs import Example, list_tensors, make_batches, name_inputs

if TYPE_CHECKING:
    import onnx


def export_onnx(
    model: nn.Module,
    example: Example,
    path: Path,
    *,
    output_names: Sequence[str] = (OUTPUT_NAME,),
    tolerance: float = EXPORT_TOLERANCE,
) -> None:
    """Write a module as one ONNX file for inputs of exactly these shapes.

    The same model gives the same bytes.

    Args:
        model: The module; it is left in evaluation mode.
        example: A few samples, batch first, or the shape of one input of floats; the device runs one at a time.
        path: The file to write.
        output_names: The names of the outputs, in the module's order.
        tolerance: The largest difference from PyTorch allowed, as a fraction of the largest output.

    Raises:
        ExportError: The exporter fails, or ONNX Runtime's outputs differ from PyTorch's by more than the tolerance.
    """
    model.eval()
    inputs = make_batches(example)
    try:
        with quiet_exporter():
            program = torch.onnx.export(
                model,
                tuple(list_tensors(inputs[0])),
                dynamo=True,
                input_names=list(name_inputs(inputs[0])),
                output_names=list(output_names),
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter's exceptions share no base class
        raise ExportError(f"{path.name}: torch.onnx cannot export the model: {first_line(error)}") from error
    assert program is not None, "dynamo=True always returns a program"
    proto: onnx.ModelProto = program.model_proto
    write_canonical(proto, path)
    check_against_pytorch(model, inputs, path, engine="onnxruntime", output_names=output_names, tolerance=tolerance)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence the exporter's warnings about its own internals, such as deprecations and optional packages."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message; exporters append pages of advice to theirs."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
