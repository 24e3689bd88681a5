"""Fine-tuning a pruned model back to what it did, with distillation from the untouched original."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from drupelet_host.data.dataset import Dataset
from drupelet_host.evaluation.cost import count_macs
from drupelet_host.module_outputs import name_outputs
from drupelet_host.pruning.batchnorm import reestimate_statistics
from drupelet_host.pruning.distillation import imitation_loss
from drupelet_host.recipe import RecoveryConfig

Evaluate = Callable[[nn.Module], float]
OnEpoch = Callable[[int, float], None]
_BATCH = 256
_WARMUP_SHARE = 0.3
_WEIGHT_DECAY = 1e-4
# A net with a sixteenth of the multiply-accumulates takes about a ninth of the time on a CPU, so their root is safe.
_MOST_PASSES = 8
_SMALLEST_BATCH, _LARGEST_BATCH = 64, 256
# Larger batches train faster on several cores, and small data sets need the steps more.
_STEPS_AN_EPOCH = 200
_IMAGES_RANK = 4


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a pruned model learns from.

    Attributes:
        train: The training data.
        answers: The original's outputs for each sample, by name.
        macs: Multiply-accumulates of the original.
    """

    train: Dataset
    answers: Mapping[str, torch.Tensor]
    macs: int


def prepare_lessons(original: nn.Module, train: Dataset) -> Lessons:
    """Run the original once over the training data; nothing is augmented, so its answers stay the same."""
    original.eval()
    with torch.inference_mode():
        batches = [name_outputs(original(batch)) for batch in torch.split(torch.from_numpy(train.inputs), _BATCH)]
    # A tensor made in inference mode cannot take part in training; its copy can.
    answers = {name: torch.cat([batch[name] for batch in batches]).clone() for name in batches[0]}
    return Lessons(train, answers, count_macs(original, torch.from_numpy(train.inputs[:1])))


def count_passes(model: nn.Module, lessons: Lessons, config: RecoveryConfig) -> int:
    """How many epochs the model may learn for: `config.epochs`, and more as it gets cheaper than the original."""
    macs = count_macs(model, torch.from_numpy(lessons.train.inputs[:1]))
    gain = math.sqrt(lessons.macs / max(1, macs))
    return round(config.epochs * min(max(1.0, gain), _MOST_PASSES))


def recover(
    model: nn.Module,
    lessons: Lessons,
    evaluate: Evaluate,
    *,
    config: RecoveryConfig,
    seed: int,
    enough: float,
    passes: int,
    on_epoch: OnEpoch,
) -> float:
    """Fine-tune in place and keep the best state; the same seed gives the same weights.

    Args:
        model: The pruned model.
        lessons: What it learns from.
        evaluate: Gives the metric, higher is better.
        config: Learning rate, schedule, distillation.
        seed: For the order of the samples and for dropout.
        enough: Stop as soon as the metric is this high.
        passes: Most epochs.
        on_epoch: Is told how many epochs are done, and the metric after the latest.

    Returns:
        The metric of the state that was kept.

    Raises:
        ModelError: The model has no output to learn from.
    """
    reestimate_statistics(model, lessons.train.inputs)
    best, best_state = evaluate(model), copy.deepcopy(model.state_dict())
    course = _Course.start(model, lessons, config=config, passes=passes, seed=seed)
    with torch.random.fork_rng(devices=[]), torch.inference_mode(mode=False), torch.enable_grad():
        torch.manual_seed(seed)
        for epoch in range(1, passes + 1):
            if best >= enough:
                break
            course.train_epoch()
            metric = evaluate(model)
            on_epoch(epoch, metric)
            if metric > best:
                best, best_state = metric, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    _lay_out(model, torch.contiguous_format)
    model.eval()
    return best


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """One schedule of training from its first step to its last."""

    model: nn.Module
    lessons: Lessons
    config: RecoveryConfig
    batch_size: int
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    shuffle: np.random.Generator

    @classmethod
    def start(cls, model: nn.Module, lessons: Lessons, *, config: RecoveryConfig, passes: int, seed: int) -> _Course:
        samples = len(lessons.train)
        batch_size = config.batch_size or _choose_batch_size(samples)
        # A larger batch takes a proportionally larger step (Goyal et al., "Accurate, Large Minibatch SGD", 2017).
        learning_rate = config.learning_rate * batch_size / _SMALLEST_BATCH
        _prefer_channels_last(model, lessons.train)
        optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=_WEIGHT_DECAY, fused=True)
        return cls(
            model=model,
            lessons=lessons,
            config=config,
            batch_size=batch_size,
            optimizer=optimizer,
            schedule=_schedule(
                optimizer, config, learning_rate=learning_rate, steps=max(1, passes * -(-samples // batch_size))
            ),
            shuffle=np.random.default_rng(seed),
        )

    def train_epoch(self) -> None:
        self.model.train()
        for batch in torch.split(torch.from_numpy(self.shuffle.permutation(len(self.lessons.train))), self.batch_size):
            if len(batch) > 1:  # batch norm cannot train on one sample
                loss = self._loss(batch)
                self.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                self.optimizer.step()
            self.schedule.step()

    def _loss(self, batch: torch.Tensor) -> torch.Tensor:
        train, answers = self.lessons.train, self.lessons.answers
        return imitation_loss(
            name_outputs(self.model(torch.from_numpy(train.inputs[batch.numpy()]))),
            teacher={name: values[batch] for name, values in answers.items()},
            labels=None if train.labels is None else torch.from_numpy(train.labels[batch.numpy()]),
            temperature=self.config.temperature,
            weight=self.config.distillation_weight,
        )


def _prefer_channels_last(model: nn.Module, train: Dataset) -> None:
    """Lay out the weights as convolutions train fastest on a CPU, where the model takes images and does not mind."""
    if train.inputs.ndim != _IMAGES_RANK:
        return
    _lay_out(model, torch.channels_last)
    model.eval()
    try:
        with torch.no_grad():
            model(torch.from_numpy(train.inputs[:1]))
    except RuntimeError:  # the model has a `view` that only the usual layout allows
        _lay_out(model, torch.contiguous_format)


def _lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    model.to(memory_format=layout)  # type: ignore[call-overload]  # torch leaves it out of its stubs


def _choose_batch_size(samples: int) -> int:
    size = _SMALLEST_BATCH
    while size < _LARGEST_BATCH and samples >= 2 * size * _STEPS_AN_EPOCH:
        size *= 2
    return size


def _schedule(
    optimizer: torch.optim.Optimizer, config: RecoveryConfig, *, learning_rate: float, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if config.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    # One step more than is taken: the schedule raises when it is asked beyond its end.
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=learning_rate, total_steps=steps + 1, pct_start=_WARMUP_SHARE
    )
