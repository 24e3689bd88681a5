# ruff: noqa: INP001 - a script
"""Loaded first by the emulated Python: what QEMU's user mode lets through from the host although the Pi has its own."""

from __future__ import annotations

import os
from pathlib import Path


def _cores_of_the_overlay(_pid: int) -> set[int]:
    """The cores that /sys names; the system call would tell those of the host."""
    first, _, last = Path("/sys/devices/system/cpu/online").read_text(encoding="ascii").strip().partition("-")
    return set(range(int(first), int(last or first) + 1))


os.sched_getaffinity = _cores_of_the_overlay
