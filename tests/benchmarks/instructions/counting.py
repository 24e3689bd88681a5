"""How many instructions an inference takes on a Cortex-A72, which says what its kernels do and nothing about time."""

from __future__ import annotations

import itertools
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.instructions.emulator import EmulatedPi

_GUEST = Path(__file__).with_name("guest.py")
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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts.txt"
        pi.run(_GUEST, engine, model.resolve(), str(_RUNS), cpu=cpu, counts=path, timeout_s=_TIMEOUT_S)
        marks = [tuple(map(int, line.split()[1:])) for line in path.read_text(encoding="ascii").splitlines()]
    # The last line is the end of the process, after the last mark.
    *marks, _ = marks
    totals, dots = zip(*marks, strict=True)
    runs = tuple(after - before for before, after in itertools.pairwise(totals))
    return Count(instructions=round(statistics.median(runs)), dot_products=(dots[-1] - dots[0]) // len(runs), runs=runs)
