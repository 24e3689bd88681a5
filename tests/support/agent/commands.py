"""The `drupelet` command as a process."""

from __future__ import annotations

import os
import subprocess
import sys


def drupelet(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run it to its end, with nothing of the environment's own settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DRUPELET_", "XDG_"))}
    command = [sys.executable, "-m", "drupelet_host", *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=environment)
    assert result.returncode == status, result.stderr
    return result
