"""Compares the outputs of an exported model with PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from drupelet_host.errors import ExportError
from drupelet_host.torch_models.inputs import ModuleInputs, name_inputs, run_module
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.errors import EngineError, RequestError

# Fused and reordered float32 arithmetic differs by a few ulps a layer; a wrong graph differs by far more.
EXPORT_TOLERANCE = 1e-3
_CHECK_SAMPLES = 3


def check_against_pytorch(
    model: nn.Module,
    inputs: Sequence[ModuleInputs],
    path: Path,
    *,
    engine: str,
    output_names: Sequence[str],
    tolerance: float,
) -> None:
    """Run the module and the exported file on the same inputs and compare every output.

    Args:
        model: The module, in evaluation mode.
        inputs: The inputs of each run; at most three are compared.
        path: The exported file.
        engine: The engine that loads the file.
        output_names: The names of the outputs, in the module's order.
        tolerance: The largest difference allowed, as a fraction of an output's largest value.

    Raises:
        ExportError: The file does not load or run, or its outputs differ by more than the tolerance.
    """
    try:
        session = load_engine(engine).load(path, threads=1)
        for sample in inputs[:_CHECK_SAMPLES]:
            actual = session.run({name: values.numpy() for name, values in name_inputs(sample).items()}, output_names)
            with torch.inference_mode():
                expected = name_outputs(run_module(model, sample), names=output_names)
            for name, tensor in expected.items():
                compare_outputs(actual[name], tensor.numpy(), path=path, tolerance=tolerance)
    except (EngineError, RequestError) as error:
        raise ExportError(f"{path.name}: the exported model does not run: {error}") from error


def compare_outputs(
    actual: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    expected: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    *,
    path: Path,
    tolerance: float,
) -> None:
    """Compare one output of two engines.

    Args:
        actual: The output of the exported model.
        expected: The output of the original model.
        path: The exported file, for messages.
        tolerance: The largest difference allowed, as a fraction of the largest expected value.

    Raises:
        ExportError: The shapes differ, or a value differs by more than the tolerance.
    """
    if actual.shape != expected.shape:
        raise ExportError(f"{path.name}: the output has shape {actual.shape}: the original gives {expected.shape}")
    # Verdicts and indices are compared as numbers.
    given, wanted = actual.astype(np.float64), expected.astype(np.float64)
    scale = float(np.abs(wanted).max()) or 1.0
    difference = float(np.nan_to_num(np.abs(given - wanted).max(), nan=np.inf)) / scale
    if difference > tolerance:
        raise ExportError(
            f"{path.name}: outputs differ from the original's by {difference:.3g} of the largest value: "
            f"the tolerance is {tolerance:.3g}"
        )
