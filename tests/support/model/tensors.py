"""Whether two sets of tensors are the same, where equality alone does not tell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from drupelet_shared.inference import datatype_of


def same_tensors(left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> bool:
    """Names in order, datatypes, shapes and every element; a NaN is the same as itself."""
    return list(left) == list(right) and all(
        datatype_of(array, what=name) == datatype_of(right[name], what=name)
        and array.shape == right[name].shape
        # Bytes tell a NaN from itself; objects have no bytes worth comparing.
        and (
            array.tolist() == right[name].tolist()
            if array.dtype == object
            else array.tobytes() == right[name].tobytes()
        )
        for name, array in left.items()
    )
