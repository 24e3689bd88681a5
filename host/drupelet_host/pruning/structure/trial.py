"""Whether removing channels takes away what they computed and nothing else: tried on copies of the model."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from types import MethodType

import torch
from torch import nn

from drupelet_host.pruning.structure.slices import Slice, blank_slices, cut_slices
from drupelet_host.torch_models.outputs import name_outputs

_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}
IN_THE_OUTPUT = "its channels are the model's output"


class Trial:
    """A model and a random input; the model is left as it is.

    In double precision where the model can: the smallest wrong weight then stands out from rounding.

    Args:
        model: The model; a copy of it is used.
        example_input: The shape and datatype of the random input.
    """

    def __init__(self, model: nn.Module, example_input: torch.Tensor) -> None:
        self._model, self._input = copy.deepcopy(model).eval().double(), _random_like(example_input)
        try:
            _run(self._model, self._input)
        except (RuntimeError, TypeError, ValueError):
            self._model, self._input = copy.deepcopy(model).eval(), self._input.to(example_input.dtype)
        self._tolerance = _TOLERANCES[next((p.dtype for p in self._model.parameters()), torch.float32)]

    def fault(self, slices: Sequence[Slice]) -> str:
        """Why these channels cannot be removed, or "".

        The model without them must run, keep the shapes of all outputs, and compute what the whole model computes
        with their weights at zero. Norms over channels see only those that are left: for the comparison they stand
        aside and only their weights count.
        """
        blanked, cut = copy.deepcopy(self._model), copy.deepcopy(self._model)
        blank_slices(blanked, slices)
        try:
            cut_slices(cut, slices)
            shapes = {name: value.shape for name, value in _run(cut, self._input).items()}
            for model in (blanked, cut):
                _set_norms_aside(model, {piece.layer for piece in slices})
            expected, found = _run(blanked, self._input), _run(cut, self._input)
        except Exception as error:  # noqa: BLE001 - a person's model may raise anything, torch-pruning does
            return f"the model's code expects all its channels: {_first_line(error)}"
        if shapes != {name: value.shape for name, value in expected.items()}:
            return IN_THE_OUTPUT
        if not all(self._agree(expected[name], found[name]) for name in expected):
            return "without its channels the others would compute something else"
        return ""

    def _agree(self, expected: torch.Tensor, found: torch.Tensor) -> bool:
        if not expected.is_floating_point():
            return True
        return bool((expected - found).abs().max() <= self._tolerance * expected.abs().max())


def _random_like(example_input: torch.Tensor) -> torch.Tensor:
    if not example_input.is_floating_point():
        return example_input
    generator = torch.Generator().manual_seed(0)
    return torch.randn(example_input.shape, generator=generator, dtype=torch.float64)


def _run(model: nn.Module, inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
    with torch.no_grad():
        return name_outputs(model(inputs))


def _set_norms_aside(model: nn.Module, names: set[str]) -> None:
    for name, module in model.named_modules():
        if name in names and isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
            module.forward = MethodType(_weights_alone, module)  # type: ignore[method-assign]


def _weights_alone(norm: nn.LayerNorm | nn.GroupNorm, inputs: torch.Tensor) -> torch.Tensor:
    trailing = 0 if isinstance(norm, nn.LayerNorm) else inputs.ndim - 2
    scaled = inputs
    for parameter, join in ((norm.weight, torch.mul), (norm.bias, torch.add)):
        # Both may be absent, whatever torch's annotations say.
        if isinstance(parameter, torch.Tensor):
            scaled = join(scaled, parameter[(..., *[None] * trailing)])
    return scaled


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
