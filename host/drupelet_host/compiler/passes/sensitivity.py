"""The sensitivity pass: measures the metric of every prunable group by pruning ratio."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch

from drupelet_host.compiler.pass_protocol import PassResult
from drupelet_host.compiler.state import CompileState
from drupelet_host.progress.observer import Observer
from drupelet_host.pruning.importance import label_samples
from drupelet_host.pruning.sensitivity import analyze_sensitivity
from drupelet_host.recipe.schema import Recipe, SensitivityConfig
from drupelet_host.torch_models.device import CPU, choose_device


@dataclass(frozen=True, slots=True)
class SensitivityPass:
    """Measures sensitivity curves on a part of the validation data; the model is unchanged.

    Attributes:
        config: What the pass reads from the recipe.
        seed: The seed of every random choice.
        device: The device that computes.
    """

    name: ClassVar[str] = "sensitivity"
    config: SensitivityConfig
    seed: int
    device: torch.device = CPU

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Read [sensitivity]."""
        return cls(recipe.sensitivity, recipe.seed, choose_device(recipe.device))

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Measure the curves."""
        training = state.require_training()
        curves = analyze_sensitivity(
            training.model,
            training.example_input,
            training.evaluator(state.metric, device=self.device, samples=self.config.samples, seed=self.seed),
            ratios=self.config.ratios,
            importance=state.importance,
            samples=label_samples(training.original, training.train),
            observer=observer,
            device=self.device,
            compute=state.compute,
            trial_samples=training.few_samples,
        )
        metrics = {f"robustness.{name}": curve.robustness for name, curve in curves.items()}
        return PassResult(replace(state, curves=curves), metrics)
