"""The prune pass: to a fixed ratio, or as far as a search finds that the constraints ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch

from drupelet_host.compiler.judging import make_judge
from drupelet_host.compiler.pass_protocol import PassResult
from drupelet_host.compiler.passes.mix_precision import DEFAULT_DROP
from drupelet_host.compiler.state import CompileState, CostCount
from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.progress.observer import Observer
from drupelet_host.pruning.ratio.progressive import PruningResult, StructuredPruner, progressive_pruning
from drupelet_host.pruning.search.savings import CostWeights
from drupelet_host.pruning.search.search import SearchSettings, search_pruning
from drupelet_host.pruning.structure.groups import find_structure
from drupelet_host.recipe.schema import Constraints, PruneConfig, QuantizeConfig, Recipe
from drupelet_host.recipe.target import find_target
from drupelet_host.selection.variants import JUDGED
from drupelet_host.torch_models.device import CPU, choose_device, describe_device


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePass:
    """Prunes a copy of the model; the original stays the teacher."""

    name: ClassVar[str] = "prune"
    config: PruneConfig
    constraints: Constraints
    quantize: QuantizeConfig
    input_shape: tuple[int, ...]
    channel_multiple: int
    drop_is_stated: bool
    seed: int
    device: torch.device = CPU

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take [prune]; the limit of a step is the constraint's unless it has its own."""
        stated = [
            limit for limit in (recipe.prune.max_step_drop, recipe.constraints.max_metric_drop) if limit is not None
        ]
        assert recipe.model.input_shape is not None, "only a module is pruned"
        return cls(
            config=recipe.prune.model_copy(update={"max_step_drop": [*stated, DEFAULT_DROP][0]}),
            constraints=recipe.constraints,
            quantize=recipe.quantize,
            input_shape=recipe.model.input_shape,
            channel_multiple=find_target(recipe.target.device).channel_multiple,
            drop_is_stated=bool(stated),
            seed=recipe.seed,
            device=choose_device(recipe.device),
        )

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Prune and recover."""
        training = state.require_training()
        unpruned = find_structure(training.model, training.example_input).unpruned
        for layer, reason in unpruned.items():
            observer.decided(f"{layer} is not pruned: {reason}")
        observer.decided(f"recovery trains on: {describe_device(self.device)}")
        prune = self._search if self.config.prune_ratio is None else self._prune_to_ratio
        result = prune(state, observer)
        kept = [step.kept for step in result.steps] + [candidate.kept for candidate in result.candidates[1:]]
        cost = CostCount(count_parameters(result.model), count_macs(result.model, training.example_input))
        metrics = {
            "metric": result.metric,
            "parameters": float(cost.parameters),
            "macs": float(cost.macs or 0),
            "steps_kept": float(sum(kept)),
            "steps_taken_back": float(len(kept) - sum(kept)),
        }
        training = replace(training, model=result.model)
        return PassResult(replace(state, training=training, pruning=result, unpruned=unpruned, cost=cost), metrics)

    def _prune_to_ratio(self, state: CompileState, observer: Observer) -> PruningResult:
        assert self.config.prune_ratio is not None, "run looks"
        assert self.config.max_step_drop is not None, "from_recipe sets it"
        training = state.require_training()
        return progressive_pruning(
            training.model,
            training.train,
            training.evaluator(state.metric, device=self.device),
            pruner=StructuredPruner(
                prune_ratio=self.config.prune_ratio,
                iterations=self.config.iterations,
                layers=self.config.layers,
                importance=state.importance,
                channel_multiple=self.channel_multiple,
            ),
            sensitivity=state.curves,
            recovery=self.config.recovery,
            max_metric_drop=state.narrow_drop(self.config.max_step_drop),
            seed=self.seed,
            observer=observer,
            device=self.device,
        )

    def _search(self, state: CompileState, observer: Observer) -> PruningResult:
        training = state.require_training()
        return search_pruning(
            training.model,
            training.train,
            training.evaluator(state.metric, device=self.device),
            make_judge(state, constraints=self.constraints, quantize=self.quantize, input_shape=self.input_shape),
            baseline=state.reference.metric,
            curves=state.curves,
            settings=self._settings(state),
            observer=observer,
        )

    def _settings(self, state: CompileState) -> SearchSettings:
        assert self.config.max_step_drop is not None, "from_recipe sets it"
        return SearchSettings(
            variants=tuple(JUDGED[engine] for engine in state.originals),
            max_metric_drop=state.narrow_drop(self.config.max_step_drop),
            drop_is_stated=self.drop_is_stated,
            max_trials=self.config.max_trials,
            max_passes=self.config.max_passes,
            max_minutes=self.config.max_minutes,
            layers=self.config.layers,
            importance=state.importance,
            channel_multiple=self.channel_multiple,
            weights=weigh_costs(self.constraints),
            recovery=self.config.recovery,
            seed=self.seed,
            device=self.device,
        )


def weigh_costs(constraints: Constraints) -> CostWeights:
    """What a search saves: parameters for a size, multiply-accumulates for a latency, half and half otherwise."""
    if constraints.max_size is not None and constraints.max_latency is None:
        return CostWeights(parameters=1.0, macs=0.0)
    if constraints.max_latency is not None and constraints.max_size is None:
        return CostWeights(parameters=0.0, macs=1.0)
    return CostWeights()
