"""Reads the data that the recipe's [data] section names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drupelet_host.data.dataset import Dataset, make_dataset
from drupelet_host.data.image_folder import read_image_folder
from drupelet_host.data.readers import read_idx_pair, read_named_npz, read_npz
from drupelet_host.errors import DataError
from drupelet_host.recipe.factories import call_factory
from drupelet_host.recipe.sources import DataSource, FactorySource, FolderSource, IdxSource, NpzSource
from drupelet_shared.package.manifest import ImagePreprocessing
from drupelet_shared.tensors import TensorSpec


def load_source(
    source: DataSource,
    *,
    image: ImagePreprocessing | None,
    labels: tuple[str, ...],
    what: str,
    specs: Sequence[TensorSpec] = (),
) -> Dataset:
    """Read one data source.

    Args:
        source: The source of the samples.
        image: How an image is converted to an input; a folder of images needs it.
        labels: The model's labels, which order the classes of a folder of images.
        what: "train", "validation" or "test", for messages.
        specs: The inputs of the module by name; none for one array of floats.

    Returns:
        The samples.

    Raises:
        DataError: The data cannot be read.
    """
    where = _name(source, what=what)
    if specs and isinstance(source, NpzSource):
        return make_dataset(read_named_npz(source.path), source=where, specs=specs)
    value = read_source(source, image=image, labels=labels, what=what)
    return make_dataset(value, source=where, specs=specs)


def read_source(source: DataSource, *, image: ImagePreprocessing | None, labels: tuple[str, ...], what: str) -> Any:  # noqa: ANN401 - a factory may return anything
    """Read a data source without checking its content.

    Args:
        source: The source of the samples.
        image: How an image is converted to an input; a folder of images needs it.
        labels: The model's labels, which order the classes of a folder of images.
        what: "train", "validation" or "test", for messages.

    Returns:
        The factory's result or the file's content.

    Raises:
        DataError: The data cannot be read.
    """
    match source:
        case FactorySource(factory=factory):
            return call_factory(factory, error=DataError)
        case NpzSource(path=path):
            return read_npz(path)
        case IdxSource():
            return read_idx_pair(source.images, source.labels)
        case FolderSource(path=path):
            if image is None:
                raise DataError(f"{what} data {path.name}: a folder of images needs an [image] section in the recipe")
            return read_image_folder(path, image, labels=labels)


def _name(source: DataSource, *, what: str) -> str:
    match source:
        case FactorySource(factory=factory):
            return f"{what} data {factory}"
        case IdxSource(images=path) | NpzSource(path=path) | FolderSource(path=path):
            return f"{what} data {path.name}"
