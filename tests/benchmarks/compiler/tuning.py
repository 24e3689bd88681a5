"""Fine-tuning for the peers: the compiler's own training loop, with labels alone."""

from __future__ import annotations

import math
import sys
from functools import partial

from torch import nn

from benchmarks.compiler.setting import SEED, Setting
from drupelet_host.data.dataset import Dataset
from drupelet_host.evaluation.scoring import evaluate_module
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.torch_models.device import choose_device
from drupelet_host.training.recovery import prepare_training_data, recover


def fine_tune(
    model: nn.Module, training: Dataset, selection: Dataset, *, setting: Setting, passes: int, what: str
) -> None:
    """Train in place and keep the best epoch; the peers' own documents fine-tune on labels."""
    device = choose_device(setting.device)
    recover(
        model,
        prepare_training_data(model, training, device=device),
        partial(evaluate_module, dataset=selection),
        config=RecoveryConfig(distillation_weight=0.0, precision=setting.precision),
        seed=SEED,
        enough=math.inf,
        passes=passes,
        on_epoch=lambda epoch, metric: _say(f"{what}: epoch {epoch} of {passes}: {metric:.4f}"),
    )


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
