from __future__ import annotations

import pytest

from drupelet_host.selection.metric_limit import MetricLimit, metric_drop


@pytest.mark.parametrize(
    ("baseline", "max_drop", "metric", "allowed"),
    [
        (0.99, 0.01, 0.98, True),
        (0.99, 0.01, 0.9799, False),
        (0.3, 0.1, 0.2, True),
        (0.9, -0.02, 0.91, False),
        (0.9, -0.02, 0.92, True),
        (1.0, 0.0, 1.0, True),
        (1.0, 0.0, 0.9999, False),
    ],
)
def test_a_metric_is_allowed_down_to_the_limit_itself(
    baseline: float, max_drop: float, metric: float, *, allowed: bool
) -> None:
    assert MetricLimit(baseline, max_drop).allows(metric) == allowed


def test_a_drop_has_no_error_of_binary_fractions() -> None:
    assert metric_drop(0.99, 0.98) == 0.01
    assert metric_drop(0.98, 0.99) == -0.01
