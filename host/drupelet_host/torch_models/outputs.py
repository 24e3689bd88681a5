"""What a PyTorch module returns, by name: one tensor, several in a tuple or list, or a dictionary of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from drupelet_host.errors import ModelError
from drupelet_host.recipe.schema import OUTPUT_NAME


def name_outputs(returned: object, *, names: Sequence[str] = ()) -> dict[str, torch.Tensor]:
    """Return the tensors that a module returned, in its order.

    Args:
        returned: What it returned.
        names: What to call them; without any, a dictionary's own keys, `output` for one tensor, else `output_0` and up.

    Raises:
        ModelError: It is something else than tensors, or the names are not as many.
    """
    if isinstance(returned, Mapping):
        found, own = list(returned.values()), [str(key) for key in returned]
    else:
        found = list(returned) if isinstance(returned, (tuple, list)) else [returned]
        own = [OUTPUT_NAME] if len(found) == 1 else [f"{OUTPUT_NAME}_{index}" for index in range(len(found))]
    strange = sorted({type(value).__name__ for value in found if not isinstance(value, torch.Tensor)})
    if strange or not found:
        what = ", ".join(strange) or "nothing"
        raise ModelError(f"model returns {what}: expected a tensor, or a tuple or dictionary of tensors")
    chosen = list(names) or own
    if len(chosen) != len(found):
        raise ModelError(
            f"model.outputs names {len(chosen)} tensors ({', '.join(chosen)}): the model gives {len(found)}"
        )
    return dict(zip(chosen, found, strict=True))
