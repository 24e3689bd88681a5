"""Fine-tuning a pruned model back to what it did, with distillation from the untouched original."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from drupelet_host.data.dataset import Dataset, Labels
from drupelet_host.pruning.batchnorm import reestimate_statistics
from drupelet_host.recipe import RecoveryConfig

Evaluate = Callable[[nn.Module], float]
OnEpoch = Callable[[int, float], None]
_BATCH = 256
_WARMUP_SHARE = 0.3
_WEIGHT_DECAY = 1e-4


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a pruned model learns from: the training data, and the original's scores for each sample."""

    train: Dataset
    teacher_scores: torch.Tensor


def prepare_lessons(original: nn.Module, train: Dataset) -> Lessons:
    """Run the original once over the training data; nothing is augmented, so its scores stay the same."""
    original.eval()
    with torch.inference_mode():
        scores = torch.cat([original(batch) for batch in torch.split(torch.from_numpy(train.inputs), _BATCH)])
    # A tensor made in inference mode cannot take part in training; its copy can.
    return Lessons(train=train, teacher_scores=scores.clone())


def recover(
    model: nn.Module,
    lessons: Lessons,
    evaluate: Evaluate,
    *,
    config: RecoveryConfig,
    seed: int,
    enough: float,
    on_epoch: OnEpoch,
) -> float:
    """Fine-tune in place and keep the best state; the same seed gives the same weights.

    Args:
        model: The pruned model.
        lessons: What it learns from.
        evaluate: Gives the metric, higher is better.
        config: Epochs, learning rate, distillation.
        seed: For the order of the samples and for dropout.
        enough: Stop as soon as the metric is this high.
        on_epoch: Is told how many epochs are done, and the metric after the latest.

    Returns:
        The metric of the state that was kept.
    """
    reestimate_statistics(model, lessons.train.inputs)
    best, best_state = evaluate(model), copy.deepcopy(model.state_dict())
    shuffle = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=_WEIGHT_DECAY)
    steps = config.epochs * -(-len(lessons.train) // config.batch_size)
    schedule = _schedule(optimizer, config, steps=steps)
    with torch.random.fork_rng(devices=[]), torch.inference_mode(mode=False), torch.enable_grad():
        torch.manual_seed(seed)
        for epoch in range(1, config.epochs + 1):
            if best >= enough:
                break
            _train_epoch(
                model,
                lessons,
                order=shuffle.permutation(len(lessons.train)),
                optimizer=optimizer,
                schedule=schedule,
                config=config,
            )
            metric = evaluate(model)
            on_epoch(epoch, metric)
            if metric > best:
                best, best_state = metric, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    model.eval()
    return best


def distillation_loss(
    scores: torch.Tensor, *, teacher: torch.Tensor, labels: torch.Tensor | None, temperature: float, weight: float
) -> torch.Tensor:
    """Soft targets and labels together (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).

    Args:
        scores: The student's, shape (batch, classes).
        teacher: The teacher's.
        labels: Class indices; without any, the teacher alone teaches.
        temperature: Softens both sides; the square keeps the gradients' size.
        weight: The teacher's share, 0 to 1.
    """
    soft = functional.kl_div(
        functional.log_softmax(scores / temperature, dim=1),
        functional.log_softmax(teacher / temperature, dim=1),
        log_target=True,
        reduction="batchmean",
    )
    soft = soft * temperature**2
    if labels is None:
        return soft
    return weight * soft + (1 - weight) * functional.cross_entropy(scores, labels)


def _train_epoch(
    model: nn.Module,
    lessons: Lessons,
    *,
    order: Labels,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    config: RecoveryConfig,
) -> None:
    train = lessons.train
    model.train()
    for start in range(0, len(order), config.batch_size):
        batch = order[start : start + config.batch_size]
        if len(batch) > 1:  # batch norm cannot train on one sample
            loss = distillation_loss(
                model(torch.from_numpy(train.inputs[batch])),
                teacher=lessons.teacher_scores[torch.from_numpy(batch)],
                labels=None if train.labels is None else torch.from_numpy(train.labels[batch]),
                temperature=config.temperature,
                weight=config.distillation_weight,
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()
        schedule.step()


def _schedule(
    optimizer: torch.optim.Optimizer, config: RecoveryConfig, *, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    steps = max(1, steps)
    if config.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    # One step more than is taken: the schedule raises when it is asked beyond its end.
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=config.learning_rate, total_steps=steps + 1, pct_start=_WARMUP_SHARE
    )
