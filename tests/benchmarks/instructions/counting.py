"""How many instructions an inference takes on a Cortex-A72, which says what its kernels do and nothing about time."""

from __future__ import annotations

import itertools
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.instructions.emulator import EmulatedPi

_GUEST = "benchmarks.instructions.guest"
_TESTS = Path(__file__).resolve().parents[2]
_RUNS = 3
# A ResNet18 at 224 x 224 takes a few minutes, more on a busy machine.
_TIMEOUT_S = 3600


@dataclass(frozen=True, slots=True)
class Count:
    """Instructions of one inference at one thread.

    Attributes:
        instructions: The median of a few inferences.
        dot_products: How many of them multiply int8 four or eight at a time; a Cortex-A72 has none of these.
        runs: The instructions of each inference, in order.
    """

    instructions: int
    dot_products: int
    runs: tuple[int, ...]


def count(model: Path, engine: str, *, pi: EmulatedPi, cpu: str = "cortex-a72") -> Count:
    """Count the instructions of one inference of a model file at one thread; they repeat within a tenth of a per cent.

    Args:
        model: The file; its variable dimensions are taken as 1.
        engine: A name of `drupelet_shared.engines.registry.ENGINES`.
        pi: The machine.
        cpu: Its processor, by QEMU's name.

    Raises:
        FileNotFoundError: The emulator is not prepared.
        subprocess.CalledProcessError: The engine cannot load or run the file.
    """
    return count_guest(_GUEST, engine, model.resolve(), str(_RUNS), pi=pi, cpu=cpu)


def count_guest(
    module: str, *words: str | Path, pi: EmulatedPi, cpu: str = "cortex-a72", packages: Path | None = None
) -> Count:
    """Count what a module of the benchmarks marks with `benchmarks.instructions.marks`; see `count`.

    Args:
        module: It runs in the emulated Python.
        *words: Its arguments.
        pi: The machine.
        cpu: Its processor, by QEMU's name.
        packages: A folder with more of the guest's packages.
    """
    path = [_TESTS, packages] if packages else [_TESTS]
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts.txt"
        pi.run("-m", module, *words, cpu=cpu, counts=counts, timeout_s=_TIMEOUT_S, path=path)
        marks = [tuple(map(int, line.split()[1:])) for line in counts.read_text(encoding="ascii").splitlines()]
    # The last line is the end of the process, after the last mark.
    *marks, _ = marks
    totals, dots = zip(*marks, strict=True)
    runs = tuple(after - before for before, after in itertools.pairwise(totals))
    return Count(instructions=round(statistics.median(runs)), dot_products=(dots[-1] - dots[0]) // len(runs), runs=runs)
