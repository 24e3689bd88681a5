"""Which models stay in memory when not all fit: pure functions of footprints and times of last use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resident:
    """A model in memory.

    Attributes:
        name: Its name among residents.
        footprint_bytes: The memory that its workers hold.
        last_used_s: When it last accepted a request or was started, on the monotonic clock.
    """

    name: str
    footprint_bytes: int
    last_used_s: float


@dataclass(frozen=True, slots=True)
class Room:
    """Whether a model fits.

    Attributes:
        victims: The residents to evict for it, least recently used first; empty if it fits without, or not at all.
        left_bytes: The most memory that could be left for it.
        fits: Whether it fits once the victims are evicted.
    """

    victims: tuple[str, ...]
    left_bytes: int
    fits: bool


def find_room(
    needed_bytes: int, residents: Sequence[Resident], *, capacity_bytes: int, used_before_s: float | None
) -> Room:
    """Choose the residents to evict so that a model fits: as few as the order of use allows.

    Args:
        needed_bytes: The model's footprint.
        residents: The models in memory.
        capacity_bytes: The memory for all of them.
        used_before_s: Only residents last used before this time may be evicted; None if none may.

    Returns:
        Whether the model fits, and the residents to evict for it.
    """
    left = capacity_bytes - sum(resident.footprint_bytes for resident in residents)
    victims = []
    for resident in sorted(residents, key=lambda resident: resident.last_used_s):
        if needed_bytes <= left:
            break
        if used_before_s is None or resident.last_used_s >= used_before_s:
            break
        victims.append(resident.name)
        left += resident.footprint_bytes
    fits = needed_bytes <= left
    return Room(victims=tuple(victims) if fits else (), left_bytes=max(0, left), fits=fits)
