"""Reading what the recipe's [data] section names."""

from __future__ import annotations

from drupelet_host.data.dataset import Dataset, make_dataset
from drupelet_host.data.image_folder import read_image_folder
from drupelet_host.data.readers import read_idx_pair, read_npz
from drupelet_host.errors import DataError
from drupelet_host.factories import call_factory
from drupelet_host.recipe_sources import DataSource, FactorySource, IdxSource, NpzSource
from drupelet_shared.manifest import ImagePreprocessing


def load_source(source: DataSource, *, image: ImagePreprocessing | None, labels: tuple[str, ...], what: str) -> Dataset:
    """Read one data source.

    Args:
        source: Where the samples are.
        image: How an image becomes an input; a folder of images needs it.
        labels: The model's labels; they order the classes of a folder of images.
        what: "train" or "validation", for messages.

    Raises:
        DataError: The data cannot be read.
    """
    if isinstance(source, FactorySource):
        return make_dataset(call_factory(source.factory, error=DataError), source=f"{what} data {source.factory}")
    if isinstance(source, NpzSource):
        return make_dataset(read_npz(source.path), source=f"{what} data {source.path.name}")
    if isinstance(source, IdxSource):
        return make_dataset(read_idx_pair(source.images, source.labels), source=f"{what} data {source.images.name}")
    if image is None:
        raise DataError(f"{what} data {source.path.name}: a folder of images needs an [image] section in the recipe")
    pair = read_image_folder(source.path, image, labels=labels)
    return make_dataset(pair, source=f"{what} data {source.path.name}")
