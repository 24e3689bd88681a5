"""How the memory for all models is divided among those in memory: a pure function of their footprints."""

from __future__ import annotations

from collections.abc import Sequence


def share_out(footprints: Sequence[int], *, capacity_bytes: int) -> list[int]:
    """What each may allocate: its footprint, and of what is left a part as large as its footprint is among them.

    The shares never come to more than the capacity; where the footprints do, each is as much too small as the others.

    Args:
        footprints: What each holds at the most, in bytes.
        capacity_bytes: The memory for all of them.
    """
    total = sum(footprints)
    if total <= 0:
        return [capacity_bytes // len(footprints) for _ in footprints]
    return [capacity_bytes * footprint // total for footprint in footprints]
