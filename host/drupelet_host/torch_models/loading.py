"""Loads the PyTorch module of the recipe's [model] section with its weights."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from drupelet_host.errors import ModelError
from drupelet_host.recipe.factories import call_factory
from drupelet_host.recipe.model import ModelSection
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_host.torch_models.weight_norm import bake_weights


def load_model(section: ModelSection) -> nn.Module:
    """Call the factory and load the weights.

    Returns:
        The module, in evaluation mode on the CPU.

    Raises:
        ModelError: The factory does not return a module, or the weights do not match it.
    """
    assert section.factory is not None, "the recipe has a factory or a file"
    model = call_factory(section.factory, error=ModelError)
    if not isinstance(model, nn.Module):
        raise ModelError(f"factory {section.factory}: it returned a {type(model).__name__}: expected a torch.nn.Module")
    model = model.cpu()
    if section.weights is not None:
        load_weights(model, section.weights)
    # Hooks and classes that compute weights can be neither copied nor kept in the cache.
    bake_weights(model)
    return model.eval()


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state_dict file into the model.

    Raises:
        ModelError: The file is not a state_dict of tensors, or its names or shapes differ from the model's.
    """
    try:
        # weights_only: a state_dict is a pickle, which could otherwise run code.
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except (OSError, pickle.UnpicklingError, EOFError, TypeError, RuntimeError) as error:
        raise ModelError(f"weights {path.name} do not fit the model: {error}") from error


def check_runs(
    model: nn.Module, input_shape: tuple[int, ...], *, names: Sequence[str] = ()
) -> dict[str, tuple[int, ...]]:
    """Run a model once on zeros.

    Args:
        model: The model.
        input_shape: The shape of its input.
        names: The names of its outputs; empty for names by position.

    Returns:
        The shapes of its outputs by name.

    Raises:
        ModelError: The model fails, returns something other than tensors, or another number of outputs than names.
    """
    try:
        with torch.inference_mode():
            returned = model(torch.zeros(input_shape))
    except Exception as error:  # a user's module may raise anything
        raise ModelError(f"model does not take an input of shape {list(input_shape)}: {error}") from error
    return {name: tuple(tensor.shape) for name, tensor in name_outputs(returned, names=names).items()}
