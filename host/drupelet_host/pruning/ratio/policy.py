"""How hard each layer may be pruned, before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from drupelet_host.pruning.structure.groups import PrunableGroup, Role

# The first layer sees the raw input and is small; what feeds the classifier carries the classes.
ROLE_FACTORS: dict[Role, float] = {"first": 0.5, "inner": 1.0, "last": 0.75}


def layer_factors(groups: Sequence[PrunableGroup], patterns: Mapping[str, float]) -> dict[str, float]:
    """Return the factor on the pruning ratio for each group.

    Args:
        groups: The model's groups.
        patterns: Factors by `fnmatch` pattern, matched against every layer of a group; the last match wins, and any
            match overrides the policy.
    """
    factors = {}
    for group in groups:
        matches = [
            factor
            for pattern, factor in patterns.items()
            if any(fnmatchcase(member, pattern) for member in (group.name, *group.members))
        ]
        factors[group.name] = matches[-1] if matches else ROLE_FACTORS[group.role]
    return factors
