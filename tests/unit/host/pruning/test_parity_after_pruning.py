"""What a pruned network computes is what the original computes with the removed channels at zero."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.export.onnx import export_onnx
from drupelet_host.pruning.rewriting.preparation import prepare_for_pruning
from drupelet_host.pruning.structure.groups import choose_slices, find_structure, remove_channels
from drupelet_host.pruning.structure.slices import blank_slices
from drupelet_host.pruning.structure.tracing import Trace
from drupelet_host.torch_models.outputs import name_outputs
from support.model.architectures import ARCHITECTURES
from support.model.split_architectures import SPLIT_ARCHITECTURES

EVERY = {**SPLIT_ARCHITECTURES, **{name: ARCHITECTURES[name] for name in ("resnet", "vit", "gru")}}
# `make test-fast` takes one of them.
EACH = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name != "resnet" else []) for name in EVERY]
)
# A norm over the channels that are left is another function: there the trial compares without it.
NORMS_OVER_CHANNELS = {"convnext", "vit"}
# Layers that must stay: they make the outputs.
LEFT_ALONE = {
    "mobilenetv3": {"9"},
    "efficientnet": {"9"},
    "convnext": {"10"},
    "shufflenet": {"8"},
    "unet": {"out"},
    "yolov8": {"boxes.1", "scores.1", "distances"},
    "tcn": {"2"},
    "siamese": set(),
    "super-resolution": {"5"},
    "resnet": {"head.2"},
    "vit": {"head"},
    "gru": {"classifier"},
}


def answers(model: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return name_outputs(model(inputs))


@EACH
def test_the_pruned_network_computes_what_the_original_does_without_those_channels(name: str, tmp_path: Path) -> None:
    architecture = EVERY[name]
    model = architecture.build()
    inputs = torch.randn(architecture.input_shape, generator=torch.Generator().manual_seed(5))
    structure = find_structure(model, inputs)
    removals = {group.name: group.removable(group.channels // 2) for group in structure.groups}
    pruned = copy.deepcopy(model)
    remove_channels(pruned, inputs, removals, importance="l2")
    expected = answers(pruned, inputs)

    if name not in NORMS_OVER_CHANNELS:
        masked = copy.deepcopy(model)
        prepare_for_pruning(masked, inputs)
        trace = Trace(masked, inputs)
        blank_slices(
            masked, [piece for item in removals.items() for piece in choose_slices(masked, trace, *item, "l2")]
        )
        torch.testing.assert_close(expected, answers(masked, inputs), rtol=1e-3, atol=1e-5)

    assert count_parameters(pruned) < 0.45 * count_parameters(model)
    prepare_for_pruning(model, inputs)
    assert count_macs(pruned, inputs) < 0.5 * count_macs(model, inputs)

    path = tmp_path / "model.onnx"
    export_onnx(pruned, tuple(inputs.shape), path, output_names=tuple(expected))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(list(expected), {session.get_inputs()[0].name: inputs.numpy()})
    for value, wanted in zip(found, expected.values(), strict=True):
        np.testing.assert_allclose(value, wanted.numpy(), rtol=1e-3, atol=1e-4)


@EACH
def test_only_the_layers_that_make_the_outputs_are_left_alone(name: str) -> None:
    architecture = EVERY[name]
    structure = find_structure(architecture.build(), torch.randn(architecture.input_shape))
    alone = set(structure.unpruned)
    members = {member for group in structure.groups for member in group.members}
    assert alone <= LEFT_ALONE[name], structure.unpruned
    assert not alone & members
