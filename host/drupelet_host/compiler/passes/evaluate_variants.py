"""The second evaluate pass: every variant in its engine, beside the original, on what the result is proved with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from drupelet_host.compiler.pass_protocol import PassResult, drop_variant
from drupelet_host.compiler.passes.evaluate import (
    EvaluateConfig,
    describe_measurement,
    describe_originals,
    name_original,
)
from drupelet_host.compiler.state import CompileState
from drupelet_host.evaluation.measure import measure_candidates
from drupelet_host.evaluation.target_latency import add_latency
from drupelet_host.latency.machine import WORKSTATION
from drupelet_host.latency.source import Percentile
from drupelet_host.progress.observer import Observer
from drupelet_host.recipe.schema import Recipe


class EvaluateVariantsConfig(EvaluateConfig):
    """What is measured, and where the latency comes from.

    Attributes:
        latency_source: Where the latency comes from, for people.
        asks_source: Whether that source is asked: a constraint or a board needs it.
        percentile: The percentile that is limited.
    """

    latency_source: str
    asks_source: bool
    percentile: Percentile

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Read [model], [export], [target] and the limit on the latency."""
        limit, boards = recipe.constraints.max_latency, recipe.target.boards
        return cls(
            **EvaluateConfig.from_recipe(recipe).model_dump(),
            latency_source=WORKSTATION if boards is None else f"measured on {', '.join(boards.devices)}",
            asks_source=limit is not None or boards is not None,
            percentile="p50" if limit is None else limit.percentile,
        )


@dataclass(frozen=True, slots=True)
class EvaluateVariantsPass:
    """Measures the variants and, once more in the same minutes, the original."""

    name: ClassVar[str] = "evaluate_variants"
    config: EvaluateVariantsConfig

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Measure as the first evaluation did; the latency source is asked where a constraint or a board needs it."""
        return cls(EvaluateVariantsConfig.from_recipe(recipe))

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Measure."""
        originals = {name_original(engine): path for engine, path in state.originals.items()}
        found = measure_candidates(originals, state.artifacts, state.proof, state.metric)
        observer.progressed("measured every variant", done=1, total=1)
        for name, reason in found.failures.items():
            state = drop_variant(state, name, reason, observer=observer).state
        measured = found.measured
        if self.config.asks_source:
            measured = add_latency(
                measured,
                state.latency_source,
                feed=state.proof.feeds[0],
                references=frozenset(originals),
                percentile=self.config.percentile,
            )
        references = {engine: measured[name_original(engine)] for engine in state.originals}
        variants = {name: measured[name] for name in state.artifacts if name in measured}
        metrics = describe_originals(references)
        for name, measurement in variants.items():
            metrics |= {f"{name}.{key}": value for key, value in describe_measurement(measurement).items()}
        artifacts = {name: state.artifacts[name] for name in variants}
        state = replace(state, artifacts=artifacts)
        return PassResult(replace(state, references=references, measurements=variants), metrics)
