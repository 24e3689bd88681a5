"""Names the outputs of a PyTorch module: one tensor, a tuple or list of tensors, or a dictionary of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from drupelet_host.errors import ModelError
from drupelet_host.recipe.model import OUTPUT_NAME


def name_outputs(returned: object, *, names: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """Return the tensors that a module returned by name, in its order.

    Args:
        returned: The value that the module returned.
        names: The names of the outputs; by default the keys of a dictionary, `output` for one tensor, else `output_0`
            and so on.

    Raises:
        ModelError: The value does not consist of tensors, or their number differs from that of the names.
    """
    if isinstance(returned, Mapping):
        values, defaults = list(returned.values()), [str(key) for key in returned]
    else:
        values = list(returned) if isinstance(returned, (tuple, list)) else [returned]
        defaults = [OUTPUT_NAME] if len(values) == 1 else [f"{OUTPUT_NAME}_{index}" for index in range(len(values))]
    others = sorted({type(value).__name__ for value in values if not isinstance(value, torch.Tensor)})
    if others or not values:
        what = ", ".join(others) or "nothing"
        raise ModelError(f"model returns {what}: expected a tensor, or a tuple or dictionary of tensors")
    chosen = list(names) or defaults
    if len(chosen) != len(values):
        raise ModelError(
            f"model.outputs names {len(chosen)} tensors ({', '.join(chosen)}): the model returns {len(values)}"
        )
    return dict(zip(chosen, values, strict=True))
