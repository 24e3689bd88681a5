"""Memory limits of all workers: together they stay within the budget at every moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from drupelet_agent.planning.budget import Budget
from drupelet_agent.planning.shares import share_out


class Member(Protocol):
    """A model whose workers run."""

    @property
    def footprint_bytes(self) -> int:
        """The most memory that its workers together held when they were measured."""

    def limit_memory(self, limit_bytes: int) -> None:
        """Limit the memory of its workers together."""


class MemoryShares:
    """Divides the budget among the models in memory, those that start and stop included.

    Invariant: the limits of all members together never exceed the budget, not even while they change.
    """

    def __init__(self, capacity: Callable[[], Budget]) -> None:
        """Start without members.

        Args:
            capacity: Returns the memory for all models together.
        """
        self._capacity = capacity
        # A dict keeps the order in which members came; a set would give another division in each run.
        self._limits: dict[Member, int] = {}
        self._measuring = False

    def enter(self, member: Member) -> None:
        """Add a model before its workers start; the limits of the others shrink first."""
        self._limits[member] = 0
        self.rebalance()

    def leave(self, member: Member) -> None:
        """Remove a model after its workers have ended; the limits of the others grow."""
        if self._limits.pop(member, None) is not None:
            self.rebalance()

    def set_measuring(self, *, measuring: bool) -> None:
        """Limit members to their footprints while another process measures a model, which needs the rest."""
        if measuring != self._measuring:
            self._measuring = measuring
            self.rebalance()

    def rebalance(self) -> None:
        """Divide again, after the budget or the plan of a model has changed."""
        if not self._limits:
            return
        footprints = [member.footprint_bytes for member in self._limits]
        capacity_bytes = self._capacity().limit_bytes
        if self._measuring:
            capacity_bytes = min(capacity_bytes, sum(footprints) or capacity_bytes)
        limits = dict(zip(self._limits, share_out(footprints, capacity_bytes=capacity_bytes), strict=True))
        # Limits that shrink go first, so that all together never exceed the budget.
        for member in sorted(limits, key=lambda member: limits[member] - self._limits[member]):
            member.limit_memory(limits[member])
        self._limits = limits
