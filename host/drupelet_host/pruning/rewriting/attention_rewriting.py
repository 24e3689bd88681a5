"""Finds attention in a model and puts attention in its place whose inner width can be pruned."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import nn

from drupelet_host.pruning.rewriting.attention import HeadedAttention, MultiheadAttention, SelfAttention, rows_of
from drupelet_host.torch_models.inputs import ModuleInputs, run_module

_THREE = 3
_TOKENS_RANK = 3
_AGREEMENT = 1e-9


def rewrite_attention(model: nn.Module, example_input: ModuleInputs) -> None:
    """Replace, in place, every attention that is recognised; the model computes what it did before.

    Torch's own is known; a module of a person's own is one if its linear layers, put together as attention, compute
    what the module computes. Other modules are left alone.
    """
    for name, original, inputs in _candidates(model, example_input):
        rewritten = _loosened(original, inputs)
        if rewritten is not None:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, rewritten.train(original.training))


def _candidates(model: nn.Module, example_input: ModuleInputs) -> list[tuple[str, nn.Module, tuple[torch.Tensor, ...]]]:
    modules = [(name, module) for name, module in model.named_modules() if name and _looks_like_attention(module)]
    calls: dict[nn.Module, tuple[Any, ...]] = {}

    def remember(module: nn.Module, args: tuple[Any, ...]) -> None:
        calls.setdefault(module, args)

    hooks = [module.register_forward_pre_hook(remember) for _, module in modules]
    try:
        if modules:
            with torch.no_grad():
                run_module(model, example_input)
    finally:
        for hook in hooks:
            hook.remove()
    return [(name, module, calls[module]) for name, module in modules if module in calls]


def _looks_like_attention(module: nn.Module) -> bool:
    if isinstance(module, HeadedAttention):
        return False
    return isinstance(module, nn.MultiheadAttention) or len(_linears(module)) in (2, 4)


def _linears(module: nn.Module) -> list[nn.Linear]:
    layers = [child for child in module.children() if isinstance(child, nn.Linear)]
    weights = sum(parameter.numel() for parameter in module.parameters())
    own = sum(parameter.numel() for layer in layers for parameter in layer.parameters())
    return layers if weights == own else []


def _loosened(module: nn.Module, inputs: tuple[Any, ...]) -> HeadedAttention | None:
    if isinstance(module, nn.MultiheadAttention):
        plain = module.bias_k is None and not module.add_zero_attn and inputs[:1] and inputs[0].ndim == _TOKENS_RANK
        return MultiheadAttention(module) if plain else None
    if len(inputs) != 1 or not isinstance(inputs[0], torch.Tensor) or inputs[0].ndim != _TOKENS_RANK:
        return None
    return next((guess for guess in _guesses(module) if _computes_the_same(module, guess, inputs[0])), None)


def _guesses(module: nn.Module) -> Iterator[SelfAttention]:
    *projections, out = _linears(module)
    names = {layer: name for name, layer in module.named_children()}
    inner = out.in_features
    numbers = [value for value in vars(module).values() if type(value) in (int, float)]
    heads = [value for value in numbers if isinstance(value, int) and 0 < value <= inner and inner % value == 0]
    for count in dict.fromkeys(heads):
        scales = dict.fromkeys([(inner // count) ** -0.5, *(value for value in numbers if isinstance(value, float))])
        for (query, key, value), scale in product(_split(projections, inner, heads=count), scales):
            sources = projections * _THREE if len(projections) == 1 else projections
            origins = dict(
                zip(("query", "key", "value", "out"), (names[layer] for layer in [*sources, out]), strict=True)
            )
            yield SelfAttention(query=query, key=key, value=value, out=out, heads=count, scale=scale, origins=origins)


def _split(linears: list[nn.Linear], inner: int, *, heads: int) -> Iterator[tuple[nn.Linear, nn.Linear, nn.Linear]]:
    if len(linears) == _THREE and all(layer.out_features == inner for layer in linears):
        query, key, value = linears
        yield query, key, value
    if len(linears) == 1 and linears[0].out_features == _THREE * inner:
        rows = torch.arange(_THREE * inner)
        # Queries, keys and values after one another, or those of each head after one another.
        for order in (rows.view(_THREE, -1), rows.view(heads, _THREE, -1).transpose(0, 1).reshape(_THREE, -1)):
            query, key, value = (
                rows_of(linears[0].weight, linears[0].bias, chosen, chosen) for chosen in order.tolist()
            )
            yield query, key, value


def _computes_the_same(module: nn.Module, guess: SelfAttention, inputs: torch.Tensor) -> bool:
    first, second = _in_double(module), _in_double(guess)
    # Large inputs: with small ones softmax is flat, and a wrong number of heads could hide.
    generator = torch.Generator().manual_seed(0)
    tokens = 4 * torch.randn(inputs.shape, generator=generator, dtype=torch.float64)
    try:
        with torch.no_grad():
            expected, actual = first(tokens), second(tokens)
    except (RuntimeError, TypeError, ValueError):
        return False
    if not isinstance(expected, torch.Tensor) or expected.shape != actual.shape:
        return False
    return bool((expected - actual).abs().max() <= _AGREEMENT * expected.abs().max())


def _in_double(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).eval().double()
