"""A small convolutional network."""

from __future__ import annotations

from torch import nn

CLASSES = 3


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Return a convolution that halves height and width."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def build() -> nn.Module:
    """Return the network with random weights; (batch, 1, 16, 16) to (batch, 3) scores."""
    return nn.Sequential(
        block(1, 32), block(32, 64), block(64, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES)
    )
