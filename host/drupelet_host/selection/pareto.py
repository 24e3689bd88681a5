"""The Pareto front of points with one cost and one value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def pareto_front(items: Iterable[Item], *, cost: Callable[[Item], float], value: Callable[[Item], float]) -> list[Item]:
    """Return the items that no other beats, cheapest first.

    An item is beaten by one that costs no more and has at least its value; of items equal in both the first stays.

    Args:
        items: The candidates.
        cost: Less is better.
        value: More is better.
    """
    front: list[Item] = []
    for item in sorted(items, key=lambda item: (cost(item), -value(item))):
        if not front or value(item) > value(front[-1]):
            front.append(item)
    return front
