"""What a pruned candidate is worth: measured as the variants that would ship, in the engine that would run them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from drupelet_host.constraints import Check, check_constraints
from drupelet_host.conversion.export import export_onnx
from drupelet_host.conversion.quantize import Method, quantize_int8
from drupelet_host.data.samples import Samples
from drupelet_host.evaluation.latency import BRIEF, THOROUGH
from drupelet_host.evaluation.measurement import Measurement, measure_models
from drupelet_host.evaluation.metrics import Metric
from drupelet_host.recipe import Constraints, QuantizeConfig
from drupelet_host.state import CompileState
from drupelet_host.variants import FLOAT, STATIC

# By the names of the variants, which passes give them.
_ORIGINAL = "original"
_METRIC_CONSTRAINT = "max_metric_drop"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured of a candidate.

    Attributes:
        measurements: The variants by id.
        excess: The fraction by which the nearest variant must still shrink, get faster or need less memory: 0 when it
            meets everything, 1 when no variant keeps the metric, None when nothing but the metric is constrained.
    """

    measurements: Mapping[str, Measurement]
    excess: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateJudge:
    """Exports a candidate, quantizes it and measures both files.

    Attributes:
        original_file: The untouched model; timed beside the candidate where a latency is constrained.
        reference: The untouched model as it was measured.
        constraints: What the result must reach.
        samples: What measures.
        metric: Scores the answers.
        calibration: What shows the quantizer the activations' ranges.
        method: How the quantizer finds ranges.
        input_shape: The model's, batch first.
        output_names: What its outputs are called.
        variants: The ids of the float and of the int8 variant.
    """

    original_file: Path
    reference: Measurement
    constraints: Constraints
    samples: Samples
    metric: Metric
    calibration: Samples
    method: Method
    input_shape: tuple[int, ...]
    output_names: tuple[str, ...]
    variants: tuple[str, str]

    def __call__(self, model: nn.Module) -> Verdict:
        """Measure.

        Raises:
            ExportError: The candidate cannot be exported or quantized.
        """
        float_variant, int8_variant = self.variants
        with tempfile.TemporaryDirectory(prefix="drupelet-candidate-") as folder:
            paths = {name: Path(folder) / f"{name}.onnx" for name in self.variants}
            export_onnx(model, self.input_shape, paths[float_variant], output_names=self.output_names)
            quantize_int8(paths[float_variant], paths[int8_variant], calibration=self.calibration, method=self.method)
            measured = self._measure(paths)
        reference = measured.pop(_ORIGINAL, self.reference)
        checks = check_constraints(self.constraints, measured, references={"onnxruntime": reference})
        return Verdict(measured, find_excess(checks))

    def _measure(self, paths: dict[str, Path]) -> dict[str, Measurement]:
        """Spend time only on what a constraint looks at; the metric and the size always count."""
        timed = self.constraints.max_latency is not None
        return measure_models(
            {**paths, _ORIGINAL: self.original_file} if timed else paths,
            self.samples,
            self.metric,
            effort=THOROUGH if timed else BRIEF,
            memory=self.constraints.memory_limit is not None,
        )


def make_judge(
    state: CompileState, *, constraints: Constraints, quantize: QuantizeConfig, input_shape: tuple[int, ...]
) -> CandidateJudge:
    """A judge of copies of the model that is being compiled.

    Args:
        state: After the evaluate pass.
        constraints: What the result must reach.
        quantize: How int8 is made; where it leaves the method to the evidence, candidates are judged by the extremes.
        input_shape: The model's, batch first.
    """
    return CandidateJudge(
        original_file=state.originals["onnxruntime"],
        reference=state.reference,
        constraints=constraints,
        samples=state.samples,
        metric=state.metric,
        calibration=state.calibration,
        method="minmax" if quantize.method == "auto" else quantize.method,
        input_shape=input_shape,
        output_names=state.require_training().output_names,
        variants=(FLOAT, STATIC),
    )


def find_excess(checks: tuple[Check, ...]) -> float | None:
    """How far the nearest variant is from the constraints on size, latency and memory; see `Verdict.excess`."""
    missed_metric = {check.variant for check in checks if check.constraint == _METRIC_CONSTRAINT and not check.met}
    costs = [check for check in checks if check.constraint != _METRIC_CONSTRAINT]
    if not costs:
        return None
    excess: dict[str, float] = {}
    for check in costs:
        if check.variant not in missed_metric:
            shrink = 0.0 if check.met else 1 - check.wanted / check.found
            excess[check.variant] = max(excess.get(check.variant, 0.0), shrink)
    return min(excess.values(), default=1.0)
