"""What a model may use of the device, memory and cores: pure functions from a snapshot and the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from drupelet_agent.device.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that all workers together may use, and the limit that set them."""

    limit_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores that a model may use, and the reason for that number."""

    count: int
    reason: str


def capacity(snapshot: Snapshot, *, limit_bytes: int | None, share: float) -> Budget:
    """Determine the memory for all models together.

    Args:
        snapshot: The device now.
        limit_bytes: The part of the configured limit that is for models; None without a limit.
        share: The share of the machine's memory that models may use, 0 to 1.

    Returns:
        The smaller of the two limits.
    """
    of_machine = int(snapshot.memory_total_bytes * share)
    if limit_bytes is not None and limit_bytes < of_machine:
        return Budget(limit_bytes, "limits.memory")
    return Budget(of_machine, f"{share:.0%} of the machine's memory")


def memory_budget(snapshot: Snapshot, *, limit_bytes: int | None, share: float, in_use_bytes: int) -> Budget:
    """Determine the memory for one more model.

    Args:
        snapshot: The device now.
        limit_bytes: The part of the configured limit that is for models; None without a limit.
        share: The share of the machine's memory that models may use, 0 to 1.
        in_use_bytes: Footprint of the models that already run, which is no longer part of the available memory.

    Returns:
        The smallest of the limits less what other models use, and the available memory.
    """
    total = capacity(snapshot, limit_bytes=limit_bytes, share=share)
    if snapshot.memory_available_bytes < total.limit_bytes - in_use_bytes:
        return Budget(max(0, snapshot.memory_available_bytes), "memory available now")
    return Budget(max(0, total.limit_bytes - in_use_bytes), total.reason)


def core_share(
    snapshot: Snapshot, *, limit: int | None, others: Sequence[str], policy: Literal["shared", "split"]
) -> Cores:
    """Determine the cores that one model may plan with.

    Models that share the cores take turns on them as the kernel schedules them: each has its own workers and queue, so
    none waits for the requests of another, and under load the computation of one slows down the others. Models that
    split the cores do not slow each other down, and none can use what the others leave idle.

    Args:
        snapshot: The device now.
        limit: The configured limit; None if there is none.
        others: The other active models.
        policy: Whether models share all cores or split them.

    Returns:
        At least one core.
    """
    count = min(snapshot.cores, limit or snapshot.cores)
    if not others:
        return Cores(count, f"{count} usable cores")
    names = ", ".join(sorted(others))
    if policy == "shared":
        return Cores(count, f"{count} usable cores, shared with {names}")
    return Cores(max(1, count // (len(others) + 1)), f"its part of {count} usable cores, split with {names}")
