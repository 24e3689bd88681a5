from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from drupelet_host.compiler.lineage import digest_module
from drupelet_host.errors import ModelError
from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.export.onnx import export_onnx
from drupelet_host.pruning.rewriting.attention_rewriting import rewrite_attention
from drupelet_host.pruning.search.savings import CostMeasure, CostWeights, measure_savings
from drupelet_host.pruning.structure.groups import PrunableGroup, find_groups, find_structure, remove_channels
from drupelet_host.torch_models.outputs import name_outputs
from support.model.architectures import ARCHITECTURES, Attention, VisionTransformer

# `make test-fast` takes one of them.
EVERY = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name != "resnet" else []) for name in ARCHITECTURES]
)

# The groups of each network: how many channels, what they must be a multiple of.
GROUPS = {
    "resnet": [(16, 1), (16, 1), (32, 1), (32, 1), (32, 1)],
    "mobilenet": [(16, 1), (24, 1), (32, 1), (32, 1), (48, 1), (48, 1)],
    "densenet": [(16, 1), (16, 1), (16, 1), (16, 1), (32, 1), (32, 1), (32, 1), (32, 1)],
    "inception": [(8, 1), (8, 1), (8, 1), (8, 1), *[(16, 1)] * 7, (24, 1), (24, 1)],
    "resnext": [(32, 1), (32, 4), (32, 4), (32, 4), (32, 4)],
    "groupnorm": [(16, 4), (32, 8)],
    "vit": [(32, 1), (32, 4), (32, 4), (64, 1), (64, 1)],
    "vit-torch": [(32, 1), (32, 4), (32, 4), (64, 1), (64, 1)],
    "lstm": [(16, 1), (16, 1), (24, 1), (32, 1)],
    "lstm-state": [(16, 1), (32, 1)],
    "lstm-deep": [(16, 1), (16, 1), (24, 1), (64, 2)],
    "gru": [(16, 1), (16, 1), (24, 1), (32, 1)],
    "signal": [(16, 1), (32, 1), (32, 1)],
    "detector": [(16, 1), (24, 1), (24, 1), (32, 1)],
    "detector-named": [(16, 1), (24, 1), (24, 1), (32, 1)],
    "squeeze-excite": [(16, 1), (24, 1)],
}


def build(name: str) -> tuple[nn.Module, torch.Tensor]:
    architecture = ARCHITECTURES[name]
    generator = torch.Generator().manual_seed(5)
    return architecture.build(), torch.randn(architecture.input_shape, generator=generator)


