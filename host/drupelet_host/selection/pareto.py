"""The Pareto front of points with one cost and one value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def pareto_front(items: Iterable[Item], *, cost: Callable[[Item], float], value: Callable[[Item], float]) -> list[Item]:
    """Return the items that no other dominates, cheapest first.

    An item is dominated by one that costs no more and has at least its value; of items equal in both the first is kept.

    Args:
        items: The candidates.
        cost: Returns the cost of an item; less is better.
        value: Returns the value of an item; more is better.
    """
    front: list[Item] = []
    for item in sorted(items, key=lambda item: (cost(item), -value(item))):
        if not front or value(item) > value(front[-1]):
            front.append(item)
    return front
