"""Train the network: `python train.py` writes weights.pt."""

from __future__ import annotations

import torch
from data import train, validation
from model import build
from torch.nn import functional

torch.manual_seed(0)
model = build().train()
images, labels = (torch.from_numpy(array) for array in train())
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for _ in range(6):
    for batch in torch.randperm(len(images)).split(50):
        loss = functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
torch.save(model.state_dict(), "weights.pt")

images, labels = (torch.from_numpy(array) for array in validation())
with torch.inference_mode():
    right = (model.eval()(images).argmax(dim=1) == labels).float().mean()
print(f"top-1 on {len(labels)} held-out pictures: {right:.4f}")
