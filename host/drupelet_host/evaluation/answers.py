"""Whether the original's answers are worth comparing with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drupelet_host.data.samples import Tensors
from drupelet_host.errors import ModelError

_ENOUGH_SAMPLES = 2


def check_answers(answers: Sequence[Tensors], *, source: str) -> None:
    """Check that no value of the original's outputs is NaN whatever the input is.

    NaN in some answers, as the logarithm of a negative number gives it, stays what it is.

    Args:
        answers: The outputs of some samples by name.
        source: The name of the model, for messages.

    Raises:
        ModelError: An output holds no finite number, or NaN at the same place in every answer.
    """
    for name in answers[0]:
        values = [answer[name] for answer in answers]
        if values[0].dtype.kind != "f" or not any(tensor.size for tensor in values):
            continue
        if not any(np.isfinite(tensor).any() for tensor in values):
            raise ModelError(f"{source}: output {name!r} holds no finite number in any of {len(values)} answers")
        if len(values) < _ENOUGH_SAMPLES or len({tensor.shape for tensor in values}) > 1:
            continue
        always = np.logical_and.reduce([np.isnan(tensor) for tensor in values])
        if always.any():
            raise ModelError(
                f"{source}: output {name!r} is NaN at {int(always.sum())} of {always.size} places in every one of "
                f"{len(values)} answers: a weight or a constant of the model is broken"
            )
