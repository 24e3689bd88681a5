"""The prune pass: prunes to a fixed ratio, or searches for the smallest model within the constraints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch

from drupelet_host.compiler.configuration import DEFAULT_DROP, JudgeConfig, PassConfig
from drupelet_host.compiler.judging import make_judge, remember_all, remember_results
from drupelet_host.compiler.latency_sources.choice import find_table
from drupelet_host.compiler.pass_protocol import PassResult
from drupelet_host.compiler.state import CompileState, CostCount
from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.latency.modelled.table import load_table
from drupelet_host.progress.observer import Observer
from drupelet_host.pruning.ratio.progressive import PruningResult, StructuredPruner, progressive_pruning
from drupelet_host.pruning.search.savings import CostWeights
from drupelet_host.pruning.search.search import SearchSettings, search_pruning
from drupelet_host.pruning.search.time_cost import Way
from drupelet_host.pruning.structure.groups import find_structure
from drupelet_host.recipe.schema import Constraints, Recipe, RecoveryConfig
from drupelet_host.recipe.target import find_target
from drupelet_host.selection.continuation import SearchContinuation
from drupelet_host.selection.variants import JUDGED, KINDS
from drupelet_host.torch_models.device import CPU, choose_device, describe_device
from drupelet_host.training.finished_parts import FinishedParts
from drupelet_shared.package.manifest import EngineName


class RatioConfig(PassConfig):
    """Pruning to a stated ratio.

    Attributes:
        prune_ratio: The fraction of channels to remove from a layer of average robustness.
        iterations: The number of steps to that ratio.
        layers: Factors on the ratio by name pattern.
        max_step_drop: The largest drop of the metric that a step may leave after recovery; None keeps every step.
        channel_multiple: Layer widths remain multiples of this number.
        recovery: The fine-tuning after each step.
    """

    prune_ratio: float
    iterations: int
    layers: dict[str, float]
    max_step_drop: float | None
    channel_multiple: int
    recovery: RecoveryConfig


class SearchConfig(PassConfig):
    """Pruning as far as the constraints require.

    Attributes:
        judge: How candidates are judged.
        max_step_drop: The largest drop of the metric that a candidate may leave.
        drop_is_stated: Whether the recipe states that limit.
        max_trials: The maximum number of candidates.
        max_passes: The maximum number of passes over the training data, over all candidates.
        max_minutes: The time after which no candidate is started.
        beam: The number of paths of the search.
        threads: The threads of a candidate of a beam, where the recipe states them.
        layers: Factors on the ratio by name pattern.
        channel_multiple: Layer widths remain multiples of this number.
        recovery: The fine-tuning of each candidate.
        latency_table: The version of the table by which a step's time is counted; None counts multiply-accumulates.
    """

    judge: JudgeConfig
    max_step_drop: float
    drop_is_stated: bool
    max_trials: int
    max_passes: int | None
    max_minutes: float | None
    beam: int
    threads: int | None
    layers: dict[str, float]
    channel_multiple: int
    recovery: RecoveryConfig
    latency_table: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePass:
    """Prunes a copy of the model; the original is the teacher of its recovery.

    Attributes:
        config: What the pass reads from the recipe.
        seed: The seed of every random choice.
        device: The device that computes.
        target: The device by whose latency table a search counts time; None counts multiply-accumulates.
    """

    name: ClassVar[str] = "prune"
    config: RatioConfig | SearchConfig
    seed: int
    device: torch.device = CPU
    target: str | None = None

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Read [prune]; the default limit of a step is the constraint on the metric."""
        config = _configure(recipe)
        counts_time = isinstance(config, SearchConfig) and config.latency_table is not None
        return cls(
            config=config,
            seed=recipe.seed,
            device=choose_device(recipe.device),
            target=recipe.target.device if counts_time else None,
        )

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Prune the model in steps, with recovery after each."""
        training = state.require_training()
        unpruned = find_structure(training.model, training.example_input, samples=training.few_samples).unpruned
        for layer, reason in unpruned.items():
            observer.decided(f"{layer} is not pruned: {reason}")
        observer.decided(f"recovery trains on: {describe_device(self.device)}")
        finished = FinishedParts(state.unfinished)
        if len(finished):
            observer.decided("going on after an interruption: candidates that were finished then are not made again")
        if isinstance(self.config, RatioConfig):
            result = self._prune_to_ratio(self.config, state, observer, finished)
        else:
            result = self._search(self.config, state, observer, finished)
        kept = [step.kept for step in result.steps] + [candidate.kept for candidate in result.candidates[1:]]
        cost = CostCount(count_parameters(result.model), count_macs(result.model, training.example_input))
        metrics = {
            "metric": result.metric,
            "parameters": float(cost.parameters),
            "macs": float(cost.macs or 0),
            "steps_kept": float(sum(kept)),
            "steps_rolled_back": float(len(kept) - sum(kept)),
        }
        training = replace(training, model=result.model)
        return PassResult(replace(state, training=training, pruning=result, unpruned=unpruned, cost=cost), metrics)

    def _prune_to_ratio(
        self, config: RatioConfig, state: CompileState, observer: Observer, finished: FinishedParts
    ) -> PruningResult:
        training = state.require_training()
        return progressive_pruning(
            training.model,
            training.train,
            training.evaluator(state.metric, device=self.device),
            pruner=StructuredPruner(
                prune_ratio=config.prune_ratio,
                iterations=config.iterations,
                layers=config.layers,
                importance=state.importance,
                channel_multiple=config.channel_multiple,
            ),
            sensitivity=state.curves,
            recovery=config.recovery,
            max_metric_drop=None if config.max_step_drop is None else state.narrow_drop(config.max_step_drop),
            seed=self.seed,
            observer=observer,
            device=self.device,
            finished=finished,
            task=training.task,
        )

    def _search(
        self, config: SearchConfig, state: CompileState, observer: Observer, finished: FinishedParts
    ) -> PruningResult:
        training = state.require_training()
        table = None if self.target is None else load_table(self.target)
        settings = SearchSettings(
            variants=tuple(JUDGED[engine] for engine in state.originals),
            max_metric_drop=state.narrow_drop(config.max_step_drop),
            drop_is_stated=config.drop_is_stated,
            max_trials=config.max_trials,
            max_passes=config.max_passes,
            max_minutes=config.max_minutes,
            layers=config.layers,
            importance=state.importance,
            channel_multiple=config.channel_multiple,
            weights=weigh_costs(config.judge.constraints),
            ways={name: _way_of(engine, name) for engine in state.originals for name in JUDGED[engine]},
            table=table,
            by_latency=table is not None and config.judge.constraints.max_latency is not None,
            recovery=config.recovery,
            seed=self.seed,
            device=self.device,
            finished=finished,
            task=training.task,
            beam=config.beam,
            # By the processors of the machine that compiles, not by how many workers there are.
            candidate_threads=config.threads or max(1, torch.get_num_threads() // config.beam),
            compute=state.compute,
        )
        judge = make_judge(state, _tighten(config.judge, state.continuation))
        return search_pruning(
            training.model,
            training.train,
            training.evaluator(state.metric, device=self.device),
            remember_results(judge, finished),
            baseline=state.reference.metric,
            curves=state.curves,
            settings=settings,
            observer=observer,
            resumed=None if state.continuation is None else state.continuation.outcome,
            judge_all=remember_all(judge.judge_all, finished),
        )


def _tighten(config: JudgeConfig, continuation: SearchContinuation[PruningResult] | None) -> JudgeConfig:
    """Return the judge's configuration with the limit on the latency that a continued search aims for."""
    limit = config.constraints.max_latency
    if continuation is None or limit is None:
        return config
    tighter = limit.model_copy(update={"value": limit.value * continuation.factor})
    return config.model_copy(update={"constraints": config.constraints.model_copy(update={"max_latency": tighter})})


