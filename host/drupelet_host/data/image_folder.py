"""A folder of images, one folder for each label, read with the manifest's pre-processing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from drupelet_host.data.dataset import Inputs, Labels
from drupelet_host.errors import DataError
from drupelet_shared.manifest import ImagePreprocessing

_SUFFIXES = {".jpg", ".jpeg", ".png"}
_PIXEL_MAX = 255.0


def read_image_folder(
    folder: Path, preprocessing: ImagePreprocessing, *, labels: tuple[str, ...]
) -> tuple[Inputs, Labels]:
    """Every JPEG and PNG file under `folder/LABEL/`, in the order of their names.

    Args:
        folder: The folder.
        preprocessing: How an image becomes an input.
        labels: The model's labels in order; without any, the folders' names in alphabetical order.

    Raises:
        DataError: There are no images, a folder is no label, or an image cannot be read.
    """
    found = sorted(path.name for path in folder.iterdir() if path.is_dir())
    classes = labels or tuple(found)
    unknown = sorted(set(found) - set(classes))
    if unknown:
        raise DataError(f"{folder.name}: has folders {', '.join(unknown)}: the model's labels are {', '.join(classes)}")
    files = [path for name in found for path in sorted((folder / name).iterdir()) if path.suffix.lower() in _SUFFIXES]
    if not files:
        raise DataError(f"{folder.name}: holds no {', '.join(sorted(_SUFFIXES))} file in a folder for each label")
    inputs = np.stack([read_image(path, preprocessing) for path in files])
    return inputs, np.array([classes.index(path.parent.name) for path in files], dtype=np.int64)


def read_image(path: Path, preprocessing: ImagePreprocessing) -> Inputs:
    """One image as the model's input, without the batch dimension.

    Raises:
        DataError: It cannot be decoded.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("L" if preprocessing.color == "gray" else "RGB")
            image = _resize(image, preprocessing)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path.parent.name}/{path.name}: cannot be decoded: {error}") from error
    pixels = np.asarray(image, dtype=np.float32).reshape(preprocessing.height, preprocessing.width, -1) / _PIXEL_MAX
    if preprocessing.color == "bgr":
        pixels = pixels[:, :, ::-1]
    mean, std = (np.array(values, dtype=np.float32) for values in (preprocessing.mean, preprocessing.std))
    pixels = (pixels - mean) / std
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if preprocessing.layout == "NCHW" else pixels)


def _resize(image: Image.Image, preprocessing: ImagePreprocessing) -> Image.Image:
    size = (preprocessing.width, preprocessing.height)
    if preprocessing.resize == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    if preprocessing.resize == "letterbox":
        return ImageOps.pad(image, size, Image.Resampling.BILINEAR)
    return image.resize(size, Image.Resampling.BILINEAR)
