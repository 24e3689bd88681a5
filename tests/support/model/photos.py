"""Samples for image classifiers: crops of the two real photos that scikit-learn brings along."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_sample_images

# What EfficientNet-Lite was trained with.
_MEAN, _SCALE = 127.0, 128.0


def draw_crops(count: int, *, size: int, seed: int) -> npt.NDArray[np.float32]:
    """Random parts of a temple and a flower, some mirrored, of shape (count, 3, size, size), from -1 to 1."""
    random = np.random.default_rng(seed)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    crops = np.stack([_crop(photos[index % len(photos)], random, size=size) for index in range(count)])
    return np.ascontiguousarray((crops.transpose(0, 3, 1, 2) - _MEAN) / _SCALE, np.float32)


def _crop(photo: Image.Image, random: np.random.Generator, *, size: int) -> npt.NDArray[np.float32]:
    side = int(random.uniform(0.4, 1.0) * min(photo.size))
    left, top = (int(random.integers(0, length - side + 1)) for length in photo.size)
    crop = photo.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    pixels = np.asarray(crop, np.float32)
    return pixels[:, ::-1] if random.random() < 0.5 else pixels
