"""The inputs of a module: one tensor, or several by name in the order in which its `forward` takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from drupelet_host.recipe.model import INPUT_NAME
from drupelet_shared.tensors import NUMPY_DTYPE, Datatype

ModuleInputs = torch.Tensor | Mapping[str, torch.Tensor]
Arrays = npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]
# The shape of a float input, batch first, stands for random inputs.
Example = tuple[int, ...] | ModuleInputs
_RANDOM_INPUTS = 3


def run_module(model: nn.Module, inputs: ModuleInputs) -> Any:  # noqa: ANN401 - whatever a person's module returns
    """Call a module with its inputs in their order."""
    return model(inputs) if isinstance(inputs, torch.Tensor) else model(*inputs.values())


def map_inputs(inputs: ModuleInputs, change: Callable[[torch.Tensor], torch.Tensor]) -> ModuleInputs:
    """Return the inputs with a change made to each tensor."""
    if isinstance(inputs, torch.Tensor):
        return change(inputs)
    return {name: change(values) for name, values in inputs.items()}


def list_tensors(inputs: ModuleInputs) -> list[torch.Tensor]:
    """Return the tensors of the inputs in their order."""
    return [inputs] if isinstance(inputs, torch.Tensor) else list(inputs.values())


def count_samples(inputs: ModuleInputs) -> int:
    """Return the number of samples, which all tensors have along their first axis."""
    return len(list_tensors(inputs)[0])


def take_samples(inputs: ModuleInputs, chosen: slice | torch.Tensor) -> ModuleInputs:
    """Return some of the samples."""
    return map_inputs(inputs, lambda values: values[chosen])


def split_inputs(inputs: ModuleInputs, size: int) -> list[ModuleInputs]:
    """Return the samples in batches of at most `size`."""
    return [take_samples(inputs, slice(start, start + size)) for start in range(0, count_samples(inputs), size)]


def make_tensors(arrays: Arrays) -> ModuleInputs:
    """Return arrays as tensors that share their memory."""
    if isinstance(arrays, Mapping):
        return {name: torch.from_numpy(values) for name, values in arrays.items()}
    return torch.from_numpy(arrays)


def make_batches(example: Example) -> list[ModuleInputs]:
    """Return the samples one by one, or random inputs of the shape."""
    if not isinstance(example, tuple):
        return split_inputs(example, 1)
    random = np.random.default_rng(0)
    return [torch.from_numpy(random.standard_normal(example, dtype=np.float32)) for _ in range(_RANDOM_INPUTS)]


def name_inputs(inputs: ModuleInputs) -> dict[str, torch.Tensor]:
    """Return the tensors by name; a single tensor is called `input`."""
    return {INPUT_NAME: inputs} if isinstance(inputs, torch.Tensor) else dict(inputs)


def make_zeros(datatype: Datatype, shape: tuple[int, ...]) -> torch.Tensor:
    """Return zeros of a datatype, which every kind of input takes: a number, an index, a mask."""
    return torch.from_numpy(np.zeros(shape, np.dtype(NUMPY_DTYPE[datatype])))
