"""Trial removals on copies of the model: removing channels must take away what they computed and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from drupelet_host.pruning.structure.slices import Slice, blank_slices, cut_slices, find_target
from drupelet_host.pruning.structure.unprunable import IN_THE_OUTPUT
from drupelet_host.torch_models.inputs import ModuleInputs, list_tensors, map_inputs, run_module
from drupelet_host.torch_models.outputs import name_outputs

UNSEEN = "no output changes without its channels on the samples: nothing shows that they can be removed"
# Real samples of a trial: one alone may leave a layer without effect that others show.
TRIAL_SAMPLES = 4
_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}


class Trial:
    """A copy of a model with real samples and random ones, on which removals are tried.

    The copy is in double precision where the model can be: the smallest wrong weight then stands out from rounding.
    """

    def __init__(self, model: nn.Module, samples: ModuleInputs) -> None:
        """Copy the model and run it once.

        Args:
            model: The model; it is left as it is.
            samples: Real samples, batch first.
        """
        self._model = copy.deepcopy(model).eval().double()
        self._inputs = _trial_inputs(samples)
        try:
            self._whole = self._run_all(self._model)
        except (RuntimeError, TypeError, ValueError):
            self._model = copy.deepcopy(model).eval()
            self._inputs = [map_inputs(inputs, _single_precision) for inputs in self._inputs]
            self._whole = self._run_all(self._model)
        precisions = {parameter.dtype for parameter in self._model.parameters()}
        self._tolerance = max((_TOLERANCES.get(kind, 0.0) for kind in precisions), default=_TOLERANCES[torch.float32])

    def fault(self, slices: Sequence[Slice]) -> str:
        """Describe why these channels cannot be removed; "" where they can.

        The model without them must run, keep the shapes of all outputs, and compute what the whole model computes
        with their weights at zero. Norms over channels see only those that are left: for the comparison their
        normalization is skipped and only their weights count.
        """
        blanked, cut = copy.deepcopy(self._model), copy.deepcopy(self._model)
        try:
            blank_slices(blanked, slices)
            cut_slices(cut, slices)
            shapes = [_shapes(outputs) for outputs in self._run_all(cut)]
            names = {piece.layer for piece in slices}
            with _UnnormalizedLayers(blanked, names):
                expected = self._run_all(blanked)
            with _UnnormalizedLayers(cut, names):
                actual = self._run_all(cut)
        except Exception as error:  # noqa: BLE001 - a person's model may raise anything, torch-pruning does
            return f"the model's code expects all its channels: {_first_line(error)}"
        if shapes != [_shapes(outputs) for outputs in expected]:
            return IN_THE_OUTPUT.reason
        pairs = zip(expected, actual, strict=True)
        if not all(_agree(before, after, tolerance=self._tolerance) for before, after in pairs):
            return "without its channels the others would compute something else"
        return ""

    def shows(self, slices: Sequence[Slice]) -> bool:
        """Return whether any output changes when these channels are zero; a comparison shows nothing otherwise."""
        blanked = copy.deepcopy(self._model)
        blank_slices(blanked, slices)
        # The real samples come first, and nearly always show it.
        return any(
            not _agree(whole, _run(blanked, inputs), tolerance=0.0)
            for inputs, whole in zip(self._inputs, self._whole, strict=True)
        )

    def _run_all(self, model: nn.Module) -> list[Mapping[str, torch.Tensor]]:
        return [_run(model, inputs) for inputs in self._inputs]


def _run(model: nn.Module, inputs: ModuleInputs) -> Mapping[str, torch.Tensor]:
    with torch.no_grad():
        return name_outputs(run_module(model, inputs))


def _agree(expected: Mapping[str, torch.Tensor], actual: Mapping[str, torch.Tensor], *, tolerance: float) -> bool:
    return all(_close(value, actual[name], tolerance=tolerance) for name, value in expected.items())


def _close(expected: torch.Tensor, actual: torch.Tensor, *, tolerance: float) -> bool:
    if expected.shape != actual.shape:
        return False
    if not expected.is_floating_point():
        return torch.equal(expected, actual)
    return bool((expected - actual).abs().max() <= tolerance * expected.abs().max())


def _trial_inputs(samples: ModuleInputs) -> list[ModuleInputs]:
    """Return the samples, and random ones whose integers are the samples': not every value may be valid."""
    generator = torch.Generator().manual_seed(0)

    def draw(values: torch.Tensor) -> torch.Tensor:
        if not values.is_floating_point():
            return values
        return torch.randn(values.shape, generator=generator, dtype=torch.float64)

    real = map_inputs(samples, lambda values: values.double() if values.is_floating_point() else values)
    has_floats = any(values.is_floating_point() for values in list_tensors(samples))
    return [real, map_inputs(samples, draw)] if has_floats else [real]


def _single_precision(values: torch.Tensor) -> torch.Tensor:
    return values.float() if values.is_floating_point() else values


def _shapes(outputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in outputs.items()}


class _UnnormalizedLayers(TorchFunctionMode):
    """Layer norms and group norms that only scale and shift, wherever their code calls them from."""

    def __init__(self, model: nn.Module, names: Collection[str]) -> None:
        super().__init__()
        targets = [find_target(model, name) for name in names]
        self._own = {id(target.weight) for target in targets if isinstance(target, (nn.LayerNorm, nn.GroupNorm))}
        self._own |= {id(target) for target in targets if isinstance(target, torch.Tensor)}

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> object:
        named = dict(kwargs or {})
        if func not in {functional.layer_norm, functional.group_norm}:
            return func(*args, **named)
        values = dict(zip(("input", "size", "weight", "bias"), args, strict=False)) | named
        weight = values.get("weight")
        if weight is not None and id(weight) not in self._own:
            return func(*args, **named)
        trailing = 0 if func is functional.layer_norm else values["input"].ndim - 2
        return _weights_alone(values["input"], weight, values.get("bias"), trailing=trailing)


def _weights_alone(
    inputs: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, *, trailing: int
) -> torch.Tensor:
    scaled = inputs
    for parameter, join in ((weight, torch.mul), (bias, torch.add)):
        if parameter is not None:
            scaled = join(scaled, parameter[(..., *[None] * trailing)])
    return scaled


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
