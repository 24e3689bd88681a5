"""Whether an exported model computes what PyTorch computes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from drupelet_host.errors import ExportError
from drupelet_host.recipe.schema import INPUT_NAME
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_shared.engines.registry import load_engine
from drupelet_shared.errors import EngineError, RequestError

# Fused and reordered float32 arithmetic differs by a few ulps a layer; a wrong graph differs by far more.
EXPORT_TOLERANCE = 1e-3
_CHECK_SAMPLES = 3


def check_against_pytorch(
    model: nn.Module,
    input_shape: tuple[int, ...],
    path: Path,
    *,
    engine: str,
    output_names: Sequence[str],
    tolerance: float,
) -> None:
    """Run both on a few random inputs.

    Args:
        model: The module, in evaluation mode.
        input_shape: The input's, batch first.
        path: The exported file.
        engine: The engine that loads it.
        output_names: What its outputs are called, in the module's order.
        tolerance: The largest difference allowed, as a fraction of an output's largest value.

    Raises:
        ExportError: The file does not run, or its outputs differ by more.
    """
    random = np.random.default_rng(0)
    try:
        session = load_engine(engine).load(path, threads=1)
        for _ in range(_CHECK_SAMPLES):
            sample = random.standard_normal(input_shape, dtype=np.float32)
            found = session.run({INPUT_NAME: sample}, output_names)
            with torch.inference_mode():
                expected = name_outputs(model(torch.from_numpy(sample)), names=output_names)
            for name, tensor in expected.items():
                compare_outputs(found[name], tensor.numpy(), path=path, tolerance=tolerance)
    except (EngineError, RequestError) as error:
        raise ExportError(f"{path.name}: the exported model does not run: {error}") from error


def compare_outputs(
    found: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    expected: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    *,
    path: Path,
    tolerance: float,
) -> None:
    """Compare one output of two engines.

    Args:
        found: The values that the exported model gives.
        expected: The values that the original gives.
        path: The exported file, for messages.
        tolerance: The largest difference allowed, as a fraction of the largest expected value.

    Raises:
        ExportError: The shapes differ, or a value differs by more than the tolerance.
    """
    if found.shape != expected.shape:
        raise ExportError(f"{path.name}: the output has shape {found.shape}: PyTorch gives {expected.shape}")
    scale = float(np.abs(expected).max()) or 1.0
    difference = float(np.nan_to_num(np.abs(found - expected).max(), nan=np.inf)) / scale
    if difference > tolerance:
        raise ExportError(
            f"{path.name}: outputs differ from PyTorch's by {difference:.3g} of the largest: tolerance {tolerance:.3g}"
        )
