"""Train the digits network: `python train.py [FILE]` writes its state_dict."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from data import train as training_data
from data import validation
from model import build
from rich.progress import track
from torch.nn import functional

EPOCHS = 15
BATCH_SIZE = 64
LEARNING_RATE = 2e-3


def train(path: Path, *, seed: int = 0) -> float:
    """Train with `seed`, write the weights to `path`, and return the accuracy on the held-out images."""
    torch.manual_seed(seed)
    model = build().train()
    images, labels = (torch.from_numpy(array) for array in training_data())
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    batches = -(-len(images) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=EPOCHS * batches)
    for _ in track(range(EPOCHS), description="training the digits network"):
        for batch in torch.randperm(len(images)).split(BATCH_SIZE):
            loss = functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    torch.save(model.state_dict(), path)
    return accuracy(model)


def accuracy(model: torch.nn.Module) -> float:
    """Top-1 on the held-out images."""
    images, labels = (torch.from_numpy(array) for array in validation())
    with torch.inference_mode():
        return float((model.eval()(images).argmax(dim=1) == labels).float().mean())


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("weights.pt")
    print(f"top-1 on {len(validation()[1])} held-out images: {train(target):.4f}; weights in {target}")
