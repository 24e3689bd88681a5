"""Fidelity: how near a model's outputs are to the original's, judged by the worst group of channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from drupelet_host.data.samples import Tensors
from drupelet_host.evaluation.channel_groups import ChannelGroup, find_groups

Array = npt.NDArray[Any]

# A sample whose values in a group are smaller than this fraction of the group's usual ones is measured against the
# fraction: an image without an object has scores that are almost zero.
_QUIET = 0.1
# These hold indices, class numbers and counts, which are right or wrong.
_EXACT = frozenset({np.dtype(name) for name in ("bool", "int32", "int64", "uint32", "uint64")})


@dataclass(frozen=True, slots=True)
class GroupFidelity:
    """The fidelity of one group of channels of one output.

    Attributes:
        output: The name of the output.
        group: The channels.
        score: From 0 to 1; 1 is the original's answers.
    """

    output: str
    group: ChannelGroup
    score: float

    def __str__(self) -> str:
        where = f"output {self.output!r}" + ("" if self.group.axis is None else f", {self.group}")
        return f"{where}: {self.score:.4g}"


def measure_fidelity(answers: Sequence[Tensors], expected: Sequence[Tensors]) -> tuple[GroupFidelity, ...]:
    """Compare every group of channels of every output with the original's.

    The score of a group is the mean over samples of one less the relative error: the Euclidean norm of the difference,
    divided by the norm of the original's values, and 0 where the error exceeds 1. For indices, class numbers and truth
    values it is the fraction that is equal. NaN equals NaN, and infinity equals infinity of the same sign.

    Args:
        answers: The outputs of each sample by name.
        expected: The original's outputs of each sample.
    """
    return tuple(
        GroupFidelity(name, group, _score([answer[name] for answer in answers], reference, group))
        for name, reference in _by_output(expected).items()
        for group in find_groups(reference)
    )


def find_worst(answers: Sequence[Tensors], expected: Sequence[Tensors]) -> GroupFidelity:
    """Return the group of channels that is furthest from the original's; see `measure_fidelity`."""
    return min(measure_fidelity(answers, expected), key=lambda fidelity: fidelity.score)


def _by_output(samples: Sequence[Tensors]) -> dict[str, list[Array]]:
    return {name: [sample[name] for sample in samples] for name in samples[0]}


def _score(answers: Sequence[Array], expected: Sequence[Array], group: ChannelGroup) -> float:
    if expected[0].dtype in _EXACT or expected[0].dtype.kind not in "fiu":
        return math.fsum(map(_equal_fraction, answers, expected)) / len(expected)
    pairs = [
        (group.select(answer) if answer.shape == reference.shape else None, group.select(reference))
        for answer, reference in zip(answers, expected, strict=True)
    ]
    sizes = [_norm(np.where(np.isfinite(reference), reference, 0)) for _, reference in pairs]
    usual = math.sqrt(math.fsum(size**2 for size in sizes) / len(sizes))
    scores = [_relative(*pair, size=max(size, _QUIET * usual)) for pair, size in zip(pairs, sizes, strict=True)]
    return math.fsum(scores) / len(scores)


def _equal_fraction(answer: Array, expected: Array) -> float:
    if answer.shape != expected.shape:
        return 0.0
    return float((answer == expected).mean()) if expected.size else 1.0


def _relative(answer: Array | None, expected: Array, *, size: float) -> float:
    if answer is None:
        return 0.0
    finite = np.isfinite(expected)
    special = ~finite
    if special.any() and not np.array_equal(answer[special], expected[special], equal_nan=True):
        return 0.0
    error = _norm(answer[finite].astype(np.float64) - expected[finite].astype(np.float64))
    if error == 0:
        return 1.0
    # Every comparison with NaN is false, so an output that holds one where the original has none scores 0.
    return 1 - error / size if error < size else 0.0


def _norm(values: Array) -> float:
    return float(np.linalg.norm(values.astype(np.float64).ravel()))
