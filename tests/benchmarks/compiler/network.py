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
from drupelet_host.export.onnx import export_onnx
from drupelet_host.torch_models.device import choose_device, on_device, use_bfloat16

CLASSES = 10
_BATCH = 128
_LEARNING_RATE, _MOMENTUM, _WEIGHT_DECAY = 0.1, 0.9, 5e-4
_WARMUP_SHARE = 0.25
_EXAMPLE = Path(__file__).resolve().parents[3] / "host/examples/resnet18/model.py"


def build() -> nn.Module:
    """Return an untrained network; recipes name this function."""
    model: nn.Module = load_example().ResNet18(CLASSES)
    return model


def load_original(setting: Setting) -> nn.Module:
    """Return the trained network."""
    model = build()
    # They are stored as float16, see make_original.
    model.load_state_dict(
        {name: _widen(value) for name, value in torch.load(setting.weights, weights_only=True).items()}
    )
    return model.eval()


def make_original(setting: Setting) -> None:
    """Train the network and export it, where that has not been done.

    Its weights are rounded to float16 before anybody sees them, so that they travel at half the size; from then on they
    are the original's weights, as float32, for every row.
    """
    if not setting.weights.is_file():
        model = _train(setting)
        partial = setting.weights.with_suffix(".part")
        torch.save({name: _narrow(value) for name, value in model.state_dict().items()}, partial)
        partial.replace(setting.weights)
    if not setting.original.is_file():
        export_onnx(load_original(setting), INPUT_SHAPE, setting.original, output_names=(OUTPUT_NAME,))


def keep_module(model: nn.Module, setting: Setting, *, row: str) -> None:
    """Keep a row's module as it was exported, for other formats."""
    torch.save(model, _module_path(setting, row))


def load_module(setting: Setting, *, row: str) -> nn.Module:
    """Return what `keep_module` kept; the file is of our own making, since a pickle can hold any code."""
    load_example()
    model: nn.Module = torch.load(_module_path(setting, row), weights_only=False, map_location="cpu")
    return model.eval()


def _module_path(setting: Setting, row: str) -> Path:
    return setting.work / f"{row}.module.pt"


def _narrow(value: torch.Tensor) -> torch.Tensor:
    return value.half() if value.is_floating_point() else value


def _widen(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.is_floating_point() else value


def _train(setting: Setting) -> nn.Module:
    torch.manual_seed(SEED)
    training, _ = read_training(setting)
    assert training.labels is not None, "read_training gives labels"
    device = choose_device(setting.device)
    inputs, labels = torch.from_numpy(training.inputs).to(device), torch.from_numpy(training.labels).to(device)
    model = build()
    with on_device(model, device):
        # Processors without it emulate bfloat16, many times slower than float32.
        bfloat16 = use_bfloat16(setting.precision, device)
        fit(model, inputs, labels, epochs=setting.original_epochs, bfloat16=bfloat16)
    return model


def fit(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, *, epochs: int, bfloat16: bool) -> None:
    """Train a network in place.

    Args:
        model: The network, on the device of the samples.
        inputs: All training images.
        labels: Their classes.
        epochs: How often it sees them.
        bfloat16: Whether it computes in bfloat16.
    """
    optimizer = torch.optim.SGD(
        model.parameters(), lr=_LEARNING_RATE, momentum=_MOMENTUM, nesterov=True, weight_decay=_WEIGHT_DECAY
    )
    steps = epochs * -(-len(inputs) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=_LEARNING_RATE, total_steps=steps + 1, pct_start=_WARMUP_SHARE
    )
    for epoch in range(epochs):
        model.train()
        for batch in torch.split(torch.randperm(len(inputs)).to(inputs.device), _BATCH):
            with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=bfloat16):
                scores = model(inputs[batch])
            loss = functional.cross_entropy(scores.float(), labels[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
            schedule.step()
        print(f"original: epoch {epoch + 1} of {epochs}", file=sys.stderr, flush=True)


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("resnet18_example", _EXAMPLE)
    assert spec is not None, _EXAMPLE
    assert spec.loader is not None, _EXAMPLE
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
