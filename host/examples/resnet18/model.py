"""ResNet18 (He et al., "Deep Residual Learning for Image Recognition", 2015), with the usual names for its layers."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

STAGE_WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(batch, inputs, height, width) to (batch, outputs, height / stride, width / stride)."""
        hidden = self.relu(self.bn1(self.conv1(inputs)))
        return cast("torch.Tensor", self.relu(self.bn2(self.conv2(hidden)) + self.downsample(inputs)))


class ResNet18(nn.Module):
    """A stem, four stages of two blocks, a linear classifier."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, STAGE_WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(STAGE_WIDTHS[0])
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = (STAGE_WIDTHS[0], *STAGE_WIDTHS[:-1])
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(before, width, stride=1 if stage == 0 else 2)
            for stage, (before, width) in enumerate(zip(inputs, STAGE_WIDTHS, strict=True))
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(STAGE_WIDTHS[-1], classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(batch, 3, height, width) to (batch, classes) scores."""
        hidden = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        hidden = self.layer4(self.layer3(self.layer2(self.layer1(hidden))))
        return cast("torch.Tensor", self.fc(self.avgpool(hidden).flatten(1)))


def _stage(inputs: int, outputs: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(inputs, outputs, stride=stride), BasicBlock(outputs, outputs, stride=1))
