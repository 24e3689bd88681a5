"""Fine-tuning for the peers: the compiler's own training loop, with labels alone, for a stated time."""

from __future__ import annotations

import math
import time
from functools import partial

from torch import nn

from benchmarks.compiler.setting import SEED
from drupelet_host.data.dataset import Dataset
from drupelet_host.evaluation.scoring import evaluate_module
from drupelet_host.pruning.recovery import prepare_lessons, recover
from drupelet_host.recipe import RecoveryConfig

_SAMPLE = 4096
# The peers' own documents fine-tune on labels.
_CONFIG = RecoveryConfig(distillation_weight=0.0)


def fine_tune(model: nn.Module, training: Dataset, selection: Dataset, *, cpu_minutes: float) -> int:
    """Train in place for about this much processor time and keep the best epoch; tells how many there were."""
    epochs = max(1, math.floor(cpu_minutes * 60 / _epoch_cpu_seconds(model, training)))
    lessons = prepare_lessons(model, training)
    recover(
        model,
        lessons,
        partial(evaluate_module, dataset=selection),
        config=_CONFIG,
        seed=SEED,
        enough=math.inf,
        passes=epochs,
        on_epoch=lambda _epoch, _metric: None,
    )
    return epochs


def _epoch_cpu_seconds(model: nn.Module, training: Dataset) -> float:
    """What an epoch takes, from one over a part of the samples; the model's weights change a little."""
    part = training.subset(_SAMPLE, seed=SEED)
    lessons = prepare_lessons(model, part)
    start = time.process_time()
    # The batch of the real run, whatever the size of the part.
    config = _CONFIG.model_copy(update={"batch_size": 256, "learning_rate": 1e-6})
    recover(
        model, lessons, lambda _: 0.0, config=config, seed=SEED, enough=math.inf, passes=1, on_epoch=lambda _e, _m: None
    )
    return (time.process_time() - start) * len(training) / len(part)
