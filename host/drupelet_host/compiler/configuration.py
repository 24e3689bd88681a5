"""Configurations that several passes share, as read from the recipe."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from drupelet_host.quantization.ranges import Method
from drupelet_host.recipe.schema import Constraints, Recipe
from drupelet_host.selection.stated_variants import list_stated

# The default limit: without any limit a model that no longer works would be accepted.
DEFAULT_DROP = 0.01


class PassConfig(BaseModel):
    """The configuration of a pass: exactly the keys that it reads, which are therefore its part of the cache key."""

    model_config = ConfigDict(frozen=True)


class NoConfig(PassConfig):
    """The configuration of a pass that reads nothing from the recipe."""


class JudgeConfig(PassConfig):
    """How candidates are judged.

    Attributes:
        constraints: The limits that candidates must meet.
        method: The calibration method of int8; min-max if the recipe selects "auto".
        samples: The number of training samples for calibration.
        stated: The variants that the recipe names; empty where it leaves them open.
    """

    constraints: Constraints
    method: Method
    samples: int
    stated: tuple[str, ...] = ()

    @classmethod
    def from_recipe(cls, recipe: Recipe, *, metric_alone: bool = False) -> JudgeConfig:
        """Read [constraints] and [quantize].

        Args:
            recipe: The recipe of a module.
            metric_alone: Whether to drop the limits of size, latency and memory, for a pass that judges only by metric.
        """
        constraints, method = recipe.constraints, recipe.quantize.method
        return cls(
            constraints=Constraints(max_metric_drop=constraints.max_metric_drop) if metric_alone else constraints,
            method="minmax" if method == "auto" else method,
            samples=recipe.quantize.samples,
            stated=list_stated(recipe),
        )


def stated_or_default_drop(recipe: Recipe) -> float:
    """Return the largest drop of the metric: the recipe's constraint, or else one point."""
    stated = recipe.constraints.max_metric_drop
    return DEFAULT_DROP if stated is None else stated
