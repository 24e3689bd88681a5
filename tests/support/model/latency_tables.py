"""Latency tables made by hand, whose answers can be worked out on paper."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from drupelet_host.latency.modelled.layers import ENGINES, EngineName, Precision
from drupelet_host.latency.modelled.table import Accuracy, Formula, LatencyTable

_MULTIPLYING = ("convolution", "pointwise", "depthwise", "grouped", "linear")


def make_table(
    float_us: Mapping[str, float],
    int8_us: Mapping[str, float] | None = None,
    *,
    conversion_us: float = 0.0,
    error: float = 0.1,
    digest: str = "0123456789abcdef",
) -> LatencyTable:
    """Return a table by which the work of a layer alone costs time, the same in every engine.

    Args:
        float_us: Microseconds for a multiply-accumulate by the layer's category, counted in whole tiles of 4 input and
            8 output channels except in depthwise layers; others cost nothing.
        int8_us: The same in int8; as in float by default.
        conversion_us: Microseconds for each value that layers without weights write.
        error: Of the table and of the model it was made with, each.
        digest: Of the table's file.
    """
    formulas: dict[tuple[EngineName, Precision], Mapping[str, Formula]] = {}
    for engine in ENGINES:
        formulas[engine, "float32"] = _formulas(float_us, conversion_us)
        formulas[engine, "int8"] = _formulas(float_us if int8_us is None else int8_us, conversion_us)
    return LatencyTable(
        target="by_hand",
        source="a test",
        versions={},
        formulas=formulas,
        accuracies=dict.fromkeys(formulas, Accuracy(error, error, validated=False)),
        threads_4=(0.5, 0.5),
        scale=1.0,
        digest=digest,
    )


def _formulas(work_us: Mapping[str, float], written_us: float) -> dict[str, Formula]:
    return {
        **{
            category: _formula(0.0, work_us.get(category, 0.0), 0.0, 0.0, 0.0, 0.0, 0.0)
            for category in _MULTIPLYING[:2]
        },
        **{category: _formula(0.0, work_us.get(category, 0.0), 0.0, 0.0, 0.0) for category in _MULTIPLYING[2:4]},
        "linear": _formula(0.0, work_us.get("linear", 0.0), 0.0, 0.0, 0.0, 0.0, 0.0),
        "add": _formula(0.0, 0.0, written_us, 0.0),
        "inference": _formula(0.0),
    }


def _formula(*weights: float) -> Formula:
    return Formula(np.array(weights), np.zeros((0, 6)), np.zeros(0))
