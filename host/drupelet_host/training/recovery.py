"""Recovery: fine-tunes a pruned model by distillation from the original."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from drupelet_host.evaluation.cost import count_macs
from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.torch_models.device import on_device
from drupelet_host.torch_models.digest import digest_module
from drupelet_host.torch_models.inputs import list_tensors, map_inputs, run_module
from drupelet_host.training.batch_norm import reestimate_statistics
from drupelet_host.training.finished_parts import FinishedRecovery
from drupelet_host.training.step import Step, make_step
from drupelet_host.training.training_data import TrainingData, prepare_training_data

__all__ = ["Evaluate", "OnEpoch", "TrainingData", "count_passes", "prepare_training_data", "recover"]

Evaluate = Callable[[nn.Module], float]
OnEpoch = Callable[[int, float], None]
_WARMUP_SHARE = 0.3
_WEIGHT_DECAY = 1e-4
# A network with 1/16 of the multiply-accumulates takes about 1/9 of the time on a CPU, so the square root is safe.
_MOST_PASSES = 8
_SMALLEST_BATCH, _LARGEST_BATCH = 64, 256
# Larger batches train faster on several cores; small data sets need more steps.
_STEPS_AN_EPOCH = 200
_IMAGES_RANK = 4


def count_passes(model: nn.Module, training_data: TrainingData, config: RecoveryConfig) -> int:
    """Return the number of epochs: `config.epochs`, or more for a model that is cheaper than the original.

    Args:
        model: The pruned model.
        training_data: The training data with the original's outputs.
        config: The settings of the recovery.
    """
    macs = count_macs(model, training_data.example_input)
    gain = math.sqrt(training_data.macs / max(1, macs))
    return round(config.epochs * min(max(1.0, gain), _MOST_PASSES))


def recover(
    model: nn.Module,
    training_data: TrainingData,
    evaluate: Evaluate,
    *,
    config: RecoveryConfig,
    seed: int,
    enough: float,
    passes: int,
    on_epoch: OnEpoch,
) -> float:
    """Fine-tune a model in place and keep the state with the best metric; reproducible with the same seed.

    A recovery that an interrupted run of the pass has finished is not repeated: `on_epoch` is called as it was then.

    Args:
        model: The pruned model.
        training_data: The training data with the original's outputs.
        evaluate: Returns the metric of a module; higher is better.
        config: The settings of the recovery.
        seed: The seed of the sample order and of dropout.
        enough: The metric at which training ends early.
        passes: The maximum number of epochs.
        on_epoch: Called with the number of finished epochs and the metric after the latest.

    Returns:
        The best metric.

    Raises:
        ModelError: The model has no floating-point output.
    """
    name = f"recovery of {digest_module(model)} {config.model_dump_json()} {seed=} {enough=} {passes=}"
    finished: FinishedRecovery | None = training_data.finished.load(name)
    if finished is not None:
        model.load_state_dict(finished.state)
        for epoch, metric in enumerate(finished.metrics, start=1):
            on_epoch(epoch, metric)
    else:
        metrics: list[float] = []

        def note(epoch: int, metric: float) -> None:
            metrics.append(metric)
            on_epoch(epoch, metric)

        with on_device(model, training_data.device):
            best, best_state = _train(
                model, training_data, evaluate, config=config, seed=seed, enough=enough, passes=passes, on_epoch=note
            )
            model.load_state_dict(best_state)
        finished = FinishedRecovery(model.state_dict(), best, tuple(metrics))
        training_data.finished.store(name, finished)
    _lay_out(model, torch.contiguous_format)
    model.eval()
    return finished.best


def _train(
    model: nn.Module,
    training_data: TrainingData,
    evaluate: Evaluate,
    *,
    config: RecoveryConfig,
    seed: int,
    enough: float,
    passes: int,
    on_epoch: OnEpoch,
) -> tuple[float, Mapping[str, torch.Tensor]]:
    """Return the best metric and the state of the model that had it."""
    reestimate_statistics(model, training_data.samples.inputs)
    best, best_state = evaluate(model), copy.deepcopy(model.state_dict())
    state = _TrainingState.start(model, training_data, config=config, passes=passes, seed=seed)
    generators = [training_data.device] if training_data.device.type == "cuda" else []
    with torch.random.fork_rng(devices=generators), torch.inference_mode(mode=False), torch.enable_grad():
        torch.manual_seed(seed)
        for epoch in range(1, passes + 1):
            if best >= enough:
                break
            state.train_epoch()
            metric = evaluate(model)
            on_epoch(epoch, metric)
            if metric > best:
                best, best_state = metric, copy.deepcopy(model.state_dict())
    return best, best_state


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrainingState:
    """The state of one training run: model, optimizer and schedule."""

    model: nn.Module
    training_data: TrainingData
    batch_size: int
    step: Step
    schedule: torch.optim.lr_scheduler.LRScheduler
    shuffle: np.random.Generator
    look: np.random.Generator

    @classmethod
    def start(
        cls, model: nn.Module, training_data: TrainingData, *, config: RecoveryConfig, passes: int, seed: int
    ) -> _TrainingState:
        samples = len(training_data)
        batch_size = config.batch_size or _choose_batch_size(samples)
        # A larger batch takes a proportionally larger step (Goyal et al., "Accurate, Large Minibatch SGD", 2017).
        learning_rate = config.learning_rate * batch_size / _SMALLEST_BATCH
        _prefer_channels_last(model, training_data)
        optimizer = _make_optimizer(model, learning_rate=learning_rate, device=training_data.device)
        steps = max(1, passes * -(-samples // batch_size))
        return cls(
            model=model,
            training_data=training_data,
            batch_size=batch_size,
            step=make_step(
                model,
                optimizer,
                config,
                error_weights=training_data.error_weights,
                task_loss=training_data.task_loss,
            ),
            schedule=_schedule(optimizer, config, learning_rate=learning_rate, steps=steps),
            shuffle=np.random.default_rng(seed),
            look=np.random.default_rng((seed, 1)),
        )

    def train_epoch(self) -> None:
        self.model.train()
        held, samples = self.training_data.samples.device, len(self.training_data)
        order = torch.from_numpy(self.shuffle.permutation(samples)).to(held)
        views = 1 if self.training_data.views is None else len(self.training_data.views)
        which = torch.from_numpy(self.look.integers(0, views, samples)).to(held)
        for chosen, seen in zip(torch.split(order, self.batch_size), torch.split(which, self.batch_size), strict=True):
            if len(chosen) > 1:  # batch norm cannot train on one sample
                self.step(self.training_data.take(chosen, seen))
            self.schedule.step()


def _make_optimizer(model: nn.Module, *, learning_rate: float, device: torch.device) -> torch.optim.Optimizer:
    if device.type != "cuda":
        return torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=_WEIGHT_DECAY, fused=True)
    # A recorded step reads the learning rate from a tensor on the GPU.
    rate = torch.tensor(learning_rate, device=device)
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=_WEIGHT_DECAY, fused=True, capturable=True)


def _prefer_channels_last(model: nn.Module, training_data: TrainingData) -> None:
    """Use the channels-last layout, in which convolutions train fastest, where the model takes images and allows it."""
    example = map_inputs(training_data.example_input, lambda values: values.to(training_data.device))
    if not any(values.ndim == _IMAGES_RANK for values in list_tensors(example)):
        return
    _lay_out(model, torch.channels_last)
    model.eval()
    try:
        with torch.no_grad():
            run_module(model, example)
    except RuntimeError:  # the model calls `view`, which needs the default layout
        _lay_out(model, torch.contiguous_format)


def _lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    model.to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stubs


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
    # One step more than needed: the schedule raises an error beyond its end.
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=learning_rate,
        total_steps=steps + 1,
        pct_start=_WARMUP_SHARE,
        # A recorded step cannot change its momentum.
        cycle_momentum=not isinstance(optimizer.param_groups[0]["lr"], torch.Tensor),
    )