def _way_of(engine: EngineName, variant: str) -> Way:
    return Way(engine, "int8" if KINDS[variant].arithmetic == "int8" else "float32")


def _configure(recipe: Recipe) -> RatioConfig | SearchConfig:
    prune, constraints = recipe.prune, recipe.constraints
    stated = [limit for limit in (prune.max_step_drop, constraints.max_metric_drop) if limit is not None]
    channel_multiple = find_target(recipe.target.device).channel_multiple
    if prune.prune_ratio is not None:
        return RatioConfig(
            prune_ratio=prune.prune_ratio,
            iterations=prune.iterations,
            layers=prune.layers,
            # A stated ratio is done; only a stated limit rolls its steps back.
            max_step_drop=stated[0] if stated else None,
            channel_multiple=channel_multiple,
            recovery=prune.recovery,
        )
    table = find_table(recipe)
    return SearchConfig(
        judge=JudgeConfig.from_recipe(recipe),
        max_step_drop=stated[0] if stated else DEFAULT_DROP,
        drop_is_stated=bool(stated),
        max_trials=prune.max_trials,
        max_passes=prune.max_passes,
        max_minutes=prune.max_minutes,
        beam=prune.beam,
        threads=recipe.compute.threads if prune.beam > 1 else None,
        layers=prune.layers,
        channel_multiple=channel_multiple,
        recovery=prune.recovery,
        latency_table=None if table is None else table.label,
    )


def weigh_costs(constraints: Constraints) -> CostWeights:
    """Return the weights of the cost: parameters for a size, time for a latency, else half of each."""
    if constraints.max_size is not None and constraints.max_latency is None:
        return CostWeights(parameters=1.0, time=0.0)
    if constraints.max_latency is not None and constraints.max_size is None:
        return CostWeights(parameters=0.0, time=1.0)
    return CostWeights()
