"""Train the detector: `python train.py` writes weights.pt."""

from __future__ import annotations

import torch
from data import Objects, train, validation
from model import CLASSES, GRID, STRIDE, Detector
from torch.nn import functional

EPOCHS, BATCH = 12, 50


def targets(objects: Objects) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the box (n, cells, 4) and the class scores (n, cells, 3) that each cell should give.

    The cells within a stride of an object's centre stand for it; every other cell for nothing.
    """
    boxes = torch.zeros(len(objects), GRID * GRID, 4)
    scores = torch.zeros(len(objects), GRID * GRID, CLASSES)
    rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    centres = (torch.stack([columns, rows], dim=-1).reshape(-1, 2) + 0.5) * STRIDE
    for row, item in enumerate(objects):
        for box, label in zip(torch.from_numpy(item["boxes"]), item["labels"].tolist(), strict=True):
            near = ((centres - (box[:2] + box[2:]) / 2).abs() < 0.75 * STRIDE).all(dim=1)
            boxes[row, near] = box
            scores[row, near, label] = 1
    return boxes, scores


def loss_of(model: Detector, pictures: torch.Tensor, boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the classes, and the overlap of the boxes where there is an object."""
    distances, logits = model.raw(pictures)
    holds = scores.amax(dim=2) > 0
    left_top, right_bottom = distances.split(2, dim=-1)
    found = torch.cat([model.centres - left_top, model.centres + right_bottom], dim=-1)[holds]
    wanted = boxes[holds]
    inner = (torch.minimum(found[:, 2:], wanted[:, 2:]) - torch.maximum(found[:, :2], wanted[:, :2])).clamp(min=0)
    intersection = inner.prod(dim=1)
    union = sum((each[:, 2:] - each[:, :2]).prod(dim=1) for each in (found, wanted)) - intersection
    classes = functional.binary_cross_entropy_with_logits(logits, scores, reduction="sum") / holds.sum()
    return classes + 2 * (1 - intersection / union).mean()


torch.manual_seed(0)
model = Detector().train()
images, objects = train()
pictures, (boxes, scores) = torch.from_numpy(images), targets(objects)
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
steps = EPOCHS * len(pictures) // BATCH
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
for _ in range(EPOCHS):
    for batch in torch.randperm(len(pictures)).split(BATCH):
        loss = loss_of(model, pictures[batch], boxes[batch], scores[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
torch.save(model.state_dict(), "weights.pt")

images, objects = validation()
boxes, scores = targets(objects)
with torch.inference_mode():
    loss = loss_of(model.eval(), torch.from_numpy(images), boxes, scores)
print(f"loss on {len(images)} held-out pictures: {loss:.3f}")
