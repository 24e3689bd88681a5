"""Runs a model file in the timing model of the Cortex-A72, which `deploy/emulator/prepare` builds."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from drupelet_host.errors import ModelError
from drupelet_host.latency.modelled.layers import EngineName
from drupelet_shared.errors import InvalidValueError

CLOCK_HZ = 1.8e9
_GUEST = Path(__file__).with_name("guest.py")
_TIMEOUT_S = 3600
_MS = 1000


def run_exactly(path: Path, engine: EngineName, *, emulator: Path) -> float:
    """Run one inference at one thread in the timing model.

    Args:
        path: The model file.
        engine: What loads it.
        emulator: The folder that `deploy/emulator/prepare` made.

    Returns:
        The milliseconds that the timing model gives, unscaled.

    Raises:
        InvalidValueError: The folder has no emulated Python or no timing model.
        ModelError: The emulated engine cannot load or run the file, or takes too long.
    """
    python, plugin = emulator / "3.11/python", emulator / "cortex_a72.so"
    if not python.is_file() or not plugin.is_file():
        raise InvalidValueError(f"{emulator}: not prepared: run deploy/emulator/prepare {emulator}")
    with tempfile.TemporaryDirectory(prefix="drupelet-") as folder:
        times = Path(folder) / "times.jsonl"
        environment = {**os.environ, "EMULATED_TIMES": str(times), "PYTHONPATH": ""}
        command = [str(python), str(_GUEST), engine, str(path.resolve())]
        try:
            subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or ["no message"])[-1]
            raise ModelError(f"{path.name}: {engine} cannot run it on the emulated processor: {last}") from error
        except subprocess.TimeoutExpired as error:
            raise ModelError(
                f"{path.name}: {engine} did not finish within {_TIMEOUT_S} s on the emulated processor"
            ) from error
        lines = times.read_text(encoding="ascii").splitlines()
    cycles = int(json.loads(lines[-1])["cycles"])
    return cycles / CLOCK_HZ * _MS
