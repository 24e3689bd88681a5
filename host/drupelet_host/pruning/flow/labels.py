"""Labels of channels: which must be removed together, which in equal numbers, and which must stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

NO_LABEL = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """Where the channels of a tensor lie.

    Attributes:
        dim: The dimension of the channels.
        labels: The label of each position along it, of shape (size,); NO_LABEL where no layer made it.
    """

    dim: int
    labels: torch.Tensor


class ChannelLabels:
    """Sets of labels that are one channel (union by Galler and Fischer, 1964), and conditions on sets of them."""

    def __init__(self) -> None:
        self._parents = [NO_LABEL]
        self._reasons: dict[int, str] = {}
        self._split: set[int] = set()
        self.balances: list[tuple[tuple[int, ...], ...]] = []

    def make(self, count: int) -> torch.Tensor:
        """Return new labels."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return torch.arange(start, start + count)

    def find(self, label: int) -> int:
        """Return the label that stands for all that are the same channel."""
        while self._parents[label] != label:
            self._parents[label] = self._parents[self._parents[label]]
            label = self._parents[label]
        return label

    def canonical(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the labels with each replaced by the one that stands for its channel."""
        distinct, positions = torch.unique(labels, return_inverse=True)
        return torch.tensor([self.find(label) for label in distinct.tolist()], dtype=torch.int64)[positions]

    def join(self, first: torch.Tensor, second: torch.Tensor) -> None:
        """State that labels at the same positions are one channel; NO_LABEL joins with none."""
        pairs = torch.stack([first.flatten(), second.flatten()])
        for one, other in {(int(a), int(b)) for a, b in pairs.t().tolist()}:
            if NO_LABEL not in {one, other}:
                self._join(one, other)

    def pin(self, labels: torch.Tensor, reason: str) -> None:
        """State that these channels must stay; the first reason counts."""
        for label in set(labels.flatten().tolist()) - {NO_LABEL}:
            self._reasons.setdefault(self.find(label), reason)

    def balance(self, blocks: Sequence[torch.Tensor]) -> None:
        """State that as many channels must go from each of these blocks."""
        self.balances.append(tuple(tuple(block.tolist()) for block in blocks))
        self.mark_split(torch.cat(list(blocks)))

    def mark_split(self, labels: torch.Tensor) -> None:
        """Note that the model's code divides these channels."""
        self._split.update(labels.tolist())

    def reason(self, labels: Iterable[int]) -> str:
        """Return why one of these channels must stay, or ""."""
        reasons = {self.find(label): reason for label, reason in self._reasons.items()}
        return next((reasons[label] for label in map(self.find, labels) if label in reasons), "")

    def is_split(self, labels: Iterable[int]) -> bool:
        """Return whether the model's code divides any of these channels."""
        split = {self.find(label) for label in self._split}
        return any(self.find(label) in split for label in labels)

    def _join(self, first: int, second: int) -> None:
        one, other = sorted((self.find(first), self.find(second)))
        if one == other:
            return
        self._parents[other] = one
        if other in self._reasons:
            self._reasons.setdefault(one, self._reasons.pop(other))
