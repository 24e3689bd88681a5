"""Train the autoencoder on healthy vibrations and choose the threshold: writes weights.pt and threshold.txt."""

from __future__ import annotations

from pathlib import Path

import torch
from data import train, validation
from model import build

# This share of the healthy windows may raise an alarm.
FALSE_ALARMS = 0.01

torch.manual_seed(0)
model = build().train()
windows = torch.from_numpy(train())
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
for _ in range(40):
    for batch in torch.randperm(len(windows)).split(50):
        loss = model(windows[batch])["score"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
with torch.inference_mode():
    scores = model.eval()(windows)["score"]
    threshold = 1.5 * float(torch.quantile(scores, 1 - FALSE_ALARMS))
Path("threshold.txt").write_text(f"{threshold}\n", encoding="utf-8")
torch.save(model.state_dict(), "weights.pt")

windows, labels = (torch.from_numpy(array) for array in validation())
with torch.inference_mode():
    found = model(windows)["score"].flatten() > threshold
print(f"of {len(labels)} held-out windows: {found[labels == 1].float().mean():.0%} of the faults found, ", end="")
print(f"{found[labels == 0].float().mean():.0%} false alarms")
