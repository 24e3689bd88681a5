"""The inputs of a module from what a person's factory returns: one array of floats, or several arrays by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from drupelet_host.errors import DataError
from drupelet_shared.tensors import NUMPY_DTYPE, TensorSpec

Array = npt.NDArray[Any]
Inputs = Array | Mapping[str, Array]


def is_list_of_samples(value: object) -> bool:
    """Return whether a value is a list with a dictionary for each sample."""
    return isinstance(value, list) and bool(value) and all(isinstance(sample, Mapping) for sample in value)


def make_inputs(value: Any, *, source: str, specs: Sequence[TensorSpec]) -> Inputs:  # noqa: ANN401 - whatever a factory returned
    """Check and convert inputs, see `make_dataset`.

    Args:
        value: The inputs.
        source: The name of the data, for messages.
        specs: The inputs of the module by name; none for one array of floats, or a dictionary.

    Returns:
        One array of floats, or the arrays by name.

    Raises:
        DataError: The inputs are not those of the module, or have unequal lengths.
    """
    if not specs and not isinstance(value, Mapping):
        return _to_array(value, np.dtype(np.float32), what=f"{source}: inputs")
    arrays = _name_arrays(value, source=source, specs=specs)
    wanted = {spec.name: spec for spec in specs}
    if specs and set(arrays) != set(wanted):
        raise DataError(f"{source}: has {sorted(map(str, arrays))}: the model takes {', '.join(wanted)}")
    names = list(wanted) or [str(name) for name in arrays]
    made = {name: _convert(arrays[name], wanted.get(name), what=f"{source}: input {name!r}") for name in names}
    counts = {name: len(values) for name, values in made.items()}
    if len(set(counts.values())) > 1:
        raise DataError(f"{source}: the inputs have different numbers of samples: {counts}")
    return made


def _name_arrays(value: Any, *, source: str, specs: Sequence[TensorSpec]) -> Mapping[str, Any]:  # noqa: ANN401 - as above
    """Return the stacked inputs by name."""
    names = [spec.name for spec in specs]
    if isinstance(value, Mapping):
        return value
    if is_list_of_samples(value):
        given = {name for sample in value for name in sample}
        if any(set(sample) != given for sample in value):
            raise DataError(f"{source}: the samples have different inputs: {sorted(map(str, given))} among them")
        return {name: _stack([sample[name] for sample in value], specs, name, source=source) for name in given}
    if isinstance(value, list) and value and all(isinstance(sample, tuple) for sample in value):
        if any(len(sample) != len(names) for sample in value):
            raise DataError(f"{source}: a sample has another number of inputs: the model takes {', '.join(names)}")
        columns = zip(names, zip(*value, strict=True), strict=True)
        return {name: _stack(list(column), specs, name, source=source) for name, column in columns}
    if isinstance(value, (tuple, list)) and len(value) == len(names):
        return dict(zip(names, value, strict=True))
    if len(names) == 1:
        return {names[0]: value}
    raise DataError(
        f"{source}: inputs are a {type(value).__name__}: the model takes {', '.join(names)}; expected a dictionary of "
        "arrays by name, or a list with a dictionary for each sample"
    )


def _stack(samples: list[Any], specs: Sequence[TensorSpec], name: str, *, source: str) -> Array:
    """Stack the samples of one input; a sample may have the batch dimension of the model's input."""
    try:
        stacked = np.stack([np.asarray(sample) for sample in samples])
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{source}: the samples of input {name!r} cannot be stacked: {error}") from error
    shape = next((spec.shape for spec in specs if spec.name == name), ())
    return stacked[:, 0] if shape and stacked.shape[1:] == shape and shape[0] == 1 else stacked


def _convert(value: Any, spec: TensorSpec | None, *, what: str) -> Array:  # noqa: ANN401 - array or tensor
    if spec is not None:
        dtype = np.dtype(NUMPY_DTYPE[spec.datatype])
        given = _to_array(value, None, what=what)
        if not np.can_cast(given.dtype, dtype, casting="same_kind") and not _holds(given, dtype):
            raise DataError(f"{what} holds {given.dtype} values: the model takes {spec.datatype}")
        return np.ascontiguousarray(given, dtype=dtype)
    array = _to_array(value, None, what=what)
    return np.ascontiguousarray(array, dtype=np.float32) if array.dtype.kind == "f" else array


def _holds(values: Array, dtype: np.dtype[Any]) -> bool:
    """Return whether integers or booleans are numbers of another kind all the same."""
    return values.dtype.kind in "biu" and (dtype.kind == "f" or bool((values == values.astype(dtype)).all()))


def _to_array(value: Any, dtype: np.dtype[Any] | None, *, what: str) -> Array:  # noqa: ANN401 - array or tensor
    try:
        array = np.ascontiguousarray(np.asarray(value), dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what}: cannot become an array of {dtype or 'numbers'}: {error}") from error
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise DataError(f"{what}: are {array.dtype} of shape {list(array.shape)}: expected numbers, samples first")
    return array
