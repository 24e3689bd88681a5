"""A limit on the latency: what it may be, and that what is kept of it says the same limit again."""

from __future__ import annotations

import math

import pytest
from pydantic import TypeAdapter, ValidationError

from drupelet_host.recipe.latency import LatencyLimit, StatedLatency

LIMIT: TypeAdapter[LatencyLimit] = TypeAdapter(StatedLatency)


@pytest.mark.parametrize(
    ("stated", "value", "unit", "percentile"),
    [
        ("20 ms", 20.0, "ms", "p50"),
        ("20ms p99", 20.0, "ms", "p99"),
        ("0.5 s", 500.0, "ms", "p50"),
        ("0.5", 0.5, "ratio", "p50"),
        (0.5, 0.5, "ratio", "p50"),
        (2, 2.0, "ratio", "p50"),
        ("0.5 p99", 0.5, "ratio", "p99"),
    ],
)
def test_a_limit_is_a_time_or_a_ratio(stated: object, value: float, unit: str, percentile: str) -> None:
    limit = LIMIT.validate_python(stated)
    assert (limit.value, limit.unit, limit.percentile) == (value, unit, percentile)


@pytest.mark.parametrize(
    "stated", ["1234567.8 ms", "20.0000001 ms", "0.00001 p99", "1000000000000 ms", 1e-7, 0.1, 1e300, "20 s p99"]
)
def test_what_is_kept_of_a_limit_says_the_same_limit_again(stated: object) -> None:
    limit = LIMIT.validate_python(stated)
    assert LIMIT.validate_python(LIMIT.dump_python(limit)) == limit
    assert LIMIT.validate_python(str(limit)) == limit


@pytest.mark.parametrize(
    "stated",
    [
        *(0, -1, 0.0, math.nan, math.inf, 10**400, True, [], "0 ms", "-1 ms", "nan", "inf ms", "1e3 ms", "20 ms p95"),
        *("20 m", "9" * 400, "9" * 400 + " ms", "2,5 ms", "\u0662\u0660 ms", "", "ms"),
    ],
)
def test_what_is_no_positive_finite_number_is_refused_with_examples(stated: object) -> None:
    with pytest.raises(ValidationError, match='a time such as "20 ms" or "20 ms p99", or a ratio'):
        LIMIT.validate_python(stated)
