"""The division of memory among the models in memory: a pure function of their footprints."""

from __future__ import annotations

from collections.abc import Sequence


def share_out(footprints: Sequence[int], *, capacity_bytes: int) -> list[int]:
    """Divide memory in proportion to footprints.

    The shares never exceed the capacity together. Where the footprints fit, each share is at least its footprint.

    Args:
        footprints: The most memory that each model held, in bytes.
        capacity_bytes: The memory for all of them.

    Returns:
        The bytes that each model may allocate.
    """
    total = sum(footprints)
    if total <= 0:
        return [capacity_bytes // len(footprints) for _ in footprints]
    return [capacity_bytes * footprint // total for footprint in footprints]
