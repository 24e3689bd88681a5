"""What several passes read from the recipe, in the form in which they read it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from drupelet_host.quantization.ranges import Method
from drupelet_host.recipe.schema import Constraints, Recipe

# Without a stated limit a model that no longer works would pass.
DEFAULT_DROP = 0.01


class PassConfig(BaseModel):
    """The configuration of a pass: exactly what it reads, and therefore its part of the cache key."""

    model_config = ConfigDict(frozen=True)


class NoConfig(PassConfig):
    """The configuration of a pass that reads nothing from the recipe."""


class JudgeConfig(PassConfig):
    """How candidates are judged.

    Attributes:
        constraints: What the result must reach.
        method: How int8 ranges are found; where the recipe leaves that open, by the extreme values.
        input_shape: The input's shape, batch first.
        samples: Training samples that calibrate.
    """

    constraints: Constraints
    method: Method
    input_shape: tuple[int, ...]
    samples: int

    @classmethod
    def from_recipe(cls, recipe: Recipe, *, metric_alone: bool = False) -> JudgeConfig:
        """Read [constraints], [quantize] and the input's shape.

        Args:
            recipe: The recipe of a module.
            metric_alone: Whether size, latency and memory are left out, for a pass that looks at the metric alone.
        """
        constraints, method = recipe.constraints, recipe.quantize.method
        assert recipe.model.input_shape is not None, "only a module is judged"
        return cls(
            constraints=Constraints(max_metric_drop=constraints.max_metric_drop) if metric_alone else constraints,
            method="minmax" if method == "auto" else method,
            input_shape=recipe.model.input_shape,
            samples=recipe.quantize.samples,
        )


def stated_or_default_drop(recipe: Recipe) -> float:
    """Return the limit on the metric: the recipe's, or else one point."""
    stated = recipe.constraints.max_metric_drop
    return DEFAULT_DROP if stated is None else stated
