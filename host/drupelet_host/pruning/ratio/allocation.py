"""From sensitivity curves and the layer policy to a pruning ratio for each group."""

from __future__ import annotations

from collections.abc import Mapping

from drupelet_host.pruning.sensitivity import SensitivityCurve

MAX_RATIO = 0.9


def allocate_ratios(
    factors: Mapping[str, float], *, curves: Mapping[str, SensitivityCurve], prune_ratio: float
) -> dict[str, float]:
    """Return the final pruning ratio of each group.

    A group's robustness is the mean of its curve, relative to the metric of the unpruned model; a group of average
    robustness gets `prune_ratio`, a more robust one proportionally more.

    Args:
        factors: The policy's factor by group.
        curves: The measured curves by group; groups without one count as average.
        prune_ratio: The ratio for a group of average robustness and factor 1.
    """
    robustness = {name: curves[name].robustness for name in factors if name in curves}
    mean = sum(robustness.values()) / len(robustness) if robustness else 0.0
    relative = {name: robustness[name] / mean if mean > 0 and name in robustness else 1.0 for name in factors}
    return {name: min(MAX_RATIO, prune_ratio * factor * relative[name]) for name, factor in factors.items()}
