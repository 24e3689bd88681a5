"""Static int8 quantization of an ONNX file, from samples by name or stacked in one array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drupelet_host.data.dataset import Inputs
from drupelet_host.data.samples import Samples, Tensors
from drupelet_host.quantization.ranges import Method
from drupelet_host.quantization.static import StaticSettings, quantize_static
from drupelet_host.recipe import INPUT_NAME

__all__ = ["Method", "quantize_int8"]


def quantize_int8(source: Path, path: Path, *, calibration: Inputs | Samples, method: Method = "minmax") -> None:
    """Write the model with int8 weights (a scale for each channel) and int8 activations, as QDQ nodes.

    Args:
        source: The float model.
        path: The quantized model.
        calibration: What shows the activations' ranges: samples, or one input of shape (samples, ...).
        method: How a range comes from what was seen.

    Raises:
        DataError: There is no calibration sample.
        ExportError: The model cannot be quantized.
    """
    feeds: Sequence[Tensors]
    if isinstance(calibration, Samples):
        feeds = calibration.feeds
    else:
        feeds = [{INPUT_NAME: calibration[index : index + 1]} for index in range(len(calibration))]
    quantize_static(source, path, calibration=feeds, settings=StaticSettings(method))
