"""Converts PyTorch modules to LiteRT and quantizes LiteRT files, each in a child process (decision record 9)."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from drupelet_host.data.samples import Tensors
from drupelet_host.errors import DataError, ExportError
from drupelet_host.export.agreement import EXPORT_TOLERANCE, check_against_pytorch
from drupelet_host.export.xnnpack_rewriting import rewrite_for_xnnpack
from drupelet_host.latency.modelled.pixel_groups import FLOAT_LANES
from drupelet_host.recipe.model import OUTPUT_NAME
from drupelet_host.torch_models.inputs import Example, make_batches, name_inputs
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_shared.files import write_atomically

_REQUIRED = ("ai_edge_litert", "ai_edge_quantizer", "litert_torch")
_TIMEOUT_S = 900.0


def require_litert() -> None:
    """Check that the converter and the quantizer are installed.

    Raises:
        ExportError: One of the packages is not installed.
    """
    missing = [name for name in _REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"export.engines has 'litert': {', '.join(missing)} not installed: pip install "
            "'drupelet[host,litert-convert]'"
        )


def export_litert(
    model: nn.Module,
    example: Example,
    path: Path,
    *,
    output_names: Sequence[str] = (OUTPUT_NAME,),
    tolerance: float = EXPORT_TOLERANCE,
    for_xnnpack: bool = True,
) -> None:
    """Write a module as one `.tflite` file for inputs of exactly these shapes.

    The same model gives the same bytes.

    Args:
        model: The module; it is left in evaluation mode.
        example: A few samples, batch first, or the shape of one input of floats.
        path: The file to write.
        output_names: The names of the outputs, in the module's order.
        tolerance: The largest difference from PyTorch allowed, as a fraction of the largest output.
        for_xnnpack: Whether the converter's graph is rewritten, see `rewrite_for_xnnpack`.

    Raises:
        ExportError: `torch.export` cannot trace the model, the converter fails or takes too long, or LiteRT's outputs
            differ from PyTorch's by more than the tolerance.
    """
    model.eval()
    inputs = make_batches(example)
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        program_path, raw = Path(folder) / "program.pt2", Path(folder) / "raw.tflite"
        try:
            with warnings.catch_warnings():
                # Deprecation warnings inside PyTorch do not concern the user.
                warnings.simplefilter("ignore")
                program = torch.export.export(_Named(model, output_names).eval(), (), name_inputs(inputs[0]))
                torch.export.save(program, program_path)
        except Exception as error:  # the exporter's exceptions share no base class
            raise ExportError(f"{path.name}: torch.export cannot trace the model: {_last_line(str(error))}") from error
        _run_worker("export", program_path, raw, name=path.name)
        converted = raw.read_bytes()
        write_atomically(path, rewrite_for_xnnpack(converted, lanes=FLOAT_LANES) if for_xnnpack else converted)
    check_against_pytorch(model, inputs, path, engine="litert", output_names=output_names, tolerance=tolerance)


def quantize_litert(source: Path, path: Path, *, calibration: Sequence[Tensors], for_xnnpack: bool = True) -> None:
    """Quantize a float `.tflite` file to int8 weights (a scale for each channel) and int8 activations.

    An activation's range is its minimum and maximum over the calibration samples.

    Args:
        source: The float model.
        path: The file to write; the inputs and outputs of the quantized model stay float.
        calibration: Samples from which the ranges of activations are computed.
        for_xnnpack: Whether the graph is rewritten before, see `rewrite_for_xnnpack`.

    Raises:
        DataError: The calibration data is empty.
        ExportError: The quantizer fails or takes too long.
    """
    if len(calibration) == 0:
        raise DataError("calibration has 0 samples: expected at least 1")
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        samples, raw = Path(folder) / "calibration.npz", Path(folder) / "raw.tflite"
        arrays: dict[str, Any] = {name: np.stack([feed[name] for feed in calibration]) for name in calibration[0]}
        np.savez(samples, **arrays)
        command = "quantize" if for_xnnpack else "quantize-as-is"
        _run_worker(command, source, samples, raw, name=path.name)
        write_atomically(path, raw.read_bytes())


class _Named(nn.Module):
    """Wraps a model so that its inputs and outputs have the names that every variant uses.

    The converter takes the names from the named arguments of `forward` and the keys of its result.
    """

    def __init__(self, model: nn.Module, output_names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.output_names = list(output_names)

    def forward(self, **inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run the model and return its outputs by name."""
        return name_outputs(self.model(*inputs.values()), names=self.output_names)


def _run_worker(command: str, *paths: Path, name: str) -> None:
    arguments = [sys.executable, "-m", "drupelet_host.export.litert_worker", command, *map(str, paths)]
    try:
        subprocess.run(arguments, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except subprocess.CalledProcessError as error:
        raise ExportError(
            f"{name}: LiteRT's {command} ended with status {error.returncode}: {_last_line(error.stderr)}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ExportError(f"{name}: LiteRT's {command} took more than {_TIMEOUT_S:.0f} s") from error


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
