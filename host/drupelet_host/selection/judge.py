"""Judges pruned candidates: measures them as the variants that would ship, in the engines that would run them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from drupelet_host.compute.backend import ComputeBackend, Task, run_tasks
from drupelet_host.compute.in_process import IN_PROCESS
from drupelet_host.data.samples import Samples
from drupelet_host.errors import LatencyError
from drupelet_host.evaluation.measure import FileScore, measure_models
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.evaluation.metrics import Metric
from drupelet_host.evaluation.target_latency import add_latency
from drupelet_host.latency.source import DEFAULT_PRECISION, LatencySource
from drupelet_host.latency.workstation import BRIEF
from drupelet_host.quantization.ranges import Method
from drupelet_host.recipe.schema import Constraints
from drupelet_host.selection.candidates.conversion import ENGINES, ConversionSettings, ScoredFiles, convert_candidate
from drupelet_host.selection.check import Check
from drupelet_host.selection.constraints import check_constraints
from drupelet_host.selection.variants import JUDGED
from drupelet_host.torch_models.inputs import Example
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
        excess: The fraction by which the nearest variant must still reduce its size, latency or memory; for what each
            engine must meet, in the engine where this is largest. It is 0 if every constraint is met, 1 if no variant
            keeps the metric, and None if only the metric is constrained.
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
        example: A few samples, on which each export is compared with PyTorch; or the shape of a float input.
        output_names: The names of the model's outputs.
        compute: The backend that converts candidates for the engines.
        asked: The ids of the variants that the recipe names; empty where it leaves them open. Where one of them keeps
            the metric, others in its engine do not count.
    """

    originals: Mapping[EngineName, Path]
    references: Mapping[EngineName, Measurement]
    constraints: Constraints
    samples: Samples
    latency_source: LatencySource
    metric: Metric
    calibration: Samples
    method: Method
    example: Example
    output_names: tuple[str, ...]
    compute: ComputeBackend = IN_PROCESS
    asked: frozenset[str] = frozenset()

    def __call__(self, model: nn.Module) -> CandidateResult:
        """Export, quantize and measure a candidate; see `judge_all`."""
        (result,) = self.judge_all([model])
        return result

    def judge_all(self, models: Sequence[nn.Module]) -> list[CandidateResult]:
        """Export, quantize and measure candidates: converted at the same time, measured one after another.

        Raises:
            ExportError: The candidate cannot be exported. One that cannot be quantized is measured in float alone.
            LatencyError: No variant of the candidate runs on the target in one of the engines.
        """
        return [self._judge(variants) for variants in self._convert(models)]

    def _judge(self, variants: Mapping[str, ScoredFiles]) -> CandidateResult:
        with tempfile.TemporaryDirectory(prefix="drupelet-candidate-") as folder:
            paths = {name: variant.files.write(Path(folder)) for name, variant in variants.items()}
            measured = self._measure(paths, {name: variant.score for name, variant in variants.items()})
            checks = self._check(measured)
            if not self.latency_source.is_quick and any(check.is_undecided for check in checks):
                measured = self._time(measured, precision=_FINE_PRECISION)
                checks = self._check(measured)
        for engine in self.originals:
            measured.pop(engine, None)
        for name in self._unasked(measured, checks):
            del measured[name]
        return CandidateResult(measured, self._find_excess([check for check in checks if check.variant in measured]))

    def _find_excess(self, checks: Sequence[Check]) -> float | None:
        """Return the excess over all engines; see `CandidateResult.excess`."""
        parts = [checks] + [
            [check for check in checks if check.variant in JUDGED[engine] and check.is_for_each_engine]
            for engine in self.originals
        ]
        excess = [find_excess(part) for part in parts]
        return max((value for value in excess if value is not None), default=None)

    def _unasked(self, measured: Mapping[str, Measurement], checks: Sequence[Check]) -> list[str]:
        """Return the variants that the recipe does not name, of engines in which one that it names keeps the metric."""
        missed = {check.variant for check in checks if check.constraint == _METRIC_CONSTRAINT and not check.met}
        of_engines = [[name for name in JUDGED[engine] if name in measured] for engine in self.originals]
        return [
            name for names in of_engines if self.asked & {*names} - missed for name in names if name not in self.asked
        ]

    def _check(self, measured: Mapping[str, Measurement]) -> tuple[Check, ...]:
        references = {engine: measured.get(engine, known) for engine, known in self.references.items()}
        candidates = {name: measurement for name, measurement in measured.items() if name not in references}
        return check_constraints(self.constraints, candidates, references=references)

    def _convert(self, models: Sequence[nn.Module]) -> list[dict[str, ScoredFiles]]:
        """Return the variants of each candidate."""
        shared = [self.compute.share(value) for value in (self.calibration, self.samples, self.metric)]
        engines = [engine for engine in ENGINES if engine in self.originals]
        tasks = [
            Task(
                f"a candidate for {engine}",
                convert_candidate,
                (
                    self.compute.share(model),
                    *shared,
                    ConversionSettings(engine, self.method, self.example, self.output_names),
                ),
            )
            for model in models
            for engine in engines
        ]
        made = iter(run_tasks(self.compute, tasks))
        return [{name: variant for _ in engines for name, variant in next(made).items()} for _ in models]

    def _measure(self, paths: Mapping[str, Path], scores: Mapping[str, FileScore]) -> dict[str, Measurement]:
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
            scores=scores,
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


def find_excess(checks: Sequence[Check]) -> float | None:
    """Return how far the nearest variant is from the constraints on cost; see `CandidateResult.excess`."""
    missed_metric = {check.variant for check in checks if check.constraint == _METRIC_CONSTRAINT and not check.met}
    costs = [check for check in checks if check.constraint != _METRIC_CONSTRAINT]
    if not costs:
        return None
    excess: dict[str, float] = {}
    for check in costs:
        if check.variant not in missed_metric:
            limit = check.limit * (1 - _MARGINS.get(check.constraint, 0.0))
            shrink = 0.0 if check.bound <= limit else 1 - limit / check.bound
            excess[check.variant] = max(excess.get(check.variant, 0.0), shrink)
    return min(excess.values(), default=1.0)
