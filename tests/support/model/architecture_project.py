"""A folder to compile one of the small architectures from, trained on data that it really learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from drupelet_host.recipe.schema import Recipe, parse_recipe
from support.model.architectures import ARCHITECTURES, CLASSES

_MODEL_SOURCE = """
from support.model.architectures import ARCHITECTURES


def build():
    return ARCHITECTURES[{name!r}].build()
"""

_MOST_EPOCHS, _LEARNT = 40, 0.99


def draw_patterns(count: int, shape: tuple[int, ...], *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a pattern for each class under noise, of shape (count, *shape), and the classes."""
    patterns = np.random.default_rng(99).standard_normal((CLASSES, *shape), np.float32)
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    return patterns[labels] + random.standard_normal((count, *shape), np.float32), labels


def write_architecture(folder: Path, name: str) -> Path:
    """Model, weights after a short training, and data; a network with several outputs is left as it was drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    architecture = ARCHITECTURES[name]
    model, shape = architecture.build(), architecture.input_shape[1:]
    inputs, labels = draw_patterns(256, shape, seed=1)
    classifies = isinstance(model(torch.from_numpy(inputs[:1])), torch.Tensor)
    if classifies:
        train(model, torch.from_numpy(inputs), torch.from_numpy(labels))
    (folder / "model.py").write_text(_MODEL_SOURCE.format(name=name), encoding="utf-8")
    torch.save(model.state_dict(), folder / "weights.pt")
    held, classes = draw_patterns(96, shape, seed=2)
    given = {"labels": labels} if classifies else {}
    np.savez(folder / "train.npz", inputs=inputs, **given)
    np.savez(folder / "validation.npz", inputs=held, **({"labels": classes} if classifies else {}))
    return folder


def architecture_recipe(folder: Path, name: str, *, max_metric_drop: float, **model: Any) -> Recipe:  # noqa: ANN401 - a recipe's values
    """Half of the channels in one step, each recovery a few epochs, and every kind of variant but mixed."""
    document = {
        "model": {
            "name": name,
            "version": "1.0.0",
            "release": 1,
            "factory": "model.py:build",
            "weights": "weights.pt",
            "input_shape": list(ARCHITECTURES[name].input_shape),
            **model,
        },
        "data": {"train": "train.npz", "validation": "validation.npz"},
        "constraints": {"max_metric_drop": max_metric_drop},
        "sensitivity": {"ratios": [0.5], "samples": 48},
        "prune": {"prune_ratio": 0.5, "iterations": 1, "importance": "l2", "recovery": {"epochs": 6}},
        "quantize": {"samples": 24, "method": "minmax", "variants": ["static", "dynamic", "float16"]},
    }
    return parse_recipe(document, folder=folder)


def train(model: torch.nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> None:
    """Train until the network is right on its training data: deep and recurrent networks need more passes."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(_MOST_EPOCHS):
        model.train()
        for batch in torch.randperm(len(inputs)).split(32):
            loss = functional.cross_entropy(model(inputs[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = (model(inputs).argmax(1) == labels).float().mean()
        if right >= _LEARNT:
            return
