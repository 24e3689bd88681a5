"""Small float and static int8 models, made with the compiler's own functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from drupelet_host.export.ncnn import export_ncnn
from drupelet_host.export.onnx import export_onnx
from drupelet_host.quantization.ncnn.static import NcnnInt8Settings, calibrate_ncnn, write_ncnn_int8
from drupelet_host.quantization.static import quantize_static
from drupelet_host.recipe.model import INPUT_NAME
from drupelet_shared.engines.base import Array

INPUT_SHAPE = (1, 3, 16, 16)


def write_onnx_pair(folder: Path) -> tuple[Path, Path]:
    """One convolutional network, with a depthwise layer and a shortcut, as float32 and as static int8."""
    torch.manual_seed(3)
    path, quantized = folder / "float.onnx", folder / "int8.onnx"
    export_onnx(_Network(), INPUT_SHAPE, path)
    quantize_static(path, quantized, calibration=[{INPUT_NAME: image} for image in make_images(8)])
    return path, quantized


def write_ncnn_pair(folder: Path) -> tuple[Path, Path]:
    """The same network for ncnn, as float32 and as static int8."""
    torch.manual_seed(3)
    path, quantized = folder / "float.param", folder / "int8.param"
    export_ncnn(_Network(), INPUT_SHAPE, path)
    calibrated = calibrate_ncnn(path, samples=[{INPUT_NAME: image} for image in make_images(8)])
    write_ncnn_int8(calibrated, quantized, settings=NcnnInt8Settings("minmax"))
    return path, quantized


def make_images(count: int) -> list[Array]:
    """Noise of the networks' input shape."""
    generator = np.random.default_rng(5)
    return [generator.standard_normal(INPUT_SHAPE).astype(np.float32) for _ in range(count)]


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU())
        self.pointwise = nn.Conv2d(16, 16, 1)
        self.head = nn.Linear(16, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.stem(images)
        hidden = torch.relu(self.pointwise(self.depthwise(hidden)) + hidden)
        scores: torch.Tensor = self.head(hidden.mean((2, 3)))
        return scores
