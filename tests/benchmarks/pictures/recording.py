"""Runs a command and records what it prints, line by line with its time, as a result file."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.child import BenchmarkError
from benchmarks.machine import read_machine

COLUMNS = 100
# Colours, but no progress bar that redraws its line: a recording is made of whole lines.
_TERMINAL = {"FORCE_COLOR": "1", "TTY_INTERACTIVE": "0", "COLUMNS": str(COLUMNS), "PYTHONUNBUFFERED": "1"}


def record(command: Sequence[str], *, shown: str, folder: Path) -> Mapping[str, Any]:
    """Run a command and return its recording.

    Args:
        command: The command and its arguments.
        shown: The command as a person types it.
        folder: The folder to run it in; its path is left out of the recording.

    Returns:
        The machine, the command, the columns, and for each line the seconds since the start and the text with its
        ANSI colours.

    Raises:
        BenchmarkError: The command fails.
    """
    machine = read_machine()
    start = time.monotonic()
    lines: list[tuple[float, str]] = []
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **_TERMINAL},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            text = line.rstrip("\n").replace(f"{folder}/", "")
            lines.append((round(time.monotonic() - start, 2), text))
    if process.returncode:
        raise BenchmarkError(f"{shown} ended with {process.returncode}:\n" + "\n".join(text for _, text in lines[-20:]))
    return {"machine": machine, "command": shown, "columns": COLUMNS, "lines": lines}
