"""Training data with the original model's outputs, on the device that trains."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from drupelet_host.data.dataset import Dataset
from drupelet_host.evaluation.cost import count_macs
from drupelet_host.recipe.schema import AugmentConfig
from drupelet_host.torch_models.device import CPU, fits, on_device
from drupelet_host.torch_models.inputs import (
    ModuleInputs,
    count_samples,
    list_tensors,
    make_tensors,
    map_inputs,
    run_module,
    split_inputs,
    take_samples,
)
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_host.training.augmentation import Views, choose_views
from drupelet_host.training.detection_loss import DetectionLoss, make_detection_loss
from drupelet_host.training.distillation import weigh_errors
from drupelet_host.training.finished_parts import NOTHING_FINISHED, FinishedParts
from drupelet_host.training.task_outputs import TaskOutputs

_BATCH = 256
_WEIGHED_SAMPLES = 256
Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of samples with their targets.

    Attributes:
        inputs: The inputs, of shape (samples, ...), by name where there are several.
        labels: The class indices; None without labels.
        answers: The original model's outputs by name.
    """

    inputs: ModuleInputs
    labels: torch.Tensor | None
    answers: Mapping[str, torch.Tensor]

    def __len__(self) -> int:
        return count_samples(self.inputs)

    @property
    def device(self) -> torch.device:
        """The device that holds the samples."""
        return list_tensors(self.inputs)[0].device

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All tensors of the batch, in a fixed order."""
        return [*list_tensors(self.inputs), *([] if self.labels is None else [self.labels]), *self.answers.values()]

    def pick(self, chosen: torch.Tensor) -> Batch:
        """Return the samples at these indices."""
        return self._each(lambda tensor: tensor[chosen])

    def to(self, device: torch.device) -> Batch:
        """Return a copy of the batch on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def clone(self) -> Batch:
        """Return a copy that shares no memory."""
        return self._each(torch.clone)

    def copy_(self, other: Batch) -> None:
        """Copy the values of a batch of the same shapes into this one."""
        for mine, theirs in zip(self.tensors, other.tensors, strict=True):
            mine.copy_(theirs)

    def _each(self, change: Change) -> Batch:
        labels = None if self.labels is None else change(self.labels)
        return Batch(
            map_inputs(self.inputs, change), labels, {name: change(values) for name, values in self.answers.items()}
        )


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The training data of a pruned model.

    Attributes:
        samples: All training samples; on the GPU if it trains and has enough memory.
        macs: The original model's multiply-accumulates.
        device: The device that trains.
        views: The augmented views of the samples, if any; answers then have shape (samples, views, ...).
        finished: The recoveries on this data that an interrupted run of the pass has finished.
        error_weights: What the errors of each output's channels are multiplied by; see `weigh_errors`.
        task_loss: The loss of outputs whose meaning is known, instead of their error.
    """

    samples: Batch
    macs: int
    device: torch.device = CPU
    views: Views | None = None
    finished: FinishedParts = NOTHING_FINISHED
    error_weights: Mapping[str, torch.Tensor] = field(default_factory=dict)
    task_loss: DetectionLoss | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def example_input(self) -> ModuleInputs:
        """One sample on the CPU, batch first."""
        return map_inputs(self.samples.inputs, lambda values: values[:1].cpu())

    def take(self, chosen: torch.Tensor, which: torch.Tensor | None = None) -> Batch:
        """Return samples on the device that trains.

        Args:
            chosen: The indices of the samples, on the device that holds them.
            which: The index of the view for each sample; by default the unchanged samples.
        """
        batch = self.samples.pick(chosen).to(self.device)
        if self.views is None:
            return batch
        seen = torch.zeros_like(chosen) if which is None else which
        seen, sample = seen.to(self.device), torch.arange(len(batch), device=self.device)
        answers = {name: values[sample, seen] for name, values in batch.answers.items()}
        return Batch(self.views.show_images(batch.inputs, seen), batch.labels, answers)


def prepare_training_data(
    original: nn.Module,
    train: Dataset,
    *,
    device: torch.device = CPU,
    augment: AugmentConfig | None = None,
    seed: int = 0,
    finished: FinishedParts = NOTHING_FINISHED,
    task: TaskOutputs | None = None,
) -> TrainingData:
    """Compute the original model's outputs for the training data once for each view, for reuse in all epochs.

    Args:
        original: The original model; a copy of it runs.
        train: The training data.
        device: The device that trains.
        augment: The augmentation of the images; None for no augmentation.
        seed: The seed of the choice of views.
        finished: Where finished recoveries are kept.
        task: What the outputs hold, where the task says it.

    Returns:
        The training data with the original's outputs for each view.

    Raises:
        DataError: `augment` is given and the model does not take images.
    """
    original = copy.deepcopy(original).eval()
    inputs = make_tensors(train.inputs)
    views = choose_views(augment, inputs, seed=seed)
    views = None if views is None else views.to(device)
    with on_device(original, device), torch.inference_mode():
        batches = [_answer(original, _move(batch, device), views) for batch in split_inputs(inputs, _BATCH)]
        answers = {name: torch.cat([batch[name] for batch in batches]).cpu() for name in batches[0]}
    samples = Batch(
        inputs,
        None if train.labels is None else torch.tensor(train.labels),
        # Tensors created in inference mode cannot be used in training; copies can.
        {name: values.clone() for name, values in answers.items()},
    )
    held = samples.to(device) if fits(sum(tensor.nbytes for tensor in samples.tensors), device) else samples
    some = {name: values[:: max(1, len(values) // _WEIGHED_SAMPLES)] for name, values in answers.items()}
    some = some if views is None else {name: values.flatten(0, 1) for name, values in some.items()}
    weights = weigh_errors(some)
    task_loss = None if task is None else make_detection_loss(task, some, device=device)
    macs = count_macs(original, take_samples(inputs, slice(1)))
    on_its_device = {name: values.to(device) for name, values in weights.items()}
    return TrainingData(held, macs, device, views, finished, on_its_device, task_loss)


def _move(inputs: ModuleInputs, device: torch.device) -> ModuleInputs:
    return map_inputs(inputs, lambda values: values.to(device))


def _answer(original: nn.Module, inputs: ModuleInputs, views: Views | None) -> dict[str, torch.Tensor]:
    """Return the original's outputs for the samples; with views, of shape (samples, views, ...)."""
    if views is None:
        return name_outputs(run_module(original, inputs))
    device = list_tensors(inputs)[0].device
    each = [torch.full((count_samples(inputs),), place, device=device) for place in range(len(views))]
    by_view = [name_outputs(run_module(original, views.show_images(inputs, which))) for which in each]
    return {name: torch.stack([answers[name] for answers in by_view], dim=1) for name in by_view[0]}
