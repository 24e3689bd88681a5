"""What a device has at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The resources at one moment.

    Attributes:
        cpu_model: The board's or the processor's name.
        cores: How many cores this process may use: its affinity, and its cgroup's quota rounded up.
        memory_total_bytes: The machine's memory, or the cgroup's limit if that is smaller.
        memory_available_bytes: What could be allocated now without swapping.
        temperature_celsius: The processor's temperature; None where the device does not tell.
        throttled: Whether the firmware slows the cores down now; None where the device does not tell.
    """

    cpu_model: str
    cores: int
    memory_total_bytes: int
    memory_available_bytes: int
    temperature_celsius: float | None
    throttled: bool | None
