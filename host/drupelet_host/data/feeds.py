"""Samples for a model given as a file: inputs by name, as the file declares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from drupelet_host.data.labels import make_labels
from drupelet_host.data.readers import read_named_npz
from drupelet_host.data.samples import Samples, Tensors
from drupelet_host.data.sources import read_source
from drupelet_host.errors import DataError
from drupelet_host.recipe.factories import call_factory
from drupelet_host.recipe.sources import DataSource, FactorySource, NpzSource
from drupelet_shared.package.manifest import ImagePreprocessing
from drupelet_shared.tensors import NUMPY_DTYPE, TensorSpec, shape_matches

_INPUTS = "inputs"
_PAIR = 2


def load_samples(
    source: DataSource,
    specs: Sequence[TensorSpec],
    *,
    image: ImagePreprocessing | None,
    labels: tuple[str, ...],
    what: str,
) -> Samples:
    """Read one data source.

    A factory returns a sequence of dictionaries, each with the inputs of one inference by name, batch first; or such a
    sequence with the labels; or, for a model with one input, arrays (inputs, labels). An NPZ file has one array for
    each input, with the samples along its first axis, and may have `labels`.

    Args:
        source: The source of the samples.
        specs: The model's inputs.
        image: How an image is converted to an input; a folder of images needs it.
        labels: The model's labels, which order the classes of a folder of images.
        what: "train", "validation" or "test", for messages.

    Returns:
        The samples.

    Raises:
        DataError: The data cannot be read or does not match the model.
    """
    where = f"{what} data"
    if isinstance(source, FactorySource):
        return make_samples(call_factory(source.factory, error=DataError), specs, where=f"{where} {source.factory}")
    if isinstance(source, NpzSource):
        where = f"{where} {source.path.name}"
        arrays, label_array = read_named_npz(source.path)
        # The array's name in the files that a single-input module takes.
        inputs = arrays[_INPUTS] if list(arrays) == [_INPUTS] else _rows(arrays, where=where)
        return make_samples((inputs, label_array), specs, where=where)
    return make_samples(read_source(source, image=image, labels=labels, what=what), specs, where=where)


def make_samples(value: Any, specs: Sequence[TensorSpec], *, where: str) -> Samples:  # noqa: ANN401 - any value that a factory returned
    """Check and convert samples in a form that `load_samples` describes.

    Args:
        value: The value that a factory returned.
        specs: The model's inputs.
        where: The name of the data, for messages.

    Returns:
        The samples.

    Raises:
        DataError: The value has another form, is empty, or a sample does not match the model.
    """
    inputs, labels = value if isinstance(value, tuple) and len(value) == _PAIR else (value, None)
    if not isinstance(inputs, Sequence):
        inputs = _single_input(inputs, specs, where=where)
    if not inputs:
        raise DataError(f"{where}: has no samples: expected at least 1")
    feeds = [_feed(sample, specs, where=f"{where}: sample {number}") for number, sample in enumerate(inputs)]
    return Samples(feeds, None if labels is None else make_labels(labels, count=len(feeds), source=where))


def _single_input(inputs: Any, specs: Sequence[TensorSpec], *, where: str) -> list[Tensors]:  # noqa: ANN401 - array or tensor
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise DataError(f"{where}: is one array: the model takes {names}; expected a dictionary for each sample")
    return _rows({specs[0].name: np.asarray(inputs)}, where=where)


def _rows(arrays: Mapping[str, np.ndarray], *, where: str) -> list[Tensors]:
    if single := sorted(name for name, values in arrays.items() if values.ndim == 0):
        raise DataError(
            f"{where}: {', '.join(single)}: got one value: expected an array with the samples along its axis 0"
        )
    counts = {name: len(values) for name, values in arrays.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"{where}: the inputs have different numbers of samples: {counts}")
    return [
        {name: values[row : row + 1] for name, values in arrays.items()}
        for row in range(min(counts.values(), default=0))
    ]


def _feed(sample: Any, specs: Sequence[TensorSpec], *, where: str) -> Tensors:  # noqa: ANN401 - any value that a factory returned
    names = {spec.name for spec in specs}
    if not isinstance(sample, Mapping) or set(sample) != names:
        given = sorted(map(str, sample)) if isinstance(sample, Mapping) else type(sample).__name__
        raise DataError(f"{where}: has {given}: the model takes {sorted(names)}")
    return {spec.name: _tensor(sample[spec.name], spec, where=where) for spec in specs}


def _tensor(value: Any, spec: TensorSpec, *, where: str) -> np.ndarray:  # noqa: ANN401 - array or tensor
    try:
        given, dtype = np.asarray(value), np.dtype(NUMPY_DTYPE[spec.datatype])
        array = given.astype(dtype, order="C", copy=False)
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(f"{where}: input {spec.name!r} cannot become {spec.datatype}: {error}") from error
    if given.dtype.kind == "f" and dtype.kind != "f":
        raise DataError(f"{where}: input {spec.name!r} holds {given.dtype} numbers: the model takes {spec.datatype}")
    if spec.shape == () and array.shape == (1,):
        # A row of an array that holds one value for each sample.
        array = array.reshape(())
    if not shape_matches(array.shape, spec.shape):
        raise DataError(
            f"{where}: input {spec.name!r} has shape {list(array.shape)}: the model takes {list(spec.shape)}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{where}: input {spec.name!r} holds NaN or infinity: expected finite numbers")
    return array
