"""Where a point of the model's input lies in the image that was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: `image = (tensor - offset) * scale + start`, all in pixels.

    Attributes:
        size: Pixels of the image along the axis, upright.
        tensor_size: Pixels of the model's input along it.
        offset: Pixels of padding before the image in the model's input.
        scale: Pixels of the image for one of the model's input.
        start: Pixels of the image before the part that was taken.
    """

    size: int
    tensor_size: int
    offset: float = 0.0
    scale: float = 1.0
    start: float = 0.0

    def to_image(self, positions: Array) -> Array:
        """Convert positions in the model's input to positions in the image, clipped to it."""
        converted: Array = np.clip((positions - self.offset) * self.scale + self.start, 0, self.size)
        return converted

    def source_pixels(self) -> npt.NDArray[np.int64]:
        """Return for each pixel of the image the pixel of the model's input that shows its centre; -1 if none does."""
        centres = (np.arange(self.size) + 0.5 - self.start) / self.scale + self.offset
        pixels: npt.NDArray[np.int64] = np.floor(centres).astype(np.int64)
        pixels[(pixels < 0) | (pixels >= self.tensor_size)] = -1
        return pixels


@dataclass(frozen=True, slots=True)
class ImageGeometry:
    """How an image was fitted into the model's input.

    Attributes:
        x: Along the width.
        y: Along the height.
    """

    x: Axis
    y: Axis

    def boxes_to_image(self, boxes: Array) -> Array:
        """Convert boxes (n, 4) of left, top, right, bottom from pixels of the model's input to pixels of the image."""
        converted = np.empty(boxes.shape, np.float32)
        converted[:, 0::2] = self.x.to_image(boxes[:, 0::2])
        converted[:, 1::2] = self.y.to_image(boxes[:, 1::2])
        return converted


def fit_geometry(*, image: tuple[int, int], tensor: tuple[int, int], resize: str) -> ImageGeometry:
    """Return the geometry of a resize, as Pillow's `resize`, `ImageOps.fit` and `ImageOps.pad` do it.

    Args:
        image: Width and height of the upright image.
        tensor: Width and height of the model's input.
        resize: "stretch", "crop" or "letterbox".
    """
    (image_width, image_height), (width, height) = image, tensor
    across, down = image_width / width, image_height / height
    if resize == "crop":
        scale = min(across, down)
        return ImageGeometry(
            x=Axis(image_width, width, scale=scale, start=(image_width - width * scale) / 2),
            y=Axis(image_height, height, scale=scale, start=(image_height - height * scale) / 2),
        )
    if resize == "letterbox":
        # The shorter side is rounded to whole pixels, and so is the padding before it.
        inner_width = width if across >= down else round(image_width / image_height * height)
        inner_height = height if across <= down else round(image_height / image_width * width)
        return ImageGeometry(
            x=Axis(image_width, width, round((width - inner_width) * 0.5), image_width / max(1, inner_width)),
            y=Axis(image_height, height, round((height - inner_height) * 0.5), image_height / max(1, inner_height)),
        )
    return ImageGeometry(x=Axis(image_width, width, scale=across), y=Axis(image_height, height, scale=down))
