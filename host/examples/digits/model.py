"""A small residual network for 8 x 8 digits, roomier than it needs to be."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional

WIDTHS = (48, 96, 192)
CLASSES = 10


class Block(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(batch, inputs, height, width) to (batch, outputs, height / stride, width / stride)."""
        hidden = functional.relu(self.norm1(self.conv1(inputs)))
        return functional.relu(self.norm2(self.conv2(hidden)) + self.shortcut(inputs))


class DigitNet(nn.Module):
    """A stem, three stages and a linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.stem = nn.Sequential(nn.Conv2d(1, first, 3, padding=1, bias=False), nn.BatchNorm2d(first), nn.ReLU())
        self.stages = nn.Sequential(
            Block(first, first, stride=1), Block(first, second, stride=2), Block(second, third, stride=2)
        )
        self.classifier = nn.Linear(third, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, 1, 8, 8) from 0 to 1, to (batch, 10) scores."""
        features = self.stages(self.stem(images))
        return cast("torch.Tensor", self.classifier(features.mean(dim=(2, 3))))


def build() -> nn.Module:
    """Return the network with random weights."""
    return DigitNet()
