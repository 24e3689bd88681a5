"""Peak memory of a model, measured in a fresh process that does nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from drupelet_shared.errors import EngineError

_TIMEOUT_S = 120.0


def measure_peak_memory(path: Path, *, engine: str, threads: int) -> int:
    """Peak resident bytes of a process that loads the model and runs it, interpreter and runtime included.

    Args:
        path: The model file.
        engine: The engine that loads it.
        threads: How many threads one inference uses.

    Raises:
        EngineError: The process failed.
    """
    command = [sys.executable, "-m", "drupelet_host.evaluation.memory_worker", str(path)]
    command += ["--engine", engine, "--threads", str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
        return int(done.stdout)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise EngineError(f"{path.name}: measuring its memory ended with status {error.returncode}: {last}") from error
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{path.name}: measuring its memory took more than {_TIMEOUT_S:.0f} s") from error
