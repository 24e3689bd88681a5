"""The sparsify pass: sets weights to zero in steps with recovery, so that the package compresses better."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import nn

from drupelet_host.compiler.configuration import PassConfig, stated_or_default_drop
from drupelet_host.compiler.pass_protocol import PassResult
from drupelet_host.compiler.state import CompileState, Training
from drupelet_host.progress.observer import Observer
from drupelet_host.pruning.sparsity import held_sparse, measure_sparsity, ramp
from drupelet_host.recipe.schema import Recipe, RecoveryConfig
from drupelet_host.torch_models.device import CPU, choose_device
from drupelet_host.training.recovery import TrainingData, count_passes, prepare_training_data, recover


class SparsifyConfig(PassConfig):
    """How many weights are set to zero, in how many steps, and the allowed drop of a step.

    Attributes:
        sparsity: The fraction of weights to set to zero.
        iterations: The number of steps.
        max_metric_drop: The largest drop of the metric that a step may leave after recovery.
        recovery: The fine-tuning after each step.
    """

    sparsity: float
    iterations: int
    max_metric_drop: float
    recovery: RecoveryConfig


@dataclass(frozen=True, slots=True)
class SparsifyPass:
    """Prunes weights of a copy without changing shapes; stops at the first step that cannot be recovered.

    Attributes:
        config: What the pass reads from the recipe.
        seed: The seed of every random choice.
        device: The device that computes.
    """

    name: ClassVar[str] = "sparsify"
    config: SparsifyConfig
    seed: int
    device: torch.device = CPU

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Read [prune] and the limit on the metric."""
        config = SparsifyConfig(
            sparsity=recipe.prune.sparsity,
            iterations=recipe.prune.iterations,
            max_metric_drop=stated_or_default_drop(recipe),
            recovery=recipe.prune.recovery,
        )
        return cls(config, recipe.seed, choose_device(recipe.device))

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Set weights to zero in steps and recover after each."""
        training = state.require_training()
        training_data = prepare_training_data(
            training.original,
            training.train,
            device=self.device,
            augment=self.config.recovery.augment,
            seed=self.seed,
            task=training.task,
        )
        limit = state.metric_limit(self.config.max_metric_drop)
        model, steps = training.model, self.config.iterations
        for step in range(1, steps + 1):
            fraction = ramp(self.config.sparsity, step=step, steps=steps)
            attempt, metric = self._attempt(model, fraction, training_data, training, state, step=step)
            kept = limit.allows(metric)
            decision = "kept" if kept else "rolled back"
            observer.decided(f"sparsity {fraction:.0%}: metric {metric:.4f}, at least {limit.lowest:.4f}: {decision}")
            observer.progressed(f"sparsity {fraction:.0%}", done=step, total=steps)
            if not kept:
                break
            model = attempt
        made = replace(state, training=replace(training, model=model))
        return PassResult(made, {"sparsity": measure_sparsity(model)})

    def _attempt(
        self,
        model: nn.Module,
        sparsity: float,
        training_data: TrainingData,
        training: Training,
        state: CompileState,
        *,
        step: int,
    ) -> tuple[nn.Module, float]:
        attempt = copy.deepcopy(model).requires_grad_(requires_grad=True)
        with held_sparse(attempt, sparsity=sparsity):
            metric = recover(
                attempt,
                training_data,
                training.evaluator(state.metric, device=self.device),
                config=self.config.recovery,
                seed=self.seed + step,
                enough=state.reference.metric,
                passes=count_passes(attempt, training_data, self.config.recovery),
                on_epoch=lambda _epoch, _metric: None,
            )
        return attempt, metric
