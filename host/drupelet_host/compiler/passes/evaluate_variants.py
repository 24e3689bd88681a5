"""The second evaluate pass: measures every variant in its engine, beside the original, on the test samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from drupelet_host.compiler.latency_sources.choice import describe_source
from drupelet_host.compiler.pass_protocol import PassResult, drop_variant
from drupelet_host.compiler.passes.evaluate import (
    EvaluateConfig,
    describe_measurement,
    describe_originals,
    name_original,
)
from drupelet_host.compiler.state import CompileState
from drupelet_host.evaluation.measure import measure_candidates
from drupelet_host.evaluation.measurement import Measurement
from drupelet_host.evaluation.target_latency import add_latency
from drupelet_host.latency.machine import WORKSTATION
from drupelet_host.latency.modelled.source import estimate_file_latency
from drupelet_host.latency.modelled.table import load_table
from drupelet_host.latency.source import LatencyEstimate, Percentile
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.schema import Recipe
from drupelet_shared.engines.base import Tensors


class EvaluateVariantsConfig(EvaluateConfig):
    """The settings of the measurement, and the source of the latency.

    Attributes:
        latency_source: The label of the latency source, for people.
        asks_source: Whether that source is asked: it is another than this machine, or a constraint needs it.
        percentile: The percentile that is limited.
        latency_table: The version of the table that tells what the variants would take on the target; None without one.
    """

    latency_source: str
    asks_source: bool
    percentile: Percentile
    latency_table: str | None = None

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Read [model], [export], [target] and the limit on the latency."""
        limit, label, table = recipe.constraints.max_latency, describe_source(recipe), load_table(recipe.target.device)
        return cls(
            **EvaluateConfig.from_recipe(recipe).model_dump(),
            latency_source=label,
            asks_source=limit is not None or label != WORKSTATION,
            percentile="p50" if limit is None else limit.percentile,
            latency_table=None if table is None else table.label,
        )


@dataclass(frozen=True, slots=True)
class EvaluateVariantsPass:
    """Measures the variants and, once more in the same minutes, the original.

    Attributes:
        config: The settings of the measurement.
        target: The device by whose latency table the variants are looked up too, to be shown; None for no device.
    """

    name: ClassVar[str] = "evaluate_variants"
    config: EvaluateVariantsConfig
    target: str | None = None

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Measure as the first evaluation did; this machine's times are asked for twice only for a constraint."""
        return cls(EvaluateVariantsConfig.from_recipe(recipe), recipe.target.device)

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Measure."""
        originals = {name_original(engine): path for engine, path in state.originals.items()}
        outcome = measure_candidates(originals, state.artifacts, state.proof, state.metric, compute=state.compute)
        observer.progressed("measured every variant", done=1, total=1)
        for name, reason in outcome.failures.items():
            state = drop_variant(state, name, reason, observer=observer).state
        measured = outcome.measured
        if self.config.asks_source:
            timed = add_latency(
                measured,
                state.latency_source,
                feed=state.proof.feeds[0],
                references=frozenset(originals),
                percentile=self.config.percentile,
            )
            measured = timed.measured
            for name, reason in timed.failures.items():
                state = drop_variant(state, name, reason, observer=observer).state
        measured = {
            name: replace(each, modelled=self._model(each, feed=state.proof.feeds[0]))
            for name, each in measured.items()
        }
        references = {engine: measured[name_original(engine)] for engine in state.originals}
        variants = {name: measured[name] for name in state.artifacts if name in measured}
        metrics = describe_originals(references)
        for name, measurement in variants.items():
            metrics |= {f"{name}.{key}": value for key, value in describe_measurement(measurement).items()}
        artifacts = {name: state.artifacts[name] for name in variants}
        state = replace(state, artifacts=artifacts)
        return PassResult(replace(state, references=references, measurements=variants), metrics)

    def _model(self, measured: Measurement, *, feed: Tensors) -> LatencyEstimate | None:
        table = None if self.target is None else load_table(self.target)
        return None if table is None else estimate_file_latency(measured.path, table, feed=feed)
