"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from support.broker.brokers import find_mosquitto

_PACKAGES = ("drupelet", "paho-mqtt", "onnxruntime", "numpy", "pydantic")


def read_machine(packages: Sequence[str] = _PACKAGES) -> dict[str, object]:
    """Return the processor, its cores, the interpreter, the versions of what takes part (None if absent), the time."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "mosquitto": _mosquitto_version(),
        "packages": {package: _version(package) for package in packages},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout can be run without being installed
        return None


def read_emulator() -> dict[str, str]:
    """Return the processor that is emulated, and by what."""
    said = subprocess.run(["qemu-aarch64", "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    return {"cpu": "cortex-a72", "qemu": said.partition("\n")[0].strip()}


def _cpu_model() -> str:
    # x86 names the model of each core, Arm boards the board at the end.
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Model"}:
            return value.strip()
    return platform.processor() or "unknown"


def _mosquitto_version() -> str | None:
    binary = find_mosquitto()
    if binary is None:
        return None
    # `-h` prints the version first and exits with 3.
    result = subprocess.run([binary, "-h"], capture_output=True, text=True, timeout=10, check=False)
    return result.stdout.partition("\n")[0].strip()
