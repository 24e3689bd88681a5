"""Converts a PyTorch module to a float or int8 ONNX file in two calls; the Python API without a recipe."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from drupelet_host.data.dataset import check_fits, make_dataset
from drupelet_host.data.samples import split_rows
from drupelet_host.errors import ModelError
from drupelet_host.export.onnx import export_onnx
from drupelet_host.quantization.ranges import Method
from drupelet_host.quantization.static import StaticSettings, quantize_static
from drupelet_host.recipe.model import INPUT_NAME
from drupelet_shared.files import write_atomically
from drupelet_shared.tensors import Datatype, TensorSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class EdgeModel:
    """An ONNX model in memory, ready for ONNX Runtime.

    Attributes:
        content: The bytes of the ONNX file.
        precision: "fp32" or "static-wi8-ai8".
        input_shape: The input's shape, batch first.
    """

    content: bytes = field(repr=False)
    precision: str
    input_shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """The size of the ONNX file."""
        return len(self.content)

    def save(self, path: str | Path) -> Path:
        """Write the ONNX file atomically and return its path."""
        path = Path(path)
        write_atomically(path, self.content)
        return path

    def optimize_for_edge(self, calibration: object, *, method: Method = "minmax") -> EdgeModel:
        """Quantize the model to static int8: weights with a scale for each channel, and activations.

        Args:
            calibration: Inputs of shape (samples, ...), array or tensor, that are representative of the device's data.
            method: How the range of an activation is computed from the calibration samples.

        Returns:
            The quantized model; this one is unchanged.

        Raises:
            DataError: The calibration inputs do not fit the model.
            ModelError: The model is quantized already.
            ExportError: The model cannot be quantized.
        """
        if self.precision != "fp32":
            raise ModelError(f"model is {self.precision} already: expected fp32")
        dataset = make_dataset((calibration, None), source="calibration")
        spec = TensorSpec(name=INPUT_NAME, datatype=Datatype.FP32, shape=self.input_shape)
        check_fits(dataset, specs=[spec], source="calibration")
        with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
            path = Path(folder) / "int8.onnx"
            source = self.save(Path(folder) / "float.onnx")
            feeds = split_rows(dataset.named_inputs, count=len(dataset))
            quantize_static(source, path, calibration=feeds, settings=StaticSettings(method))
            return EdgeModel(path.read_bytes(), "static-wi8-ai8", self.input_shape)


class EdgeConverter:
    """Converts models of training frameworks to files that the device runs."""

    def from_pytorch(self, model: nn.Module, input_shape: tuple[int, ...]) -> EdgeModel:
        """Export a module to ONNX and check its outputs against PyTorch's.

        Args:
            model: The module; it is left in evaluation mode.
            input_shape: The input's shape, batch first, such as (1, 3, 224, 224).

        Returns:
            The float32 model.

        Raises:
            ExportError: The module cannot be exported, or the outputs of the exported model differ from PyTorch's.
        """
        with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
            path = Path(folder) / "model.onnx"
            export_onnx(model, tuple(input_shape), path)
            return EdgeModel(path.read_bytes(), "fp32", tuple(input_shape))
