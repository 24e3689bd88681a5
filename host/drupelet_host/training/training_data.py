"""What a pruned model learns from: the training data with the original's answers, where training needs them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from drupelet_host.data.dataset import Dataset
from drupelet_host.evaluation.cost import count_macs
from drupelet_host.recipe.schema import AugmentConfig
from drupelet_host.torch_models.device import CPU, fits, on_device
from drupelet_host.torch_models.outputs import name_outputs
from drupelet_host.training.augmentation import Views, choose_views

_BATCH = 256
Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples with what is known of each.

    Attributes:
        inputs: Of shape (samples, ...).
        labels: Class indices, where there are some.
        answers: The original's outputs by name.
    """

    inputs: torch.Tensor
    labels: torch.Tensor | None
    answers: Mapping[str, torch.Tensor]

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All of them, always in the same order."""
        return [self.inputs, *([] if self.labels is None else [self.labels]), *self.answers.values()]

    def pick(self, chosen: torch.Tensor) -> Batch:
        """Some of the samples, by index."""
        return self._each(lambda tensor: tensor[chosen])

    def to(self, device: torch.device) -> Batch:
        """Return the same samples on a device."""
        return self._each(lambda tensor: tensor.to(device))

    def clone(self) -> Batch:
        """Return a copy of its own."""
        return self._each(torch.clone)

    def copy_(self, other: Batch) -> None:
        """Take over the numbers of a batch of the same shapes, in place."""
        for mine, theirs in zip(self.tensors, other.tensors, strict=True):
            mine.copy_(theirs)

    def _each(self, change: Change) -> Batch:
        labels = None if self.labels is None else change(self.labels)
        return Batch(change(self.inputs), labels, {name: change(values) for name, values in self.answers.items()})


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a pruned model learns from.

    Attributes:
        samples: All training samples; on the GPU if that trains and has room for them.
        macs: Multiply-accumulates of the original.
        device: What trains.
        views: Other ways to look at the samples, if any; answers are then of shape (samples, views, ...).
    """

    samples: Batch
    macs: int
    device: torch.device = CPU
    views: Views | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def example_input(self) -> torch.Tensor:
        """One sample on the CPU, batch first."""
        return self.samples.inputs[:1].cpu()

    def take(self, chosen: torch.Tensor, which: torch.Tensor | None = None) -> Batch:
        """Samples by index on the device that trains.

        Args:
            chosen: The samples; a tensor where they are held.
            which: The view of each, where there are views; without it they are shown as they are.
        """
        batch = self.samples.pick(chosen).to(self.device)
        if self.views is None:
            return batch
        seen = torch.zeros_like(chosen) if which is None else which
        seen, sample = seen.to(self.device), torch.arange(len(batch), device=self.device)
        answers = {name: values[sample, seen] for name, values in batch.answers.items()}
        return Batch(self.views.show(batch.inputs, seen), batch.labels, answers)


def prepare_training_data(
    original: nn.Module,
    train: Dataset,
    *,
    device: torch.device = CPU,
    augment: AugmentConfig | None = None,
    seed: int = 0,
) -> TrainingData:
    """Run the original over the training data, once for each view, so that its answers need not be asked for again.

    Args:
        original: The untouched model, which answers from a copy: it stays as it is.
        train: The training data.
        device: What trains.
        augment: What other views of the images there are.
        seed: For the choice of the views.

    Returns:
        The training data with the original's outputs for each view.

    Raises:
        DataError: Other views are wanted and the model takes no images.
    """
    original = copy.deepcopy(original).eval()
    inputs = torch.from_numpy(train.inputs)
    views = choose_views(augment, train.inputs.shape, seed=seed)
    views = None if views is None else views.to(device)
    with on_device(original, device), torch.inference_mode():
        batches = [_answer(original, batch.to(device), views) for batch in torch.split(inputs, _BATCH)]
        answers = {name: torch.cat([batch[name] for batch in batches]).cpu() for name in batches[0]}
    samples = Batch(
        inputs,
        None if train.labels is None else torch.tensor(train.labels),
        # A tensor made in inference mode cannot take part in training; its copy can.
        {name: values.clone() for name, values in answers.items()},
    )
    held = samples.to(device) if fits(sum(tensor.nbytes for tensor in samples.tensors), device) else samples
    return TrainingData(held, count_macs(original, inputs[:1]), device, views)


def _answer(original: nn.Module, inputs: torch.Tensor, views: Views | None) -> dict[str, torch.Tensor]:
    """Return what the original makes of the samples; with views of shape (samples, views, ...)."""
    if views is None:
        return name_outputs(original(inputs))
    each = [torch.full((len(inputs),), place, device=inputs.device) for place in range(len(views))]
    found = [name_outputs(original(views.show(inputs, which))) for which in each]
    return {name: torch.stack([answers[name] for answers in found], dim=1) for name in found[0]}
