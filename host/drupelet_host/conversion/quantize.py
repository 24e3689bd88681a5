"""Static int8 quantization of an ONNX file with ONNX Runtime's tools."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from drupelet_host.conversion.canonical import write_canonical
from drupelet_host.data.dataset import Inputs
from drupelet_host.errors import DataError, ExportError
from drupelet_host.recipe import INPUT_NAME

Method = Literal["minmax", "entropy", "percentile"]
_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


def quantize_int8(source: Path, path: Path, *, calibration: Inputs, method: Method = "minmax") -> None:
    """Write the model with int8 weights (a scale for each channel) and int8 activations, as QDQ nodes.

    Signed activations and weights are what ONNX Runtime's documentation advises for ARM.

    Args:
        source: The float model.
        path: The quantized model.
        calibration: Inputs of shape (samples, ...) that show the activations' ranges.
        method: How a range comes from what was seen.

    Raises:
        DataError: There is no calibration sample.
        ExportError: The model cannot be quantized.
    """
    if len(calibration) == 0:
        raise DataError("calibration has 0 samples: expected at least 1")
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder, _quiet_quantizer():
        prepared, raw = Path(folder) / "prepared.onnx", Path(folder) / "raw.onnx"
        try:
            quant_pre_process(source, prepared)
            quantize_static(
                prepared,
                raw,
                _Samples(calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=_METHODS[method],
            )
        except Exception as error:  # the quantizer's exceptions share no base class
            raise ExportError(f"{source.name}: static int8 quantization failed: {error}") from error
        write_canonical(onnx.load(raw), path)


class _Samples(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Hands the samples over one at a time, as the model takes them."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._next = 0

    def get_next(self) -> dict[str, Any] | None:
        if self._next >= len(self._inputs):
            return None
        sample = self._inputs[self._next : self._next + 1]
        self._next += 1
        return {INPUT_NAME: sample}


@contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """The quantizer writes its advice to the root logger."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(previous)
