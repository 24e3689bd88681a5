"""Reads a folder of images, one folder for each label, with the manifest's pre-processing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from drupelet_host.data.inputs import Array
from drupelet_host.data.labels import Labels
from drupelet_host.errors import DataError
from drupelet_shared.errors import ImageError
from drupelet_shared.inference.images import image_to_tensor
from drupelet_shared.package.manifest import ImagePreprocessing
from drupelet_shared.tensors import Datatype

_SUFFIXES = {".jpg", ".jpeg", ".png"}


def read_image_folder(
    folder: Path, preprocessing: ImagePreprocessing, *, labels: tuple[str, ...]
) -> tuple[Array, Labels]:
    """Read every JPEG and PNG file under `folder/LABEL/`, in the order of names.

    Args:
        folder: The folder.
        preprocessing: How an image is converted to an input.
        labels: The model's labels in order; by default the folders' names in alphabetical order.

    Returns:
        The inputs, and the class index of each.

    Raises:
        DataError: There are no images, a folder is not named after a label, or an image cannot be read.
    """
    folders = sorted(path.name for path in folder.iterdir() if path.is_dir())
    classes = labels or tuple(folders)
    unknown = sorted(set(folders) - set(classes))
    if unknown:
        raise DataError(f"{folder.name}: has folders {', '.join(unknown)}: the model's labels are {', '.join(classes)}")
    files = [path for name in folders for path in sorted((folder / name).iterdir()) if path.suffix.lower() in _SUFFIXES]
    if not files:
        raise DataError(f"{folder.name}: holds no {', '.join(sorted(_SUFFIXES))} file in a folder for each label")
    inputs = np.stack([read_image(path, preprocessing) for path in files])
    return inputs, np.array([classes.index(path.parent.name) for path in files], dtype=np.int64)


def read_image(path: Path, preprocessing: ImagePreprocessing) -> Array:
    """Read one image as the device does, without the batch dimension.

    Raises:
        DataError: The image cannot be decoded.
    """
    try:
        pixels: Array = image_to_tensor(path.read_bytes(), preprocessing, Datatype.FP32)[0]
    except (OSError, ImageError) as error:
        raise DataError(f"{path.parent.name}/{path.name}: cannot be decoded: {error}") from error
    return pixels
