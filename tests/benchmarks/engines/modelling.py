"""The time of one inference at one thread by the timing model of a Cortex-A72: an estimate, and no measurement."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engines.agreement import check_answer
from benchmarks.engines.models import FLOAT, STATIC_INT8, Case, Model
from benchmarks.instructions.emulator import EmulatedPi

_GUEST = "benchmarks.engines.guest"
_TESTS = Path(__file__).resolve().parents[2]
_CLOCK_HZ = 1.8e9
# The guest marks inferences by their numbers. The timing model begins at odd marks and ends at even ones.
_STOP = _MARKED_INFERENCES = 2
_TIMEOUT_S = 3600.0
# Fitted to the published times of 33 float networks in ncnn on this board; one factor for all.
_SCALE = 1.085
# The error to state, as a fraction: ncnn's was measured on published times, the others' is assumed to be larger.
_NCNN_ERROR, _ERROR, _FLOAT_ONNXRUNTIME_ERROR = 0.20, 0.25, 0.35
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
    (cycles,) = (mark["cycles"] for mark in marks if mark["tag"] == _STOP)
    return EngineEstimate(
        network=model.network,
        runtime=model.runtime,
        precision=model.precision,
        cycles=cycles,
        milliseconds=round(_SCALE * cycles / _CLOCK_HZ * 1e3, 1),
        error=_error_of(model),
        difference=difference,
    )


def _error_of(model: Model) -> float:
    if model.runtime == "ncnn":
        return _NCNN_ERROR
    return _FLOAT_ONNXRUNTIME_ERROR if (model.runtime, model.precision) == ("onnxruntime", FLOAT) else _ERROR
