"""One constraint against one variant."""

from __future__ import annotations

from dataclasses import dataclass

from drupelet_shared.units import format_bytes


@dataclass(frozen=True, slots=True)
class Check:
    """One constraint against one variant; smaller values are better.

    Attributes:
        constraint: The name of the constraint.
        variant: The id of the variant.
        limit: The limit.
        value: The measured or modelled value.
        lowest: The lower bound of the value, where it is known to a range only.
        highest: The upper bound.
        unit: "ms" for a latency in milliseconds; "" where the constraint has one unit only.
    """

    constraint: str
    variant: str
    limit: float
    value: float
    lowest: float | None = None
    highest: float | None = None
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the value is within the limit: for a range, all of it."""
        return self.bound <= self.limit

    @property
    def bound(self) -> float:
        """The value that must be within the limit: the upper bound of a range."""
        return self.value if self.highest is None else self.highest

    @property
    def is_undecided(self) -> bool:
        """Whether the limit lies within the range of the value, so that a more precise measurement may decide."""
        return self.lowest is not None and self.lowest <= self.limit < self.bound

    @property
    def is_for_each_engine(self) -> bool:
        """Whether a variant of every engine must meet it.

        A time and a memory are enough in one engine, which devices then run. A ratio is to the original in the
        same engine: one that is slow there may meet it and still be the slower one.
        """
        if self.constraint == "max_latency":
            return self.unit != "ms"
        return self.constraint != "memory_limit"


def show_limit(check: Check, value: float) -> str:
    """Return a value of a constraint in words.

    Args:
        check: The constraint.
        value: The limit, or the measured value.
    """
    if check.constraint in {"max_size", "memory_limit"}:
        return f"{format_bytes(value)} ({value:.0f} bytes)"
    return f"{value:.4g} {check.unit}".rstrip()
