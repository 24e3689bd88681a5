"""One training step; on a GPU it is recorded as a CUDA graph, since kernel launches dominate for small models."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from drupelet_host.recipe.schema import RecoveryConfig
from drupelet_host.torch_models.device import device_of, use_bfloat16
from drupelet_host.torch_models.inputs import run_module
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_host.training.detection_loss import DetectionLoss
from drupelet_host.training.distillation import check_alike, imitation_loss
from drupelet_host.training.training_data import Batch

log = logging.getLogger(__name__)

# Libraries and the optimizer initialise their state in the first steps, which therefore cannot be recorded:
# https://docs.pytorch.org/docs/stable/notes/cuda.html#whole-network-capture
_STEPS_BEFORE_RECORDING = 3

Step = Callable[[Batch], None]


def make_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: RecoveryConfig,
    *,
    error_weights: Mapping[str, torch.Tensor] | None = None,
    task_loss: DetectionLoss | None = None,
) -> Step:
    """Return a function that trains the model by one step, on the model's device.

    Args:
        model: The model; it must be in training mode when the step is called.
        optimizer: The optimizer; on a GPU its learning rate must be a tensor on that device.
        config: The loss and the precision.
        error_weights: From `weigh_errors`, on the model's device.
        task_loss: The loss of outputs whose meaning is known.

    Returns:
        The step, which is called with a batch and updates the model. On a GPU it is recorded where possible.
    """
    device = device_of(model)
    bfloat16 = use_bfloat16(config.precision, device)
    step = _PlainStep(model, optimizer, config, bfloat16, error_weights or {}, task_loss)
    return _RecordedStep(step, device) if device.type == "cuda" and can_be_recorded(model) else step


def can_be_recorded(model: nn.Module) -> bool:
    """Return whether a step can be recorded: hooks and parametrizations are Python code that must run each time.

    The masks of `torch.nn.utils.prune` are allowed: these hooks only multiply.
    """
    hooks = [
        hook
        for module in model.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())  # noqa: SLF001 - no public name
    ]
    plain = all(isinstance(hook, prune.BasePruningMethod) for hook in hooks)
    return plain and not any(parametrize.is_parametrized(module) for module in model.modules())


@dataclass(frozen=True, slots=True)
class _PlainStep:
    model: nn.Module
    optimizer: torch.optim.Optimizer
    config: RecoveryConfig
    bfloat16: bool
    error_weights: Mapping[str, torch.Tensor]
    task_loss: DetectionLoss | None

    def __call__(self, batch: Batch) -> None:
        # Before the step and to None: a recorded step has gradients in its own memory.
        self.optimizer.zero_grad(set_to_none=True)
        self._loss(batch).backward()  # type: ignore[no-untyped-call]  # untyped in torch
        self.optimizer.step()

    def _loss(self, batch: Batch) -> torch.Tensor:
        device_type = batch.device.type
        with torch.autocast(device_type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False):
            outputs = name_outputs(run_module(self.model, batch.inputs))
        if self.bfloat16:
            outputs = {name: values.float() for name, values in outputs.items()}
        check_alike(outputs, batch.answers)
        if self.task_loss is not None:
            return self.task_loss(outputs, batch.answers)
        return imitation_loss(
            outputs,
            teacher=batch.answers,
            labels=batch.labels,
            temperature=self.config.temperature,
            weight=self.config.distillation_weight,
            error_weights=self.error_weights,
        )


class _RecordedStep:
    """Records the step as a CUDA graph for each batch size; a step that cannot be recorded runs normally.

    Random numbers that the model draws in Python code are those of the recording in all later steps.
    """

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step = step
        # Shared by the first steps, the recording and the replays: autograd ties a parameter to its first stream.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # untyped in torch
        self._taken: Counter[int] = Counter()
        self._recorded: dict[int, tuple[torch.cuda.CUDAGraph, Batch]] = {}
        self._refused = False

    def __call__(self, batch: Batch) -> None:
        size = len(batch)
        self._stream.wait_stream(torch.cuda.current_stream())
        if size not in self._recorded and self._taken[size] >= _STEPS_BEFORE_RECORDING and not self._refused:
            self._record(batch)
        with torch.cuda.stream(self._stream):
            if size in self._recorded:
                graph, held = self._recorded[size]
                held.copy_(batch)
                graph.replay()
            else:
                self._step(batch)
        self._taken[size] += 1
        torch.cuda.current_stream().wait_stream(self._stream)

    def _record(self, batch: Batch) -> None:
        graph, held = torch.cuda.CUDAGraph(), batch.clone()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._step(held)
        except RuntimeError as error:  # the graph cannot contain an operation, such as reading a value back
            log.warning("training runs step by step: it cannot be recorded: %s", error)
            self._refused = True
            return
        self._recorded[len(batch)] = (graph, held)
