"""Instructions of one inference at one thread on the emulated Cortex-A72: how much work, and nothing about time."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engines.agreement import check_answer
from benchmarks.engines.environments import guest_packages
from benchmarks.engines.models import Case, Model
from benchmarks.instructions.counting import count_guest
from benchmarks.instructions.emulator import EmulatedPi

# They differ by less than a tenth of a per cent.
_RUNS = 2


@dataclass(frozen=True, slots=True)
class EngineInstructions:
    """One model in its runtime.

    Attributes:
        network: Of `NETWORKS`.
        runtime: What ran it, from its aarch64 wheel.
        precision: Of the file.
        instructions: Of one inference, the median of `runs`.
        dot_products: How many of them are int8 dot or matrix products, which a Cortex-A72 has not.
        runs: The instructions of each inference.
        difference: From PyTorch on the host, of the largest score.
    """

    network: str
    runtime: str
    precision: str
    instructions: int
    dot_products: int
    runs: tuple[int, ...]
    difference: float


def count_model(model: Model, case: Case, *, pi: EmulatedPi, environments: Path) -> EngineInstructions:
    """Count one model, after its answer on the emulated board was checked.

    Raises:
        BenchmarkError: The runtime computes something else.
        subprocess.CalledProcessError: It cannot load or run the file.
    """
    packages = guest_packages(model.runtime, environments)
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.npy"
        words = (model.runtime, model.path, case.image, answer, str(_RUNS))
        counted = count_guest("benchmarks.engines.guest", *words, pi=pi, packages=packages)
        difference = check_answer(model, answer, case=case)
    return EngineInstructions(
        network=model.network,
        runtime=model.runtime,
        precision=model.precision,
        instructions=counted.instructions,
        dot_products=counted.dot_products,
        runs=counted.runs,
        difference=difference,
    )
