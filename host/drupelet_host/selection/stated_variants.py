"""The variants that a recipe states, and which of them a package lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drupelet_host.errors import ConstraintError
from drupelet_host.recipe.model import TFLITE_SUFFIX
from drupelet_host.recipe.schema import Recipe
from drupelet_host.selection.variants import IDS_BY_NAME, JUDGED


def list_stated(recipe: Recipe) -> tuple[str, ...]:
    """Return the variants that a recipe names; none where it leaves them open, or for a LiteRT file."""
    file = recipe.model.file
    if "variants" not in recipe.quantize.model_fields_set or (file is not None and file.suffix == TFLITE_SUFFIX):
        return ()
    return recipe.quantize.variants


def list_judged(stated: Sequence[str]) -> frozenset[str]:
    """Return the ids of what a search judges for the variants that a recipe names; none where it may judge anything.

    Args:
        stated: The names in `quantize.variants`; what is not "static" is near float.
    """
    if not stated or ("static" in stated and len(set(stated)) > 1):
        return frozenset()
    static = IDS_BY_NAME["static"]
    judged = frozenset(name for names in JUDGED.values() for name in names)
    return judged & static if "static" in stated else judged - static


def list_missing(asked: Sequence[str], ranking: Sequence[str]) -> tuple[str, ...]:
    """Return those of `quantize.variants` of which the package holds none, in any engine."""
    return tuple(name for name in asked if not IDS_BY_NAME[name] & set(ranking))


def require_stated(stated: Sequence[str], ranking: Sequence[str], dropped: Mapping[str, str]) -> None:
    """Check that a package holds at least one of the variants that the recipe names.

    Args:
        stated: The names in `quantize.variants`; empty where the recipe leaves them open.
        ranking: The variants that would be packed.
        dropped: Why others are not, by id.

    Raises:
        ConstraintError: All of the stated variants are missing.
    """
    if stated and len(list_missing(stated, ranking)) == len(stated):
        names = ", ".join(stated)
        ids = set().union(*(IDS_BY_NAME[name] for name in stated))
        reasons = describe_dropped({name: reason for name, reason in dropped.items() if name in ids})
        raise ConstraintError(
            f"quantize.variants = [{names}]: none of them is left: {reasons}. Without quantize.variants in the "
            "recipe the compile packs what can be made"
        )


def describe_dropped(dropped: Mapping[str, str]) -> str:
    """Return the reasons in one line."""
    return "; ".join(f"{name}: {reason}" for name, reason in dropped.items()) or "no reason is known"
