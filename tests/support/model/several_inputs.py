"""Networks that take several inputs or integers, with data that they really learn, and their recipes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from drupelet_host.recipe.schema import Recipe, parse_recipe

CLASSES, TOKENS, LENGTH = 4, 60, 12
Arrays = dict[str, npt.NDArray[Any]]


class ImageAndMetadata(nn.Module):
    """Looks at a picture, and at numbers and a code about it."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.numbers = nn.Linear(5, 16)
        self.place = nn.Embedding(6, 8)
        self.hidden = nn.Linear(56, 32)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, picture: torch.Tensor, numbers: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """Return the scores."""
        about = [self.picture(picture), self.numbers(numbers).relu(), self.place(place).flatten(1)]
        return self.head(self.hidden(torch.cat(about, 1)).relu())


class TokenTransformer(nn.Module):
    """Classifies a sequence of token indices, of which a mask says which count."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 32)
        self.position = nn.Parameter(torch.randn(1, LENGTH, 32) * 0.1)
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the scores."""
        features = self.encoder(self.embedding(tokens) + self.position)
        kept = mask.unsqueeze(-1).to(features.dtype)
        return self.head((features * kept).sum(1) / kept.sum(1))


class Siamese(nn.Module):
    """Tells how alike two pictures are, with the same branch for both."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 24),
        )

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return both embeddings and their distance."""
        one, other = self.branch(first), self.branch(second)
        return {"distance": (one - other).square().sum(1, keepdim=True), "embedding": one}


def _draw_about(count: int, random: np.random.Generator) -> tuple[Arrays, npt.NDArray[Any]]:
    labels = random.integers(0, CLASSES, count)
    bright, high = labels % 2, labels // 2
    pictures = random.normal(0, 0.3, (count, 1, 8, 8)) + bright[:, None, None, None]
    numbers = random.normal(0, 0.3, (count, 5)) + high[:, None]
    place = random.integers(0, 3, (count, 1)) + 3 * high[:, None]
    return {"picture": pictures, "numbers": numbers, "place": place}, labels


def _draw_tokens(count: int, random: np.random.Generator) -> tuple[Arrays, npt.NDArray[Any]]:
    labels = random.integers(0, CLASSES, count)
    share = TOKENS // CLASSES
    own = random.integers(0, share, (count, LENGTH)) + share * labels[:, None]
    tokens = np.where(random.random((count, LENGTH)) < 0.6, own, random.integers(0, TOKENS, (count, LENGTH)))
    mask = np.arange(LENGTH) < random.integers(LENGTH // 2, LENGTH + 1, (count, 1))
    return {"tokens": tokens, "mask": mask}, labels


def _draw_pairs(count: int, random: np.random.Generator) -> tuple[Arrays, None]:
    first = random.random((count, 1, 8, 8))
    second = np.where(random.random((count, 1, 1, 1)) < 0.5, first, random.random((count, 1, 8, 8)))
    return {"first": first, "second": second}, None


@dataclass(frozen=True, slots=True)
class Network:
    """A network, its inputs as a recipe states them, and its samples.

    Attributes:
        build: Makes the network.
        inputs: The recipe's `[[model.inputs]]`.
        draw: Draws samples.
        form: How its data file gives the samples.
        task: The recipe's task.
    """

    build: Callable[[], nn.Module]
    inputs: tuple[dict[str, Any], ...]
    draw: Callable[[int, np.random.Generator], tuple[Arrays, npt.NDArray[Any] | None]]
    form: str
    task: str = "classification"


NETWORKS = {
    "image-and-metadata": Network(
        ImageAndMetadata,
        (
            {"name": "picture", "shape": [1, 1, 8, 8]},
            {"name": "numbers", "shape": [1, 5]},
            {"name": "place", "shape": [1, 1], "datatype": "INT64"},
        ),
        _draw_about,
        form="dictionary of arrays",
    ),
    "tokens": Network(
        TokenTransformer,
        (
            {"name": "tokens", "shape": [1, LENGTH], "datatype": "INT64"},
            {"name": "mask", "shape": [1, LENGTH], "datatype": "BOOL"},
        ),
        _draw_tokens,
        form="dictionary for each sample",
    ),
    "siamese": Network(
        Siamese,
        ({"name": "first", "shape": [1, 1, 8, 8]}, {"name": "second", "shape": [1, 1, 8, 8]}),
        _draw_pairs,
        form="tuple of arrays",
        task="likeness",
    ),
}


def draw(name: str, count: int, *, seed: int) -> tuple[Any, npt.NDArray[Any] | None]:
    """Return samples in the form that the network's data file has."""
    network = NETWORKS[name]
    arrays, labels = network.draw(count, np.random.default_rng(seed))
    if network.form == "dictionary for each sample":
        return [{key: values[row : row + 1] for key, values in arrays.items()} for row in range(count)], labels
    return (tuple(arrays.values()) if network.form == "tuple of arrays" else arrays), labels


def draw_feeds(name: str, count: int, *, seed: int) -> list[Arrays]:
    """Return the inputs of single inferences, as a client sends them."""
    arrays, _ = NETWORKS[name].draw(count, np.random.default_rng(seed))
    kinds = {"b": np.bool_, "i": np.int64, "f": np.float32}
    return [
        {key: values[row : row + 1].astype(kinds[values.dtype.kind]) for key, values in arrays.items()}
        for row in range(count)
    ]


def write_network(folder: Path, name: str) -> Path:
    """Write model, weights after a short training, and data."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = NETWORKS[name].build()
    arrays, labels = NETWORKS[name].draw(256, np.random.default_rng(1))
    if labels is not None:
        tensors = [torch.from_numpy(values) for values in arrays.values()]
        _train(model, [tensor.float() if tensor.is_floating_point() else tensor for tensor in tensors], labels)
    torch.save(model.state_dict(), folder / "weights.pt")
    (folder / "project.py").write_text(
        "from support.model.several_inputs import NETWORKS, draw\n\n\n"
        f"def build():\n    return NETWORKS[{name!r}].build()\n\n\n"
        f"def train():\n    return draw({name!r}, 256, seed=1)\n\n\n"
        f"def validation():\n    return draw({name!r}, 96, seed=2)\n",
        encoding="utf-8",
    )
    return folder


def several_inputs_recipe(folder: Path, name: str, **sections: Any) -> Recipe:  # noqa: ANN401 - a recipe's values
    """Return a recipe that halves the network in one step and makes every kind of variant but mixed."""
    network = NETWORKS[name]
    document = {
        "model": {
            "name": name,
            "version": "1",
            "release": 1,
            "factory": "project.py:build",
            "weights": "weights.pt",
            "inputs": list(network.inputs),
            "task": network.task,
        },
        "data": {"train": "project.py:train", "validation": "project.py:validation"},
        "sensitivity": {"ratios": [0.5], "samples": 48},
        "prune": {"prune_ratio": 0.5, "iterations": 1, "recovery": {"epochs": 6}},
        "constraints": {"metric_floor": 0.8},
        "quantize": {"samples": 32, "method": "minmax", "variants": ["static", "dynamic", "float16"]},
        **sections,
    }
    return parse_recipe(document, folder=folder)


def _train(model: nn.Module, inputs: list[torch.Tensor], labels: npt.NDArray[Any]) -> None:
    classes = torch.from_numpy(labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(20):
        for batch in torch.randperm(len(classes)).split(32):
            optimizer.zero_grad()
            functional.cross_entropy(model(*(tensor[batch] for tensor in inputs)), classes[batch]).backward()
            optimizer.step()
    model.eval()
