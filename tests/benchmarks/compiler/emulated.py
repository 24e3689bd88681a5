"""Instructions of one inference on an emulated Cortex-A72: what the target's kernels do, and nothing about its time."""

from __future__ import annotations

from pathlib import Path

from benchmarks.instructions.counting import count
from benchmarks.instructions.emulator import EmulatedPi


class Emulator:
    """The emulated Raspberry Pi 4, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._pi = EmulatedPi(folder=folder.resolve())

    def prepare(self) -> None:
        """Make what is not there yet; see `EmulatedPi.prepare`."""
        self._pi.prepare()

    def count(self, model: Path, engine: str = "onnxruntime") -> int:
        """Return the instructions of one inference with one thread; they repeat within a tenth of a per cent."""
        return count(model, engine, pi=self._pi).instructions
