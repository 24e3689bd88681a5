"""The importance pass: chooses the measure that decides which channels are removed first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch

from drupelet_host.compiler.configuration import PassConfig
from drupelet_host.compiler.pass_protocol import PassResult
from drupelet_host.compiler.state import CompileState
from drupelet_host.progress.observer import Observer
from drupelet_host.pruning.importance import compare_importances
from drupelet_host.pruning.structure.groups import Importance
from drupelet_host.recipe.schema import Recipe
from drupelet_host.recipe.target import find_target
from drupelet_host.torch_models.device import CPU, choose_device

# In the order of preference for a tie: the first needs no data.
_CANDIDATES: tuple[Importance, ...] = ("l2", "taylor")


class ImportanceConfig(PassConfig):
    """The importance of the recipe, and how candidates for "auto" are compared.

    Attributes:
        importance: The importance that the recipe names, or "auto".
        ratio: The pruning ratio at which the candidates are compared.
        samples: The number of validation samples.
        channel_multiple: Layer widths remain multiples of this number.
    """

    importance: Literal["auto", "l1", "l2", "taylor"]
    ratio: float
    samples: int
    channel_multiple: int


@dataclass(frozen=True, slots=True)
class ImportancePass:
    """Compares magnitude and Taylor importance on pruned copies, unless the recipe names one.

    Attributes:
        config: What the pass reads from the recipe.
        seed: The seed of every random choice.
        device: The device that computes.
    """

    name: ClassVar[str] = "importance"
    config: ImportanceConfig
    seed: int
    device: torch.device = CPU

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> Self:
        """Read [prune] and, from [sensitivity], the middle ratio."""
        ratios = sorted(recipe.sensitivity.ratios)
        config = ImportanceConfig(
            importance=recipe.prune.importance,
            ratio=ratios[len(ratios) // 2],
            samples=recipe.sensitivity.samples,
            channel_multiple=find_target(recipe.target.device).channel_multiple,
        )
        return cls(config, recipe.seed, choose_device(recipe.device))

    def run(self, state: CompileState, *, observer: Observer) -> PassResult:
        """Compare the candidates and choose the one that keeps most of the metric."""
        if self.config.importance != "auto":
            return PassResult(replace(state, importance=self.config.importance))
        training = state.require_training()
        metric_by_importance = compare_importances(
            training.model,
            training.train,
            training.evaluator(state.metric, device=self.device, samples=self.config.samples, seed=self.seed),
            ratio=self.config.ratio,
            candidates=_CANDIDATES,
            channel_multiple=self.config.channel_multiple,
            device=self.device,
            compute=state.compute,
        )
        chosen = max(metric_by_importance, key=lambda importance: metric_by_importance[importance])
        shown = ", ".join(f"{importance} keeps {metric:.4f}" for importance, metric in metric_by_importance.items())
        observer.decided(f"importance: at ratio {self.config.ratio:.0%}, before recovery, {shown}: chose {chosen}")
        metrics = {f"metric.{importance}": metric for importance, metric in metric_by_importance.items()}
        return PassResult(replace(state, importance=chosen), {**metrics, f"chosen.{chosen}": 1.0})
