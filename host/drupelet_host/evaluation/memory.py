"""Measures a model's peak memory in a fresh process that runs nothing else."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from drupelet_shared.engines.base import Tensors
from drupelet_shared.errors import EngineError

_TIMEOUT_S = 120.0


def measure_peak_memory(path: Path, feed: Tensors, *, engine: str, threads: int) -> int:
    """Measure the peak resident memory of a process that loads and runs the model.

    The interpreter and the engine are part of it.

    Args:
        path: The model file.
        feed: The inputs of one inference by name.
        engine: The engine that loads the model.
        threads: The number of threads of one inference.

    Returns:
        The peak in bytes.

    Raises:
        EngineError: The process fails, or takes longer than two minutes.
    """
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        inputs = Path(folder) / "feed.npz"
        np.savez(inputs, allow_pickle=False, **dict(feed))
        return _run_worker(path, inputs, engine=engine, threads=threads)


def _run_worker(path: Path, inputs: Path, *, engine: str, threads: int) -> int:
    command = [sys.executable, "-m", "drupelet_host.evaluation.memory_worker", str(path), str(inputs)]
    command += ["--engine", engine, "--threads", str(threads)]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
        return int(completed.stdout)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise EngineError(f"{path.name}: measuring its memory ended with status {error.returncode}: {last}") from error
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{path.name}: measuring its memory took more than {_TIMEOUT_S:.0f} s") from error
