"""Augmentation of training images: mirrored and shifted views, for which the original model provides targets too.

Distillation on exactly the same views improves with the number of views: Beyer et al., "Knowledge distillation: A good
teacher is patient and consistent", 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from drupelet_host.errors import DataError
from drupelet_host.recipe.schema import AugmentConfig
from drupelet_host.torch_models.inputs import ModuleInputs, list_tensors, map_inputs

_IMAGES_RANK = 4


@dataclass(frozen=True, slots=True)
class Views:
    """Parameters of the views of an image, one at each index; the first is the unchanged image.

    Attributes:
        mirrored: Whether the view is mirrored horizontally.
        down: The shift downwards in pixels; the border is repeated.
        right: The shift to the right in pixels; the border is repeated.
    """

    mirrored: torch.Tensor
    down: torch.Tensor
    right: torch.Tensor

    def __len__(self) -> int:
        return len(self.down)

    def show(self, images: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        """Return each image in the view that is given for it.

        Args:
            images: The images, of shape (samples, channels, height, width).
            which: The index of the view for each image; on the device of the images and the views.
        """
        device, (samples, _, height, width) = images.device, images.shape
        mirrored, down, right = (choice[which][:, None] for choice in (self.mirrored, self.down, self.right))
        rows = (torch.arange(height, device=device) - down).clamp(0, height - 1)
        columns = (torch.arange(width, device=device) - right).clamp(0, width - 1)
        columns = torch.where(mirrored, width - 1 - columns, columns)
        sample = torch.arange(samples, device=device)[:, None, None]
        return images[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def show_images(self, inputs: ModuleInputs, which: torch.Tensor) -> ModuleInputs:
        """Return the inputs with every image in the view that is given for its sample; other inputs stay.

        Args:
            inputs: The inputs.
            which: As in `show`.
        """
        return map_inputs(inputs, lambda values: self.show(values, which) if _are_images(values) else values)

    def to(self, device: torch.device) -> Views:
        """Return the same views on a device."""
        return Views(self.mirrored.to(device), self.down.to(device), self.right.to(device))


def choose_views(config: AugmentConfig | None, inputs: ModuleInputs, *, seed: int) -> Views | None:
    """Draw random views with a seed.

    Args:
        config: The allowed changes; None for no augmentation.
        inputs: The training inputs.
        seed: The seed of the draw.

    Returns:
        The views; None without a configuration.

    Raises:
        DataError: The inputs are not images, or are not larger than the shift.
    """
    if config is None:
        return None
    tensors = list_tensors(inputs)
    sides = [min(values.shape[2:]) for values in tensors if _are_images(values)]
    if not sides:
        shapes = " and ".join(str(list(values.shape[1:])) for values in tensors)
        raise DataError(
            f"prune.recovery.augment: the model takes inputs of shape {shapes}: "
            "expected images of shape [channels, height, width]"
        )
    if config.shift >= min(sides):
        raise DataError(
            f"prune.recovery.augment.shift = {config.shift}: expected less than the image's {min(sides)} pixels"
        )
    generator = np.random.default_rng(seed)
    others = config.views - 1
    mirrored = generator.integers(0, 2, others).astype(bool) & config.mirror
    down, right = generator.integers(-config.shift, config.shift + 1, (2, others))
    return Views(
        torch.from_numpy(np.concatenate([[False], mirrored])),
        torch.from_numpy(np.concatenate([[0], down])),
        torch.from_numpy(np.concatenate([[0], right])),
    )


def _are_images(values: torch.Tensor) -> bool:
    return values.ndim == _IMAGES_RANK
