"""Fidelity by output and by group of channels: nothing large hides that something small went to zero."""

from __future__ import annotations

import numpy as np
import pytest

from drupelet_host.evaluation.channel_groups import ChannelGroup, find_groups
from drupelet_host.evaluation.fidelity import find_worst, measure_fidelity

RANDOM = np.random.default_rng(0)


def boxes_and_scores(count: int, *, axis: int) -> list[np.ndarray]:
    """Four coordinates of up to 320 and six scores of up to 1."""
    made = [
        np.concatenate([RANDOM.uniform(0, 320, (1, 4, 50)), RANDOM.uniform(0, 1, (1, 6, 50)) ** 8], axis=1)
        for _ in range(count)
    ]
    return [np.moveaxis(values, 1, axis).astype(np.float32) for values in made]


@pytest.mark.parametrize("axis", [1, 2])
def test_boxes_and_scores_in_one_output_are_two_groups(axis: int) -> None:
    assert find_groups(boxes_and_scores(5, axis=axis)) == (
        ChannelGroup(axis, (0, 1, 2, 3)),
        ChannelGroup(axis, (4, 5, 6, 7, 8, 9)),
    )


def test_coordinates_and_confidences_that_alternate_are_two_groups() -> None:
    points = [
        np.array([[30.0, 40, 0.9, 200, 100, 0.5]], np.float32),
        np.array([[90.0, 70, 0.1, 10, 300, 0.4]], np.float32),
    ]
    assert find_groups(points) == (ChannelGroup(1, (0, 1, 3, 4)), ChannelGroup(1, (2, 5)))


def test_scores_that_went_to_zero_show_beside_boxes_that_are_right() -> None:
    expected = boxes_and_scores(5, axis=1)
    zeroed = [values.copy() for values in expected]
    for values in zeroed:
        values[:, 4:] = 0
    worst = find_worst([{"y": values} for values in zeroed], [{"y": values} for values in expected])
    assert worst.score == 0.0
    assert str(worst) == "output 'y', channels 4 to 9: 0"


def test_channels_of_like_range_are_one_group() -> None:
    assert find_groups([RANDOM.normal(size=(1, 16, 8, 8)).astype(np.float32)]) == (ChannelGroup(),)


def test_probabilities_that_add_up_to_one_are_one_group() -> None:
    logits = RANDOM.normal(size=(20, 10)) * 4
    logits[:, 3] -= 30
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert find_groups([row[None].astype(np.float32) for row in shares]) == (ChannelGroup(),)


def test_a_class_that_is_rare_stays_with_the_other_scores() -> None:
    scores = np.zeros((1, 3, 100), np.float32)
    scores[0, 0, 5], scores[0, 1, 9], scores[0, 2, 7] = 0.9, 0.8, 0.01
    assert find_groups([scores]) == (ChannelGroup(),)


def test_what_rounding_leaves_of_a_channel_is_no_group() -> None:
    values = np.stack([RANDOM.normal(size=50), RANDOM.normal(size=50) * 1e-8])[None].astype(np.float32)
    assert find_groups([values]) == (ChannelGroup(),)


def test_an_axis_whose_size_varies_has_no_channels() -> None:
    assert find_groups([np.full((1, size, 3), [1, 1, 1], np.float32) for size in (4, 9)]) == (ChannelGroup(),)


def test_nan_equals_nan_and_infinity_equals_infinity() -> None:
    wanted = [{"y": np.array([np.nan, 1.0, np.inf, -np.inf], np.float32)}]
    assert find_worst(wanted, wanted).score == 1.0
    assert find_worst([{"y": np.array([0.0, 1.0, np.inf, -np.inf], np.float32)}], wanted).score == 0.0
    assert find_worst([{"y": np.array([np.nan, 1.0, np.inf, np.inf], np.float32)}], wanted).score == 0.0


def test_class_numbers_count_as_right_or_wrong() -> None:
    wanted = [{"y": np.array([7, 8, 9, 0])}]
    assert find_worst([{"y": np.array([7, 8, 9, 1])}], wanted).score == 0.75


def test_a_sample_without_an_object_is_measured_against_the_usual_scores() -> None:
    wanted = [{"y": np.full(4, value, np.float32)} for value in (1.0, 1.0, 1e-6)]
    found = [{"y": np.full(4, value, np.float32)} for value in (1.0, 1.0, 1e-4)]
    assert find_worst(found, wanted).score > 0.99


def test_every_output_is_measured() -> None:
    wanted = [{"a": np.ones((1, 3)), "b": np.ones((1, 3))}]
    found = [{"a": np.ones((1, 3)), "b": np.full((1, 3), 0.5)}]
    assert {row.output: row.score for row in measure_fidelity(found, wanted)} == {"a": 1.0, "b": 0.5}
