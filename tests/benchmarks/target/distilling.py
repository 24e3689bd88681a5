"""Recovery of a pruned network by distillation, as a compile does it, the same for every subject."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

from torch import nn

from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.training.recovery import TrainingData, recover


def distil(
    model: nn.Module, data: TrainingData, evaluate: Callable[[nn.Module], float], *, epochs: int, seed: int
) -> None:
    """Train a network in place towards the original's outputs and tell of each epoch on standard error.

    Args:
        model: The pruned network.
        data: The samples with the original's outputs.
        evaluate: Returns the metric that chooses among the epochs.
        epochs: How often it sees the samples.
        seed: Of their order.
    """
    recover(
        model,
        data,
        evaluate,
        config=RecoveryConfig(epochs=epochs),
        seed=seed,
        enough=math.inf,
        passes=epochs,
        on_epoch=lambda _, metric: print(f"  recovered to {metric:.4f}", file=sys.stderr, flush=True),
    )
