"""Reads the resources of this device; the only module that imports psutil."""

from __future__ import annotations

import math
import os
import platform
import time
from pathlib import Path

import psutil

from drupelet_agent.device.cgroups import cpu_quota, memory_limit, read_text
from drupelet_agent.device.snapshot import Snapshot

_CPU_SENSORS = ("cpu_thermal", "cpu-thermal", "coretemp", "k10temp", "soc_thermal")
# Bit 2: the ARM cores are slowed down at this moment (Raspberry Pi documentation, `vcgencmd get_throttled`).
_THROTTLED_NOW = 1 << 2


def take_snapshot(*, root: Path = Path("/")) -> Snapshot:
    """Read the device.

    Args:
        root: Where /proc and /sys are; another folder in tests.
    """
    memory = psutil.virtual_memory()
    limit = memory_limit(root)
    quota = cpu_quota(root)
    return Snapshot(
        cpu_model=cpu_model(root=root),
        cores=_usable_cores(quota),
        cpu_quota=quota,
        memory_total_bytes=min(memory.total, limit.limit_bytes) if limit else memory.total,
        memory_available_bytes=min(memory.available, limit.left_bytes) if limit else memory.available,
        temperature_celsius=_temperature(),
        throttled=_throttled(root),
    )


def cpu_model(*, root: Path = Path("/")) -> str:
    """Return the model name of the board, or that of the processor if the board has none."""
    own = board(root=root)
    if own is not None:
        return own
    for line in read_text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"Model", "model name"}:
            return value.strip()
    return platform.machine()


def board(*, root: Path = Path("/")) -> str | None:
    """Return the model name of the board; None on a machine without a device tree."""
    return read_text(root / "proc/device-tree/model").rstrip("\0") or None


def cpu_percent() -> float:
    """Return the CPU use of the whole machine since the last call, 0 to 100."""
    return psutil.cpu_percent(interval=None)


def is_throttled(*, root: Path = Path("/")) -> bool:
    """Return whether the firmware slows the cores down now; False where the device does not tell."""
    return bool(_throttled(root))


def uptime_s() -> float:
    """Return the seconds since the machine booted."""
    return time.time() - psutil.boot_time()


def resident_bytes(pid: int | None = None) -> int:
    """Return the resident memory of a process, by default this one; 0 if it has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _usable_cores(quota: float | None) -> int:
    # The affinity is what a cpuset leaves, whichever version of control groups set it.
    cores = len(os.sched_getaffinity(0))
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _temperature() -> float | None:
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    for name in _CPU_SENSORS:
        if sensors.get(name):
            return float(sensors[name][0].current)
    return None


def _throttled(root: Path) -> bool | None:
    text = read_text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    return bool(int(text, 16) & _THROTTLED_NOW) if text else None
