"""The resources of a device at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The resources at one moment.

    Attributes:
        cpu_model: The board's or the processor's name.
        cores: How many cores this process may use: its affinity (which cpusets set), and its quota rounded up.
        cpu_quota: The cores' worth of time its control groups allow; None without a quota.
        memory_total_bytes: The machine's memory, or the control group's limit if that is smaller.
        memory_available_bytes: What could be allocated now without swapping or reaching a limit.
        temperature_celsius: The processor's temperature; None where the device does not tell.
        throttled: Whether the firmware slows the cores down now; None where the device does not tell.
    """

    cpu_model: str
    cores: int
    cpu_quota: float | None
    memory_total_bytes: int
    memory_available_bytes: int
    temperature_celsius: float | None
    throttled: bool | None