def half_of(groups: tuple[PrunableGroup, ...]) -> dict[str, int]:
    return {group.name: group.removable(group.channels // 2) for group in groups}


def answers(model: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return name_outputs(model(inputs))


@EVERY
def test_every_branch_block_and_head_is_a_group_of_its_own(name: str) -> None:
    model, inputs = build(name)
    structure = find_structure(model, inputs)
    assert sorted((group.channels, group.multiple) for group in structure.groups) == GROUPS[name]
    assert structure.unpruned == {}


@EVERY
def test_half_the_channels_go_and_the_answers_keep_their_names_and_shapes(name: str) -> None:
    model, inputs = build(name)
    groups = find_groups(model, inputs)
    small = copy.deepcopy(model)
    remove_channels(small, inputs, half_of(groups), importance="l2")
    before, after = answers(model, inputs), answers(small, inputs)
    assert {key: value.shape for key, value in after.items()} == {key: value.shape for key, value in before.items()}
    assert count_parameters(small) < 0.6 * count_parameters(model)
    # Counted with attention rewritten: torch's own has a fast path that the counter does not see into.
    rewrite_attention(model, inputs)
    assert count_macs(small, inputs) < 0.65 * count_macs(model, inputs)
    again = {group.name: group.channels for group in find_groups(small, inputs)}
    assert again == {group.name: group.channels - half_of(groups)[group.name] for group in groups}


@pytest.mark.slow
@EVERY
def test_the_pruned_model_gives_the_same_numbers_in_onnx_runtime(name: str, tmp_path: Path) -> None:
    model, inputs = build(name)
    remove_channels(model, inputs, half_of(find_groups(model, inputs)), importance="l1")
    expected = answers(model, inputs)
    path = tmp_path / "model.onnx"
    export_onnx(model, tuple(inputs.shape), path, output_names=tuple(expected))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(list(expected), {session.get_inputs()[0].name: inputs.numpy()})
    for value, wanted in zip(found, expected.values(), strict=True):
        np.testing.assert_allclose(value, wanted.numpy(), rtol=1e-3, atol=1e-4)


@EVERY
def test_the_same_model_gives_the_same_groups_and_the_same_channels(name: str) -> None:
    (first, inputs), (second, _) = build(name), build(name)
    groups = find_groups(first, inputs)
    assert groups == find_groups(second, inputs)
    for model in (first, second):
        remove_channels(model, inputs, half_of(groups), importance="l2")
    assert digest_module(first) == digest_module(second)


# Which layers make the channels of a group, and which channels are silenced.
SILENCED = {
    "inception": ("block1.wide.1.0", ["block1.wide.1.0", "block1.wide.1.1"], [2, 3, 11]),
    "mobilenet": ("features.2.body.1.0", ["features.2.body.0.0", "features.2.body.0.1", "features.2.body.1.1"], [0, 9]),
    "resnext": ("blocks.0.grouped.0", ["blocks.0.grouped.0", "blocks.0.grouped.1"], [1, 15, 18, 31]),
    "signal": ("body.4", ["body.4"], [5, 6]),
    "squeeze-excite": ("block.reduce", ["block.reduce"], [3]),
    "lstm": ("recurrent", ["recurrent"], [7, 30]),
    "lstm-state": ("recurrent", ["recurrent"], [0]),
    "gru": ("recurrent", ["recurrent"], [31]),
    "lstm-deep": ("recurrent", ["recurrent"], [4, 32 + 9]),
}


@pytest.mark.parametrize("name", list(SILENCED))
def test_channels_that_say_nothing_go_first_and_every_number_stays(name: str) -> None:
    model, inputs = build(name)
    group, layers, channels = SILENCED[name]
    with torch.no_grad():
        for layer in layers:
            silence(model.get_submodule(layer), channels)
    expected = answers(model, inputs)
    remove_channels(model, inputs, {group: len(channels)}, importance="l2")
    found = answers(model, inputs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def silence(layer: nn.Module, channels: list[int]) -> None:
    if not isinstance(layer, nn.RNNBase):
        layer.weight[channels] = 0
        if layer.bias is not None:
            layer.bias[channels] = 0
        return
    size = layer.hidden_size
    for name, values in layer.named_parameters():
        own = [unit % size for unit in channels if (unit >= size) == name.endswith("_reverse")]
        values.view(-1, size, *values.shape[1:])[:, own] = 0


def test_the_same_place_goes_in_every_head_of_queries_keys_and_values() -> None:
    model, inputs = build("vit")
    attention = model.get_submodule("blocks.0.attention")
    places = [8 * head + place for head, place in enumerate((1, 6, 0, 3))]
    with torch.no_grad():
        for start in (0, 32, 64):
            attention.qkv.weight[[start + place for place in places]] = 0
            attention.qkv.bias[[start + place for place in places]] = 0
    expected = answers(model, inputs)
    remove_channels(model, inputs, {"blocks.0.attention.qkv": 4}, importance="l2")
    torch.testing.assert_close(answers(model, inputs), expected, rtol=1e-4, atol=1e-6)
    assert model.get_submodule("blocks.0.attention.query").out_features == 28


@pytest.mark.parametrize("name", ["vit", "vit-torch"])
def test_loosened_attention_computes_what_the_attention_did(name: str) -> None:
    model, inputs = build(name)
    expected = answers(model, inputs)
    before = count_parameters(model)
    rewrite_attention(model, torch.zeros_like(inputs))
    assert count_parameters(model) == before
    assert not [module for module in model.modules() if isinstance(module, (Attention, nn.MultiheadAttention))]
    torch.testing.assert_close(answers(model, inputs), expected, rtol=1e-4, atol=1e-5)


class OtherAttention(Attention):
    """Attention with a distance between tokens: not what its linear layers alone compute."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + x.cumsum(dim=1) / 10


def test_attention_that_does_something_else_is_left_alone_and_named() -> None:
    model, inputs = VisionTransformer(OtherAttention).eval(), torch.zeros(1, 3, 16, 16)
    rewrite_attention(model, inputs)
    assert isinstance(model.get_submodule("blocks.0.attention"), OtherAttention)
    structure = find_structure(model, inputs)
    assert {group.name for group in structure.groups} == {"blocks.0.mlp.0", "blocks.1.mlp.0"}
    assert {"patches", "head", "blocks.0.attention.qkv", "blocks.1.attention.proj"} <= set(structure.unpruned)
    assert structure.unpruned["head"] == "its channels are the model's output"


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_torchs_transformer_layer_is_pruned_with_its_masks(*, batch_first: bool, masked: bool) -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(4, 16)
            self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first)
            self.head = nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mask = torch.ones(6, 6).triu(1).bool() if masked else None
            return self.head(self.layer(self.embed(x), src_mask=mask))

    torch.manual_seed(0)
    model, inputs = Encoder().eval(), torch.randn(6, 6, 4)
    expected = answers(model, inputs)
    rewritten = copy.deepcopy(model)
    rewrite_attention(rewritten, inputs)
    torch.testing.assert_close(answers(rewritten, inputs), expected, rtol=1e-4, atol=1e-5)
    groups = {group.name: group for group in find_groups(model, inputs)}
    assert (groups["layer.self_attn"].channels, groups["layer.self_attn"].multiple) == (16, 2)
    remove_channels(model, inputs, half_of(tuple(groups.values())), importance="l2")
    assert model.layer.linear1.weight.shape == (16, 8)
    assert model.layer.self_attn.query.weight.shape == (8, 8)
    assert answers(model, inputs)["output"].shape == expected["output"].shape


@pytest.mark.parametrize("name", ["vit", "vit-torch", "lstm", "resnext"])
def test_gradients_choose_too(name: str) -> None:
    model, inputs = build(name)
    groups = find_groups(model, inputs)
    answers_of = model(inputs)
    answers_of.square().sum().backward()
    remove_channels(model, inputs, half_of(groups), importance="taylor")
    assert model(inputs).shape == answers_of.shape


@pytest.mark.parametrize("name", ["resnext", "vit", "lstm", "detector"])
def test_what_a_channel_saves_is_known_for_every_group(name: str) -> None:
    model, inputs = build(name)
    groups = find_groups(model, inputs)
    before = digest_module(model)
    channels = {group.name: group.channels for group in groups}
    size_alone = CostMeasure(CostWeights(parameters=1.0, time=0.0))
    savings = measure_savings(model, inputs, channels, measure=size_alone)
    assert digest_module(model) == before
    assert savings.groups == set(channels)
    for group in groups:
        small, count = copy.deepcopy(model), group.removable(group.channels // 2)
        remove_channels(small, inputs, {group.name: count}, importance="l2")
        saved = 1 - count_parameters(small) / count_parameters(model)
        assert savings.saved(channels, group.name, group.channels - count) == pytest.approx(saved)


class Unusual(nn.Module):
    """What cannot be pruned: a sum over all channels, a norm over two layers' channels, and layers nobody asks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.left, self.right, self.norm = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.GroupNorm(4, 16)
        self.joined, self.spread = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 64, 3, groups=8)
        self.head, self.unused = nn.Linear(64, 3), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x / x.square().mean(dim=1, keepdim=True)
        x = self.spread(self.joined(self.norm(torch.cat([self.left(x), self.right(x)], dim=1))))
        return self.head(x.mean(dim=(2, 3)))


def test_what_cannot_be_pruned_is_named_with_its_reason() -> None:
    structure = find_structure(Unusual().eval(), torch.zeros(1, 3, 8, 8))
    assert [(group.name, group.multiple, group.minimum) for group in structure.groups] == [
        ("left", 2, 2),
        ("spread", 8, 16),
    ]
    assert structure.unpruned == {
        "stem": "mean mixes its channels",
        "unused": "the model does not call it for the example input",
    }


def test_a_group_that_cannot_be_pruned_is_refused() -> None:
    with pytest.raises(ModelError, match="group 'unused': the model has no such layer"):
        remove_channels(Unusual().eval(), torch.zeros(1, 3, 8, 8), {"unused": 2}, importance="l2")
