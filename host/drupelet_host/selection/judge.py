"""Judges pruned candidates: measures them as the variants that would ship, in the engines that would run them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from drupelet_host.data.samples import Samples
from drupelet_host.errors import ExportError, LatencyError
from drupelet_host.evaluation.measure import measure_models
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.evaluation.metrics import Metric
from drupelet_host.evaluation.target_latency import add_latency
from drupelet_host.export.litert import export_litert, quantize_litert
from drupelet_host.export.ncnn import export_ncnn
from drupelet_host.export.onnx import export_onnx
from drupelet_host.latency.source import DEFAULT_PRECISION, LatencySource
from drupelet_host.latency.workstation import BRIEF
from drupelet_host.quantization.ncnn.static import NcnnInt8Settings, calibrate_ncnn, write_ncnn_int8
from drupelet_host.quantization.ranges import Method
from drupelet_host.quantization.static import StaticSettings, quantize_static
from drupelet_host.recipe.schema import INPUT_NAME, Constraints
from drupelet_host.selection.check import Check
from drupelet_host.selection.constraints import check_constraints
from drupelet_host.selection.variants import FLOAT, JUDGED, LITERT_FLOAT, LITERT_STATIC, NCNN_FLOAT, NCNN_STATIC, STATIC
from drupelet_shared.package.manifest import EngineName

log = logging.getLogger(__name__)

_METRIC_CONSTRAINT = "max_metric_drop"
# The search ends this far below a limit, so that later measurements of the same model are within it too.
_MARGINS = {"max_latency": 0.03}
# Where the range of a latency contains its limit, it is measured again to this fraction.
_FINE_PRECISION = 0.005


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """The measurements of a candidate.

    Attributes:
        measurements: The measurement of each variant, by id.
        excess: The fraction by which the nearest variant must still reduce its size, latency or memory, in the engine
            where this is largest. It is 0 if every constraint is met, 1 if no variant keeps the metric, and None if
            only the metric is constrained.
    """

    measurements: Mapping[str, Measurement]
    excess: float | None

    def metric(self, variants: Sequence[str]) -> float:
        """Return the lowest metric of these variants, which holds for every engine that a device may choose."""
        return min(self.measurements[name].metric for name in variants)


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateJudge:
    """Exports a candidate for each engine, quantizes it there and measures all files.

    Attributes:
        originals: The original model for each engine; it is timed together with the candidate if a latency is
            constrained.
        references: The measurement of the original in each engine.
        constraints: The limits that candidates must meet.
        samples: The validation samples.
        latency_source: The source of the latency on the target.
        metric: Scores the outputs.
        calibration: The calibration samples.
        method: The calibration method.
        input_shape: The shape of the model's input, batch first.
        output_names: The names of the model's outputs.
    """

    originals: Mapping[EngineName, Path]
    references: Mapping[EngineName, Measurement]
    constraints: Constraints
    samples: Samples
    latency_source: LatencySource
    metric: Metric
    calibration: Samples
    method: Method
    input_shape: tuple[int, ...]
    output_names: tuple[str, ...]

    def __call__(self, model: nn.Module) -> CandidateResult:
        """Export, quantize and measure a candidate.

        Raises:
            ExportError: The candidate cannot be exported. One that cannot be quantized is measured in float alone.
            LatencyError: No variant of the candidate runs on the target in one of the engines.
        """
        with tempfile.TemporaryDirectory(prefix="drupelet-candidate-") as folder:
            paths: dict[str, Path] = {}
            if "onnxruntime" in self.originals:
                paths |= self._write_onnx(model, Path(folder))
            if "litert" in self.originals:
                paths |= self._write_litert(model, Path(folder))
            if "ncnn" in self.originals:
                paths |= self._write_ncnn(model, Path(folder))
            measured = self._measure(paths)
            checks = self._check(measured)
            if not self.latency_source.is_quick and any(check.is_undecided for check in checks):
                measured = self._time(measured, precision=_FINE_PRECISION)
                checks = self._check(measured)
        for engine in self.originals:
            measured.pop(engine, None)
        excess = [
            find_excess(tuple(check for check in checks if check.variant in JUDGED[engine]))
            for engine in self.originals
        ]
        return CandidateResult(measured, max((value for value in excess if value is not None), default=None))

    def _check(self, measured: Mapping[str, Measurement]) -> tuple[Check, ...]:
        references = {engine: measured.get(engine, known) for engine, known in self.references.items()}
        candidates = {name: measurement for name, measurement in measured.items() if name not in references}
        return check_constraints(self.constraints, candidates, references=references)

    def _write_onnx(self, model: nn.Module, folder: Path) -> dict[str, Path]:
        paths = {name: folder / f"{name}.onnx" for name in (FLOAT, STATIC)}
        export_onnx(model, self.input_shape, paths[FLOAT], output_names=self.output_names)
        settings = StaticSettings(self.method)
        try:
            quantize_static(paths[FLOAT], paths[STATIC], calibration=self.calibration.feeds, settings=settings)
        except ExportError as error:
            log.debug("a candidate stays in float reason=%s", error)
            del paths[STATIC]
        return paths

    def _write_litert(self, model: nn.Module, folder: Path) -> dict[str, Path]:
        paths = {name: folder / f"{name}.tflite" for name in (LITERT_FLOAT, LITERT_STATIC)}
        export_litert(model, self.input_shape, paths[LITERT_FLOAT], output_names=self.output_names)
        calibration = np.concatenate([feed[INPUT_NAME] for feed in self.calibration.feeds])
        quantize_litert(paths[LITERT_FLOAT], paths[LITERT_STATIC], calibration=calibration)
        return paths

    def _write_ncnn(self, model: nn.Module, folder: Path) -> dict[str, Path]:
        paths = {name: folder / f"{name}.param" for name in (NCNN_FLOAT, NCNN_STATIC)}
        export_ncnn(model, self.input_shape, paths[NCNN_FLOAT], output_names=self.output_names)
        try:
            calibrated = calibrate_ncnn(paths[NCNN_FLOAT], samples=self.calibration.feeds)
            write_ncnn_int8(calibrated, paths[NCNN_STATIC], settings=NcnnInt8Settings(self.method))
        except ExportError as error:
            log.debug("a candidate for ncnn stays in float reason=%s", error)
            del paths[NCNN_STATIC]
        return paths

    def _measure(self, paths: Mapping[str, Path]) -> dict[str, Measurement]:
        """Measure metric and size, and latency and memory only where they are constrained."""
        limit = self.constraints.max_latency
        beside: dict[str, Path] = (
            {} if limit is None else {str(engine): path for engine, path in self.originals.items()}
        )
        measured = measure_models(
            {**paths, **beside},
            self.samples,
            self.metric,
            budget=BRIEF,
            memory=self.constraints.memory_limit is not None,
        )
        is_asked = limit is not None or self.latency_source.is_quick
        return self._time(measured, precision=DEFAULT_PRECISION) if is_asked else measured

    def _time(self, measured: Mapping[str, Measurement], *, precision: float) -> dict[str, Measurement]:
        limit = self.constraints.max_latency
        timed = add_latency(
            measured,
            self.latency_source,
            feed=self.samples.feeds[0],
            references=frozenset(measured) & frozenset(self.originals),
            percentile="p50" if limit is None else limit.percentile,
            precision=precision,
        )
        for name, reason in timed.failures.items():
            log.debug("a candidate's variant is not judged variant=%s reason=%s", name, reason)
        for engine in self.originals:
            names = [name for name in JUDGED[engine] if name in measured]
            if names and not any(name in timed.measured for name in names):
                raise LatencyError(timed.failures[names[0]])
        return dict(timed.measured)


def find_excess(checks: tuple[Check, ...]) -> float | None:
    """Return how far the nearest variant is from the constraints on cost; see `CandidateResult.excess`."""
    missed_metric = {check.variant for check in checks if check.constraint == _METRIC_CONSTRAINT and not check.met}
    costs = [check for check in checks if check.constraint != _METRIC_CONSTRAINT]
    if not costs:
        return None
    excess: dict[str, float] = {}
    for check in costs:
        if check.variant not in missed_metric:
            limit = check.wanted * (1 - _MARGINS.get(check.constraint, 0.0))
            shrink = 0.0 if check.bound <= limit else 1 - limit / check.bound
            excess[check.variant] = max(excess.get(check.variant, 0.0), shrink)
    return min(excess.values(), default=1.0)
