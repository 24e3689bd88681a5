"""`drupelet push`: a package on its way from the host to the device, with the device's own words on each stage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from emulated.machine.lab import DEVICE, CheckError, Lab

# Rich folds what is longer.
_WIDTH = "500"
_CONNECT_S = "120"


def start_push(lab: Lab, package: Path) -> subprocess.Popen[str]:
    """The command; its lines come as the device says them."""
    command = [sys.executable, "-m", "drupelet_host", "push", str(package), "--device", DEVICE]
    command += ["--broker", lab.broker.url, "--timeout", _CONNECT_S]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "COLUMNS": _WIDTH, "PYTHONUNBUFFERED": "1"},
    )


def stage_of(line: str) -> str:
    """The stage that a line tells of: `verified` in `pi-7  verified: digits 1.0.0`; empty for other lines."""
    device, _, rest = line.partition("  ")
    return rest.partition(":")[0] if device == DEVICE and ": " in rest else ""


def push(lab: Lab, package: Path) -> list[str]:
    """Push a package, wait until it is active, and return the stages in order.

    Raises:
        CheckError: The device refused it.
    """
    with start_push(lab, package) as process:
        assert process.stdout is not None
        lines = [line.rstrip() for line in process.stdout]
    if process.returncode:
        raise CheckError(f"{package.name} was refused: {' / '.join(lines)}")
    return [stage for line in lines if (stage := stage_of(line))]
