"""A keyword spotter: a convolution over time, and a recurrent layer that follows the syllables."""

from __future__ import annotations

import torch
from torch import nn

BANDS, CLASSES = 32, 4


class KeywordSpotter(nn.Module):
    """Scores the words of one second of sound; (batch, 32, frames) to (batch, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.local = nn.Sequential(
            nn.Conv1d(BANDS, 48, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(48),
            nn.ReLU(),
            nn.Conv1d(48, 48, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm1d(48),
            nn.ReLU(),
        )
        self.over_time = nn.GRU(48, 64, batch_first=True)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, bands: torch.Tensor) -> torch.Tensor:
        """Return the scores."""
        states, _ = self.over_time(self.local(bands).transpose(1, 2))
        return self.head(states[:, -1])


def build() -> nn.Module:
    """Return the network with random weights."""
    return KeywordSpotter()
