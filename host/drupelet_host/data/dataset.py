"""Samples in memory: inputs, and labels if there are any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from drupelet_host.data.labels import Labels, make_labels
from drupelet_host.errors import DataError

Inputs = npt.NDArray[np.float32]
_PAIR = 2


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples stacked along a first axis, for training and evaluating modules.

    Attributes:
        inputs: The inputs, of shape (samples, ...).
        labels: For each sample a class index, a mask, objects or numbers, along the first axis; None without labels.
        answers: The original model's outputs by name, of shape (samples, ...), for metrics that compare with them.
    """

    inputs: Inputs
    labels: Labels | None
    answers: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        labels = "no labels" if self.labels is None else "labels"
        return f"Dataset({len(self)} samples of shape {self.inputs.shape[1:]}, {labels})"

    def subset(self, count: int, *, seed: int) -> Dataset:
        """Return at most `count` samples, drawn at random with the seed."""
        if count >= len(self):
            return self
        return self.take(choose_rows(len(self), count, seed=seed))

    def take(self, chosen: npt.NDArray[np.int64]) -> Dataset:
        """Return the samples at these positions."""
        return Dataset(
            inputs=self.inputs[chosen],
            labels=None if self.labels is None else self.labels[chosen],
            answers={name: values[chosen] for name, values in self.answers.items()},
        )


def choose_rows(size: int, count: int, *, seed: int) -> npt.NDArray[np.int64]:
    """Return the positions of randomly drawn samples, in ascending order.

    Args:
        size: The number of samples.
        count: The number of samples to draw.
        seed: The seed of the choice.
    """
    return np.sort(np.random.default_rng(seed).choice(size, size=count, replace=False))


def make_dataset(value: Any, *, source: str) -> Dataset:  # noqa: ANN401 - any value that a user's factory returned
    """Check and convert a Dataset, inputs alone, or a pair (inputs, labels); labels may be None (see `make_labels`).

    Args:
        value: The data.
        source: The name of the data, for messages.

    Raises:
        DataError: The data has another form, is empty, contains values that are not finite, or has unequal lengths.
    """
    if isinstance(value, Dataset):
        return value
    if hasattr(value, "__array__") and hasattr(value, "shape"):
        value = (value, None)
    if not isinstance(value, (tuple, list)) or len(value) != _PAIR:
        raise DataError(f"{source}: got a {type(value).__name__}: expected inputs, or a pair (inputs, labels)")
    inputs = _to_array(value[0], np.float32, what=f"{source}: inputs")
    if len(inputs) == 0:
        raise DataError(f"{source}: has no samples: expected at least 1")
    if not np.isfinite(inputs).all():
        raise DataError(f"{source}: inputs hold NaN or infinity: expected finite numbers")
    return Dataset(inputs, None if value[1] is None else make_labels(value[1], count=len(inputs), source=source))


def check_fits(dataset: Dataset, *, input_shape: tuple[int, ...], source: str) -> None:
    """Check that the samples match the model.

    Args:
        dataset: The samples.
        input_shape: The shape of the model's input, batch first.
        source: The name of the data, for messages.

    Raises:
        DataError: A sample's shape differs from the input's.
    """
    shape = dataset.inputs.shape[1:]
    if shape != input_shape[1:]:
        raise DataError(f"{source}: a sample has shape {list(shape)}: the model takes {list(input_shape[1:])}")


def _to_array(value: Any, dtype: type[np.generic], *, what: str) -> npt.NDArray[Any]:  # noqa: ANN401 - array or tensor
    try:
        return np.ascontiguousarray(np.asarray(value), dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what}: cannot become an array of {dtype.__name__}: {error}") from error
