"""PyTorch to LiteRT, and LiteRT to static int8; the work is done in a process of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from drupelet_host.data.dataset import Inputs
from drupelet_host.errors import DataError, ExportError
from drupelet_host.export.agreement import EXPORT_TOLERANCE, check_against_pytorch
from drupelet_host.recipe.schema import INPUT_NAME, OUTPUT_NAME
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_shared.files import write_atomically

_NEEDED = ("ai_edge_litert", "ai_edge_quantizer", "litert_torch")
_TIMEOUT_S = 900.0


def require_litert() -> None:
    """Check that the converter and the quantizer are installed.

    Raises:
        ExportError: They are not.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"export.engines has 'litert': {', '.join(missing)} not installed: pip install "
            "'drupelet[host,litert-convert]'"
        )


def export_litert(
    model: nn.Module,
    input_shape: tuple[int, ...],
    path: Path,
    *,
    output_names: Sequence[str] = (OUTPUT_NAME,),
    tolerance: float = EXPORT_TOLERANCE,
) -> None:
    """Write the model as one `.tflite` file; all that `export_onnx` says of arguments, bytes and errors holds here."""
    model.eval()
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        program_path, raw = Path(folder) / "program.pt2", Path(folder) / "raw.tflite"
        try:
            with warnings.catch_warnings():
                # Deprecations inside PyTorch are not the business of whoever compiles.
                warnings.simplefilter("ignore")
                program = torch.export.export(
                    _Named(model, output_names).eval(), (), {INPUT_NAME: torch.zeros(input_shape)}
                )
                torch.export.save(program, program_path)
        except Exception as error:  # the exporter's exceptions share no base class
            raise ExportError(f"{path.name}: torch.export cannot trace the model: {_last_line(str(error))}") from error
        _run_worker("export", program_path, raw, what=path.name)
        write_atomically(path, raw.read_bytes())
    check_against_pytorch(model, input_shape, path, engine="litert", output_names=output_names, tolerance=tolerance)


def quantize_litert(source: Path, path: Path, *, calibration: Inputs) -> None:
    """Write a float `.tflite` file with int8 weights (a scale for each channel) and int8 activations.

    Ranges are the smallest and largest values that were seen.

    Args:
        source: The float model.
        path: The quantized model; its inputs and outputs stay float.
        calibration: Inputs of shape (samples, ...) that show the activations' ranges.

    Raises:
        DataError: There is no calibration sample.
        ExportError: The model cannot be quantized.
    """
    if len(calibration) == 0:
        raise DataError("calibration has 0 samples: expected at least 1")
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        samples, raw = Path(folder) / "calibration.npy", Path(folder) / "raw.tflite"
        np.save(samples, calibration)
        _run_worker("quantize", source, samples, raw, what=path.name)
        write_atomically(path, raw.read_bytes())


class _Named(nn.Module):
    """The model with the names that every variant's input and outputs have; the converter takes them from here."""

    def __init__(self, model: nn.Module, output_names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.output_names = list(output_names)

    def forward(self, input: torch.Tensor) -> dict[str, torch.Tensor]:  # noqa: A002 - the tensor's name, INPUT_NAME
        """The model's outputs by name."""
        return name_outputs(self.model(input), names=self.output_names)


def _run_worker(command: str, *paths: Path, what: str) -> None:
    words = [sys.executable, "-m", "drupelet_host.export.litert_worker", command, *map(str, paths)]
    try:
        subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except subprocess.CalledProcessError as error:
        raise ExportError(
            f"{what}: LiteRT's {command} ended with status {error.returncode}: {_last_line(error.stderr)}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ExportError(f"{what}: LiteRT's {command} took more than {_TIMEOUT_S:.0f} s") from error


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
