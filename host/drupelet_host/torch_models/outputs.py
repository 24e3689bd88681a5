"""Names the outputs of a PyTorch module: a tensor, or tensors in tuples, lists, dictionaries and data classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from drupelet_host.errors import ModelError
from drupelet_host.recipe.model import OUTPUT_NAME


def name_outputs(returned: object, *, names: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """Return the tensors that a module returned by name, in its order; a None among them is no output.

    Args:
        returned: The value that the module returned.
        names: The names of the outputs. By default keys and fields are joined by dots, as in `aux.0`; one tensor is
            called `output`, and the tensors of a tuple `output_0` and so on.

    Raises:
        ModelError: The value holds something other than tensors, or the number of tensors differs from that of the
            names.
    """
    leaves = list(_list_leaves(returned))
    others = sorted({_describe(path, value) for path, value in leaves if not isinstance(value, torch.Tensor)})
    if others or not leaves:
        what = ", ".join(others) or "nothing"
        raise ModelError(
            f"model returns {what}: expected a tensor, or tensors in tuples, lists, dictionaries or data classes; "
            "return the tensors alone, for example {'scores': scores, 'boxes': boxes}"
        )
    chosen = list(names) or [path for path, _ in leaves]
    if len(chosen) != len(leaves):
        raise ModelError(
            f"model.outputs names {len(chosen)} tensors ({', '.join(chosen)}): the model returns {len(leaves)}"
        )
    if repeated := sorted({name for name in chosen if chosen.count(name) > 1}):
        raise ModelError(f"model returns two outputs called {repeated[0]!r}: rename one of them")
    return {name: value for name, (_, value) in zip(chosen, leaves, strict=True) if isinstance(value, torch.Tensor)}


class FlatOutputs(nn.Module):
    """Wraps a module so that its outputs are a tuple of tensors, in the order of their names."""

    def __init__(self, model: nn.Module, output_names: Sequence[str]) -> None:
        """Wrap a module.

        Args:
            model: The module.
            output_names: The names of its outputs, in its order.
        """
        super().__init__()
        self.model = model
        self.output_names = list(output_names)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run the model and return its outputs in order."""
        return tuple(name_outputs(self.model(*inputs), names=self.output_names).values())


def find_tensors(value: object) -> Iterator[torch.Tensor]:
    """Yield the tensors of a value, in its order."""
    return (leaf for _, leaf in _list_leaves(value) if isinstance(leaf, torch.Tensor))


def is_nested(returned: object) -> bool:
    """Return whether an exporter needs `FlatOutputs`: a value is not a tensor, nor a plain container of tensors."""
    if isinstance(returned, torch.Tensor):
        return False
    if isinstance(returned, (tuple, list, Mapping)) and type(returned) in {tuple, list, dict}:
        values = returned.values() if isinstance(returned, Mapping) else returned
        return not all(isinstance(value, torch.Tensor) for value in values)
    return True


def _list_leaves(returned: object) -> Iterator[tuple[str, object]]:
    """Yield what a module returned, with the names; the tensors of a bare tuple are numbered."""
    if isinstance(returned, (tuple, list)) and not hasattr(returned, "_fields"):
        for index, value in enumerate(returned):
            yield from _walk(value, OUTPUT_NAME if len(returned) == 1 else f"{OUTPUT_NAME}_{index}")
    elif (parts := _parts(returned)) is not None:
        for key, value in parts.items():
            yield from _walk(value, key)
    elif returned is not None:
        yield OUTPUT_NAME, returned


def _walk(value: object, path: str) -> Iterator[tuple[str, object]]:
    parts = _parts(value)
    if parts is None:
        if value is not None:
            yield path, value
        return
    for key, part in parts.items():
        yield from _walk(part, f"{path}.{key}")


def _parts(value: object) -> dict[str, object] | None:
    """Return what a container holds, by key, field or position; None for what is no container."""
    if isinstance(value, Mapping):
        return {str(key): part for key, part in value.items()}
    if isinstance(value, tuple) and (fields := getattr(value, "_fields", None)):
        return dict(zip(fields, value, strict=True))
    if isinstance(value, (tuple, list)):
        return {str(index): part for index, part in enumerate(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _describe(path: str, value: object) -> str:
    what = type(value).__name__
    return what if path == OUTPUT_NAME else f"{what} in {path!r}"
