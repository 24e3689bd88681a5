"""A small anchor-free detector: each cell of 8 x 8 pixels says how far the sides of its object are, and what it is."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

CLASSES, STRIDE, SIZE = 3, 8, 64
GRID = SIZE // STRIDE


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution with batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Detector(nn.Module):
    """(batch, 1, 64, 64) to boxes (batch, 64, 4) in pixels and the scores of the classes (batch, 64, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(block(1, 8, 2), block(8, 24, 2), block(24, 48, 2), block(48, 48))
        self.distances = nn.Sequential(block(48, 24), nn.Conv2d(24, 4, 1))
        self.classes = nn.Sequential(block(48, 24), nn.Conv2d(24, CLASSES, 1))
        rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
        centres = (torch.stack([columns, rows], dim=-1).reshape(1, -1, 2) + 0.5) * STRIDE
        self.register_buffer("centres", centres, persistent=False)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Detect."""
        distances, logits = self.raw(pictures)
        left_top, right_bottom = distances.split(2, dim=-1)
        boxes = torch.cat([self.centres - left_top, self.centres + right_bottom], dim=-1)
        return boxes, logits.sigmoid()

    def raw(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the distances in pixels and the logits of the classes, of each cell."""
        features = self.backbone(pictures)
        distances = functional.softplus(self.distances(features)) * STRIDE
        return distances.flatten(2).transpose(1, 2), self.classes(features).flatten(2).transpose(1, 2)


def build() -> nn.Module:
    """Return the network with random weights."""
    return Detector()
