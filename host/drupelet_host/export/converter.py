"""From a PyTorch module to a model file, in two calls."""

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
from drupelet_host.recipe.schema import INPUT_NAME
from drupelet_shared.files import write_atomically

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class EdgeModel:
    """A model as ONNX Runtime loads it.

    Attributes:
        content: The ONNX file.
        precision: "fp32" or "static-wi8-ai8".
        input_shape: What it takes, batch first.
    """

    content: bytes = field(repr=False)
    precision: str
    input_shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        return len(self.content)

    def save(self, path: str | Path) -> Path:
        """Write the file, atomically."""
        path = Path(path)
        write_atomically(path, self.content)
        return path

    def optimize_for_edge(self, calibration: object, *, method: Method = "minmax") -> EdgeModel:
        """The model in static int8: weights with a scale for each channel, and activations.

        Args:
            calibration: Inputs of shape (samples, ...), array or tensor, that look like what the device will see.
            method: How a range comes from what was seen.

        Raises:
            DataError: The inputs do not fit the model.
            ModelError: The model is quantized already.
            ExportError: It cannot be quantized.
        """
        if self.precision != "fp32":
            raise ModelError(f"model is {self.precision} already: expected fp32")
        dataset = make_dataset((calibration, None), source="calibration")
        check_fits(dataset, input_shape=self.input_shape, classes=0, source="calibration")
        with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
            path = Path(folder) / "int8.onnx"
            source = self.save(Path(folder) / "float.onnx")
            feeds = split_rows({INPUT_NAME: dataset.inputs}, count=len(dataset))
            quantize_static(source, path, calibration=feeds, settings=StaticSettings(method))
            return EdgeModel(path.read_bytes(), "static-wi8-ai8", self.input_shape)


class EdgeConverter:
    """Turns models of training frameworks into what runs on the device."""

    def from_pytorch(self, model: nn.Module, input_shape: tuple[int, ...]) -> EdgeModel:
        """Export a module; its numbers are checked against PyTorch's.

        Args:
            model: The module.
            input_shape: Its input's, batch first: (1, 3, 224, 224).

        Raises:
            ExportError: It cannot be exported, or the exported model computes something else.
        """
        with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
            path = Path(folder) / "model.onnx"
            export_onnx(model, tuple(input_shape), path)
            return EdgeModel(path.read_bytes(), "fp32", tuple(input_shape))
