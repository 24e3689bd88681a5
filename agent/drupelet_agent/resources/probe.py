"""Reads what this device has right now; the one module that imports psutil."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import psutil

from drupelet_agent.resources.snapshot import Snapshot

_CPU_SENSORS = ("cpu_thermal", "cpu-thermal", "coretemp", "k10temp", "soc_thermal")
# Bit 2: the ARM cores are slowed down at this moment (Raspberry Pi documentation, `vcgencmd get_throttled`).
_THROTTLED_NOW = 1 << 2
_UNLIMITED = 2**60


def take_snapshot(*, root: Path = Path("/")) -> Snapshot:
    """Read the device.

    Args:
        root: Where /proc and /sys are; another folder in tests.
    """
    memory = psutil.virtual_memory()
    limit = _cgroup_memory_limit(root)
    return Snapshot(
        cpu_model=cpu_model(root=root),
        cores=_usable_cores(root),
        memory_total_bytes=min(memory.total, limit),
        memory_available_bytes=min(memory.available, limit),
        temperature_celsius=_temperature(),
        throttled=_throttled(root),
    )


def cpu_model(*, root: Path = Path("/")) -> str:
    """What the board, or else the processor, calls itself."""
    board = _read(root / "proc/device-tree/model").rstrip("\0")
    if board:
        return board
    for line in _read(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"Model", "model name"}:
            return value.strip()
    return platform.machine()


def cpu_percent() -> float:
    """CPU use of the whole machine since the last call, 0 to 100."""
    return psutil.cpu_percent(interval=None)


def uptime_s() -> float:
    """Seconds since the machine booted."""
    return time.time() - psutil.boot_time()


def resident_bytes(pid: int | None = None) -> int:
    """Resident memory of a process (this one by default); 0 if it is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _usable_cores(root: Path) -> int:
    cores = len(os.sched_getaffinity(0))
    quota = _cgroup_cpu_quota(root)
    return cores if quota is None else max(1, min(cores, quota))


def _cgroup_cpu_quota(root: Path) -> int | None:
    """Whole cores of the process's CPU quota, rounded up; None without one (cgroup v2, then v1)."""
    for group in _cgroup_folders(root, "cpu"):
        words = _read(group / "cpu.max").split() or [
            _read(group / "cpu.cfs_quota_us"),
            _read(group / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit():  # noqa: PLR2004 - quota and period
            return -(-int(words[0]) // int(words[1]))
    return None


def _cgroup_memory_limit(root: Path) -> int:
    limits = [
        int(text)
        for group in _cgroup_folders(root, "memory")
        for name in ("memory.max", "memory.limit_in_bytes")
        if (text := _read(group / name)).isdigit()
    ]
    return min(limits, default=_UNLIMITED)


def _cgroup_folders(root: Path, controller: str) -> list[Path]:
    """This process's cgroup and its ancestors, nearest first, for a controller of v1 or for v2."""
    folders = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / (controller if controllers else "")
        group = base / path.lstrip("/")
        folders += [group, *(parent for parent in group.parents if parent.is_relative_to(base))]
    return folders


def _temperature() -> float | None:
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    for name in _CPU_SENSORS:
        if sensors.get(name):
            return float(sensors[name][0].current)
    return None


def _throttled(root: Path) -> bool | None:
    text = _read(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    return bool(int(text, 16) & _THROTTLED_NOW) if text else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
