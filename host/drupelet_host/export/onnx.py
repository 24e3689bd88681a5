"""Exports PyTorch modules to ONNX and checks the result against PyTorch."""

from __future__ import annotations

import logging
import re
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
from drupelet_host.recipe.user_errors import find_user_line
from drupelet_host.torch_models.inputs import (
    Example,
    ModuleInputs,
    list_tensors,
    make_batches,
    name_inputs,
    run_module,
)
from drupelet_host.torch_models.outputs import FlatOutputs, is_nested

if TYPE_CHECKING:
    import onnx

# The sequences with which PyTorch colours its messages for a terminal.
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


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
                _flatten(model, inputs[0], output_names),
                tuple(list_tensors(inputs[0])),
                dynamo=True,
                input_names=list(name_inputs(inputs[0])),
                output_names=list(output_names),
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter's exceptions share no base class
        raise ExportError(f"{path.name}: torch.onnx cannot export the model: {describe_cause(error)}") from error
    assert program is not None, "dynamo=True always returns a program"
    proto: onnx.ModelProto = program.model_proto
    write_canonical(proto, path)
    check_against_pytorch(model, inputs, path, engine="onnxruntime", output_names=output_names, tolerance=tolerance)


def _flatten(model: nn.Module, inputs: ModuleInputs, output_names: Sequence[str]) -> nn.Module:
    """Return a module whose outputs the exporter takes; most are left as they are, and so are their weights' names."""
    with torch.inference_mode():
        returned = run_module(model, inputs)
    # The exporter cannot give an output the name of a weight; within the wrapper that has another name.
    weights = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    needs_wrapper = is_nested(returned) or not weights.isdisjoint(output_names)
    return FlatOutputs(model, output_names).eval() if needs_wrapper else model


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence the exporter's warnings about its own internals, such as deprecations and optional packages."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


_BRANCHES = "the code decides by the values of a tensor, which a graph cannot: use torch.where in place of if"


def describe_cause(error: Exception) -> str:
    """Return the first line of the message of what caused an exception, and the line of a person's code that led to it.

    Exporters wrap the cause, and append pages of advice to their messages.
    """
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line for line in _COLORS.sub("", str(cause)).splitlines() if line.strip()]
    what = (lines or [type(cause).__name__])[0].strip() + find_user_line(cause)
    return f"{what}; {_BRANCHES}" if "data-dependent" in what else what
