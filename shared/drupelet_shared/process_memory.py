"""The memory of a process as Linux reports it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FIELDS = {"VmRSS": "resident_bytes", "VmHWM": "peak_bytes", "VmData": "data_bytes"}
_KIB = 1024


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """The memory of one process.

    Attributes:
        resident_bytes: Resident memory now.
        peak_bytes: Peak resident memory.
        data_bytes: Private writable address space, which RLIMIT_DATA limits.
    """

    resident_bytes: int
    peak_bytes: int
    data_bytes: int


def read_memory(*, pid: int | None = None) -> ProcessMemory:
    """Read /proc/PID/status (proc(5)) of a process, this one by default; its "kB" are 1024 bytes."""
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid or 'self'}/status").read_text(encoding="ascii").splitlines():
        key, _, rest = line.partition(":")
        if key in _FIELDS:
            sizes[_FIELDS[key]] = int(rest.split()[0]) * _KIB
    return ProcessMemory(**sizes)
