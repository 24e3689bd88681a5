"""The network that all rows start from: the example's ResNet18 for ten classes, and its training."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional

from benchmarks.compiler.samples import read_training
from benchmarks.compiler.setting import INPUT_SHAPE, OUTPUT_NAME, SEED, Setting
from drupelet_host.conversion.export import export_onnx

CLASSES = 10
_BATCH = 128
_LEARNING_RATE, _MOMENTUM, _WEIGHT_DECAY = 0.1, 0.9, 5e-4
_WARMUP_SHARE = 0.25
_EXAMPLE = Path(__file__).resolve().parents[3] / "host/examples/resnet18/model.py"


def build() -> nn.Module:
    """An untrained network; recipes name this function."""
    model: nn.Module = _example().ResNet18(CLASSES)
    return model


def load_original(setting: Setting) -> nn.Module:
    """The trained network."""
    model = build()
    model.load_state_dict(torch.load(setting.weights, weights_only=True))
    return model.eval()


def make_original(setting: Setting) -> None:
    """Train the network, and export it."""
    if not setting.weights.is_file():
        model = _train(setting)
        partial = setting.weights.with_suffix(".part")
        torch.save(model.state_dict(), partial)
        partial.replace(setting.weights)
    export_onnx(load_original(setting), INPUT_SHAPE, setting.original, output_names=(OUTPUT_NAME,))


def _train(setting: Setting) -> nn.Module:
    torch.manual_seed(SEED)
    training, _ = read_training(setting)
    assert training.labels is not None, "read_training gives labels"
    inputs, labels = torch.from_numpy(training.inputs), torch.from_numpy(training.labels)
    model = build()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=_LEARNING_RATE, momentum=_MOMENTUM, nesterov=True, weight_decay=_WEIGHT_DECAY
    )
    steps = setting.original_epochs * -(-len(inputs) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=_LEARNING_RATE, total_steps=steps + 1, pct_start=_WARMUP_SHARE
    )
    for epoch in range(setting.original_epochs):
        model.train()
        for batch in torch.split(torch.randperm(len(inputs)), _BATCH):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                scores = model(inputs[batch])
            loss = functional.cross_entropy(scores.float(), labels[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            schedule.step()
        print(f"original: epoch {epoch + 1} of {setting.original_epochs}", file=sys.stderr, flush=True)
    return model


def _example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("resnet18_example", _EXAMPLE)
    assert spec is not None, _EXAMPLE
    assert spec.loader is not None, _EXAMPLE
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
