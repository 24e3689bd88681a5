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

    def to(self, device: torch.device) -> Views:
        """Return the same views on a device."""
        return Views(self.mirrored.to(device), self.down.to(device), self.right.to(device))


def choose_views(config: AugmentConfig | None, shape: tuple[int, ...], *, seed: int) -> Views | None:
    """Draw random views with a seed.

    Args:
        config: The allowed changes; None for no augmentation.
        shape: The shape of the training inputs.
        seed: The seed of the draw.

    Returns:
        The views; None without a configuration.

    Raises:
        DataError: The inputs are not images, or are not larger than the shift.
    """
    if config is None:
        return None
    if len(shape) != _IMAGES_RANK:
        raise DataError(
            f"prune.recovery.augment: the model takes inputs of shape {list(shape[1:])}: "
            "expected images of shape [channels, height, width]"
        )
    if config.shift >= min(shape[2:]):
        raise DataError(
            f"prune.recovery.augment.shift = {config.shift}: expected less than the image's {min(shape[2:])} pixels"
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
