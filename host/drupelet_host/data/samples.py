"""Samples for engines: the inputs of one inference each, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from drupelet_host.data.dataset import Dataset, choose_rows
from drupelet_host.data.labels import Labels
from drupelet_host.errors import DataError
from drupelet_shared.engines.base import Tensors

__all__ = ["Samples", "Tensors", "hold_out", "split_dataset", "split_rows"]


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples for measuring and calibrating model files; shapes may differ where the model allows it.

    Attributes:
        feeds: The inputs of each sample by name, batch first.
        labels: The class index of each sample; None without labels.
        answers: The original model's outputs for each sample by name, batch first.
    """

    feeds: Sequence[Tensors]
    labels: Labels | None = None
    answers: Sequence[Tensors] = ()

    def __len__(self) -> int:
        return len(self.feeds)

    def __repr__(self) -> str:
        labels = "no labels" if self.labels is None else "labels"
        return f"Samples({len(self)} samples, {labels})"

    def subset(self, count: int, *, seed: int) -> Samples:
        """Return at most `count` samples, drawn at random with the seed."""
        if count >= len(self):
            return self
        return self.take(choose_rows(len(self), count, seed=seed))

    def take(self, chosen: npt.NDArray[np.int64]) -> Samples:
        """Return the samples at these positions."""
        return Samples(
            feeds=[self.feeds[index] for index in chosen],
            labels=None if self.labels is None else self.labels[chosen],
            answers=[self.answers[index] for index in chosen] if self.answers else (),
        )


Held = TypeVar("Held", Dataset, Samples)


def hold_out(data: Held, share: float, *, seed: int) -> tuple[Held, Held]:
    """Split the validation data in two parts that keep their order.

    Args:
        data: The validation data.
        share: The fraction to hold out.
        seed: The seed of the choice.

    Returns:
        The remaining samples, and the held-out samples.

    Raises:
        DataError: One of the parts would be empty.
    """
    count = round(share * len(data))
    if not 0 < count < len(data):
        raise DataError(f"validation data: has {len(data)} samples: data.hold_out = {share} leaves a part without any")
    held = choose_rows(len(data), count, seed=seed)
    return data.take(np.setdiff1d(np.arange(len(data)), held)), data.take(held)


def split_dataset(dataset: Dataset, *, input_name: str | None = None) -> Samples:
    """Return the samples of a dataset as views, without copying them.

    Args:
        dataset: The dataset.
        input_name: The name of the only input, where a file gives it another one than the dataset.
    """
    arrays = dataset.named_inputs
    if input_name is not None:
        (array,) = arrays.values()
        arrays = {input_name: array}
    return Samples(
        feeds=split_rows(arrays, count=len(dataset)),
        labels=dataset.labels,
        answers=split_rows(dataset.answers, count=len(dataset)) if dataset.answers else (),
    )


def split_rows(tensors: Mapping[str, npt.NDArray[Any]], *, count: int) -> list[Tensors]:
    """Split tensors with `count` samples along their first axis into the tensors of each sample."""
    return [{name: values[row : row + 1] for name, values in tensors.items()} for row in range(count)]
