"""Loads the PyTorch module of the recipe's [model] section with its weights."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from drupelet_host.errors import ModelError
from drupelet_host.recipe.factories import call_factory
from drupelet_host.recipe.model import ModelSection
from drupelet_host.recipe.user_errors import describe_user_error
from drupelet_host.torch_models.inputs import make_zeros
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_host.torch_models.weight_norm import bake_weights
from drupelet_shared.tensors import Datatype, TensorSpec

# What wrappers put before the names of a module's weights.
_PREFIXES = {
    "module.": "nn.DataParallel",
    "_orig_mod.": "torch.compile",
    "model.": "a training framework's module",
    "net.": "a wrapper",
}


def load_model(section: ModelSection) -> nn.Module:
    """Call the factory and load the weights.

    Returns:
        The module, in evaluation mode on the CPU.

    Raises:
        ModelError: The factory does not return a module, the weights do not match it, or lazy layers have none.
    """
    assert section.factory is not None, "the recipe has a factory or a file"
    model = call_factory(section.factory, error=ModelError)
    if not isinstance(model, nn.Module):
        raise ModelError(f"factory {section.factory}: it returned a {type(model).__name__}: expected a torch.nn.Module")
    model = model.cpu()
    if section.weights is not None:
        load_weights(model, section.weights)
    if lazy := [name for name, parameter in model.named_parameters() if isinstance(parameter, UninitializedParameter)]:
        raise ModelError(
            f"factory {section.factory}: {', '.join(lazy)} of lazy layers have no values yet: run the module once on "
            "an input before the factory returns it, or load weights that were saved after such a run"
        )
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
    except (OSError, EOFError, pickle.UnpicklingError, RuntimeError) as error:
        raise ModelError(f"weights {path.name} do not fit the model: {_explain_unreadable(path, error)}") from error
    if advice := _advise(state, model):
        raise ModelError(f"weights {path.name} do not fit the model: {advice}")
    try:
        model.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        raise ModelError(f"weights {path.name} do not fit the model: {error}") from error


def _explain_unreadable(path: Path, error: Exception) -> str:
    if zipfile.is_zipfile(path) and isinstance(error, pickle.UnpicklingError):
        return (
            "it holds a whole pickled model or other objects, which could run code; save the weights alone: "
            "torch.save(model.state_dict(), 'weights.pt')"
        )
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _advise(state: object, model: nn.Module) -> str | None:
    """Return what to do with a checkpoint that holds a state_dict of another form; None for a plain one."""
    if not isinstance(state, Mapping):
        what = type(state).__name__
        return f"the file holds a {what}: expected a state_dict, as torch.save(model.state_dict(), PATH) writes it"
    expected = set(model.state_dict())
    inner = next((str(key) for key, value in state.items() if isinstance(value, Mapping) and len(value)), None)
    if inner is not None and not expected & set(state):
        save = f"torch.save(checkpoint[{inner!r}], PATH)"
        return f"the file is a checkpoint with the state_dict under {inner!r}; save that alone: {save}"
    names = [str(name) for name in state]
    prefix = next((prefix for prefix in _PREFIXES if names and all(name.startswith(prefix) for name in names)), None)
    if prefix is None or not expected >= {name.removeprefix(prefix) for name in names}:
        return None
    save = f"torch.save({{name.removeprefix({prefix!r}): value for name, value in state.items()}}, PATH)"
    return f"every name starts with {prefix!r}, which {_PREFIXES[prefix]} adds; save them without: {save}"


def check_runs(
    model: nn.Module, inputs: Sequence[TensorSpec], *, names: Sequence[str] = ()
) -> dict[str, tuple[int, ...]]:
    """Run a model once on zeros.

    Args:
        model: The model.
        inputs: Its inputs.
        names: The names of its outputs; empty for names by position.

    Returns:
        The shapes of its outputs by name.

    Raises:
        ModelError: The model fails, returns something other than tensors, or another number of outputs than names.
    """
    try:
        with torch.inference_mode():
            returned = model(*(make_zeros(spec.datatype, spec.shape) for spec in inputs))
    except Exception as error:  # a user's module may raise anything
        what = describe_user_error(error)
        taken = " and ".join(_describe_input(spec, alone=len(inputs) == 1) for spec in inputs)
        raise ModelError(f"model does not take {taken}: {what}") from error
    return {name: tuple(tensor.shape) for name, tensor in name_outputs(returned, names=names).items()}


def _describe_input(spec: TensorSpec, *, alone: bool) -> str:
    shape = list(spec.shape)
    if alone and spec.datatype is Datatype.FP32:
        return f"an input of shape {shape}"
    return f"{spec.name!r} of shape {shape} ({spec.datatype})"
