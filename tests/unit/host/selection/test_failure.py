"""What a compile that fails says: what was missed, by how much, and limits that can be met."""

from __future__ import annotations

import re

import pytest

from drupelet_host.selection.check import Check
from drupelet_host.selection.failure import describe_failure


def describe(*checks: Check) -> str:
    missed = {check.variant: set[str]() for check in checks}
    for check in checks:
        if not check.met:
            missed[check.variant].add(check.constraint)
    return describe_failure(checks, missed, kind="variant")


def rows(text: str) -> dict[str, list[str]]:
    table = [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
    return {cells[0]: cells[1:] for cells in table if len(cells) > 1}


def offers(text: str) -> dict[str, str]:
    return dict(line.strip().split(" = ", 1) for line in text.splitlines() if " = " in line)


def nearest(text: str) -> str:
    (variant,) = re.findall(r"^limits that (\S+) meets:$", text, re.MULTILINE)
    return variant


def test_the_variant_that_misses_fewest_constraints_is_the_nearest() -> None:
    text = describe(
        Check("max_size", "far", 100, 101),
        Check("max_metric_drop", "far", 0.01, 0.02),
        Check("max_size", "near", 100, 900),
        Check("max_metric_drop", "near", 0.01, 0.0),
    )
    assert nearest(text) == "near"
    assert text.startswith("no variant meets all constraints (near misses max_size):\n")


def test_of_those_that_miss_as_many_the_nearest_misses_by_the_smallest_share_of_its_limit() -> None:
    # The second is nearer in bytes than the first in points, and farther as a share.
    text = describe(
        Check("max_metric_drop", "first", 0.10, 0.11),
        Check("max_size", "first", 100, 90),
        Check("max_metric_drop", "second", 0.10, 0.05),
        Check("max_size", "second", 100, 150),
    )
    assert nearest(text) == "first"


def test_what_a_variant_has_to_spare_in_one_constraint_does_not_make_up_for_another() -> None:
    text = describe(
        Check("max_size", "first", 100, 1),
        Check("max_metric_drop", "first", 0.1, 0.2),
        Check("max_size", "second", 100, 99),
        Check("max_metric_drop", "second", 0.1, 0.15),
    )
    assert nearest(text) == "second"


def test_a_limit_of_zero_counts_as_it_is() -> None:
    text = describe(Check("max_metric_drop", "first", 0.0, 0.3), Check("max_metric_drop", "second", 0.0, 0.2))
    assert nearest(text) == "second"


def test_each_constraint_has_a_row_with_its_best_variant_and_what_to_try() -> None:
    text = describe(
        Check("max_metric_drop", "a", 0.01, 0.05),
        Check("max_size", "a", 1000, 900),
        Check("max_metric_drop", "b", 0.01, 0.02),
        Check("max_size", "b", 1000, 2000),
    )
    table = rows(text)
    assert table["constraint"] == ["limit", "best", "of"]
    assert table["max_metric_drop"] == ["0.01", "0.02", "b", "missed"]
    assert "\nfor max_metric_drop, allow a larger drop" in text
    assert "for max_size, " not in text
    assert table["max_size"] == ["1.0 KB (1000 bytes)", "900 B (900 bytes)", "a", "met"]


def test_a_range_is_judged_by_its_upper_bound() -> None:
    text = describe(Check("max_latency", "a", 20.0, 19.0, lowest=18.0, highest=22.0, unit="ms"))
    assert rows(text)["max_latency"][:3] == ["20 ms", "22 ms", "a"]
    assert offers(text) == {"max_latency": '"23.1 ms"'}


@pytest.mark.parametrize(
    ("check", "offer"),
    [
        # A limit that is met is offered as it was stated.
        (Check("max_size", "a", 1000, 10), "1000"),
        (Check("max_metric_drop", "a", 0.015, 0.01), "0.015"),
        (Check("max_latency", "a", 0.5, 0.4), "0.5"),
        # One that is missed lies above what was measured: 5 % for what differs at the next measurement.
        (Check("max_size", "a", 1000, 2001), "2102"),
        (Check("memory_limit", "a", 1000, 2000), "2100"),
        (Check("max_latency", "a", 0.5, 0.6), "0.63"),
        # The metric does not differ: it is rounded up to four digits.
        (Check("max_metric_drop", "a", 0.01, 0.02341), "0.0235"),
    ],
)
def test_the_offered_limits_are_met_by_the_nearest_variant(check: Check, offer: str) -> None:
    missed = Check("memory_limit" if check.constraint != "memory_limit" else "max_size", "a", 1, 2)
    assert offers(describe(check, missed))[check.constraint] == offer
