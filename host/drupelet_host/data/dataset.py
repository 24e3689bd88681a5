"""Samples in memory: inputs, and labels if there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from drupelet_host.data.inputs import Inputs, is_list_of_samples, make_inputs
from drupelet_host.data.labels import Labels, make_labels
from drupelet_host.errors import DataError
from drupelet_host.recipe.model import INPUT_NAME
from drupelet_shared.tensors import TensorSpec

_PAIR = 2


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples stacked along a first axis, for training and evaluating modules.

    Attributes:
        inputs: The inputs, of shape (samples, ...): one array of floats, or arrays by name in the order of the module's
            `forward`.
        labels: For each sample a class index, a mask, objects or numbers, along the first axis; None without labels.
        answers: The original model's outputs by name, of shape (samples, ...), for metrics that compare with them.
    """

    inputs: Inputs
    labels: Labels | None
    answers: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.named_inputs.values())))

    @property
    def named_inputs(self) -> Mapping[str, npt.NDArray[Any]]:
        """The arrays by name; a single array is called `input`."""
        return self.inputs if isinstance(self.inputs, Mapping) else {INPUT_NAME: self.inputs}

    def __repr__(self) -> str:
        labels = "no labels" if self.labels is None else "labels"
        shapes = " and ".join(str(values.shape[1:]) for values in self.named_inputs.values())
        return f"Dataset({len(self)} samples of shape {shapes}, {labels})"

    def first(self, count: int) -> Inputs:
        """Return the inputs of the first `count` samples."""
        return self._choose(slice(count))

    def spread(self, count: int) -> Inputs:
        """Return the inputs of at most `count` samples from the first to the last, evenly spread."""
        return self._choose(np.unique(np.linspace(0, len(self) - 1, count).astype(np.int64)))

    def subset(self, count: int, *, seed: int) -> Dataset:
        """Return at most `count` samples, drawn at random with the seed."""
        if count >= len(self):
            return self
        return self.take(choose_rows(len(self), count, seed=seed))

    def take(self, chosen: npt.NDArray[np.int64]) -> Dataset:
        """Return the samples at these positions."""
        return Dataset(
            inputs=self._choose(chosen),
            labels=None if self.labels is None else self.labels[chosen],
            answers={name: values[chosen] for name, values in self.answers.items()},
        )

    def _choose(self, chosen: slice | npt.NDArray[np.int64]) -> Inputs:
        if isinstance(self.inputs, Mapping):
            return {name: values[chosen] for name, values in self.inputs.items()}
        return self.inputs[chosen]


def choose_rows(size: int, count: int, *, seed: int) -> npt.NDArray[np.int64]:
    """Return the positions of randomly drawn samples, in ascending order.

    Args:
        size: The number of samples.
        count: The number of samples to draw.
        seed: The seed of the choice.
    """
    return np.sort(np.random.default_rng(seed).choice(size, size=count, replace=False))


def make_dataset(value: Any, *, source: str, specs: Sequence[TensorSpec] = ()) -> Dataset:  # noqa: ANN401 - any value that a user's factory returned
    """Check and convert a Dataset, inputs alone, or a pair (inputs, labels); labels may be None (see `make_labels`).

    Several inputs are a dictionary of arrays, or a sequence of them in the order of `specs`, each with the samples
    along its first axis; or a list with a dictionary or a tuple for each sample.

    Args:
        value: The data.
        source: The name of the data, for messages.
        specs: The inputs of the module, where the recipe names them; without them one array of floats, or a dictionary.

    Raises:
        DataError: The data has another form, is empty, contains values that are not finite, or has unequal lengths.
    """
    if isinstance(value, Dataset):
        return value
    is_alone = (hasattr(value, "__array__") and hasattr(value, "shape")) or isinstance(value, Mapping)
    if is_alone or is_list_of_samples(value):
        value = (value, None)
    if not isinstance(value, (tuple, list)) or len(value) != _PAIR:
        raise DataError(f"{source}: got a {type(value).__name__}: expected inputs, or a pair (inputs, labels)")
    inputs = make_inputs(value[0], source=source, specs=specs)
    dataset = Dataset(inputs, None)
    if len(dataset) == 0:
        raise DataError(f"{source}: has no samples: expected at least 1")
    for name, values in dataset.named_inputs.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            what = f"input {name!r} holds" if isinstance(inputs, Mapping) else "inputs hold"
            raise DataError(f"{source}: {what} NaN or infinity: expected finite numbers")
    return Dataset(inputs, None if value[1] is None else make_labels(value[1], count=len(dataset), source=source))


def check_fits(dataset: Dataset, *, specs: Sequence[TensorSpec], source: str) -> None:
    """Check that the samples match the model.

    Args:
        dataset: The samples.
        specs: The model's inputs, batch first.
        source: The name of the data, for messages.

    Raises:
        DataError: A sample's shape differs from the input's.
    """
    arrays = dataset.named_inputs
    for spec in specs:
        shape = arrays[spec.name].shape[1:]
        if shape != spec.shape[1:]:
            what = "a sample" if len(specs) == 1 else f"input {spec.name!r} of a sample"
            raise DataError(f"{source}: {what} has shape {list(shape)}: the model takes {list(spec.shape[1:])}")
