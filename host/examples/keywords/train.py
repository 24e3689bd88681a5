"""Train the keyword spotter: `python train.py` writes weights.pt."""

from __future__ import annotations

import torch
from data import train, validation
from model import build
from torch.nn import functional

torch.manual_seed(0)
model = build().train()
bands, labels = (torch.from_numpy(array) for array in train())
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for _ in range(8):
    for batch in torch.randperm(len(bands)).split(50):
        loss = functional.cross_entropy(model(bands[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
torch.save(model.state_dict(), "weights.pt")

bands, labels = (torch.from_numpy(array) for array in validation())
with torch.inference_mode():
    right = (model.eval()(bands).argmax(dim=1) == labels).float().mean()
print(f"top-1 on {len(labels)} held-out sounds: {right:.4f}")
