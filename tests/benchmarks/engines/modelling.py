"""The time of one inference at one thread by the timing model of a Cortex-A72: an estimate, and no measurement."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engines.agreement import check_answer
from benchmarks.engines.models import FLOAT, STATIC_INT8, Case, Model
from benchmarks.instructions.emulator import EmulatedPi
from drupelet_host.latency.modelled.exact import CLOCK_HZ
from drupelet_host.latency.modelled.layers import Precision
from drupelet_host.latency.modelled.table import load_table

_GUEST = "benchmarks.engines.guest"
_TESTS = Path(__file__).resolve().parents[2]
# The guest marks inferences by their numbers. The timing model begins at odd marks and ends at even ones.
_STOP = _MARKED_INFERENCES = 2
_TIMEOUT_S = 3600.0
# The product's table states the factor between cycles and published times, and the error of each engine and precision.
_TARGET = "raspberry_pi_4"
_PRECISIONS: dict[str, Precision] = {FLOAT: "float32", STATIC_INT8: "int8"}
# What the product makes; others' runtimes were never compared with published times.
MODELLED = frozenset(
    (runtime, precision) for runtime in ("onnxruntime", "litert", "ncnn") for precision in (FLOAT, STATIC_INT8)
)


@dataclass(frozen=True, slots=True)
class EngineEstimate:
    """One model in its runtime on the modelled processor.

    Attributes:
        network: Of `NETWORKS`.
        runtime: What ran it, from its aarch64 wheel.
        precision: Of the file.
        cycles: Of one inference, as the timing model says.
        milliseconds: The same at 1.8 GHz, times the factor that was fitted to published times.
        error: By how much the time on a Raspberry Pi 4 may differ, as a fraction of it.
        difference: From PyTorch on the host, of the largest score.
    """

    network: str
    runtime: str
    precision: str
    cycles: int
    milliseconds: float
    error: float
    difference: float


def model_time(model: Model, case: Case, *, pi: EmulatedPi) -> EngineEstimate:
    """Estimate one model, after its answer on the emulated board was checked.

    Raises:
        BenchmarkError: The runtime computes something else.
        subprocess.CalledProcessError: It cannot load or run the file.
    """
    with tempfile.TemporaryDirectory(prefix="drupelet-") as name:
        answer, times = Path(name) / "answer.npy", Path(name) / "times.jsonl"
        words = (model.runtime, model.path, case.image, answer, str(_MARKED_INFERENCES))
        pi.run("-m", _GUEST, *words, times=times, timeout_s=_TIMEOUT_S, path=[_TESTS])
        difference = check_answer(model, answer, case=case)
        marks = [json.loads(line) for line in times.read_text(encoding="ascii").splitlines()]
    table = load_table(_TARGET)
    assert table is not None, "the product has a table of this target"
    (cycles,) = (mark["cycles"] for mark in marks if mark["tag"] == _STOP)
    return EngineEstimate(
        network=model.network,
        runtime=model.runtime,
        precision=model.precision,
        cycles=cycles,
        milliseconds=round(table.scale * cycles / CLOCK_HZ * 1e3, 1),
        error=table.accuracies[model.runtime, _PRECISIONS[model.precision]].model_error,
        difference=difference,
    )
