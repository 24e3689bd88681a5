"""Samples as an engine takes them: the inputs of one inference at a time, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drupelet_host.data.dataset import Dataset, Labels
from drupelet_shared.engines.base import Tensors

__all__ = ["Samples", "Tensors"]


@dataclass(frozen=True, slots=True)
class Samples:
    """What models are measured on and quantizers calibrated with; shapes may differ where the model allows it.

    Attributes:
        feeds: The inputs of each sample by name, batch first.
        labels: The class index of each sample, where there are labels.
        answers: The original's outputs for each sample by name, batch first.
    """

    feeds: Sequence[Tensors]
    labels: Labels | None = None
    answers: Sequence[Tensors] = ()

    def __len__(self) -> int:
        return len(self.feeds)

    def subset(self, count: int, *, seed: int) -> Samples:
        """At most `count` samples, chosen at random but the same for the same seed."""
        if count >= len(self):
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self), size=count, replace=False))
        return Samples(
            feeds=[self.feeds[index] for index in chosen],
            labels=None if self.labels is None else self.labels[chosen],
            answers=[self.answers[index] for index in chosen] if self.answers else (),
        )


def split_dataset(dataset: Dataset, *, input_name: str) -> Samples:
    """The samples of a dataset one by one, without copying them."""
    rows = range(len(dataset))
    return Samples(
        feeds=[{input_name: dataset.inputs[row : row + 1]} for row in rows],
        labels=dataset.labels,
        answers=split_rows(dataset.answers, count=len(dataset)) if dataset.answers else (),
    )


def split_rows(tensors: Tensors, *, count: int) -> list[Tensors]:
    """Tensors that hold `count` samples along their first axis, as the tensors of each sample."""
    return [{name: values[row : row + 1] for name, values in tensors.items()} for row in range(count)]
