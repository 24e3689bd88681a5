"""The prune pass: progressive structured pruning with recovery."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Self

from drupelet_host.evaluation.cost import count_macs, count_parameters
from drupelet_host.evaluation.metrics import evaluate_module
from drupelet_host.pipeline import PassResult
from drupelet_host.progress import Observer
from drupelet_host.pruning.progressive import StructuredPruner, progressive_pruning
from drupelet_host.recipe import PruneConfig, Recipe
from drupelet_host.state import CompileState
from drupelet_host.target import find_target

# A person who states no accuracy constraint has still not asked for a model that stopped working.
_DEFAULT_DROP = 0.01


@dataclass(frozen=True, slots=True)
class PrunePass:
    """Prunes a copy of the model; the original stays the teacher."""

    name: ClassVar[str] = "prune"
    config: PruneConfig
    channel_multiple: int
    seed: int

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Take [prune]; the limit of a step is the constraint's unless it has its own."""
        limits = (recipe.prune.max_step_drop, recipe.constraints.max_metric_drop, _DEFAULT_DROP)
        drop = next(limit for limit in limits if limit is not None)
        config = recipe.prune.model_copy(update={"max_step_drop": drop})
        return cls(config, find_target(recipe.target.device).channel_multiple, recipe.seed)

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Prune and recover."""
        assert self.config.max_step_drop is not None, "from_recipe sets it"
        result = progressive_pruning(
            state.model,
            state.train,
            partial(evaluate_module, dataset=state.validation),
            pruner=StructuredPruner(
                prune_ratio=self.config.prune_ratio,
                iterations=self.config.iterations,
                layers=self.config.layers,
                importance=self.config.importance,
                channel_multiple=self.channel_multiple,
            ),
            sensitivity=state.curves,
            recovery=self.config.recovery,
            max_metric_drop=self.config.max_step_drop,
            seed=self.seed,
            observer=observer,
        )
        metrics = {
            "metric": result.metric,
            "parameters": float(count_parameters(result.model)),
            "macs": float(count_macs(result.model, state.example_input)),
            "steps_kept": float(sum(step.kept for step in result.steps)),
            "steps_taken_back": float(sum(not step.kept for step in result.steps)),
        }
        return PassResult(replace(state, model=result.model, pruning=result), metrics)
