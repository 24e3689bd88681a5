"""A network small enough to compile in seconds, with data it really learns, as objects and as a recipe's folder."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from drupelet_host.compiler.state import CompileState, Training
from drupelet_host.data.dataset import Dataset
from drupelet_host.data.samples import Samples, Tensors, split_dataset, split_rows
from drupelet_host.evaluation.metrics import TOP1
from drupelet_host.evaluation.scoring import evaluate_module
from drupelet_host.recipe.model import INPUT_NAME

INPUT_SHAPE = (1, 1, 8, 8)
CLASSES = 4

MODEL_SOURCE = """
import torch
from torch import nn


class TinyNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.conv1 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 16, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(16)
        self.classifier = nn.Linear(16, 4)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x))))))
        return self.classifier(x.mean(dim=(2, 3)))


def build():
    return TinyNet()


def not_a_model():
    return "TinyNet"
"""

DATA_SOURCE = '''
import numpy as np


def _bars(count, seed):
    """Bright bars, horizontal or vertical, in the first or the second half of a noisy image."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, count)
    inputs = random.normal(0, 0.4, (count, 1, 8, 8)).astype(np.float32)
    for image, label in zip(inputs, labels):
        bar = image[0] if label % 2 else image[0].T
        bar[2 if label < 2 else 5, :] += 1.5
        if label >= 2:
            bar[6, :] -= 1.5
    return inputs, labels.astype(np.int64)


def train():
    return _bars(384, 1)


def validation():
    return _bars(160, 2)


def test():
    return _bars(120, 3)


def wrong_shape():
    inputs, labels = train()
    return inputs[:, :, :7], labels


def wrong_labels():
    inputs, labels = train()
    return inputs, labels + 3


def no_labels():
    return validation()[0], None


def unlabelled():
    return train()[0], None
'''

RECIPE_SOURCE = """
seed = 3

[model]
name = "tiny"
version = "1.2.0"
release = 5
factory = "model.py:build"
weights = "weights.pt"
input_shape = [1, 1, 8, 8]
labels = ["left", "top", "right", "bottom"]

[data]
train = "data.py:train"
validation = "data.py:validation"

[constraints]
max_metric_drop = 0.05

[sensitivity]
ratios = [0.5]

[prune]
prune_ratio = 0.5
iterations = 2

[prune.recovery]
epochs = 2

[quantize]
samples = 32

[output]
folder = "build"
"""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network and its data; a test that changes the model uses a copy."""

    model: nn.Module
    train: Dataset
    validation: Dataset

    def evaluate(self, model: nn.Module) -> float:
        return evaluate_module(model, self.validation)


@cache
def trained() -> Trained:
    data = _execute(DATA_SOURCE, "drupelet_test_data")
    torch.manual_seed(0)
    model = _execute(MODEL_SOURCE, "drupelet_test_model")["build"]()
    train, validation = Dataset(*data["train"]()), Dataset(*data["validation"]())
    assert train.labels is not None
    inputs, labels = torch.from_numpy(train.inputs), torch.from_numpy(train.labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(12):
        for batch in torch.randperm(len(inputs)).split(32):
            loss = functional.cross_entropy(model(inputs[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return Trained(model.eval(), train, validation)


def calibration_feeds(count: int) -> list[Tensors]:
    """That many training samples, one at a time as an engine takes them."""
    return split_rows({INPUT_NAME: trained().train.inputs[:count]}, count=count)


def write_project(folder: Path) -> Path:
    """Model, data, weights and recipe in a folder; the recipe's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(MODEL_SOURCE, encoding="utf-8")
    (folder / "data.py").write_text(DATA_SOURCE, encoding="utf-8")
    torch.save(trained().model.state_dict(), folder / "weights.pt")
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE_SOURCE, encoding="utf-8")
    return recipe


def start_state(workspace: Path, model: nn.Module, *, train: Dataset, validation: Dataset) -> CompileState:
    """Return what the first pass of a compile works on."""
    training = Training(
        original=copy.deepcopy(model), model=model, train=train, validation=validation, output_names=("output",)
    )
    return CompileState(
        workspace=workspace,
        samples=split_dataset(validation),
        calibration=split_dataset(train),
        metric=TOP1,
        training=training,
    )


def validation_samples() -> Samples:
    return split_dataset(trained().validation)


def samples(count: int = 1) -> np.ndarray:
    return trained().validation.inputs[:count]


def _execute(source: str, name: str) -> dict:
    # torch.export looks the class's module up by name.
    module = type(sys)(name)
    sys.modules[name] = module
    exec(source, module.__dict__)
    return module.__dict__
