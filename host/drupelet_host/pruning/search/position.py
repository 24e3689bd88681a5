"""Where a path of a search is, and how its next step is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from drupelet_host.pruning.search.savings import CostMeasure
from drupelet_host.pruning.sensitivity import SensitivityCurve
from drupelet_host.selection.judge import CandidateResult


@dataclass(frozen=True, slots=True)
class Position:
    """A model the search has been at.

    Attributes:
        model: The model.
        channels: The channels of each group.
        result: What was measured of it.
    """

    model: nn.Module
    channels: Mapping[str, int]
    result: CandidateResult


@dataclass(frozen=True, slots=True)
class SearchState:
    """How the next step is chosen.

    Attributes:
        stride: The share of the cost it removes.
        drop: What the metric may lose.
        blocked: Groups whose next block could not be recovered.
        curves: Sensitivity, renewed on the way.
        curves_at: The parameters and MACs of the model they were measured on.
        measure: What a step's cost is counted by.
    """

    stride: float
    drop: float
    blocked: frozenset[str]
    curves: Mapping[str, SensitivityCurve]
    curves_at: tuple[int, int]
    measure: CostMeasure
