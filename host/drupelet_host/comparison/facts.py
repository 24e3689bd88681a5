"""What can be compared about a package, a report or a release, and the differences between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

Value = str | int | float
Unit = Literal["", "bytes", "ms"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fact(_Model):
    """A value with its unit."""

    value: Value
    unit: Unit = ""


# By section, such as "variant ort-fp32", and by name within it.
Facts = Mapping[tuple[str, str], Fact]


class Difference(_Model):
    """One fact that two sides do not share.

    Attributes:
        section: What it is about, such as "variant ort-fp32".
        name: Its name within the section.
        before: Its value on the first side; None where it is absent.
        after: Its value on the second side; None where it is absent.
        unit: The unit of both values.
    """

    section: str
    name: str
    before: Value | None
    after: Value | None
    unit: Unit = ""

    @computed_field  # type: ignore[prop-decorator] # pydantic reads the property
    @property
    def change(self) -> float | None:
        """The relative change of a number, -0.5 for half of it; None for text, and where the first value is 0."""
        if isinstance(self.before, str) or isinstance(self.after, str) or self.after is None or not self.before:
            return None
        return self.after / self.before - 1


class Side(_Model):
    """One of the two that are compared: where it is, and what it is."""

    place: str
    name: str
    version: str
    release: int


class Comparison(_Model):
    """The differences between two sides.

    Attributes:
        before: The first side.
        after: The second side.
        same: Whether there is no difference.
        differences: The differences, in the order of the facts.
        notes: What a reader should know about the numbers, one sentence each.
    """

    before: Side
    after: Side
    same: bool
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()


def compare_facts(before: Facts, after: Facts) -> tuple[Difference, ...]:
    """Return the differences between two sides, section by section in the order of the first side."""
    keys = list({**before, **after})
    sections = list(dict.fromkeys(section for section, _ in keys))
    return tuple(
        _difference(key, before.get(key), after.get(key))
        for key in sorted(keys, key=lambda each: sections.index(each[0]))
        if before.get(key) != after.get(key)
    )


def _difference(key: tuple[str, str], before: Fact | None, after: Fact | None) -> Difference:
    section, name = key
    known = before or after
    assert known is not None, "the key is of one of the sides"
    return Difference(
        section=section,
        name=name,
        before=before.value if before else None,
        after=after.value if after else None,
        unit=known.unit,
    )


def make_comparison(
    before: tuple[Side, Facts], after: tuple[Side, Facts], *, notes: tuple[str, ...] = ()
) -> Comparison:
    """Compare two sides.

    Args:
        before: The first side and its facts.
        after: The second side and its facts.
        notes: What a reader should know about the numbers.

    Returns:
        The comparison.
    """
    differences = compare_facts(before[1], after[1])
    return Comparison(before=before[0], after=after[0], same=not differences, differences=differences, notes=notes)
