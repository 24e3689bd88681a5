"""An environment with the agent alone, as a device has it: none of the host's or the tests' dependencies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.child import BenchmarkError

_CHECKOUT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 300.0


def make_agent_environment(folder: Path) -> Path:
    """Install this checkout's agent into a new environment and return its interpreter.

    Raises:
        BenchmarkError: A package cannot be installed.
    """
    python = folder / "bin" / "python"
    _run([sys.executable, "-m", "venv", str(folder)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt", ".[agent]"])
    return python


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, cwd=_CHECKOUT, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        raise BenchmarkError(f"agent environment: {' '.join(command)}: {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"agent environment: {' '.join(command)}: not done in {_TIMEOUT_S:g} s") from error
