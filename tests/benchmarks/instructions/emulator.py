"""The emulated Raspberry Pi 4 that `deploy/emulator/prepare` made, as a place to run Python in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / ".venv/emulator"
_PREPARE = ROOT / "deploy/emulator/prepare"
_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class EmulatedPi:
    """A prepared machine; its processes are the host's, its loopback too.

    Attributes:
        folder: What `prepare` was given.
        release: The Python in it, "3.11" or "3.13".
    """

    folder: Path = FOLDER
    release: str = "3.11"

    @property
    def is_prepared(self) -> bool:
        """Whether it is there."""
        return self._python.is_file()

    @property
    def python(self) -> Path:
        """The emulated Python, a program of the host's that starts like any other.

        Raises:
            FileNotFoundError: The machine is not prepared.
        """
        if not self.is_prepared:
            advice = f"{_PREPARE.relative_to(ROOT)} {self.folder} {self.release}"
            raise FileNotFoundError(f"{self._python} is missing: run {advice}")
        return self._python

    @property
    def _python(self) -> Path:
        return self.folder / self.release / "python"

    def prepare(self) -> None:
        """Make it, or bring it up to date; as root, missing Debian packages are installed.

        Raises:
            subprocess.CalledProcessError: It cannot be made; what is missing stands on standard error.
        """
        # LiteRT's converter has an environment of its own, which cannot build the agent; the other one can.
        python = {"PYTHON": sys.executable} if find_spec("hatchling") else {}
        command = (_PREPARE, self.folder, self.release)
        subprocess.run(command, env={**os.environ, **python}, check=True, stdout=sys.stderr)

    def file(self, path: str) -> Path:
        """Return a file of the machine by its absolute path there, such as /proc/cpuinfo."""
        return self.folder / self.release / "rootfs" / path.lstrip("/")

    def run(
        self,
        *words: str | Path,
        cpu: str = "cortex-a72",
        counts: Path | None = None,
        times: Path | None = None,
        model_options: Sequence[str] = (),
        timeout_s: float = _TIMEOUT_S,
        path: Sequence[Path] = (),
    ) -> str:
        """Run the emulated Python to its end and return what it printed.

        Args:
            *words: Its arguments.
            cpu: The processor, by QEMU's name.
            counts: Where the instruction counts go; None for none, which is faster.
            times: Where the timing model of the Cortex-A72 writes, instead of counts; see `deploy/emulator/cortex_a72`.
            model_options: Options of the timing model, "name=value".
            timeout_s: How long it may take.
            path: Folders to import from, before those of the host's PYTHONPATH.

        Raises:
            subprocess.CalledProcessError: It failed; what it said on standard error is among the notes.
        """
        environment = {
            **os.environ,
            "EMULATED_CPU": cpu,
            "EMULATED_COUNTS": str(counts or ""),
            "EMULATED_TIMES": str(times or ""),
            "EMULATED_OPTIONS": "".join(f",{option}" for option in model_options),
        }
        if path:
            rest = os.environ.get("PYTHONPATH")
            environment["PYTHONPATH"] = os.pathsep.join([*map(str, path), *([rest] if rest else [])])
        command = [str(word) for word in (self.python, *words)]
        try:
            result = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=True
            )
        except subprocess.CalledProcessError as error:
            error.add_note(error.stderr)
            raise
        return result.stdout
