"""The two networks that every runtime gets: ResNet18 and MobileNetV2 for 1,000 classes, with seeded weights.

Nothing is trained: what a dense layer's weights are does not change how long it takes. The batch normalisations see
some images first, so that the answers and the ranges of the activations are those of a network that works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.compiler.network import load_example

INPUT_SHAPE = (1, 3, 224, 224)
CLASSES = 1000
CALIBRATION_IMAGES = 16
_SEED = 0
_BATCHES, _BATCH = 4, 4
# Patches of this many pixels, enlarged: an image has fewer edges than noise.
_PATCHES = 14

Images = NDArray[np.float32]


def images(count: int, *, seed: int = _SEED) -> Images:
    """Smooth noise from -2 to 2, shape (count, 3, 224, 224); the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, _PATCHES, _PATCHES, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=INPUT_SHAPE[2:], mode="bilinear")
    return ((smooth - 0.5) * 4).numpy()


@dataclass(frozen=True, slots=True)
class Block:
    """MobileNetV2's row of Table 2: expansion, channels, repetitions, stride of the first."""

    expand: int
    channels: int
    repeat: int
    stride: int


_BLOCKS = (
    Block(1, 16, 1, 1),
    Block(6, 24, 2, 2),
    Block(6, 32, 3, 2),
    Block(6, 64, 4, 2),
    Block(6, 96, 3, 1),
    Block(6, 160, 3, 2),
    Block(6, 320, 1, 1),
)
_STEM, _HEAD = 32, 1280


class InvertedResidual(nn.Module):
    """Expand, filter depthwise, project; a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        widen = [_convolution(inputs, hidden, kernel=1)] if expand > 1 else []
        self.shortcut = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            *widen,
            _convolution(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, inputs, height, width) to (batch, outputs, height / stride, width / stride)."""
        hidden: torch.Tensor = self.body(x)
        return x + hidden if self.shortcut else hidden


class MobileNetV2(nn.Module):
    """Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, at width 1."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(3, _STEM, kernel=3, stride=2)]
        inputs = _STEM
        for block in _BLOCKS:
            for number in range(block.repeat):
                stride = block.stride if number == 0 else 1
                layers.append(InvertedResidual(inputs, block.channels, stride=stride, expand=block.expand))
                inputs = block.channels
        self.features = nn.Sequential(*layers, _convolution(inputs, _HEAD, kernel=1))
        self.classifier = nn.Linear(_HEAD, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) to (batch, classes) scores."""
        scores: torch.Tensor = self.classifier(self.features(x).mean(dim=(2, 3)))
        return scores


def _convolution(inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


def _resnet18() -> nn.Module:
    model: nn.Module = load_example().ResNet18(CLASSES)
    return model


_BUILDERS: Mapping[str, Callable[[], nn.Module]] = {"resnet18": _resnet18, "mobilenet_v2": MobileNetV2}
NETWORKS = tuple(_BUILDERS)


def build(name: str) -> nn.Module:
    """Return a network of `NETWORKS` in evaluation mode; the same numbers every time."""
    model = build_raw(name)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            # A plain average over the batches below.
            layer.momentum = None  # type: ignore[assignment]  # None is documented, its type is not
    with torch.no_grad():
        for number in range(_BATCHES):
            model(torch.from_numpy(images(_BATCH, seed=_SEED + 1 + number)))
    return model.eval()


def build_raw(name: str) -> nn.Module:
    """Return the same before it has seen any image, in training mode."""
    torch.manual_seed(_SEED)
    return _BUILDERS[name]()


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers training would learn."""
    return sum(parameter.numel() for parameter in model.parameters())
