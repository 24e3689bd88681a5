"""An anomaly detector: an autoencoder whose error is the score."""

from __future__ import annotations

import torch
from torch import nn

SAMPLES = 256


class AnomalyDetector(nn.Module):
    """Scores windows of vibration: (batch, 1, 256) to a score (batch, 1) and the rebuilt window (batch, 256)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(1, 16, 9, stride=4, padding=4),
            nn.ReLU(),
            nn.Conv1d(16, 32, 9, stride=4, padding=4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * SAMPLES // 16, 8),
        )
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, SAMPLES))

    def forward(self, window: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the mean squared error of the reconstruction, and the reconstruction."""
        rebuilt = self.decoder(self.encoder(window))
        score = (rebuilt - window.squeeze(1)).square().mean(dim=1, keepdim=True)
        return {"score": score, "rebuilt": rebuilt}


def build() -> nn.Module:
    """Return the network with random weights."""
    return AnomalyDetector()
