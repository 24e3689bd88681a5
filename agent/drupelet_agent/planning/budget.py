"""What a model may use of the device, memory and cores: pure functions from a snapshot and the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from drupelet_agent.device.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes all workers together may use, and which limit set it."""

    limit_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores a model may use, and how that number came about."""

    count: int
    reason: str


def capacity(snapshot: Snapshot, *, limit_bytes: int | None, share: float) -> Budget:
    """The memory for all models together.

    Args:
        snapshot: The device now.
        limit_bytes: The configured limit for all workers, if there is one.
        share: The share of the machine's memory that workers may use.
    """
    of_machine = int(snapshot.memory_total_bytes * share)
    if limit_bytes is not None and limit_bytes < of_machine:
        return Budget(limit_bytes, "limits.memory")
    return Budget(of_machine, f"{share:.0%} of the machine's memory")


def memory_budget(snapshot: Snapshot, *, limit_bytes: int | None, share: float, in_use_bytes: int) -> Budget:
    """The memory left for one more model: the smallest of the limits, less what other models use.

    Args:
        snapshot: The device now.
        limit_bytes: The configured limit for all workers, if there is one.
        share: The share of the machine's memory that workers may use.
        in_use_bytes: Footprint of the models that already run; it is no longer part of what is available.
    """
    total = capacity(snapshot, limit_bytes=limit_bytes, share=share)
    if snapshot.memory_available_bytes < total.limit_bytes - in_use_bytes:
        return Budget(max(0, snapshot.memory_available_bytes), "memory available now")
    return Budget(max(0, total.limit_bytes - in_use_bytes), total.reason)


def core_share(
    snapshot: Snapshot, *, limit: int | None, others: Sequence[str], policy: Literal["shared", "split"]
) -> Cores:
    """The cores one model may plan with.

    Models that share the cores take turns on them as the kernel sees fit: each has workers and a queue of its own, so
    none waits for another's requests, and under load each is slowed down by what the others compute. Where they split
    the cores, none is slowed down and none can use what the others leave idle.

    Args:
        snapshot: The device now.
        limit: The configured limit, if there is one.
        others: The other active models.
        policy: Whether models share all cores or split them.
    """
    count = min(snapshot.cores, limit or snapshot.cores)
    if not others:
        return Cores(count, f"{count} usable cores")
    names = ", ".join(sorted(others))
    if policy == "shared":
        return Cores(count, f"{count} usable cores, shared with {names}")
    return Cores(max(1, count // (len(others) + 1)), f"its part of {count} usable cores, split with {names}")
