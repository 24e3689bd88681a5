"""From the recipe's [model] section to a PyTorch module with its weights."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import nn

from drupelet_host.errors import ModelError
from drupelet_host.factories import call_factory
from drupelet_host.recipe import ModelSection


def load_model(section: ModelSection) -> nn.Module:
    """Call the factory, load the weights, and run the model once.

    Returns:
        The module, in evaluation mode on the CPU.

    Raises:
        ModelError: The factory makes no module, the weights do not fit it, or it does not take the input shape.
    """
    model = call_factory(section.factory, error=ModelError)
    if not isinstance(model, nn.Module):
        raise ModelError(f"factory {section.factory}: it returned a {type(model).__name__}: expected a torch.nn.Module")
    model = model.cpu()
    if section.weights is not None:
        load_weights(model, section.weights)
    check_runs(model.eval(), section.input_shape)
    return model


def load_weights(model: nn.Module, path: Path) -> None:
    """Put a state_dict file into the model.

    Raises:
        ModelError: The file is no state_dict of tensors, or its names or shapes are not the model's.
    """
    try:
        # weights_only: a state_dict is a pickle, which could run code as it is loaded.
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state)
    except (OSError, pickle.UnpicklingError, EOFError, TypeError, RuntimeError) as error:
        raise ModelError(f"weights {path.name} do not fit the model: {error}") from error


def check_runs(model: nn.Module, input_shape: tuple[int, ...]) -> torch.Size:
    """Run the model on zeros of the input shape; its output's shape.

    Raises:
        ModelError: It fails, or does not return one tensor.
    """
    try:
        with torch.inference_mode():
            output = model(torch.zeros(input_shape))
    except Exception as error:  # a person's module may raise anything
        raise ModelError(f"model does not take an input of shape {list(input_shape)}: {error}") from error
    if not isinstance(output, torch.Tensor):
        raise ModelError(f"model returns a {type(output).__name__}: expected one tensor")
    return output.shape
