"""Keeps what all workers together may allocate within the budget, whoever starts and stops."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from drupelet_agent.planning.budget import Budget
from drupelet_agent.planning.shares import share_out

log = logging.getLogger(__name__)


class Sharer(Protocol):
    """A model whose workers run."""

    @property
    def footprint_bytes(self) -> int:
        """What its workers together held at the most when they were measured."""

    def limit_memory(self, limit_bytes: int) -> None:
        """Let its workers together allocate so much from now on."""


class MemoryShares:
    """Divides the budget among the models in memory, those that arrive and leave included."""

    def __init__(self, capacity: Callable[[], Budget]) -> None:
        """Nobody shares yet.

        Args:
            capacity: The memory for all models together, read when it matters.
        """
        self._capacity = capacity
        # In the order in which they came; a set would give shares another order in each run.
        self._sharers: dict[Sharer, int] = {}
        self._measuring = False

    def enter(self, sharer: Sharer) -> None:
        """Before a model's workers start: the others shrink first."""
        self._sharers[sharer] = 0
        self.settle()

    def leave(self, sharer: Sharer) -> None:
        """After its workers have ended: the others may grow."""
        if self._sharers.pop(sharer, None) is not None:
            self.settle()

    def make_way(self, *, measuring: bool) -> None:
        """While another process measures a model, those that serve keep to what they were measured to need."""
        if measuring != self._measuring:
            self._measuring = measuring
            self.settle()

    def settle(self) -> None:
        """Divide again, as when the budget or a model's plan is another one."""
        if not self._sharers:
            return
        footprints = [sharer.footprint_bytes for sharer in self._sharers]
        capacity_bytes = self._capacity().limit_bytes
        if self._measuring:
            capacity_bytes = min(capacity_bytes, sum(footprints) or capacity_bytes)
        shares = dict(zip(self._sharers, share_out(footprints, capacity_bytes=capacity_bytes), strict=True))
        # Who gets less comes first, so that at no moment all together have more than there is.
        for sharer in sorted(shares, key=lambda sharer: shares[sharer] - self._sharers[sharer]):
            sharer.limit_memory(shares[sharer])
        self._sharers = shares
